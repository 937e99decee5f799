//! The server: accepts tests of any number of clients, until it is stopped.

mod clients;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_transport::{KcpListener, KcpStream};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::echo;
use super::error::TestError;
use super::exchange::{self, CLOSE_LIMIT, Exchange};
use super::figures::Figures;
use super::meter::Meter;
use super::readings::Interval;
use super::wire::{self, Answer, Kind, Request, Side};
use crate::stop::Stop;
use clients::Clients;

/// How a server runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End with the connections of the first client.
    pub once: bool,
    /// Time between two readings of the meters; zero for none.
    pub interval: Duration,
}

/// What happens at the server.
#[derive(Debug)]
pub enum Event {
    /// Something happened to a connection.
    Connection(Connection),
    /// The data of a client begins, and readings of its connections follow.
    Begin(Kind),
    /// A reading of the connections of a client.
    Interval(Kind, Interval),
    /// What the connections of a client have received and sent together, if it had several.
    Sum(Kind, [Option<Figures>; 2]),
}

/// What happened to one connection.
#[derive(Debug)]
pub struct Connection {
    /// The number of the connection, from 1.
    pub id: u64,
    /// The address of its client.
    pub peer: SocketAddr,
    /// What happened.
    pub kind: ConnectionEvent,
}

/// What happens to a connection.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// A test was accepted.
    Accepted(Request),
    /// A test has ended.
    Ended {
        /// What the client had requested.
        request: Request,
        /// What was counted.
        meter: Arc<Meter>,
        /// Why it ended early, if it did.
        error: Option<TestError>,
    },
    /// The connection requested no test that can be run.
    Refused(TestError),
}

/// Why a server ended early.
#[derive(Debug)]
pub enum ServeError<E> {
    /// The listener failed.
    Accept(io::Error),
    /// The caller's function failed.
    Event(E),
}

/// Serves until the stop is requested or, if `once`, until the connections of one client have ended. Each event is
/// passed to `on_event`, whose error ends the server. Returns the number of tests accepted.
///
/// After a stop, tests have two seconds to end. The port is free when this returns.
///
/// # Errors
///
/// The listener's, and that of `on_event`.
pub async fn serve<E>(
    listener: &KcpListener,
    options: Options,
    stop: &Stop,
    on_event: impl FnMut(Event) -> Result<(), E>,
) -> Result<u64, ServeError<E>> {
    let (messages, mut received) = mpsc::channel(MAX_MESSAGES);
    let mut tests = JoinSet::new();
    let mut log = Log {
        on_event,
        count: Count::default(),
        clients: Clients::new(options.interval),
    };
    let (mut next_id, mut accepting) = (1, true);
    let mut give_up = None;
    while accepting || !tests.is_empty() {
        tokio::select! {
            accepted = listener.accept(), if accepting => {
                let (stream, peer) = accepted.map_err(ServeError::Accept)?;
                let test = Test {
                    id: next_id,
                    peer,
                    stop: stop.clone(),
                    messages: messages.clone(),
                    full: tests.len() >= MAX_TESTS,
                };
                next_id += 1;
                tests.spawn(test.run(stream));
            }
            Some(message) = received.recv() => {
                log.take(message).map_err(ServeError::Event)?;
                if options.once && log.count.first_client_ended() {
                    accepting = false;
                    listener.stop_accepting();
                }
            }
            Some(_) = tests.join_next() => {}
            () = reached(log.clients.next()) => log.read().map_err(ServeError::Event)?,
            () = stop.requested(), if give_up.is_none() => {
                accepting = false;
                listener.stop_accepting();
                give_up = Some(Instant::now() + CLOSE_LIMIT);
            }
            () = reached(give_up) => break,
        }
    }
    while let Ok(message) = received.try_recv() {
        log.take(message).map_err(ServeError::Event)?;
    }
    log.finish().map_err(ServeError::Event)?;
    let drained = timeout(CLOSE_LIMIT, listener.shutdown(Duration::MAX)).await;
    if drained.is_err() {
        listener.shutdown(Duration::ZERO).await;
    }
    Ok(log.count.accepted)
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What the task of a connection reports.
enum Message {
    Event(Connection),
    /// Data may flow.
    Begun {
        id: u64,
        request: Request,
        meter: Arc<Meter>,
    },
}

/// Passes on what happens, in the order in which it is to be shown.
struct Log<F> {
    on_event: F,
    count: Count,
    clients: Clients,
}

impl<E, F: FnMut(Event) -> Result<(), E>> Log<F> {
    fn take(&mut self, message: Message) -> Result<(), E> {
        match message {
            Message::Begun { id, request, meter } => {
                let begin = self.clients.begin(id, request, meter);
                self.pass(begin)
            }
            Message::Event(event) => {
                self.count.on_event(&event.kind);
                let events = self.clients.show(event);
                self.pass(events)
            }
        }
    }

    /// Passes on the reading that is due.
    fn read(&mut self) -> Result<(), E> {
        let events = self.clients.read();
        self.pass(events)
    }

    /// Passes on what is left at the end.
    fn finish(&mut self) -> Result<(), E> {
        let events = self.clients.finish();
        self.pass(events)
    }

    fn pass(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), E> {
        events.into_iter().try_for_each(&mut self.on_event)
    }
}

/// Tests that were accepted, and those of the first client.
#[derive(Default)]
struct Count {
    accepted: u64,
    first: Option<First>,
}

struct First {
    client: u64,
    connections: u32,
    accepted: u32,
    ended: u32,
    failed: bool,
}

impl Count {
    fn on_event(&mut self, event: &ConnectionEvent) {
        match event {
            ConnectionEvent::Accepted(request) => {
                self.accepted += 1;
                let first = self.first.get_or_insert(First {
                    client: request.client,
                    connections: request.connections,
                    accepted: 0,
                    ended: 0,
                    failed: false,
                });
                first.accepted += u32::from(request.client == first.client);
            }
            ConnectionEvent::Ended { request, error, .. } => {
                let first = self.first.as_mut();
                if let Some(first) = first.filter(|first| request.client == first.client) {
                    first.ended += 1;
                    first.failed |= error.is_some();
                }
            }
            ConnectionEvent::Refused(_) => {}
        }
    }

    /// All connections of the first client have ended; if one has failed, no more are awaited.
    fn first_client_ended(&self) -> bool {
        self.first.as_ref().is_some_and(|first| {
            let all = first.failed || first.accepted >= first.connections;
            first.ended == first.accepted && all
        })
    }
}

/// The test of one connection.
struct Test {
    id: u64,
    peer: SocketAddr,
    stop: Stop,
    messages: mpsc::Sender<Message>,
    /// There are too many other tests.
    full: bool,
}

impl Test {
    async fn run(self, mut stream: KcpStream) {
        let request = match self.accept(&mut stream).await {
            Ok(request) => request,
            Err(error) => return self.refuse(stream, error).await,
        };
        self.report(ConnectionEvent::Accepted(request.clone()))
            .await;
        let meter = Arc::new(Meter::new(stream.info()));
        let error = self.test(stream, &request, &meter).await.err();
        let ended = ConnectionEvent::Ended {
            request,
            meter,
            error,
        };
        self.report(ended).await;
    }

    async fn accept(&self, stream: &mut KcpStream) -> Result<Request, TestError> {
        let request = wire::receive(stream).await?;
        if self.full {
            let reason = format!("{MAX_TESTS} connections are being tested");
            return Err(TestError::Refused(reason));
        }
        wire::answer(stream, &Answer::Accepted).await?;
        Ok(request)
    }

    /// Sends the client the reason, unless it is gone.
    async fn refuse(self, mut stream: KcpStream, error: TestError) {
        let reason = match &error {
            TestError::Refused(reason) => reason.clone(),
            other => other.to_string(),
        };
        let telling = async {
            wire::answer(&mut stream, &Answer::Refused(reason)).await?;
            stream.shutdown().await
        };
        let _ = timeout(CLOSE_LIMIT, telling).await;
        self.report(ConnectionEvent::Refused(error)).await;
    }

    async fn test(
        &self,
        mut stream: KcpStream,
        request: &Request,
        meter: &Arc<Meter>,
    ) -> Result<(), TestError> {
        if request.kind == Kind::Echo {
            let mut messages = stream.into_messages();
            echo::await_begin(&mut messages).await?;
            self.begin(request, meter).await;
            let answering = echo::answer(messages, request, meter, &self.stop);
            return tokio::select! {
                ended = answering => ended,
                never = meter.omit_after(request.omit) => match never {},
            };
        }
        exchange::await_begin(&mut stream).await?;
        self.begin(request, meter).await;
        let exchange = Exchange {
            side: Side::Server,
            request: request.clone(),
            meter: Arc::clone(meter),
            stop: self.stop.clone(),
        };
        exchange.run(stream).await
    }

    /// Starts the clock.
    async fn begin(&self, request: &Request, meter: &Arc<Meter>) {
        meter.begin();
        self.send(Message::Begun {
            id: self.id,
            request: request.clone(),
            meter: Arc::clone(meter),
        })
        .await;
    }

    async fn report(&self, kind: ConnectionEvent) {
        let (id, peer) = (self.id, self.peer);
        self.send(Message::Event(Connection { id, peer, kind }))
            .await;
    }

    async fn send(&self, message: Message) {
        // Only a server that ends does not receive it.
        let _ = self.messages.send(message).await;
    }
}

/// Connections tested at a time. More are refused, with the reason.
const MAX_TESTS: usize = 1024;

const MAX_MESSAGES: usize = 64;

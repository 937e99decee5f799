//! The server: accepts tests of any number of clients, until it is stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::{KcpListener, KcpStream};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::echo;
use super::error::TestError;
use super::exchange::{self, CLOSE_LIMIT, Exchange};
use super::meter::Meter;
use super::wire::{self, Answer, Kind, Request, Side};
use crate::stop::Stop;

/// What happens at the server.
#[derive(Debug)]
pub struct Event {
    /// The number of the connection, from 1.
    pub id: u64,
    /// The address of its client.
    pub peer: SocketAddr,
    /// What happened.
    pub kind: EventKind,
}

/// What happens to a connection.
#[derive(Debug)]
pub enum EventKind {
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
    once: bool,
    stop: &Stop,
    mut on_event: impl FnMut(Event) -> Result<(), E>,
) -> Result<u64, ServeError<E>> {
    let (events, mut happened) = mpsc::channel(MAX_EVENTS);
    let mut tests = JoinSet::new();
    let mut count = Count::default();
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
                    events: events.clone(),
                    full: tests.len() >= MAX_TESTS,
                };
                next_id += 1;
                tests.spawn(test.run(stream));
            }
            Some(event) = happened.recv() => {
                count.on_event(&event);
                on_event(event).map_err(ServeError::Event)?;
                if once && count.first_client_ended() {
                    accepting = false;
                    listener.stop_accepting();
                }
            }
            Some(_) = tests.join_next() => {}
            () = stop.requested(), if give_up.is_none() => {
                accepting = false;
                listener.stop_accepting();
                give_up = Some(tokio::time::Instant::now() + CLOSE_LIMIT);
            }
            () = given_up(give_up) => break,
        }
    }
    while let Ok(event) = happened.try_recv() {
        count.on_event(&event);
        on_event(event).map_err(ServeError::Event)?;
    }
    let drained = timeout(CLOSE_LIMIT, listener.shutdown(Duration::MAX)).await;
    if drained.is_err() {
        listener.shutdown(Duration::ZERO).await;
    }
    Ok(count.accepted)
}

async fn given_up(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
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
    fn on_event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Accepted(request) => {
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
            EventKind::Ended { request, error, .. } => {
                let first = self.first.as_mut();
                if let Some(first) = first.filter(|first| request.client == first.client) {
                    first.ended += 1;
                    first.failed |= error.is_some();
                }
            }
            EventKind::Refused(_) => {}
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
    events: mpsc::Sender<Event>,
    /// There are too many other tests.
    full: bool,
}

impl Test {
    async fn run(self, mut stream: KcpStream) {
        let request = match self.accept(&mut stream).await {
            Ok(request) => request,
            Err(error) => return self.refuse(stream, error).await,
        };
        self.report(EventKind::Accepted(request.clone())).await;
        let meter = Arc::new(Meter::new(stream.info()));
        let error = self.test(stream, &request, &meter).await.err();
        let ended = EventKind::Ended {
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

    /// Tells the client the reason, unless it is gone.
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
        self.report(EventKind::Refused(error)).await;
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
            let answering = echo::answer(messages, request, meter, &self.stop);
            return tokio::select! {
                ended = answering => ended,
                never = meter.omit_after(request.omit) => match never {},
            };
        }
        exchange::await_begin(&mut stream).await?;
        let exchange = Exchange {
            side: Side::Server,
            request: request.clone(),
            meter: Arc::clone(meter),
            stop: self.stop.clone(),
        };
        exchange.run(stream).await
    }

    async fn report(&self, kind: EventKind) {
        let event = Event {
            id: self.id,
            peer: self.peer,
            kind,
        };
        // Only a server that ends does not receive it.
        let _ = self.events.send(event).await;
    }
}

/// Connections tested at a time. More are refused, with the reason.
const MAX_TESTS: usize = 1024;

const MAX_EVENTS: usize = 64;

//! `kcp ping`: round trips of small messages to a server of [`perf`](crate::perf).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kcp_transport::KcpStream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

use crate::address::HostPort;
use crate::options::Transport;
use crate::perf::client::{self, Connection};
use crate::perf::echo;
use crate::perf::meter::Direction;
use crate::perf::samples::{Sample, Times, millis};
use crate::perf::wire::{Kind, Limit, Request};
use crate::perf::{Figures, TestError};
use crate::report::one_line;
use crate::stop::Stop;

/// The messages to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub server: HostPort,
    /// Cipher and options of the connection.
    pub transport: Transport,
    /// Number of messages; `None` for no limit.
    pub count: Option<u64>,
    /// Time between two messages.
    pub interval: Duration,
    /// Bytes per message.
    pub length: usize,
    /// How long answers are awaited after the last message.
    pub patience: Duration,
}

/// What happens while messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message with this number, from 1, was answered after this time.
    Answer(u64, Duration),
    /// The message with this number is the first without an answer, and was due so long ago.
    Waiting(u64, Duration),
}

/// A connection to ping.
#[derive(Debug)]
pub struct Ping {
    plan: Plan,
    request: Request,
    connection: Connection,
}

/// The results.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    version: &'static str,
    server: String,
    peer: SocketAddr,
    length: usize,
    interval_s: f64,
    connect_ms: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub answered: u64,
    unanswered_percent: f64,
    seconds: f64,
    round_trip_ms: Option<Times>,
    segments: u64,
    retransmitted: u64,
    error: Option<String>,
}

impl Ping {
    /// Connects, and returns once the server has accepted.
    ///
    /// # Errors
    ///
    /// If nobody answers, or the server is another program.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(plan: Plan) -> Result<(Self, KcpStream), TestError> {
        let request = Request {
            kind: Kind::Echo,
            client: 0,
            connections: 1,
            limit: Limit::Unlimited,
            omit: Duration::ZERO,
            length: plan.length,
            rate: None,
            interval: plan.interval,
        };
        let connecting = client::Plan {
            server: plan.server.clone(),
            transport: plan.transport.clone(),
            request: request.clone(),
            interval: Duration::ZERO,
        };
        let mut opened = client::connect(&connecting).await?;
        let (connection, stream) = opened.pop().expect("one connection was requested");
        let ping = Self {
            plan,
            request,
            connection,
        };
        Ok((ping, stream))
    }

    /// The address of the server.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.connection.meter.info().peer_addr()
    }

    /// The lines before the first answer.
    #[must_use]
    pub fn header(&self) -> String {
        let peer = self.peer();
        let given = self.plan.server.to_string();
        let resolved = if given == peer.to_string() {
            String::new()
        } else {
            format!(" ({peer})")
        };
        format!(
            "PING {given}{resolved}: {} bytes per message, connected in {:.2} ms\n",
            self.plan.length,
            millis(self.connection.connect)
        )
    }

    /// Sends the messages, and calls `on_event` until that fails. After a stop, answers are awaited for two
    /// seconds.
    ///
    /// # Errors
    ///
    /// The error of `on_event`. Errors of the connection are in the summary.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection.
    pub async fn run<E>(
        &self,
        stream: KcpStream,
        stop: &Stop,
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let (answers, mut answered) = mpsc::unbounded_channel();
        let client = echo::Client {
            request: self.request.clone(),
            count: self.plan.count.unwrap_or(u64::MAX),
            patience: self.plan.patience,
            meter: self.connection.meter.clone(),
            samples: self.connection.samples.clone(),
            stop: stop.clone(),
        };
        let on_answer = move |number: u64, sample: Sample| {
            // The receiver outlives this function.
            let _ = answers.send(Event::Answer(number + 1, sample.round_trip()));
        };
        let begin = Instant::now();
        let ending = async {
            stop.requested().await;
            sleep(LAST_ANSWERS).await;
        };
        let running = async {
            tokio::select! {
                ended = client.run(stream.into_messages(), on_answer) => ended,
                () = ending => Ok(()),
            }
        };
        tokio::pin!(running);
        let mut checks = interval(WAITING);
        let ended = loop {
            tokio::select! {
                biased;
                Some(event) = answered.recv() => {
                    on_event(event)?;
                }
                ended = &mut running => break ended,
                _ = checks.tick() => {
                    if let Some(waiting) = self.waiting(begin.elapsed()) {
                        on_event(waiting)?;
                    }
                }
            }
        };
        while let Ok(event) = answered.try_recv() {
            on_event(event)?;
        }
        let error = match ended {
            Ok(()) if self.connection.meter.peer_stopped() => Some(TestError::ServerStopped),
            ended => ended.err(),
        };
        Ok(self.summary(begin.elapsed(), error.as_ref()))
    }

    /// The first message without an answer, if it was due some time ago.
    fn waiting(&self, now: Duration) -> Option<Event> {
        let (sent, back) = self.connection.samples.counts();
        let waited = now.checked_sub(self.plan.interval.mul_f64(back as f64))?;
        let is_late = sent > back as u64 && waited >= WAITING;
        is_late.then_some(Event::Waiting(back as u64 + 1, waited))
    }

    fn summary(&self, time: Duration, error: Option<&TestError>) -> Summary {
        let Self {
            plan, connection, ..
        } = self;
        let samples = connection.samples.from(0);
        let (sent, answered) = (connection.samples.counts().0, samples.len() as u64);
        let Figures {
            segments,
            retransmitted,
            ..
        } = connection.meter.figures(Direction::Sent);
        let times = samples.iter().map(|it| it.round_trip()).collect();
        Summary {
            version: env!("CARGO_PKG_VERSION"),
            server: plan.server.to_string(),
            peer: self.peer(),
            length: plan.length,
            interval_s: plan.interval.as_secs_f64(),
            connect_ms: millis(connection.connect),
            sent,
            answered,
            unanswered_percent: percent(sent.saturating_sub(answered), sent),
            seconds: millis(time) / 1000.0,
            round_trip_ms: (answered > 0).then(|| Times::new(times)),
            segments,
            retransmitted,
            error: error.map(|it| one_line(it)),
        }
    }
}

impl Event {
    /// The line of the event.
    #[must_use]
    pub fn line(self, server: SocketAddr, length: usize) -> String {
        match self {
            Self::Answer(number, time) => {
                let time = millis(time);
                format!("{length} bytes from {server}: seq={number} time={time:.2} ms\n")
            }
            Self::Waiting(number, time) => {
                format!(
                    "no answer to seq={number} for {:.0} s\n",
                    time.as_secs_f64()
                )
            }
        }
    }
}

impl Summary {
    /// Why the connection ended early, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The lines at the end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("\n--- {} ping statistics ---\n", self.server);
        let _ = writeln!(
            text,
            "{} messages sent, {} answered, {:.1}% unanswered, time {:.0} ms",
            self.sent,
            self.answered,
            self.unanswered_percent,
            self.seconds * 1000.0,
        );
        let _ = writeln!(
            text,
            "connect {:.2} ms; {} segments, {} sent again",
            self.connect_ms, self.segments, self.retransmitted,
        );
        if let Some(Times {
            min,
            mean,
            max,
            p99,
            ..
        }) = self.round_trip_ms
        {
            let _ = writeln!(
                text,
                "round trip min/avg/max/p99 = {min:.2}/{mean:.2}/{max:.2}/{p99:.2} ms"
            );
        }
        text
    }
}

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

/// Time for answers after a stop.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Time without an answer after which a line is printed, and again each time it has passed.
const WAITING: Duration = Duration::from_secs(1);

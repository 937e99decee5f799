//! Messages that the server sends back: `kcp perf client --messages` and `kcp ping`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_transport::{KcpMessageStream, MessageReceiver, MessageSender};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::error::TestError;
use super::exchange::{CLOSE_LIMIT, IDLE_LIMIT};
use super::meter::{Direction, Meter};
use super::samples::{Sample, Samples};
use super::wire::{Echo, FrameKind, Report, Request, Side};
use crate::stop::Stop;

/// Sends messages back until the client ends.
///
/// # Errors
///
/// If the connection fails, or the client sends what it must not or nothing for 30 seconds longer than the
/// interval of its messages.
///
/// # Cancel safety
///
/// Dropping the future ends the test.
pub async fn answer(
    mut messages: KcpMessageStream,
    request: &Request,
    meter: &Meter,
    stop: &Stop,
) -> Result<(), TestError> {
    let begin = meter.begin();
    let limit = request.interval + IDLE_LIMIT;
    let mut stop_sent = false;
    let mut message = Vec::new();
    loop {
        let received = tokio::select! {
            received = timeout(limit, messages.recv(&mut message)) => received,
            () = stop.requested(), if !stop_sent => {
                stop_sent = true;
                messages.send(&[FrameKind::Stop.code()]).await?;
                continue;
            }
        };
        let silent = |_| TestError::Silent(Side::Client, limit);
        ended(received.map_err(silent)?, Side::Client)?;
        match kind(&message, Side::Client)? {
            FrameKind::Data => {
                let echo = Echo::decode(&message, Side::Client)?;
                meter.on_received(message.len());
                let turned = micros(begin.elapsed());
                let answer = Echo { turned, ..echo }.encode(message.len());
                let sent = timeout(limit, messages.send(&answer)).await;
                sent.map_err(silent)??;
                meter.on_written(message.len());
            }
            FrameKind::End => break,
            FrameKind::Stop => meter.on_peer_stopped(),
            other => return Err(unexpected(other, Side::Client)),
        }
    }
    meter.on_end(Direction::Sent);
    let report = Report::Received(meter.on_end(Direction::Received));
    messages
        .send(&frame(FrameKind::Report, &report.encode()))
        .await?;
    // Everything is reported. A stream that is dropped before the peer's end of file resets the connection.
    let ending = async {
        messages.shutdown().await?;
        messages.recv(&mut message).await
    };
    let _ = timeout(CLOSE_LIMIT, ending).await;
    Ok(())
}

/// What the receiving half has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The server requests an early end.
    Stopped,
    /// The server has received the end, and all answers are there.
    Reported,
}

/// The messages of a client.
#[derive(Debug)]
pub struct Client {
    /// What was requested of the server: the length and the interval of the messages.
    pub request: Request,
    /// Number of messages.
    pub count: u64,
    /// How long answers are awaited after the last message.
    pub patience: Duration,
    /// Counts bytes.
    pub meter: Arc<Meter>,
    /// Counts messages.
    pub samples: Arc<Samples>,
    /// Ends the messages early.
    pub stop: Stop,
}

impl Client {
    /// Sends the messages, and calls `on_answer` with the number of each that comes back.
    ///
    /// # Errors
    ///
    /// If the connection fails, the server sends what it must not, or answers are missing for longer than
    /// the patience.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the test. The meter and the samples keep their counts.
    pub async fn run(
        self,
        messages: KcpMessageStream,
        on_answer: impl FnMut(u64, Sample),
    ) -> Result<(), TestError> {
        let begin = self.meter.begin();
        let (receiver, sender) = messages.into_split();
        let (tell, phase) = watch::channel(Phase::Running);
        let both = async {
            tokio::try_join!(
                self.send(sender, begin, phase),
                self.receive(receiver, begin, tell, on_answer),
            )
        };
        tokio::select! {
            ended = both => ended.map(drop),
            never = self.meter.omit_after(self.request.omit) => match never {},
        }
    }

    async fn send(
        &self,
        mut sender: MessageSender,
        begin: Instant,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<(), TestError> {
        sender.send(&[FrameKind::Begin.code()]).await?;
        for number in 0..self.count {
            let due = begin + self.request.interval.mul_f64(number as f64);
            // A message that waits for an earlier one is late.
            let late = Instant::now() > due && number > 0;
            tokio::select! {
                () = sleep_until(due.into()) => {}
                () = self.stop.requested() => break,
                _ = phase.wait_for(|it| *it != Phase::Running) => break,
            }
            let sent = if late { due } else { Instant::now() };
            let sent = micros(sent - begin);
            let echo = Echo {
                number,
                sent,
                turned: 0,
            };
            let message = echo.encode(self.request.length);
            let sending = timeout(IDLE_LIMIT, sender.send(&message)).await;
            sending.map_err(|_| TestError::Silent(Side::Server, IDLE_LIMIT))??;
            self.meter.on_written(message.len());
            self.samples.on_sent(sent);
        }
        sender.send(&[FrameKind::End.code()]).await?;
        // The server reports once it has received and answered all messages.
        let reported = timeout(self.patience, phase.wait_for(|it| *it == Phase::Reported));
        let late = |_| TestError::Silent(Side::Server, self.patience);
        let _ = reported.await.map_err(late)?;
        let _ = timeout(CLOSE_LIMIT, sender.shutdown()).await;
        Ok(())
    }

    async fn receive(
        &self,
        mut receiver: MessageReceiver,
        begin: Instant,
        tell: watch::Sender<Phase>,
        mut on_answer: impl FnMut(u64, Sample),
    ) -> Result<(), TestError> {
        let mut message = Vec::new();
        let mut expected = 0;
        loop {
            ended(receiver.recv(&mut message).await, Side::Server)?;
            match kind(&message, Side::Server)? {
                FrameKind::Data => {
                    let received = micros(begin.elapsed());
                    let echo = Echo::decode(&message, Side::Server)?;
                    if echo.number != expected || message.len() != self.request.length {
                        let number = echo.number;
                        let problem = format!("message {number} instead of message {expected}");
                        return Err(TestError::Data(Side::Server, problem));
                    }
                    expected += 1;
                    let sample = Sample {
                        sent: echo.sent,
                        turned: echo.turned,
                        received,
                    };
                    self.meter.on_received(message.len());
                    self.samples.on_received(sample);
                    on_answer(echo.number, sample);
                }
                FrameKind::Stop => {
                    self.meter.on_peer_stopped();
                    tell.send_replace(Phase::Stopped);
                }
                FrameKind::Report => {
                    let Report::Received(figures) = Report::decode(&message[1..], Side::Server)?
                    else {
                        return Err(unexpected(FrameKind::Report, Side::Server));
                    };
                    self.meter.on_report(Direction::Received, figures);
                    for direction in Direction::BOTH {
                        self.meter.on_end(direction);
                    }
                    tell.send_replace(Phase::Reported);
                    return Ok(());
                }
                other => return Err(unexpected(other, Side::Server)),
            }
        }
    }
}

/// Waits for the beginning on the side of the server.
///
/// # Errors
///
/// If anything else arrives, or nothing within 30 seconds.
pub async fn await_begin(messages: &mut KcpMessageStream) -> Result<(), TestError> {
    let mut message = Vec::new();
    let received = timeout(IDLE_LIMIT, messages.recv(&mut message)).await;
    let silent = |_| TestError::Silent(Side::Client, IDLE_LIMIT);
    ended(received.map_err(silent)?, Side::Client)?;
    match kind(&message, Side::Client)? {
        FrameKind::Begin => Ok(()),
        other => Err(unexpected(other, Side::Client)),
    }
}

fn kind(message: &[u8], from: Side) -> Result<FrameKind, TestError> {
    FrameKind::decode(message.first().copied().unwrap_or(0), from)
}

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    [&[kind.code()], body].concat()
}

fn ended(received: io::Result<usize>, from: Side) -> Result<usize, TestError> {
    received.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TestError::Ended(from),
        _ => error.into(),
    })
}

fn unexpected(kind: FrameKind, from: Side) -> TestError {
    TestError::Data(from, format!("message {kind:?} out of order"))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

//! The data of a test on one connection: the same code on both sides, for one or both directions.

mod pace;
mod reader;
mod writer;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_transport::KcpStream;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::error::TestError;
use super::meter::Meter;
use super::wire::{FrameKind, Head, Limit, Request, Side};
use crate::stop::Stop;
use reader::Reader;
use writer::Writer;

/// The test of one connection.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// This side.
    pub side: Side,
    /// What the client has requested.
    pub request: Request,
    /// Counts the data.
    pub meter: Arc<Meter>,
    /// Ends the test early: this side stops to send, and requests the same of its peer.
    pub stop: Stop,
}

/// Waits for the frame after which data may flow.
///
/// # Errors
///
/// If anything else arrives, or nothing within 30 seconds.
pub async fn await_begin(stream: &mut KcpStream) -> Result<(), TestError> {
    let mut head = [0; Head::LEN];
    let read = timeout(IDLE_LIMIT, stream.read_exact(&mut head)).await;
    let silent = |_| TestError::Silent(Side::Client, IDLE_LIMIT);
    match read.map_err(silent)? {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(TestError::Ended(Side::Client));
        }
        Err(error) => return Err(error.into()),
    }
    match Head::decode(head, Side::Client)?.kind {
        FrameKind::Begin => Ok(()),
        other => Err(unexpected(other, Side::Client)),
    }
}

impl Exchange {
    /// Sends and receives until both sides have reported, and ends the stream.
    ///
    /// # Errors
    ///
    /// If the connection fails, the peer sends what it must not, or nothing moves for 30 seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the test, and the peer sees an early end. The meter keeps its counts.
    pub async fn run(self, stream: KcpStream) -> Result<(), TestError> {
        self.meter.begin();
        let (read, write) = stream.into_split();
        // Each message is sent at most once, so the channel is never full.
        let (control, controls) = mpsc::channel(4);
        let reader = Reader::new(&self, read, control);
        let writer = Writer::new(&self, write, controls);
        let mut reading = pin!(reader.run());
        let mut writing = pin!(writer.run());
        let transfer = async {
            tokio::select! {
                read = &mut reading => match read {
                    Ok(()) => writing.await,
                    Err(error) => {
                        // The peer learns the reason.
                        let _ = timeout(CLOSE_LIMIT, writing).await;
                        Err(error)
                    }
                },
                written = &mut writing => match written {
                    Ok(()) => reading.await,
                    // The reader may know more: the peer's reason.
                    Err(error) => match timeout(CLOSE_LIMIT, reading).await {
                        Ok(Err(reason)) => Err(reason),
                        _ => Err(error),
                    },
                },
            }
        };
        tokio::select! {
            ended = transfer => ended,
            silent = self.idle() => Err(silent),
            never = self.meter.omit_after(self.request.omit) => match never {},
        }
    }

    /// Ends if nothing moves.
    async fn idle(&self) -> TestError {
        let mut last = (self.meter.progress(), Instant::now());
        loop {
            sleep(IDLE_CHECK).await;
            let progress = self.meter.progress();
            if progress != last.0 {
                last = (progress, Instant::now());
            } else if last.1.elapsed() >= IDLE_LIMIT {
                return TestError::Silent(self.side.peer(), IDLE_LIMIT);
            }
        }
    }

    fn sends(&self) -> bool {
        self.request.kind.sends(self.side)
    }

    fn receives(&self) -> bool {
        self.request.kind.sends(self.side.peer())
    }

    fn deadline(&self, begin: Instant) -> Option<Instant> {
        match self.request.limit {
            Limit::Time(time) => Some(begin + self.request.omit + time),
            Limit::Bytes(_) | Limit::Unlimited => None,
        }
    }
}

fn unexpected(kind: FrameKind, from: Side) -> TestError {
    TestError::Data(from, format!("frame {kind:?} out of order"))
}

/// A test fails if nothing moves for so long. The slowest rate allowed needs 8 seconds for a write.
pub const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Interval of checks whether something moved.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Time for the last frames after the test, or after an error.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(2);

//! The receiving half of an exchange.

use std::io;
use std::sync::Arc;

use kcp_transport::net::OwnedReadHalf;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::writer::Control;
use super::{CLOSE_LIMIT, Exchange, unexpected};
use crate::pattern::Pattern;
use crate::perf::error::TestError;
use crate::perf::meter::{Direction, Meter};
use crate::perf::wire::{FrameKind, Head, Report, Side};

/// Receives frames: checks and counts data, and tells the writer what to answer.
pub(super) struct Reader {
    half: BufReader<OwnedReadHalf>,
    peer: Side,
    meter: Arc<Meter>,
    control: mpsc::Sender<Control>,
    pattern: Pattern,
    /// The end of the peer's data is awaited, and a report of what it sent.
    receives: bool,
    /// A report of what the peer received is awaited.
    sends: bool,
}

impl Reader {
    pub(super) fn new(
        exchange: &Exchange,
        half: OwnedReadHalf,
        control: mpsc::Sender<Control>,
    ) -> Self {
        Self {
            half: BufReader::with_capacity(BUFFER, half),
            peer: exchange.side.peer(),
            meter: Arc::clone(&exchange.meter),
            control,
            pattern: Pattern::new(BUFFER),
            receives: exchange.receives(),
            sends: exchange.sends(),
        }
    }

    /// Receives until all is reported, and then the end of the stream.
    pub(super) async fn run(mut self) -> Result<(), TestError> {
        let received = self.frames().await;
        if let Err(error @ TestError::Data(..)) = &received {
            let failed = Control::Report(Report::Failed(error.to_string()));
            let _ = self.control.send(failed).await;
        }
        received?;
        // The writer ends once the channel is closed.
        drop(self.control);
        // A stream that is dropped before the peer's end of file resets the connection.
        let mut rest = [0; 64];
        let ending = async { while self.half.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        let _ = timeout(CLOSE_LIMIT, ending).await;
        Ok(())
    }

    async fn frames(&mut self) -> Result<(), TestError> {
        let (mut end, mut received, mut sent) = (self.receives, self.sends, self.receives);
        let mut stopped = false;
        while received || sent {
            let Head { kind, len } = self.head().await?;
            match kind {
                FrameKind::Data if end => self.data(len).await?,
                FrameKind::End if end => {
                    end = false;
                    let figures = self.meter.on_end(Direction::Received);
                    self.tell(Control::Report(Report::Received(figures))).await;
                }
                FrameKind::Stop if !stopped => {
                    stopped = true;
                    self.meter.on_peer_stopped();
                    self.tell(Control::Stop).await;
                }
                FrameKind::Report => match self.report(len).await? {
                    Report::Received(figures) if received => {
                        received = false;
                        self.meter.on_report(Direction::Received, figures);
                        let figures = self.meter.on_end(Direction::Sent);
                        self.tell(Control::Report(Report::Sent(figures))).await;
                    }
                    Report::Sent(figures) if sent && !end => {
                        sent = false;
                        self.meter.on_report(Direction::Sent, figures);
                    }
                    _ => return Err(unexpected(kind, self.peer)),
                },
                _ => return Err(unexpected(kind, self.peer)),
            }
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, TestError> {
        let mut head = [0; Head::LEN];
        self.half
            .read_exact(&mut head)
            .await
            .map_err(|error| self.ended(error))?;
        Head::decode(head, self.peer)
    }

    /// Receives data and compares it with the pattern.
    async fn data(&mut self, len: usize) -> Result<(), TestError> {
        let mut left = len;
        while left > 0 {
            let chunk = self.half.fill_buf().await?;
            let chunk = &chunk[..chunk.len().min(left)];
            if chunk.is_empty() {
                return Err(TestError::Ended(self.peer));
            }
            let position = self.meter.received();
            if !self.pattern.matches(position, chunk) {
                let problem = format!("wrong bytes after {position} bytes of data");
                return Err(TestError::Data(self.peer, problem));
            }
            let taken = chunk.len();
            left -= taken;
            self.half.consume(taken);
            self.meter.on_received(taken);
        }
        Ok(())
    }

    async fn report(&mut self, len: usize) -> Result<Report, TestError> {
        let mut body = vec![0; len];
        self.half
            .read_exact(&mut body)
            .await
            .map_err(|error| self.ended(error))?;
        Report::decode(&body, self.peer)
    }

    fn ended(&self, error: io::Error) -> TestError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => TestError::Ended(self.peer),
            _ => error.into(),
        }
    }

    /// The writer may have ended with an error, which is then the result.
    async fn tell(&self, control: Control) {
        let _ = self.control.send(control).await;
    }
}

/// Bytes read at once: dozens of segments.
const BUFFER: usize = 64 << 10;

//! The sending half of an exchange.

use std::sync::Arc;
use std::time::Instant;

use kcp_transport::net::OwnedWriteHalf;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::pace::Pace;
use super::{CLOSE_LIMIT, Exchange};
use crate::pattern::Pattern;
use crate::perf::error::TestError;
use crate::perf::meter::Meter;
use crate::perf::wire::{FrameKind, Head, Limit, Report, Side};
use crate::stop::Stop;

/// What the reader tells the writer.
#[derive(Debug)]
pub(super) enum Control {
    /// To send a report.
    Report(Report),
    /// To end the data early.
    Stop,
}

/// Sends frames: data, and what the reader tells it.
pub(super) struct Writer {
    half: OwnedWriteHalf,
    side: Side,
    meter: Arc<Meter>,
    control: mpsc::Receiver<Control>,
    stop: Stop,
    pattern: Pattern,
    plan: Option<Plan>,
    stop_sent: bool,
}

/// The data to send.
struct Plan {
    length: usize,
    /// Bytes to send.
    bytes: u64,
    deadline: Option<Instant>,
    pace: Pace,
}

impl Writer {
    pub(super) fn new(
        exchange: &Exchange,
        half: OwnedWriteHalf,
        control: mpsc::Receiver<Control>,
    ) -> Self {
        let request = &exchange.request;
        let begin = exchange.meter.begin();
        let deadline = exchange.deadline(begin);
        let plan = Plan {
            length: request.length,
            bytes: match request.limit {
                Limit::Bytes(bytes) => bytes,
                Limit::Time(_) | Limit::Unlimited => u64::MAX,
            },
            deadline,
            pace: Pace::new(begin, request.rate, deadline.is_some()),
        };
        Self {
            half,
            side: exchange.side,
            meter: Arc::clone(&exchange.meter),
            control,
            stop: exchange.stop.clone(),
            pattern: Pattern::new(request.length),
            plan: exchange.sends().then_some(plan),
            stop_sent: false,
        }
    }

    /// Sends the data, then reports until the reader needs no more, and ends the stream.
    pub(super) async fn run(mut self) -> Result<(), TestError> {
        if self.side == Side::Client {
            self.frame(FrameKind::Begin, &[]).await?;
        }
        if let Some(plan) = self.plan.take() {
            self.data(plan).await?;
            self.frame(FrameKind::End, &[]).await?;
        }
        loop {
            tokio::select! {
                control = self.control.recv() => match control {
                    Some(Control::Report(report)) => self.report(&report).await?,
                    Some(Control::Stop) => {}
                    None => break,
                },
                () = self.stop.requested(), if !self.stop_sent => self.send_stop().await?,
            }
        }
        // Everything is reported: how the connection ends is no matter of the test. The peer's process may
        // be gone before it has acknowledged the end.
        let _ = timeout(CLOSE_LIMIT, self.half.shutdown()).await;
        Ok(())
    }

    async fn data(&mut self, mut plan: Plan) -> Result<(), TestError> {
        let mut written = 0;
        loop {
            match self.control.try_recv() {
                Ok(Control::Report(report)) => self.report(&report).await?,
                Ok(Control::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            if self.stop.is_requested() {
                self.send_stop().await?;
                break;
            }
            let now = Instant::now();
            if written >= plan.bytes || plan.deadline.is_some_and(|it| it <= now) {
                break;
            }
            let stats = self.meter.info().stats();
            if let Some(due) = plan.pace.wait(now, written, &stats) {
                let due = plan.deadline.map_or(due, |deadline| due.min(deadline));
                tokio::select! {
                    () = sleep_until(due.into()) => {}
                    () = self.stop.requested() => {}
                    control = self.control.recv() => match control {
                        Some(Control::Report(report)) => self.report(&report).await?,
                        Some(Control::Stop) | None => break,
                    },
                }
                continue;
            }
            let left = usize::try_from(plan.bytes - written).unwrap_or(usize::MAX);
            let len = plan.length.min(left);
            self.frame(FrameKind::Data, &self.pattern.bytes(written, len))
                .await?;
            written += len as u64;
            self.meter.on_written(len);
        }
        Ok(())
    }

    async fn send_stop(&mut self) -> Result<(), TestError> {
        self.stop_sent = true;
        self.frame(FrameKind::Stop, &[]).await
    }

    async fn report(&mut self, report: &Report) -> Result<(), TestError> {
        self.frame(FrameKind::Report, &report.encode()).await
    }

    async fn frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), TestError> {
        let len = body.len();
        self.half.write_all(&Head { kind, len }.encode()).await?;
        self.half.write_all(body).await?;
        if kind != FrameKind::Data {
            self.half.flush().await?;
        }
        Ok(())
    }
}

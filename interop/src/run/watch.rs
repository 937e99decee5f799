//! Checks with our counters and the clock that the options of a case had an effect. A correct echo does not show that.

use std::time::{Duration, Instant};

use kcp_transport::config::{AckPolicy, Mode, WriteCoalescing};
use kcp_transport::net::ConnectionInfo;
use kcp_transport::stats::Stats;

use crate::Failure;
use crate::case::{Case, Direction, Payload, Peer, Shape};

/// Observes our side of the connection while a case runs.
#[derive(Debug)]
pub(super) struct Watch {
    case: Case,
    shape: Shape,
    info: ConnectionInfo,
    /// A time before anything was sent.
    start: Instant,
    /// Statistics after half of the data, for cases with a change of the FEC ratio.
    halfway: Option<Stats>,
}

impl Watch {
    /// Observes a connection that has sent nothing before `start`.
    #[must_use]
    pub(super) fn new(case: &Case, info: ConnectionInfo, start: Instant) -> Self {
        let shape = match case.payload {
            Payload::Echo(shape) => shape,
            Payload::Grpc(_) | Payload::Interop(_) => Shape::STREAM,
        };
        Self {
            case: *case,
            shape,
            info,
            start,
            halfway: None,
        }
    }

    /// Waits until half of the data was read, if the FEC ratio changes then.
    pub(super) async fn until_halfway(&mut self) {
        if self.case.options.fec_then.is_none() {
            return;
        }
        let half = u64::from(self.shape.bytes) / 2;
        loop {
            let stats = self.info.stats();
            if stats.bytes_read >= half {
                self.halfway = Some(stats);
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Checks that every option had its effect.
    ///
    /// # Errors
    ///
    /// [`Failure::Wrong`] if an option had not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let stats = self.info.stats();
        let problem = self
            .fec(&stats)
            .or_else(|| self.changed_fec(&stats))
            .or_else(|| self.rate(&stats))
            .or_else(|| self.coalescing(&stats))
            .or_else(|| self.conversation());
        match problem {
            None => Ok(()),
            Some(problem) => Err(Failure::Wrong(format!("{problem}: {stats:?}"))),
        }
    }

    fn fec(&self, stats: &Stats) -> Option<&'static str> {
        let case = &self.case;
        // A few packets may not fill a group.
        let enough = self.shape.bytes / u32::from(case.mtu) >= ENOUGH_PACKETS;
        let expected = |fec: Option<_>, parity: u64| match fec {
            Some(_) => !enough || parity > 0,
            None => parity == 0,
        };
        // A listener of ours sends parity too once it knows the ratio of its peer.
        let (ours, theirs) = (case.fec.ours, case.fec.theirs);
        let (mirrored, mirrors) = match case.direction {
            Direction::PeerToRust => (ours.is_none() && theirs.is_some(), false),
            Direction::RustToPeer => (false, case.peer == Peer::Ours && theirs.is_none()),
        };
        if !(mirrored || expected(ours, stats.fec_parity_sent))
            || !(mirrors || expected(theirs, stats.fec_parity_received))
        {
            return Some("parity was sent with FEC off, or none with FEC on");
        }
        let lossy = case.impairments.loss >= 10 && enough;
        if case.fec.theirs.is_some() && lossy && stats.fec_recovered == 0 {
            return Some("no packet was recovered from parity");
        }
        // Until a changed ratio is detected, recovered packets may be invalid and are dropped.
        let unchanged = case.options.fec_then.is_none();
        let odd = stats.fec_errors > 0 || stats.invalid_received > 0;
        (odd && unchanged).then_some("invalid packets were received")
    }

    fn changed_fec(&self, stats: &Stats) -> Option<&'static str> {
        let before = self.halfway.as_ref()?;
        let enough = self.shape.bytes / u32::from(self.case.mtu) >= 2 * ENOUGH_PACKETS;
        if self.case.impairments.loss < 10 || !enough {
            return None;
        }
        let idle = before.fec_recovered == 0 || stats.fec_recovered == before.fec_recovered;
        idle.then_some("no packet was recovered before or after the ratio changed")
    }

    /// The bytes sent must not exceed the rate over the elapsed time, plus one burst.
    fn rate(&self, stats: &Stats) -> Option<&'static str> {
        let rate = u64::from(self.case.options.rate?);
        let burst = (rate / 200).max(2 * u64::from(self.case.mtu));
        // Read after the counters, so that the elapsed time is an upper bound for them.
        let took = self.start.elapsed().as_secs_f64();
        let allowed = burst as f64 + rate as f64 * took;
        (stats.wire_bytes_sent as f64 > allowed).then_some("more was sent than the rate allows")
    }

    /// Small messages must share datagrams if writes are delayed.
    fn coalescing(&self, stats: &Stats) -> Option<&'static str> {
        let Case {
            options,
            windows,
            mtu,
            ..
        } = &self.case;
        let small = self.shape.mode == Mode::Message && self.shape.write * 8 < (*mtu).into();
        // A small window or datagram cannot hold many messages.
        let many = windows.ours.min(windows.theirs) >= 1024
            && *mtu >= 1000
            && !options.datagrams
            && self.shape.bytes / self.shape.write.max(1) >= 500;
        // Immediate acks also send the queued data.
        let delayed =
            options.coalescing == WriteCoalescing::Delayed && options.acks == AckPolicy::Batched;
        let alone = stats.data_segments_sent < 2 * stats.datagrams_sent;
        let wrong = delayed && small && many && alone;
        wrong.then_some("delayed messages did not share datagrams")
    }

    fn conversation(&self) -> Option<&'static str> {
        let wanted = self.case.options.conversation?;
        let other = self.info.conversation().get() != wanted;
        other.then_some("the conversation id is not the configured one")
    }
}

/// Interval at which the statistics are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Number of packets with which FEC recovers some losses at 10 % loss for certain.
const ENOUGH_PACKETS: u32 = 150;

//! What holds data back besides KCP's windows: a controller, and its rate.

use std::num::NonZeroU64;
use std::time::Duration;

use super::pace::Pacer;
use crate::arq::congestion::{Acked, CongestionController, Transmitted};
use crate::arq::delivery::Delivery;
use crate::arq::loss::PathModel;
use crate::time::Time;

/// A controller, with what it needs.
#[derive(Debug)]
pub(super) struct Regulator {
    controller: Box<dyn CongestionController>,
    pacer: Pacer,
    delivery: Delivery,
    segment_len: u64,
}

impl Regulator {
    pub(super) fn new(controller: Box<dyn CongestionController>, segment_len: u64) -> Self {
        Self {
            controller,
            pacer: Pacer::default(),
            delivery: Delivery::default(),
            segment_len,
        }
    }

    /// Whether `flying` bytes in flight leave room for more.
    pub(super) fn has_window(&self, flying: u64) -> bool {
        flying < self.controller.window().max(LEAST * self.segment_len)
    }

    /// Bytes of data that are worth holding.
    pub(super) fn useful(&self) -> usize {
        let window = usize::try_from(self.controller.window()).unwrap_or(usize::MAX);
        window.saturating_mul(2)
    }

    /// Whether a segment may leave now, with so many bytes in flight.
    pub(super) fn is_open(&mut self, now: Time, flying: u64) -> bool {
        self.has_window(flying) && (self.rate().is_none() || self.pacer.is_ready(now))
    }

    /// When a segment may leave, the epoch if now; `None` if only an ack makes room.
    pub(super) fn open_at(&self, flying: u64) -> Option<Time> {
        let at = match self.rate() {
            Some(_) => self.pacer.ready_at(),
            None => Time::ZERO,
        };
        self.has_window(flying).then_some(at)
    }

    fn rate(&self) -> Option<NonZeroU64> {
        let rate = self.controller.rate()?.max(LEAST_RATE);
        (rate <= MOST_RATE).then_some(rate)
    }

    /// A transmission of `bytes` leaves, with so many in flight before it.
    pub(super) fn on_sent(&mut self, now: Time, number: u64, bytes: u64, flying: u64) {
        self.delivery.on_sent(now, number, flying);
        let in_flight = flying + bytes;
        self.controller
            .on_sent(now, &Transmitted { bytes, in_flight });
        if let Some(rate) = self.rate() {
            self.pacer.on_sent(now, bytes, rate);
        }
    }

    /// Keeps what is known of the last `most` transmissions.
    pub(super) fn keep(&mut self, most: usize) {
        self.delivery.keep(most);
    }

    /// All that may be sent is: samples of the rate are too low from now on.
    pub(super) fn on_limited(&mut self, flying: u64) {
        if self.has_window(flying) {
            self.delivery.on_limited(flying);
        }
    }

    /// A segment has arrived, by the transmission with this number if that is known.
    pub(super) fn on_acked(&mut self, number: Option<u64>, bytes: u64) {
        self.delivery.on_acked(number, bytes);
    }

    pub(super) fn on_lost(&mut self, now: Time, number: u64, bytes: u64) {
        let lost = self.delivery.on_lost(number, bytes);
        self.controller.on_lost(now, &lost);
    }

    pub(super) fn on_spurious(&mut self, now: Time) {
        self.controller.on_spurious(now);
    }

    pub(super) fn on_persistent_loss(&mut self, now: Time) {
        self.controller.on_persistent_loss(now);
    }

    /// A whole datagram was read. Transmissions before `first` are acknowledged or lost.
    pub(super) fn on_datagram(
        &mut self,
        now: Time,
        rtt: Option<Duration>,
        flying: u64,
        first: u64,
        path: &PathModel,
    ) {
        let min_rtt = path.least().unwrap_or(path.probe_timeout());
        let (bytes, sample) = self.delivery.sample(now, min_rtt);
        self.delivery.forget_before(first);
        let acked = Acked {
            bytes,
            sample,
            rtt,
            min_rtt,
            in_flight: flying,
        };
        self.controller.on_acked(now, &acked);
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.delivery.shrink();
    }

    /// Bytes of heap memory, this value itself and its controller included.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.controller) + self.delivery.memory()
    }
}

/// The least window, in segments.
const LEAST: u64 = 4;

/// The least rate, and above which nothing is spread, in bytes a second.
const LEAST_RATE: NonZeroU64 = NonZeroU64::new(1500).expect("not 0");
const MOST_RATE: NonZeroU64 = NonZeroU64::new(500_000_000).expect("not 0");

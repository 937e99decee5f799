//! Congestion controllers with answers that the fuzzer chooses.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kcp_transport::arq::{
    Acked, CongestionController, ControllerFactory, Lost, PathInfo, Transmitted,
};
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;

use super::input::Input;

/// Windows and rates that take turns with each acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    window: u64,
    rate: Option<NonZeroU64>,
}

/// Makes controllers with given answers, and knows what they saw.
#[derive(Debug)]
pub(super) struct Scripted {
    answers: Vec<Answer>,
    /// Transmissions above the window.
    beyond: Arc<AtomicU64>,
}

impl Scripted {
    pub(super) fn any(input: &mut Input<'_>) -> Arc<Self> {
        let count = 1 + input.below(8);
        let mut answer = || Answer {
            window: match input.u8() {
                0 => 0,
                1 => u64::MAX,
                _ => input.u32().into(),
            },
            rate: NonZeroU64::new(match input.u8() {
                0..=99 => 0,
                100 => 1,
                101 => u64::MAX,
                _ => input.u32().into(),
            }),
        };
        let answers = (0..count).map(|_| answer()).collect();
        let beyond = Arc::default();
        Arc::new(Self { answers, beyond })
    }

    /// Only what is sent in spite of the window may have been above it.
    pub(super) fn check(&self, stats: &Stats) {
        let beyond = self.beyond.load(Ordering::Relaxed);
        let regardless = stats.timeout_retransmitted + stats.redundant_sent;
        assert!(
            beyond <= regardless,
            "{beyond} transmissions above the window, {regardless} are not held back by it"
        );
    }
}

impl ControllerFactory for Scripted {
    fn new_controller(&self, path: &PathInfo) -> Box<dyn CongestionController> {
        Box::new(Controller {
            answers: self.answers.clone(),
            at: 0,
            least: 4 * path.segment_len,
            now: path.now,
            sent: 0,
            acked: 0,
            beyond: Arc::clone(&self.beyond),
        })
    }
}

/// Answers in turn, and checks that its notifications agree with each other.
#[derive(Debug)]
struct Controller {
    answers: Vec<Answer>,
    at: usize,
    /// The least window that counts.
    least: u64,
    now: Time,
    sent: u64,
    acked: u64,
    beyond: Arc<AtomicU64>,
}

impl Controller {
    fn pass(&mut self, now: Time) {
        assert!(now >= self.now, "time goes back");
        self.now = now;
    }
}

impl CongestionController for Controller {
    fn on_sent(&mut self, now: Time, sent: &Transmitted) {
        self.pass(now);
        assert!(0 < sent.bytes && sent.bytes <= sent.in_flight, "{sent:?}");
        self.sent += sent.bytes;
        assert!(sent.in_flight <= self.sent, "{sent:?} of {}", self.sent);
        if sent.in_flight - sent.bytes >= self.window().max(self.least) {
            self.beyond.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_acked(&mut self, now: Time, acked: &Acked) {
        self.pass(now);
        self.acked += acked.bytes;
        assert!(self.acked <= self.sent, "{acked:?} of {}", self.sent);
        assert!(acked.in_flight <= self.sent, "{acked:?} of {}", self.sent);
        if let Some(sample) = acked.sample {
            assert!(sample.sent_at <= now, "{sample:?} at {now:?}");
            assert!(sample.in_flight_when_sent <= self.sent, "{sample:?}");
        }
        self.at = (self.at + 1) % self.answers.len();
    }

    fn on_lost(&mut self, now: Time, lost: &Lost) {
        self.pass(now);
        assert!(lost.bytes > 0 && lost.sent_at <= now, "{lost:?}");
    }

    fn on_spurious(&mut self, now: Time) {
        self.pass(now);
    }

    fn on_persistent_loss(&mut self, now: Time) {
        self.pass(now);
    }

    fn window(&self) -> u64 {
        self.answers[self.at].window
    }

    fn rate(&self) -> Option<NonZeroU64> {
        self.answers[self.at].rate
    }
}

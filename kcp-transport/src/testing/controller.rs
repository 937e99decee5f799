//! A congestion controller with given answers.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::arq::{Acked, CongestionController, ControllerFactory, Lost, PathInfo, Transmitted};
use crate::time::Time;

/// Makes controllers whose window and rate change with each acknowledgement, in turn.
///
/// They panic if their notifications contradict each other.
#[derive(Debug)]
pub struct ScriptedControllers {
    answers: Vec<(u64, Option<NonZeroU64>)>,
    latest: Mutex<AboveWindow>,
}

/// The number of transmissions that a connection has sent above its controller's window.
#[derive(Clone, Debug, Default)]
pub struct AboveWindow(Arc<AtomicU64>);

impl AboveWindow {
    /// The number so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ScriptedControllers {
    /// Controllers with these windows in bytes, and rates in bytes a second.
    ///
    /// # Panics
    ///
    /// If `answers` is empty.
    #[must_use]
    pub fn new(answers: Vec<(u64, Option<NonZeroU64>)>) -> Self {
        assert!(!answers.is_empty(), "a controller needs an answer");
        Self {
            answers,
            latest: Mutex::default(),
        }
    }

    /// What the controller that was made last has counted, which goes on counting.
    #[must_use]
    pub fn latest(&self) -> AboveWindow {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }
}

impl ControllerFactory for ScriptedControllers {
    fn new_controller(&self, path: &PathInfo) -> Box<dyn CongestionController> {
        let above = AboveWindow::default();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = above.clone();
        Box::new(Scripted {
            answers: self.answers.clone(),
            at: 0,
            least: 4 * path.segment_len,
            now: path.now,
            sent: 0,
            acked: 0,
            above,
        })
    }
}

#[derive(Debug)]
struct Scripted {
    answers: Vec<(u64, Option<NonZeroU64>)>,
    at: usize,
    /// The least window that counts.
    least: u64,
    now: Time,
    sent: u64,
    acked: u64,
    above: AboveWindow,
}

impl Scripted {
    fn pass(&mut self, now: Time) {
        assert!(now >= self.now, "time goes back");
        self.now = now;
    }
}

impl CongestionController for Scripted {
    fn on_sent(&mut self, now: Time, sent: &Transmitted) {
        self.pass(now);
        assert!(0 < sent.bytes && sent.bytes <= sent.in_flight, "{sent:?}");
        self.sent += sent.bytes;
        assert!(sent.in_flight <= self.sent, "{sent:?} of {}", self.sent);
        if sent.in_flight - sent.bytes >= self.window().max(self.least) {
            self.above.0.fetch_add(1, Ordering::Relaxed);
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
        self.answers[self.at].0
    }

    fn rate(&self) -> Option<NonZeroU64> {
        self.answers[self.at].1
    }
}

//! Congestion controllers with answers that the fuzzer chooses.

use std::num::NonZeroU64;
use std::sync::Arc;

use kcp_transport::stats::Stats;
use kcp_transport::testing::ScriptedControllers;

use super::input::Input;

pub(super) fn any_controller(input: &mut Input<'_>) -> Arc<ScriptedControllers> {
    let count = 1 + input.below(8);
    let answers = (0..count).map(|_| any_answer(input)).collect();
    Arc::new(ScriptedControllers::new(answers))
}

fn any_answer(input: &mut Input<'_>) -> (u64, Option<NonZeroU64>) {
    let window = match input.u8() {
        0 => 0,
        1 => u64::MAX,
        _ => input.u32().into(),
    };
    let rate = match input.u8() {
        0..=99 => 0,
        100 => 1,
        101 => u64::MAX,
        _ => input.u32().into(),
    };
    (window, NonZeroU64::new(rate))
}

/// Only probes and copies are sent above the window.
pub(super) fn check_above(above: u64, stats: &Stats) {
    let regardless = stats.timeout_retransmitted + stats.redundant_sent;
    assert!(
        above <= regardless,
        "{above} transmissions above the window, {regardless} are not held back by it"
    );
}

//! Events for each segment, at trace level.
//!
//! Each payload costs one load to check whether trace events are enabled. Only if they are is the
//! payload decoded again for the events, so the loops over segments need no tracing code.

use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use crate::wire::{Command, SegmentHeader, Segments};

/// Whether a subscriber may be interested in trace events.
#[inline]
pub(crate) fn is_traced() -> bool {
    Level::TRACE <= STATIC_MAX_LEVEL && Level::TRACE <= LevelFilter::current()
}

/// A payload was received.
#[inline]
pub(super) fn input(payload: &[u8]) {
    if is_traced() {
        each_segment(payload, None);
    }
}

/// A payload is sent; `window` is how many segments may be in flight.
#[inline]
pub(super) fn output(payload: &[u8], window: impl FnOnce() -> usize) {
    if is_traced() {
        each_segment(payload, Some(window()));
    }
}

#[cold]
#[inline(never)]
fn each_segment(payload: &[u8], window: Option<usize>) {
    for (header, _) in Segments::new(payload).map_while(Result::ok) {
        let direction = if window.is_some() { "out" } else { "in" };
        segment(&header, window, direction);
    }
}

fn segment(header: &SegmentHeader, window: Option<usize>, direction: &str) {
    tracing::trace!(
        target: TARGET,
        conversation = %header.conversation,
        sn = header.sequence,
        frg = header.fragments_left,
        una = header.unacknowledged,
        wnd = header.window,
        ts = header.timestamp.to_wire(),
        len = header.payload_len,
        window,
        "{} {direction}",
        name(header.command),
    );
}

fn name(command: Command) -> &'static str {
    match command {
        Command::Push => "push",
        Command::Ack => "ack",
        Command::WindowProbe => "probe",
        Command::WindowUpdate => "update",
    }
}

/// The target to filter for.
const TARGET: &str = "kcp_transport::segment";

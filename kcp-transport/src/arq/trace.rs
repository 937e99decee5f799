//! Events for each segment, at trace level.
//!
//! Whether anyone listens is asked once for each payload; without a listener that is one load and
//! one comparison, and nothing is formatted.

use tracing::Level;

use crate::wire::{Command, SegmentHeader};

/// Whether segments are to be traced.
#[inline]
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// A segment was received.
#[cold]
#[inline(never)]
pub(super) fn input(header: &SegmentHeader) {
    tracing::trace!(
        target: TARGET,
        conv = header.conversation.get(),
        sn = header.sequence,
        frg = header.fragments_left,
        una = header.unacknowledged,
        wnd = header.window,
        ts = header.timestamp.to_wire(),
        len = header.payload_len,
        "{} in",
        name(header.command),
    );
}

/// A segment is sent; `window` is how many may be in flight.
#[cold]
#[inline(never)]
pub(super) fn output(header: &SegmentHeader, window: usize) {
    tracing::trace!(
        target: TARGET,
        conv = header.conversation.get(),
        sn = header.sequence,
        frg = header.fragments_left,
        una = header.unacknowledged,
        wnd = header.window,
        ts = header.timestamp.to_wire(),
        len = header.payload_len,
        window,
        "{} out",
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

//! Congestion control: how much may be in flight, in addition to the limit of the peer's window.

mod kcp;

pub(super) use kcp::CongestionWindow;

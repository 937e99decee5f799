//! How much may be in flight, besides what the peer's window allows.

mod kcp;

pub(super) use kcp::CongestionWindow;

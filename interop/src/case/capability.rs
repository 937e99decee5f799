//! Cases that a peer does not support.

use kcp_transport::config::Mode;

use super::{Case, Direction, Fec, Payload, Peer};

impl Peer {
    /// Most segments of a message that it sends and takes, with windows of the case's size.
    #[must_use]
    pub fn max_fragments(self, case: &Case) -> u16 {
        let window = case.windows.theirs.min(case.windows.ours);
        match self {
            // ikcp_send refuses 128 fragments, whatever the windows are.
            Self::Ikcp | Self::TokioKcp => window.min(127),
            Self::KcpTokio => window.min(128),
            // Its writes are cut to segments, each a message of its own. It takes longer ones.
            Self::KcpGo | Self::KcpGo5_7 | Self::KcpGo5_4 | Self::GrpcGo | Self::Ours => {
                window.min(255)
            }
        }
    }

    /// Why it does not support the case; `None` if it does.
    #[must_use]
    pub fn refuses(self, case: &Case) -> Option<&'static str> {
        let empty = matches!(case.payload, Payload::Echo(shape) if shape.empty);
        if let Some(reason) = self.refuses_options(case) {
            return Some(reason);
        }
        if case.mtu > self.max_mtu() {
            return Some("v5.7 receives at most 1472 bytes in a datagram");
        }
        match self {
            Self::KcpGo | Self::KcpGo5_7 | Self::GrpcGo if empty => Some(EMPTY_STALLS),
            Self::Ours if empty => Some("we send no empty messages"),
            Self::KcpGo | Self::KcpGo5_7 | Self::GrpcGo | Self::Ours => None,
            Self::KcpGo5_4 => {
                // The tag.
                let aead = case.overhead().back > 0;
                let one_sided = case.fec.ours.is_some() != case.fec.theirs.is_some();
                if aead {
                    Some("v5.4 has no AEAD ciphers")
                } else if one_sided {
                    Some("with FEC on, v5.4 refuses packets without FEC header; off, those with")
                } else if case.fec.ours != case.fec.theirs {
                    Some("v5.4 does not learn the sender's FEC ratio")
                } else if empty {
                    Some(EMPTY_STALLS)
                } else {
                    None
                }
            }
            Self::Ikcp | Self::TokioKcp | Self::KcpTokio => {
                if case.cipher != "null" {
                    Some("it has no ciphers")
                } else if case.fec != Fec::OFF {
                    Some("it has no FEC")
                } else if self == Self::KcpTokio && empty {
                    Some("it sends no empty messages")
                } else if empty && case.mode() == Mode::Stream {
                    Some("a stream has no empty messages")
                } else {
                    None
                }
            }
        }
    }

    fn refuses_options(self, case: &Case) -> Option<&'static str> {
        let options = &case.options;
        let no_fec = case.fec.ours.is_none() || case.fec.theirs.is_none();
        let opens = case.direction == Direction::PeerToRust;
        if self.takes_go_flags() {
            if options.datagrams && no_fec {
                Some("out-of-band datagrams need FEC on both sides")
            } else if options.fec_then.is_some() && case.fec.theirs.is_none() {
                Some("FEC that is off cannot change")
            } else {
                None
            }
        } else if options.datagrams {
            Some("it has no out-of-band datagrams")
        } else if options.fec_then.is_some() {
            Some("its FEC does not change")
        } else if options.conversation.is_some() && opens {
            Some("it draws the ids of its conversations itself")
        } else {
            None
        }
    }
}

const EMPTY_STALLS: &str = "kcp-go sends no empty messages, and its reader stalls at one";

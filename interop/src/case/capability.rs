//! Limits of the peers: cases that they do not support.

use kcp_transport::config::Mode;

use super::{Case, Direction, Fec, Payload, Peer};

impl Peer {
    /// Maximum number of segments in a message that the peer sends and receives with the windows of the case.
    #[must_use]
    pub fn max_fragments(self, case: &Case) -> u16 {
        let window = case.windows.theirs.min(case.windows.ours);
        match self {
            // ikcp_send refuses 128 fragments with any window.
            Self::Ikcp | Self::TokioKcp => window.min(127),
            Self::KcpTokio => window.min(128),
            // kcp-go sends each segment of a write as a message of its own, but receives longer messages.
            Self::KcpGo
            | Self::KcpGo5_7
            | Self::KcpGo5_4
            | Self::GrpcGo
            | Self::GrpcInterop
            | Self::Ours => window.min(255),
        }
    }

    /// Why the peer does not support the case; `None` if it does.
    #[must_use]
    pub fn unsupported(self, case: &Case) -> Option<&'static str> {
        let empty = matches!(case.payload, Payload::Echo(shape) if shape.empty);
        if let Some(reason) = self.unsupported_options(case) {
            return Some(reason);
        }
        if case.mtu > self.max_mtu() {
            return Some("v5.7 receives at most 1472 bytes in a datagram");
        }
        match self {
            Self::KcpGo | Self::KcpGo5_7 | Self::GrpcGo if empty => Some(EMPTY_STALLS),
            Self::Ours if empty => Some("kcp-transport sends no empty messages"),
            Self::KcpGo | Self::KcpGo5_7 | Self::GrpcGo | Self::GrpcInterop | Self::Ours => None,
            Self::KcpGo5_4 => {
                // Only AEAD ciphers have a tag at the end.
                let aead = case.overhead().back > 0;
                // Our listeners answer with the FEC of their peer.
                let mirrored = case.direction == Direction::PeerToRust && case.fec.ours.is_none();
                let one_sided = case.fec.ours.is_some() != case.fec.theirs.is_some() && !mirrored;
                if aead {
                    Some("v5.4 has no AEAD ciphers")
                } else if one_sided {
                    Some("v5.4 requires FEC on both sides or on neither")
                } else if case.fec.ours != case.fec.theirs && !mirrored {
                    Some("v5.4 does not detect the sender's FEC ratio")
                } else if empty {
                    Some(EMPTY_STALLS)
                } else {
                    None
                }
            }
            Self::Ikcp | Self::TokioKcp | Self::KcpTokio => {
                if case.cipher != "null" {
                    Some("the peer has no ciphers")
                } else if case.fec != Fec::OFF {
                    Some("the peer has no FEC")
                } else if self == Self::KcpTokio && empty {
                    Some("the peer sends no empty messages")
                } else if empty && case.mode() == Mode::Stream {
                    Some("stream mode has no empty messages")
                } else {
                    None
                }
            }
        }
    }

    fn unsupported_options(self, case: &Case) -> Option<&'static str> {
        let options = &case.options;
        let no_fec = case.fec.ours.is_none() || case.fec.theirs.is_none();
        let opens = case.direction == Direction::PeerToRust;
        if self.takes_go_flags() {
            if options.datagrams && no_fec {
                Some("out-of-band datagrams need FEC on both sides")
            } else if options.fec_then.is_some() && case.fec.theirs.is_none() {
                Some("a FEC ratio can change only if FEC is on")
            } else {
                None
            }
        } else if options.datagrams {
            Some("the peer has no out-of-band datagrams")
        } else if options.fec_then.is_some() {
            Some("the peer cannot change its FEC ratio")
        } else if options.conversation.is_some() && opens {
            Some("the peer draws random conversation ids")
        } else {
            None
        }
    }
}

const EMPTY_STALLS: &str =
    "kcp-go sends no empty messages, and its reader stalls when it receives one";

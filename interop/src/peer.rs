//! The list of peers.

use std::fmt;

/// An implementation of KCP to test against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// kcp-go v5.6.72.
    KcpGo,
    /// kcp-go v5.7.5.
    KcpGo5_7,
    /// kcp-go v5.4.20, which rpcx links.
    KcpGo5_4,
    /// The C reference, bundled by the crate `kcp-io`.
    Ikcp,
    /// The crate `tokio_kcp`, over the crate `kcp`.
    TokioKcp,
    /// The crate `kcp-tokio`, over the crate `kcp-core`.
    KcpTokio,
    /// grpc-go over kcp-go v5.6.72.
    GrpcGo,
    /// The interoperability tests of grpc-go, over kcp-go v5.6.72.
    GrpcInterop,
    /// kcp-transport, with extensions on.
    Ours,
}

impl Peer {
    /// All peers.
    pub const ALL: [Self; 9] = [
        Self::KcpGo,
        Self::KcpGo5_7,
        Self::KcpGo5_4,
        Self::Ikcp,
        Self::TokioKcp,
        Self::KcpTokio,
        Self::GrpcGo,
        Self::GrpcInterop,
        Self::Ours,
    ];

    /// The peers with plain KCP only: no cipher, no FEC.
    pub const PLAIN: [Self; 3] = [Self::Ikcp, Self::TokioKcp, Self::KcpTokio];

    /// The peers that support every flag of the Go peers: AEAD ciphers, out-of-band datagrams, DSCP, and a change
    /// of the FEC ratio.
    pub const GO: [Self; 2] = [Self::KcpGo, Self::KcpGo5_7];

    /// The name in tables and names of cases.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KcpGo => "kcp-go",
            Self::KcpGo5_7 => "kcp-go-5.7",
            Self::KcpGo5_4 => "kcp-go-5.4",
            Self::Ikcp => "ikcp",
            Self::TokioKcp => "tokio_kcp",
            Self::KcpTokio => "kcp-tokio",
            Self::GrpcGo => "grpc-go",
            Self::GrpcInterop => "grpc-interop",
            Self::Ours => "kcp-transport",
        }
    }

    /// Whether the peer has plain KCP only.
    #[must_use]
    pub fn is_plain(self) -> bool {
        Self::PLAIN.contains(&self)
    }

    /// Whether the peer is a subcommand of the program `interop`. Such peers keep message boundaries.
    #[must_use]
    pub fn is_native(self) -> bool {
        self.is_plain() || self == Self::Ours
    }

    /// Whether the peer is one of [`GO`](Self::GO).
    #[must_use]
    pub fn takes_go_flags(self) -> bool {
        Self::GO.contains(&self)
    }

    /// The largest datagram that the peer receives, in bytes of UDP payload.
    #[must_use]
    pub const fn max_mtu(self) -> u16 {
        match self {
            Self::KcpGo5_7 => 1472,
            _ => 1500,
        }
    }

    /// The arguments that select the peer on its program's command line.
    pub(crate) fn subcommand(self) -> Vec<String> {
        if self.is_native() {
            vec!["peer".to_owned(), self.name().to_owned()]
        } else {
            Vec::new()
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

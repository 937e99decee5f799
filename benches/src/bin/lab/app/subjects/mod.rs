//! The subjects: transports to measure, and the programs that run them.

pub(crate) mod kcp;
pub(crate) mod quic;
pub(crate) mod rpc;
pub(crate) mod settings;
pub(crate) mod tcp;

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use settings::Settings;

/// A byte stream over any transport.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type BoxStream = Box<dyn Stream>;

/// One side of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// kcp-transport.
    Kcp,
    /// kcp-go with this FEC ratio; 0 and 0 is no FEC.
    KcpGo { data: u8, parity: u8 },
    /// tokio's TCP.
    Tcp(TcpControl),
    /// quinn.
    Quinn(QuicControl),
    /// tonic over kcp-transport.
    TonicKcp,
    /// tonic over the kernel's TCP, cubic.
    TonicTcp,
    /// grpc-go over kcp-go.
    GrpcGo,
}

/// Congestion control of the kernel's TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpControl {
    Cubic,
    Bbr,
}

/// Congestion control of quinn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuicControl {
    Cubic,
    Bbr,
}

/// A client and a server to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) client: Side,
    pub(crate) server: Side,
}

const KCP_GO: Side = Side::KcpGo { data: 0, parity: 0 };
const KCP_GO_10_3: Side = Side::KcpGo {
    data: 10,
    parity: 3,
};
const KCP_GO_2_1: Side = Side::KcpGo { data: 2, parity: 1 };

/// All subjects, ours first.
pub(crate) const SUBJECTS: &[Subject] = &[
    same("kcp", "ours, default configuration, AES-128-GCM", Side::Kcp),
    Subject {
        name: "kcp-to-kcp-go",
        about: "our client, a kcp-go server",
        client: Side::Kcp,
        server: KCP_GO,
    },
    same("kcp-go", "kcp-go, fast2, AES-128-GCM", KCP_GO),
    same("kcp-go-fec-10-3", "the same with FEC 10/3", KCP_GO_10_3),
    same("kcp-go-fec-2-1", "the same with FEC 2/1", KCP_GO_2_1),
    Subject {
        name: "kcp-go-fec-10-3-to-kcp",
        about: "a kcp-go client with FEC 10/3, our server",
        client: KCP_GO_10_3,
        server: Side::Kcp,
    },
    same("tcp-cubic", "tokio's TCP", Side::Tcp(TcpControl::Cubic)),
    same("tcp-bbr", "tokio's TCP", Side::Tcp(TcpControl::Bbr)),
    same("quinn", "QUIC, cubic", Side::Quinn(QuicControl::Cubic)),
    same("quinn-bbr", "QUIC, BBR", Side::Quinn(QuicControl::Bbr)),
    same("tonic-kcp", "tonic over ours", Side::TonicKcp),
    same("tonic-tcp", "tonic over TCP, cubic", Side::TonicTcp),
    same("grpc-go-kcp-go", "grpc-go over kcp-go", Side::GrpcGo),
];

const fn same(name: &'static str, about: &'static str, side: Side) -> Subject {
    Subject {
        name,
        about,
        client: side,
        server: side,
    }
}

impl Subject {
    /// Whether the subject supports only gRPC calls.
    pub(crate) fn is_rpc(&self) -> bool {
        matches!(self.client, Side::TonicKcp | Side::TonicTcp | Side::GrpcGo)
    }

    /// Whether our transport is a side of the subject, so that settings apply.
    pub(crate) fn is_ours(&self) -> bool {
        let ours = |side| matches!(side, Side::Kcp | Side::TonicKcp);
        ours(self.client) || ours(self.server)
    }

    /// Whether a side is run by the Go program.
    pub(crate) fn needs_go(&self) -> bool {
        self.client.name().is_none() || self.server.name().is_none()
    }
}

impl Side {
    /// The name for the hidden subcommands of this program; `None` for sides that the Go program runs.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Kcp => Some("kcp"),
            Self::KcpGo { .. } | Self::GrpcGo => None,
            Self::Tcp(TcpControl::Cubic) => Some("tcp-cubic"),
            Self::Tcp(TcpControl::Bbr) => Some("tcp-bbr"),
            Self::Quinn(QuicControl::Cubic) => Some("quinn"),
            Self::Quinn(QuicControl::Bbr) => Some("quinn-bbr"),
            Self::TonicKcp => Some("tonic-kcp"),
            Self::TonicTcp => Some("tonic-tcp"),
        }
    }

    fn find(name: &str) -> io::Result<Self> {
        SUBJECTS
            .iter()
            .map(|subject| subject.client)
            .find(|side| side.name() == Some(name))
            .ok_or_else(|| io::Error::other(format!("unknown side {name}")))
    }
}

/// The subject with this name.
pub(crate) fn find(name: &str) -> Result<Subject, String> {
    SUBJECTS
        .iter()
        .find(|subject| subject.name == name)
        .cloned()
        .ok_or_else(|| format!("unknown subject {name}; use a name from --list"))
}

/// The first line that a server prints: how to reach it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) listening: SocketAddr,
    /// The server's certificate in hexadecimal digits; empty for transports without TLS.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) certificate: String,
}

impl Ready {
    /// A server without a certificate.
    pub(crate) fn at(listening: SocketAddr) -> Self {
        Self {
            listening,
            certificate: String::new(),
        }
    }
}

/// Runs the server of a side until it fails. Calls `ready` as soon as clients can connect.
pub(crate) async fn serve(
    side: &str,
    listen: SocketAddr,
    settings: &Settings,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    match Side::find(side)? {
        Side::Kcp => kcp::serve(listen, settings, ready).await,
        Side::Tcp(control) => tcp::serve(listen, control, ready).await,
        Side::Quinn(control) => quic::serve(listen, control, ready).await,
        Side::TonicKcp => rpc::serve_kcp(listen, settings, ready).await,
        Side::TonicTcp => rpc::serve_tcp(listen, ready).await,
        Side::KcpGo { .. } | Side::GrpcGo => Err(run_by_go()),
    }
}

fn run_by_go() -> io::Error {
    io::Error::other("this side is run by the Go program")
}

/// A connection for calls.
pub(crate) enum Connection {
    Bytes(BoxStream),
    Rpc(rpc::Client),
}

impl Connection {
    /// The byte stream, for uploads.
    pub(crate) fn into_bytes(self) -> io::Result<BoxStream> {
        match self {
            Self::Bytes(stream) => Ok(stream),
            Self::Rpc(_) => Err(io::Error::other("uploads need a byte stream, not gRPC")),
        }
    }
}

/// Opens connections.
#[derive(Debug)]
pub(crate) enum Dialer {
    Kcp(Box<kcp::Dialer>),
    Tcp(tcp::Dialer),
    Quinn(quic::Dialer),
    TonicKcp { server: Ready, settings: Settings },
    TonicTcp { server: Ready },
}

impl Dialer {
    pub(crate) fn new(side: &str, server: &Ready, settings: &Settings) -> io::Result<Self> {
        let owned = || server.clone();
        match Side::find(side)? {
            Side::Kcp => Ok(Self::Kcp(Box::new(kcp::Dialer::new(server, settings)?))),
            Side::Tcp(control) => Ok(Self::Tcp(tcp::Dialer::new(server, control))),
            Side::Quinn(control) => quic::Dialer::new(server, control).map(Self::Quinn),
            Side::TonicKcp => Ok(Self::TonicKcp {
                server: owned(),
                settings: settings.clone(),
            }),
            Side::TonicTcp => Ok(Self::TonicTcp { server: owned() }),
            Side::KcpGo { .. } | Side::GrpcGo => Err(run_by_go()),
        }
    }

    /// Opens a connection with a socket of its own.
    pub(crate) async fn dial(&self) -> io::Result<Connection> {
        let bytes = match self {
            Self::Kcp(dialer) => dialer.dial().await?,
            Self::Tcp(dialer) => dialer.dial().await?,
            Self::Quinn(dialer) => dialer.dial().await?,
            Self::TonicKcp { server, settings } => {
                let client = rpc::Client::connect_kcp(server, settings).await?;
                return Ok(Connection::Rpc(client));
            }
            Self::TonicTcp { server } => {
                return Ok(Connection::Rpc(rpc::Client::connect_tcp(server).await?));
            }
        };
        Ok(Connection::Bytes(bytes))
    }
}

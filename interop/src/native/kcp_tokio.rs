//! The crate `kcp-tokio`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kcp_tokio::config::NodeDelayConfig;
use kcp_tokio::{KcpConfig, KcpListener, KcpStream, UdpTransport};

use super::{Connection, Options};

/// One session.
pub(super) struct Session {
    stream: KcpStream,
    /// Maximum number of bytes per call. In stream mode the crate makes one segment of each call.
    piece: usize,
}

/// A listener with the options of its sessions.
pub(super) struct Listener {
    listener: KcpListener,
    options: Options,
}

impl Session {
    fn new(stream: KcpStream, options: &Options) -> Self {
        let piece = if options.stream {
            options.mss()
        } else {
            usize::MAX
        };
        Self { stream, piece }
    }
}

impl Connection for Session {
    type Listener = Listener;

    async fn connect(options: &Options, bind: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let transport = Arc::new(UdpTransport::bind(bind).await?);
        let stream = KcpStream::connect_with_transport(transport, server, config(options)).await;
        let stream = stream.map_err(io::Error::other)?;
        Ok(Self::new(stream, options))
    }

    async fn listen(options: &Options, addr: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let listener = KcpListener::bind(addr, config(options)).await;
        let listener = listener.map_err(io::Error::other)?;
        let addr = *listener.local_addr();
        let options = options.clone();
        Ok((Listener { listener, options }, addr))
    }

    async fn accept(listener: &mut Listener) -> io::Result<Self> {
        let accepted = listener.listener.accept().await.map_err(io::Error::other)?;
        Ok(Self::new(accepted.0, &listener.options))
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        for piece in message.chunks(self.piece) {
            self.stream.send(piece).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self.stream.recv().await.map_err(io::Error::other)? {
            Some(message) => Ok(message.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn config(options: &Options) -> KcpConfig {
    let (nodelay, interval) = options.timing();
    // kcp-tokio 0.7 actor.rs, drain_recv: data that does not fit into the channel to the reader waits until the
    // actor wakes again. Without further datagrams, that is after a second, or with the default keep-alive
    // after 30 s.
    KcpConfig::default()
        .keep_alive(None)
        .mtu(options.mtu.into())
        .window_size(options.sndwnd.into(), options.rcvwnd.into())
        .nodelay_config(NodeDelayConfig::custom(nodelay, interval.into(), 2, true))
        .stream_mode(options.stream)
}

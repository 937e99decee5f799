//! The crate `tokio_kcp`.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio_kcp::{KcpConfig, KcpListener, KcpNoDelayConfig, KcpStream};

use super::{Connection, MAX_MESSAGE, Options};

/// One session.
pub(super) struct Session {
    stream: KcpStream,
    /// Maximum number of bytes per call: the crate refuses writes of more segments than it can number.
    piece: usize,
    buffer: Vec<u8>,
}

/// A listener with the options of its sessions.
pub(super) struct Listener {
    listener: KcpListener,
    options: Options,
}

impl Session {
    fn new(stream: KcpStream, options: &Options) -> Self {
        let piece = if options.stream {
            options.mss() * 32
        } else {
            MAX_MESSAGE
        };
        Self {
            stream,
            piece,
            buffer: vec![0; MAX_MESSAGE],
        }
    }
}

impl Connection for Session {
    type Listener = Listener;

    async fn connect(options: &Options, bind: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(bind).await?;
        // The crate accepts packets from any address and of any conversation. Retransmissions of an earlier
        // case, whose client had the same port, would be delivered to this stream.
        socket.connect(server).await?;
        let stream = KcpStream::connect_with_socket(&config(options), socket, server).await;
        let stream = stream.map_err(io::Error::other)?;
        Ok(Self::new(stream, options))
    }

    async fn listen(options: &Options, addr: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let listener = KcpListener::bind(config(options), addr).await;
        let listener = listener.map_err(io::Error::other)?;
        let addr = listener.local_addr()?;
        let options = options.clone();
        Ok((Listener { listener, options }, addr))
    }

    async fn accept(listener: &mut Listener) -> io::Result<Self> {
        let accepted = listener.listener.accept().await;
        let (stream, _) = accepted.map_err(io::Error::other)?;
        Ok(Self::new(stream, &listener.options))
    }

    async fn send(&mut self, mut message: &[u8]) -> io::Result<()> {
        loop {
            let piece = &message[..message.len().min(self.piece)];
            let sent = self.stream.send(piece).await.map_err(io::Error::other)?;
            message = &message[sent..];
            if message.is_empty() {
                return Ok(());
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let received = self.stream.recv(&mut self.buffer).await;
        let len = received.map_err(io::Error::other)?;
        Ok(self.buffer[..len].to_vec())
    }
}

fn config(options: &Options) -> KcpConfig {
    let (nodelay, interval) = options.timing();
    KcpConfig {
        mtu: options.mtu.into(),
        nodelay: KcpNoDelayConfig {
            nodelay,
            interval: interval.into(),
            resend: 2,
            nc: true,
        },
        wnd_size: (options.sndwnd, options.rcvwnd),
        flush_write: true,
        flush_acks_input: true,
        stream: options.stream,
        allow_recv_empty_packet: true,
        ..KcpConfig::default()
    }
}

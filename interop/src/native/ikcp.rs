//! The C reference. It is a state machine without socket and clock, which are added here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kcp_io::core::{Kcp, KcpConfig, KcpError};
use tokio::net::UdpSocket;

use super::{Connection, MAX_MESSAGE, Options};

/// One session on a socket of its own.
pub(super) struct Session {
    kcp: Kcp,
    socket: UdpSocket,
    peer: SocketAddr,
    /// Datagrams that the state machine has emitted.
    output: Output,
    epoch: Instant,
    options: Options,
    buffer: Vec<u8>,
}

type Output = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server socket for a single session.
pub(super) struct Listener {
    socket: Option<UdpSocket>,
    options: Options,
}

impl Session {
    fn new(
        options: &Options,
        socket: UdpSocket,
        peer: SocketAddr,
        conversation: u32,
    ) -> io::Result<Self> {
        let output = Output::default();
        let sink = Arc::clone(&output);
        let (nodelay, interval) = options.timing();
        let config = KcpConfig {
            nodelay,
            interval: interval.into(),
            resend: 2,
            nc: true,
            mtu: options.mtu.into(),
            snd_wnd: options.sndwnd.into(),
            rcv_wnd: options.rcvwnd.into(),
            // The limit of ikcp_send.
            max_fragments: 127,
            stream_mode: options.stream,
        };
        let emit = move |datagram: &[u8]| {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.push(datagram.to_vec());
            Ok(datagram.len())
        };
        let kcp = Kcp::with_config(conversation, &config, emit).map_err(io::Error::other)?;
        Ok(Self {
            kcp,
            socket,
            peer,
            output,
            epoch: Instant::now(),
            options: options.clone(),
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    fn now(&self) -> u32 {
        // Truncated on purpose: the protocol's clock has 32 bits.
        self.epoch.elapsed().as_millis() as u32
    }

    /// Updates the state machine and sends the datagrams that it emits.
    async fn update(&mut self) -> io::Result<()> {
        self.kcp.update(self.now());
        self.send_output().await
    }

    async fn send_output(&mut self) -> io::Result<()> {
        let datagrams = {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *output)
        };
        for datagram in datagrams {
            self.socket.send_to(&datagram, self.peer).await?;
        }
        Ok(())
    }

    /// Waits for a datagram or the next timer, and processes it.
    async fn turn(&mut self) -> io::Result<()> {
        self.update().await?;
        let now = self.now();
        let wait = self.kcp.check(now).wrapping_sub(now);
        let deadline = Duration::from_millis(wait.into());
        let received = self.socket.recv_from(&mut self.buffer);
        if let Ok(received) = tokio::time::timeout(deadline, received).await {
            // An error is a refusal by the peer's host (ICMP). The peer may start to listen later.
            if let Ok((len, from)) = received
                && from == self.peer
            {
                // An invalid datagram counts as lost.
                let _ = self.kcp.input(&self.buffer[..len]);
            }
        }
        Ok(())
    }
}

impl Connection for Session {
    type Listener = Listener;

    async fn connect(options: &Options, bind: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(bind).await?;
        // Any id works: each session has a socket of its own.
        let conversation = u32::from(socket.local_addr()?.port());
        Self::new(options, socket, server, conversation)
    }

    async fn listen(options: &Options, addr: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let socket = UdpSocket::bind(addr).await?;
        let addr = socket.local_addr()?;
        let listener = Listener {
            socket: Some(socket),
            options: options.clone(),
        };
        Ok((listener, addr))
    }

    async fn accept(listener: &mut Listener) -> io::Result<Self> {
        let Some(socket) = listener.socket.take() else {
            // Only one session is accepted.
            return std::future::pending().await;
        };
        let mut datagram = vec![0; MAX_MESSAGE];
        let (len, peer) = socket.recv_from(&mut datagram).await?;
        if len < 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let conversation = Kcp::get_conv(&datagram);
        let mut session = Self::new(&listener.options, socket, peer, conversation)?;
        session
            .kcp
            .input(&datagram[..len])
            .map_err(io::Error::other)?;
        Ok(session)
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        // A stream is queued in pieces, because ikcp_send accepts at most 127 segments.
        let piece = if self.options.stream {
            self.options.mss() * 32
        } else {
            MAX_MESSAGE
        };
        let queue = u32::from(self.options.sndwnd) * 2;
        let mut pieces = message.chunks(piece);
        let mut next = Some(pieces.next().unwrap_or_default());
        while let Some(piece) = next {
            while self.kcp.waitsnd() > queue {
                self.turn().await?;
            }
            self.kcp.send(piece).map_err(io::Error::other)?;
            next = pieces.next();
        }
        // ikcp_flush does nothing before the first ikcp_update.
        self.kcp.update(self.now());
        self.kcp.flush();
        self.send_output().await
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.kcp.recv(&mut self.buffer) {
                Ok(len) => return Ok(self.buffer[..len].to_vec()),
                // RecvBufferTooSmall { need: 0 } is also the result if fragments are missing.
                Err(KcpError::RecvWouldBlock | KcpError::RecvBufferTooSmall { need: 0, .. }) => {
                    self.turn().await?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

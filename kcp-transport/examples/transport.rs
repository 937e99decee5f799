//! A `Transport` of your own: a UDP socket that loses every tenth datagram.
//!
//! cargo run -p kcp-transport --example transport

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use kcp_transport::packet::SegmentRun;
use kcp_transport::{KcpListener, KcpStream, Path, Received, Security, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

#[derive(Debug)]
struct Lossy(UdpSocket, AtomicU64);

impl Transport for Lossy {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_recv_ready(cx)
    }
    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(cx)
    }
    fn try_recv(&self, into: &mut [IoSliceMut<'_>], about: &mut [Received]) -> io::Result<usize> {
        let (len, peer) = self.0.try_recv_from(&mut into[0])?;
        about[0] = Received::new(Path::new(peer), len);
        Ok(1) // More buffers could be filled with one call.
    }
    /// A run is one datagram, unless `max_run` is implemented too.
    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        if self.1.fetch_add(1, Relaxed) % 10 == 9 {
            return Ok(()); // Lost. KCP sends the data again.
        }
        self.0.try_send_to(run.bytes, path.peer).map(drop)
    }
}

#[allow(clippy::disallowed_methods, reason = "a program may make sockets")]
#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let transport = Arc::new(Lossy(socket, AtomicU64::new(0)));
    let client = KcpStream::builder(&security).transport(transport);
    let mut sender = client.connect(listener.local_addr()?).await?;
    let (mut receiver, _peer) = listener.accept().await?;
    sender.write_all(&[7; 100_000]).await?;
    receiver.read_exact(&mut [0; 100_000]).await?;
    println!("{} segments repeated", sender.stats().retransmitted);
    Ok(())
}

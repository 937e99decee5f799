//! tokio's TCP as a subject, with a congestion control of the kernel.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use super::{BoxStream, Ready, TcpControl};
use crate::app::workloads::frame;

impl TcpControl {
    /// The kernel's name.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Cubic => b"cubic",
            Self::Bbr => b"bbr",
        }
    }
}

fn socket(control: TcpControl) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    SockRef::from(&socket).set_tcp_congestion(control.name())?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A listener with this congestion control, which its connections inherit.
pub(crate) fn listen(addr: SocketAddr, control: TcpControl) -> io::Result<TcpListener> {
    let socket = socket(control)?;
    socket.bind(addr)?;
    socket.listen(128)
}

pub(crate) async fn serve(
    addr: SocketAddr,
    control: TcpControl,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    let listener = listen(addr, control)?;
    ready(Ready::at(listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(frame::serve(stream));
    }
}

#[derive(Debug)]
pub(crate) struct Dialer {
    server: SocketAddr,
    control: TcpControl,
}

impl Dialer {
    pub(crate) fn new(server: &Ready, control: TcpControl) -> Self {
        Self {
            server: server.listening,
            control,
        }
    }

    pub(crate) async fn dial(&self) -> io::Result<BoxStream> {
        let stream = socket(self.control)?.connect(self.server).await?;
        Ok(Box::new(stream))
    }
}

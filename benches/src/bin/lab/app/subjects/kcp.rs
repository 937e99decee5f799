//! kcp-transport as a subject.

use std::io;
use std::net::SocketAddr;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};

use super::settings::Settings;
use super::{BoxStream, Ready};
use crate::app::workloads::frame;

/// Cipher and key, the same as those of the kcp-go peers.
pub(crate) fn security() -> io::Result<Security> {
    Security::from_password(CIPHER, PASSWORD, Security::KCPTUN_SALT).map_err(io::Error::other)
}

/// Name of the cipher, in kcptun's list and in kcp-transport's.
pub(crate) const CIPHER: &str = "aes-128-gcm";
pub(crate) const PASSWORD: &str = "lab";

pub(crate) async fn serve(
    addr: SocketAddr,
    settings: &Settings,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    let listener = KcpListener::builder(&security()?)
        .config(&settings.config()?)
        .bind(addr)
        .await?;
    ready(Ready::at(listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(frame::serve(stream));
    }
}

#[derive(Debug)]
pub(crate) struct Dialer {
    server: SocketAddr,
    security: Security,
    config: Config,
}

impl Dialer {
    pub(crate) fn new(server: &Ready, settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            server: server.listening,
            security: security()?,
            config: settings.config()?,
        })
    }

    pub(crate) async fn dial(&self) -> io::Result<BoxStream> {
        let stream = KcpStream::builder(&self.security)
            .config(&self.config)
            .connect(self.server)
            .await?;
        Ok(Box::new(stream))
    }
}

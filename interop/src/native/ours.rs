//! The crate `kcp-transport`, for cases with this implementation on both sides.

use std::io;
use std::net::SocketAddr;

use kcp_transport::config::{Config, Mode, Preset};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConfigError;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpMessageStream, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connection, MAX_MESSAGE, Options};

/// One session.
pub(super) enum Session {
    Stream(KcpStream, Vec<u8>),
    Messages(KcpMessageStream),
}

impl Session {
    fn new(stream: KcpStream, mode: Mode) -> Self {
        match mode {
            Mode::Message => Self::Messages(stream.into_messages()),
            _ => Self::Stream(stream, vec![0; MAX_MESSAGE]),
        }
    }
}

/// A listener with the mode of its sessions.
pub(super) struct Listener {
    listener: KcpListener,
    mode: Mode,
}

impl Connection for Session {
    type Listener = Listener;

    /// Ignores the local address: the system picks one.
    async fn connect(options: &Options, _: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let (security, config) = setup(options).map_err(io::Error::other)?;
        let stream = KcpStream::builder(&security)
            .config(&config)
            .connect(server)
            .await?;
        Ok(Self::new(stream, config.mode()))
    }

    async fn listen(options: &Options, addr: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let (security, config) = setup(options).map_err(io::Error::other)?;
        let listener = KcpListener::builder(&security)
            .config(&config)
            .bind(addr)
            .await?;
        let addr = listener.local_addr()?;
        let mode = config.mode();
        Ok((Listener { listener, mode }, addr))
    }

    async fn accept(listener: &mut Listener) -> io::Result<Self> {
        let (stream, _) = listener.listener.accept().await?;
        Ok(Self::new(stream, listener.mode))
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Messages(messages) => messages.send(message).await,
            Self::Stream(stream, _) => {
                stream.write_all(message).await?;
                stream.flush().await
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Messages(messages) => {
                let mut message = Vec::new();
                messages.recv(&mut message).await?;
                Ok(message)
            }
            Self::Stream(stream, buffer) => match stream.read(buffer).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                read => Ok(buffer[..read].to_vec()),
            },
        }
    }

    async fn finish(mut self) -> io::Result<()> {
        match &mut self {
            Self::Messages(messages) => messages.shutdown().await,
            Self::Stream(stream, _) => stream.shutdown().await,
        }
    }
}

fn setup(options: &Options) -> Result<(Security, Config), ConfigError> {
    let salt = Security::KCPTUN_SALT;
    let security = Security::from_password(&options.crypt, &options.key, salt)?;
    let preset = options.mode.parse::<Preset>()?;
    let ratio = (options.datashard > 0 && options.parityshard > 0)
        .then(|| FecRatio::new(options.datashard.into(), options.parityshard.into()));
    let config = Config::builder()
        .preset(preset)
        .mtu(options.mtu.into())
        .windows(options.sndwnd.into(), options.rcvwnd.into())
        .mode(if options.stream {
            Mode::Stream
        } else {
            Mode::Message
        })
        .fec(ratio.transpose()?)
        .build()?;
    Ok((security, config))
}

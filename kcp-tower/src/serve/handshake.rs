//! What happens on a connection before HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;

use crate::KcpIo;

/// Turns an accepted connection into the stream that HTTP runs on.
pub(super) struct Handshake<I> {
    run: Arc<dyn Fn(KcpIo) -> Pending<I> + Send + Sync>,
    info: Option<Arc<Info<I>>>,
    pub(super) timeout: Duration,
}

type Pending<I> = Pin<Box<dyn Future<Output = io::Result<I>> + Send>>;
type Info<I> = dyn Fn(&I, &mut Extensions) + Send + Sync;

/// A connection after its handshake.
pub(super) struct Established<I> {
    pub(super) io: I,
    /// For the requests of the connection.
    pub(super) extensions: Extensions,
}

impl Handshake<KcpIo> {
    pub(super) fn none() -> Self {
        Self::new(|io| std::future::ready(Ok(io)))
    }
}

impl<I> Handshake<I> {
    pub(super) fn new<H, R>(handshake: H) -> Self
    where
        H: Fn(KcpIo) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<I>> + Send + 'static,
    {
        Self {
            run: Arc::new(move |io| Box::pin(handshake(io))),
            info: None,
            timeout: TIMEOUT,
        }
    }

    pub(super) fn with_info<T>(self, info: impl Fn(&I) -> T + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
        I: 'static,
    {
        let earlier = self.info;
        Self {
            info: Some(Arc::new(move |io, extensions| {
                if let Some(earlier) = &earlier {
                    earlier(io, extensions);
                }
                extensions.insert(info(io));
            })),
            ..self
        }
    }

    pub(super) async fn run(&self, io: KcpIo) -> io::Result<Established<I>> {
        let pending = (self.run)(io);
        let io = tokio::time::timeout(self.timeout, pending).await;
        let io = io.unwrap_or_else(|_| {
            let late = "the handshake took too long";
            Err(io::Error::new(io::ErrorKind::TimedOut, late))
        })?;
        let mut extensions = Extensions::new();
        if let Some(info) = &self.info {
            info(&io, &mut extensions);
        }
        Ok(Established { io, extensions })
    }
}

impl<I> Clone for Handshake<I> {
    fn clone(&self) -> Self {
        Self {
            run: Arc::clone(&self.run),
            info: self.info.clone(),
            timeout: self.timeout,
        }
    }
}

/// Several round trips of the slowest links, and no more: a peer pays nothing to hold a connection
/// in this state.
const TIMEOUT: Duration = Duration::from_secs(10);

//! From host names to addresses, by any resolver of hyper-util's kind.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::BoxError;

/// What [`Lookup::lookup`] returns.
pub(crate) type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A resolver of any type.
pub(crate) trait Lookup: Send + Sync {
    /// The addresses of `host`, with whatever port the resolver gives them.
    fn lookup(&self, host: &str) -> LookingUp;
}

/// A service of tower as a [`Lookup`].
pub(crate) struct Resolver<R>(pub(crate) R);

impl<R> Lookup for Resolver<R>
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    fn lookup(&self, host: &str) -> LookingUp {
        let name = host.parse::<Name>();
        let mut resolver = self.0.clone();
        Box::pin(async move {
            let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let ready = poll_fn(|cx| resolver.poll_ready(cx)).await;
            ready.map_err(io_error)?;
            let resolving = resolver.call(name);
            resolving.await.map(Iterator::collect).map_err(io_error)
        })
    }
}

/// Keeps an I/O error as it is, so that its kind is not lost.
fn io_error(error: impl Into<BoxError>) -> io::Error {
    match error.into().downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => io::Error::other(error),
    }
}

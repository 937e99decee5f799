//! Servers that register in etcd, and clients that find them there.

mod register;
mod rpc;
mod watch;

use std::fmt;
use std::time::Duration;

use kcp_tower::balance::{Discovery, Endpoint};
use tonic::transport::Channel;

pub use self::register::{Registration, RegistrationStatus};
use self::rpc::Rpc;

/// The servers of one service in etcd v3: keys below a prefix, each with an endpoint as its value, in
/// the text form of [`Endpoint`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use kcp_tonic::balance::Endpoint;
/// use kcp_tonic::etcd::Etcd;
/// use kcp_tonic::{KcpChannel, Security};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let etcd = tonic::transport::Endpoint::from_static("http://10.0.0.2:2379")
///     .http2_keep_alive_interval(Duration::from_secs(10))
///     .keep_alive_while_idle(true);
/// let greeters = Etcd::new(etcd.connect_lazy(), "/greeter/");
///
/// // In a server:
/// let endpoint = Endpoint::parse("kcp://10.0.0.7:4000 weight=3 zone=eu-1")?;
/// let registration = greeters.register(endpoint, Duration::from_secs(10));
///
/// // In a client:
/// let channel = KcpChannel::builder(&Security::Plaintext).connect_discover(greeters.discover());
/// # Ok(())
/// # }
/// ```
///
/// etcd may be unreachable at any time. At the start the set is empty, and later it stays as it was; the
/// error is reported as [`Discovery`] describes. Each call is limited to 5 s, and etcd is called again
/// each second. A connection that is lost without a notice is found by HTTP/2 PINGs only, so set them as
/// above. If etcd starts again without its data, the set is empty until the servers have registered
/// again.
#[derive(Clone)]
pub struct Etcd {
    rpc: Rpc,
    prefix: Prefix,
}

impl Etcd {
    /// With tonic's channel to etcd, which has TLS and the addresses, and a prefix such as `/greeter/`. A
    /// slash at its end is added if it is missing, so that `/greeter` does not find the servers of
    /// `/greeter-test`.
    #[must_use]
    pub fn new(channel: Channel, prefix: impl Into<String>) -> Self {
        let mut prefix = prefix.into();
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        Self {
            rpc: Rpc { channel },
            prefix: Prefix(prefix),
        }
    }

    /// The endpoints below the prefix, as they change.
    ///
    /// A value that is no endpoint is reported as an error; an endpoint that its key had before stays.
    pub fn discover(&self) -> Discovery {
        let (rpc, prefix) = (self.rpc.clone(), self.prefix.clone());
        Discovery::watch(|changes| watch::follow(rpc, prefix, changes))
    }

    /// Registers a server with a lease, and keeps it registered until the registration is dropped. Must
    /// be called within a tokio runtime.
    ///
    /// The key is the prefix with the host and port of the endpoint. If the process ends without
    /// deregistering, etcd removes the key when the `lease` has expired. It is renewed after each third
    /// of that time, and the server is registered again when etcd has lost it. The lease is rounded up to
    /// whole seconds; etcd itself grants at least 2 s by default.
    pub fn register(&self, endpoint: Endpoint, lease: Duration) -> Registration {
        let address = endpoint.uri().authority().map_or("", |it| it.as_str());
        let key = format!("{}{address}", self.prefix.0);
        Registration::start(self.rpc.clone(), key, endpoint, lease)
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("prefix", &self.prefix.0)
            .finish_non_exhaustive()
    }
}

/// A prefix of keys, which ends with a slash.
#[derive(Clone)]
struct Prefix(String);

impl Prefix {
    /// The first key that may have the prefix, and the first one after all of those.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self.0.clone().into_bytes();
        let mut after = first.clone();
        // The slash at the end becomes the byte after it.
        if let Some(last) = after.last_mut() {
            *last = b'/' + 1;
        }
        (first, after)
    }
}

/// Before etcd is called again after an error.
const PAUSE: Duration = Duration::from_secs(1);

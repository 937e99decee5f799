//! What names the addresses to connect or bind to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use tokio::net::ToSocketAddrs;

/// Host and port to connect or bind to: all types that tokio's [`ToSocketAddrs`] is implemented for,
/// and no others.
///
/// Those are `"example.com:4000"` and `("example.com", 4000)` with names or addresses, [`SocketAddr`] and
/// its like, and slices of them. The trait exists because errors contain the host as it was given.
pub trait ToAddrs: ToSocketAddrs + sealed::Host {}

impl<T: ToSocketAddrs + sealed::Host + ?Sized> ToAddrs for T {}

mod sealed {
    pub trait Host {
        /// The host, if it is given as text: `None` for addresses, and for text without a colon.
        fn host(&self) -> Option<&str>;
    }
}

pub(super) use sealed::Host;

impl Host for str {
    fn host(&self) -> Option<&str> {
        if self.parse::<SocketAddr>().is_ok() {
            return None;
        }
        self.rsplit_once(':').map(|(host, _)| host)
    }
}

impl Host for String {
    fn host(&self) -> Option<&str> {
        self.as_str().host()
    }
}

impl Host for (&str, u16) {
    fn host(&self) -> Option<&str> {
        let is_address = self.0.parse::<IpAddr>().is_ok();
        Some(self.0).filter(|_| !is_address)
    }
}

impl Host for (String, u16) {
    fn host(&self) -> Option<&str> {
        let is_address = self.0.parse::<IpAddr>().is_ok();
        Some(self.0.as_str()).filter(|_| !is_address)
    }
}

impl<T: Host + ?Sized> Host for &T {
    fn host(&self) -> Option<&str> {
        (**self).host()
    }
}

/// Addresses have no host's name.
macro_rules! addresses {
    ($($type:ty),*) => {$(
        impl Host for $type {
            fn host(&self) -> Option<&str> {
                None
            }
        }
    )*};
}

addresses!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    &[SocketAddr]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_what_is_given_before_the_port() {
        assert_eq!("example.com:4000".host(), Some("example.com"));
        assert_eq!(String::from(":4000").host(), Some(""));
        assert_eq!(("", 4000).host(), Some(""));
        assert_eq!((String::from("a.example"), 4000).host(), Some("a.example"));
        assert_eq!("127.0.0.1:4000".host(), None);
        assert_eq!("[::1]:4000".host(), None);
        assert_eq!(("::1", 4000).host(), None);
        assert_eq!("4000".host(), None);
    }
}

//! The addresses of peers: which can be none, and how the kernel spells them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::transport::Transport;

/// The address in the form in which the kernel reports it as the source of a datagram.
///
/// The unspecified address means this host when it is connected to. A v4 address that is mapped into
/// v6 is v4. A flow label is no part of the source that the kernel reports, and a scope id only for
/// link-local addresses.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    let ip = match peer.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    match (ip, peer) {
        (IpAddr::V6(ip), SocketAddr::V6(peer)) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, peer.port(), 0, peer.scope_id()).into()
        }
        (ip, peer) => SocketAddr::new(ip, peer.port()),
    }
}

/// The address in the form in which a socket bound to `local` names it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if no such socket reaches the peer.
pub(super) fn as_seen_from(local: SocketAddr, peer: SocketAddr) -> io::Result<SocketAddr> {
    match (local, peer) {
        (SocketAddr::V4(_), SocketAddr::V6(_)) => Err(refused(
            "an IPv6 peer cannot be reached from an IPv4 address; bind to an IPv6 address",
        )),
        (SocketAddr::V6(local), SocketAddr::V4(peer)) => {
            if local.ip().is_unspecified() || local.ip().to_ipv4_mapped().is_some() {
                Ok((peer.ip().to_ipv6_mapped(), peer.port()).into())
            } else {
                Err(refused(
                    "an IPv4 peer cannot be reached from an IPv6 address other than [::]; bind to an IPv4 address",
                ))
            }
        }
        _ => Ok(peer),
    }
}

/// The peer's address in the form in which a socket reports it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if there can be no peer at it, or none that the socket reaches.
pub(in crate::net) fn spelled_for(
    socket: &dyn Transport,
    peer: SocketAddr,
) -> io::Result<SocketAddr> {
    check_peer(peer)?;
    as_seen_from(socket.local_addr()?, canonical(peer))
}

/// Refuses addresses at which there can be no peer.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`].
pub(super) fn check_peer(peer: SocketAddr) -> io::Result<()> {
    if peer.port() == 0 {
        return Err(refused("a peer cannot have port 0; allowed: 1 to 65535"));
    }
    let ip = peer.ip().to_canonical();
    let group = ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if group {
        return Err(refused(
            "address of the peer is a multicast or broadcast address; use that of a single host",
        ));
    }
    match peer {
        SocketAddr::V6(peer) if peer.ip().is_unicast_link_local() && peer.scope_id() == 0 => {
            Err(refused(
                "a link-local address needs the interface as its scope id, such as in \"[fe80::1%2]:4000\"",
            ))
        }
        _ => Ok(()),
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn spellings_of_one_address_become_that_of_the_kernel() {
        let spelled = [
            ("0.0.0.0:9", "127.0.0.1:9"),
            ("[::]:9", "[::1]:9"),
            ("[::ffff:0.0.0.0]:9", "127.0.0.1:9"),
            ("[::ffff:10.0.0.1]:9", "10.0.0.1:9"),
            ("[2001:db8::1%7]:9", "[2001:db8::1]:9"),
            ("[fe80::1%7]:9", "[fe80::1%7]:9"),
            ("10.0.0.1:9", "10.0.0.1:9"),
        ];
        for (given, kernel) in spelled {
            let (given, kernel): (SocketAddr, SocketAddr) =
                (given.parse().unwrap(), kernel.parse().unwrap());
            assert_eq!(canonical(given), kernel, "{given}");
        }
        let labelled = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 9, 5, 0);
        let plain: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
        assert_eq!(canonical(labelled.into()), plain);
    }

    #[test]
    fn addresses_of_no_peer_are_refused_with_the_reason() {
        let refused = [
            ("127.0.0.1:0", "port 0"),
            ("224.0.0.1:9", "multicast"),
            ("255.255.255.255:9", "broadcast"),
            ("[ff02::1]:9", "multicast"),
            ("[::ffff:224.0.0.1]:9", "multicast"),
            ("[fe80::1]:9", "scope id"),
        ];
        for (addr, reason) in refused {
            let error = check_peer(addr.parse().unwrap()).expect_err(addr);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{addr}: {error}");
        }
        for addr in addrs(&["127.0.0.1:1", "0.0.0.0:9", "[::]:9", "[fe80::1%2]:9"]) {
            assert!(check_peer(addr).is_ok(), "{addr}");
        }
    }

    #[test]
    fn v4_peer_is_named_in_the_form_of_the_socket() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (v4, mapped) = (addr("10.0.0.1:9"), addr("[::ffff:10.0.0.1]:9"));
        let v6 = addr("[2001:db8::1]:9");
        assert_eq!(as_seen_from(addr("0.0.0.0:0"), v4).unwrap(), v4);
        assert_eq!(as_seen_from(addr("[::]:0"), v4).unwrap(), mapped);
        assert_eq!(as_seen_from(addr("[::]:0"), v6).unwrap(), v6);
    }

    #[test]
    fn socket_of_the_wrong_family_is_refused_by_name() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (local, peer, reason) in [
            ("10.0.0.9:0", "[2001:db8::1]:9", "from an IPv4 address"),
            ("[2001:db8::9]:0", "10.0.0.1:9", "from an IPv6 address"),
        ] {
            let error = as_seen_from(addr(local), addr(peer)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}

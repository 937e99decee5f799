//! The addresses of a peer: in which order to try them, which can be no peer's, and how the kernel
//! spells them.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Puts addresses in the order in which to try them: both families in turns, starting with that of
/// the first, each in its own order, none twice (RFC 8305, section 4).
pub(crate) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut known = HashSet::new();
    let mut addresses: Vec<_> = addresses
        .into_iter()
        .filter(|addr| known.insert(*addr))
        .collect();
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (other, same): (Vec<_>, Vec<_>) = addresses
        .drain(..)
        .partition(|addr| addr.is_ipv6() != first);
    let mut other = other.into_iter();
    for addr in same {
        addresses.push(addr);
        addresses.extend(other.next());
    }
    addresses.extend(other);
    addresses
}

/// The address in the form in which the kernel reports it as the source of a datagram.
///
/// The unspecified address means this host when it is connected to. A v4 address that is mapped into
/// v6 is v4. A flow label is no part of the source that the kernel reports, and a scope id only for
/// link-local addresses.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
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

/// The address in the form in which a socket of the given family names it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if the socket is v4 and the peer v6.
pub(crate) fn for_family(peer: SocketAddr, v6: bool) -> io::Result<SocketAddr> {
    match peer {
        SocketAddr::V4(peer) if v6 => Ok((peer.ip().to_ipv6_mapped(), peer.port()).into()),
        SocketAddr::V6(_) if !v6 => Err(refused(
            "an IPv6 peer cannot be reached from an IPv4 address; bind the socket to an IPv6 address",
        )),
        peer => Ok(peer),
    }
}

/// Refuses addresses at which there can be no peer.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`].
pub(crate) fn check_peer(peer: SocketAddr) -> io::Result<()> {
    if peer.port() == 0 {
        return Err(refused("no peer has port 0; allowed are 1 to 65535"));
    }
    let ip = peer.ip().to_canonical();
    let group = ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if group {
        return Err(refused(
            "a peer is one host; this is a multicast or broadcast address",
        ));
    }
    match peer {
        SocketAddr::V6(peer) if peer.ip().is_unicast_link_local() && peer.scope_id() == 0 => {
            Err(refused(
                "a link-local address needs the interface as its scope id, as in \"[fe80::1%2]:4000\"",
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
    fn families_take_turns_and_keep_their_own_order() {
        let given = addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let tried = addrs(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleave(given), tried);
        let given = addrs(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
        let tried = addrs(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(given), tried);
        assert_eq!(interleave([]), []);
    }

    #[test]
    fn address_given_twice_is_tried_once() {
        let given = addrs(&["1.0.0.1:1", "1.0.0.1:1", "1.0.0.1:2"]);
        assert_eq!(interleave(given), addrs(&["1.0.0.1:1", "1.0.0.1:2"]));
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
    fn v4_peer_has_a_name_in_either_family_and_v6_in_its_own() {
        let v4: SocketAddr = "10.0.0.1:9".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:9".parse().unwrap();
        assert_eq!(for_family(v4, false).unwrap(), v4);
        assert_eq!(for_family(v4, true).unwrap(), mapped);
        assert_eq!(for_family(v6, true).unwrap(), v6);
        let error = for_family(v6, false).unwrap_err();
        assert!(error.to_string().contains("IPv4 address"), "{error}");
    }
}

//! Whether datagrams may be fragmented on their way.
//!
//! Those with data may, as those of kcp-go: a segment that has a number keeps its size, and if the
//! path becomes narrower, fragments are the only form in which it arrives at every peer. Probes of the
//! path's mtu must not be fragmented, or they would prove nothing.
//!
//! Linux has an option of the socket for it, and none of a single datagram over IPv4. A datagram that
//! another task sends while a probe is sent is not fragmented either; if it is too long, it counts as
//! lost.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

/// The system may fragment datagrams, and so may routers of IPv4.
pub(in crate::net::io) fn allow_fragments(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
    }
    // Sockets of both families need it for their v4 peers.
    Ok(set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?)
}

/// Datagrams leave whole or not at all. What the system has learned from others about the path, which
/// may be forged, is not used.
pub(in crate::net::io) fn forbid_fragments(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?;
    }
    Ok(set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?)
}

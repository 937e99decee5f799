//! What the connections of an endpoint learn from each other about the way to a host.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::net::sync::lock;
use crate::session::Session;
use crate::time::Time;

/// The hosts that an endpoint, or all sockets of a listener, have connections with.
///
/// A connection that has seen none of its path pays a time-out for the first loss. If another one to
/// the same host has seen losses, its small flushes are copied from the beginning instead.
#[derive(Debug, Default)]
pub(in crate::net) struct Hosts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    hosts: HashMap<IpAddr, Arc<Host>>,
    /// Entries before the next that look for some to forget.
    full_at: usize,
}

/// One host, shared by the connections to it.
#[derive(Debug, Default)]
pub(in crate::net) struct Host {
    /// When a connection has last said that it loses, in microseconds; 0 for never.
    lost_at: AtomicU64,
}

impl Hosts {
    /// The host at an address.
    pub(in crate::net) fn get(&self, now: Time, peer: SocketAddr) -> Arc<Host> {
        let mut table = lock(&self.0);
        let ip = peer.ip().to_canonical();
        if let Some(host) = table.hosts.get(&ip) {
            return Arc::clone(host);
        }
        if table.hosts.len() >= table.full_at {
            table
                .hosts
                .retain(|_, host| Arc::strong_count(host) > 1 || host.loses(now));
            if table.hosts.len() > MOST_LEFT {
                // Losses of hosts without a connection are worth less than the memory.
                table.hosts.retain(|_, host| Arc::strong_count(host) > 1);
            }
            table.full_at = (2 * table.hosts.len()).max(MOST_LEFT);
        }
        Arc::clone(table.hosts.entry(ip).or_default())
    }
}

impl Host {
    /// Tells others what the session knows of the path, and the session what others know.
    pub(in crate::net) fn exchange(&self, now: Time, session: &mut Session) {
        if session.has_lost() {
            self.note_loss(now);
        } else if self.loses(now) {
            session.expect_loss();
        }
    }

    fn note_loss(&self, now: Time) {
        // Each transmission notes it, and few of them write to what cores share.
        if self.lost_at().is_none_or(|lost_at| now - lost_at >= GRAIN) {
            let micros = now.as_micros().max(1);
            self.lost_at.store(micros, Ordering::Relaxed);
        }
    }

    fn loses(&self, now: Time) -> bool {
        self.lost_at().is_some_and(|lost_at| now - lost_at < MEMORY)
    }

    fn lost_at(&self) -> Option<Time> {
        let micros = self.lost_at.load(Ordering::Relaxed);
        (micros > 0).then(|| Time::from_micros(micros))
    }
}

/// How long losses are remembered. A path that loses is seldom better a minute later, and what a
/// connection does in vain is bounded by its first few hundred datagrams.
const MEMORY: Duration = Duration::from_secs(300);

const GRAIN: Duration = Duration::from_secs(1);

/// Hosts that are kept after their last connection has ended: half a megabyte at most.
const MOST_LEFT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    fn addr(host: u32, port: u16) -> SocketAddr {
        (std::net::Ipv4Addr::from(host), port).into()
    }

    #[test]
    fn losses_are_those_of_a_host_and_forgotten_after_five_minutes() {
        let hosts = Hosts::default();
        let first = hosts.get(at(0), addr(1, 4000));
        first.note_loss(at(0));
        let second = hosts.get(at(10), addr(1, 5000));
        assert!(second.loses(at(10)) && second.loses(at(299)));
        assert!(!second.loses(at(301)));
        let mapped: SocketAddr = "[::ffff:0.0.0.1]:4000".parse().expect("valid");
        assert!(hosts.get(at(10), mapped).loses(at(10)));
        assert!(!hosts.get(at(10), addr(2, 4000)).loses(at(10)));
    }

    #[test]
    fn losses_of_a_host_outlive_its_connections() {
        let hosts = Hosts::default();
        hosts.get(at(0), addr(1, 4000)).note_loss(at(0));
        assert!(hosts.get(at(60), addr(1, 4001)).loses(at(60)));
    }

    #[test]
    fn hosts_without_connections_are_bounded_and_those_with_some_are_kept() {
        let hosts = Hosts::default();
        let kept: Vec<_> = (0..3000)
            .map(|host| hosts.get(at(0), addr(host, 1)))
            .collect();
        for host in 0..100_000 {
            hosts.get(at(1), addr(host, 1)).note_loss(at(1));
        }
        let len = lock(&hosts.0).hosts.len();
        assert!(len <= 2 * MOST_LEFT, "{len}");
        for (host, kept) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(kept, &hosts.get(at(2), addr(host, 1))));
        }
    }
}

//! The first calls of a connection.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::time::Time;

use super::net::{Net, Path};

/// What the first calls of one connection come to.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) times: Vec<Duration>,
    /// Segments sent again by both ends.
    pub(crate) resent: u64,
}

/// Connects and makes calls of a kilobyte each way, one after the other.
pub(crate) fn opening(path: Path, config: &Config, calls: usize, seed: u64) -> Opening {
    const SIZE: usize = 1024;
    let mut net = Net::new(path, 1, [config; 2], seed);
    net.connect();
    let mut times = Vec::new();
    let mut got = [0; 2];
    let mut buffer = vec![0; 1 << 16];
    let mut started = net.now;
    net.ends[0].session.write(net.now, &[1; SIZE]);
    net.flush(0);
    while times.len() < calls {
        for index in net.step(Time::from_micros(u64::MAX)) {
            let now = net.now;
            let session = &mut net.ends[index].session;
            assert!(session.error().is_none(), "{:?}", session.error());
            got[index] += session.read(now, &mut buffer);
            if got[index] >= SIZE {
                got[index] -= SIZE;
                if index == 0 {
                    times.push(now - started);
                    started = now;
                }
                if index == 1 || times.len() < calls {
                    session.write(now, &[1; SIZE]);
                }
            }
            net.flush(index);
        }
    }
    let resent = net.ends.iter().map(|it| it.session.stats().retransmitted);
    Opening {
        times,
        resent: resent.sum(),
    }
}

//! Two sessions connected by simulated links, in virtual time and reproducible from a seed.
//!
//! Nothing waits in real time: a minute of virtual time passes in about a millisecond, and the same
//! seed gives the same run, packet for packet.
//!
//! ```
//! use kcp_transport::config::Config;
//! use kcp_transport::testing::{LinkConfig, Pair, PairConfig};
//!
//! let mut config = PairConfig::default();
//! config.link = LinkConfig { loss: 0.3, ..LinkConfig::default() };
//! let mut pair = Pair::new(7, &config);
//! let sent = vec![42; 100_000];
//! let received = pair.transfer(&sent).expect("arrives despite the loss");
//! assert_eq!(received, sent);
//! ```

mod controller;
#[doc(hidden)]
pub mod field;
mod link;
mod pair;
mod rng;

pub use controller::{AboveWindow, ScriptedControllers};
pub use link::{Link, LinkConfig, LinkStats};
pub use pair::{Pair, PairConfig, Peer, Side};
pub use rng::Rng;

/// The seeds that a simulation test runs: `default`, or the one in the environment variable
/// `KCP_SIM_SEED` to replay a failure.
///
/// # Panics
///
/// If the variable is set to something other than a number.
pub fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match std::env::var("KCP_SIM_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("KCP_SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => default,
    }
}

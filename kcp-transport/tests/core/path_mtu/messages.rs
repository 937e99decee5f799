//! Messages over paths of all sizes.

use std::time::Duration;

use kcp_transport::config::{Config, Mode};
use kcp_transport::error::ConnectionError;
use kcp_transport::testing::{LinkConfig, Pair, Side};

use super::{SIDES, config, ms, pair, send};

#[test]
fn messages_are_cut_to_the_size_that_was_found() {
    let options = config(Config::builder().mode(Mode::Message));
    let mut pair = pair(&options, 1300);
    let message = vec![7; 30_000];
    for _ in 0..20 {
        let now = pair.now();
        assert_eq!(pair.client.session.write_message(now, &message), Ok(true));
        let mut read = Vec::new();
        let arrived = pair.run_until(ms(500), |pair| {
            let now = pair.now();
            pair.server.session.read_message(now, &mut read)
        });
        assert!(arrived && read == message);
    }
    pair.run_for(ms(2000));
    let found = pair.client.session.path_mtu();
    assert!((1277..=1300).contains(&found), "{found}");
    assert_eq!(pair.client.session.stats().retransmitted, 0);
}

/// The longest message is as long as before: its fragments are larger then.
#[test]
fn longest_message_does_not_depend_on_the_path() {
    let mut pair = pair(&config(Config::builder().mode(Mode::Message)), 1500);
    // The peer's window is not known yet.
    send(&mut pair, Side::Server, 1, ms(200));
    let most = pair.client.session.max_message_len();
    assert_eq!(most, 255 * (1400 - 28 - 24));
    let now = pair.now();
    let message = vec![7; most];
    assert_eq!(pair.client.session.write_message(now, &message), Ok(true));
    let mut read = Vec::new();
    assert!(pair.run_until(ms(1000), |pair| {
        let now = pair.now();
        pair.server.session.read_message(now, &mut read)
    }));
    assert_eq!(read.len(), most);
}

/// Two sides of messages on a path that loses a tenth of all datagrams, and all that are longer than
/// `mtu`.
fn lossy_pair(mtu: usize) -> Pair {
    let mut pair = pair(&config(Config::builder().mode(Mode::Message)), mtu);
    // The window of the peer, and that its address is true.
    send(&mut pair, Side::Client, 1, ms(200));
    send(&mut pair, Side::Server, 1, ms(200));
    for side in SIDES {
        pair.peer(side).link.set_config(LinkConfig {
            mtu,
            loss: 0.1,
            ..LinkConfig::default()
        });
    }
    pair
}

/// Sends a message, which arrives within `time`, unless the connection ends before.
fn deliver(
    pair: &mut Pair,
    from: Side,
    message: &[u8],
    time: Duration,
) -> Result<(), ConnectionError> {
    let to = match from {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    let (mut queued, mut read) = (false, Vec::new());
    let ended = pair.run_until(time, |pair| {
        let now = pair.now();
        let session = &mut pair.peer(from).session;
        queued = queued
            || session
                .write_message(now, message)
                .expect("is short enough");
        let failed = session.error().is_some();
        pair.peer(to).session.read_message(now, &mut read) || failed
    });
    let session = &pair.peer(from).session;
    assert!(ended, "neither after {time:?}: {:?}", session.stats());
    match session.error() {
        Some(error) => Err(error),
        None => {
            assert!(read == message, "another message");
            Ok(())
        }
    }
}

#[test]
fn messages_of_many_fragments_pass_a_narrow_path_that_loses_packets() {
    for side in SIDES {
        for mtu in [1200, 1250, 1399] {
            let mut pair = lossy_pair(mtu);
            // As many fragments as there may be, before the size is known and after.
            for len in [
                255 * (1200 - 28 - 24),
                100_000,
                1201,
                255 * (1200 - 28 - 24),
            ] {
                let message = vec![7; len];
                let result = deliver(&mut pair, side, &message, ms(5000));
                assert_eq!(result, Ok(()), "{len} bytes at {mtu}");
            }
        }
    }
}

/// A message whose fragments have to be larger than the path carries.
#[test]
fn message_that_never_fits_the_path_ends_the_connection_with_the_size_that_passes() {
    for side in SIDES {
        for mtu in [1200, 1250, 1390] {
            let mut pair = lossy_pair(mtu);
            let most = pair.peer(side).session.max_message_len();
            let result = deliver(&mut pair, side, &vec![7; most], ms(35_000));
            let error = result.expect_err("does not fit");
            let ConnectionError::PathTooNarrow(size) = error else {
                panic!("{mtu}: {error}");
            };
            assert!((508..=mtu).contains(&usize::from(size)), "{mtu}: {error}");
            assert!(error.to_string().contains("mtu"), "{error}");
        }
    }
}

//! Messages over paths of all sizes.

use kcp_transport::config::{Config, Mode};
use kcp_transport::testing::Side;

use super::{config, ms, pair, send};

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

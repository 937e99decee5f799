//! The named links.

use super::spec::Link;

/// Name, settings and description. Defaults are RTT 50 ms, 100 Mbit/s and a queue of 400 packets.
pub const NAMED: &[(&str, &str, &str)] = &[
    ("loss-0", "", "no loss"),
    ("loss-1", "loss=1", "1 % loss before the queue"),
    ("loss-5", "loss=5", "5 % loss before the queue"),
    ("loss-10", "loss=10", "10 % loss before the queue"),
    ("loss-20", "loss=20", "20 % loss before the queue"),
    (
        "after-1",
        "loss=1+loss-at=after",
        "1 % loss after the queue",
    ),
    (
        "after-5",
        "loss=5+loss-at=after",
        "5 % loss after the queue",
    ),
    (
        "after-10",
        "loss=10+loss-at=after",
        "10 % loss after the queue",
    ),
    (
        "burst3-1",
        "loss=1+burst=3p",
        "1 % loss, 3 packets in a row",
    ),
    (
        "burst3-5",
        "loss=5+burst=3p",
        "5 % loss, 3 packets in a row",
    ),
    (
        "burst3-10",
        "loss=10+burst=3p",
        "10 % loss, 3 packets in a row",
    ),
    ("time3-1", "loss=1+burst=3ms", "1 % loss in bursts of 3 ms"),
    ("time3-5", "loss=5+burst=3ms", "5 % loss in bursts of 3 ms"),
    (
        "time10-1",
        "loss=1+burst=10ms",
        "1 % loss in bursts of 10 ms",
    ),
    (
        "time10-5",
        "loss=5+burst=10ms",
        "5 % loss in bursts of 10 ms",
    ),
    (
        "reorder-5",
        "reorder=5",
        "5 % of the packets delayed by up to 5 ms",
    ),
    ("jitter-10", "jitter=10", "up to 10 ms of jitter"),
    (
        "lose-1st",
        "up.lose-nth=1",
        "each client's 1st packet is lost",
    ),
    (
        "lose-2nd",
        "up.lose-nth=2",
        "each client's 2nd packet is lost",
    ),
    (
        "lose-3rd",
        "up.lose-nth=3",
        "each client's 3rd packet is lost",
    ),
    ("far-2", "rtt=200+loss=2", "RTT 200 ms, 2 % loss"),
    (
        "slow-1",
        "mbit=10+queue=25+loss=1",
        "10 Mbit/s, queue 25, 1 % loss",
    ),
    ("slow-q25", "mbit=10+queue=25", "10 Mbit/s, queue 25"),
    ("slow-q50", "mbit=10+queue=50", "10 Mbit/s, queue 50"),
    ("slow-q100", "mbit=10+queue=100", "10 Mbit/s, queue 100"),
];

/// The links that `losses` stands for, which differ only in their loss.
pub const LOSSES: &[&str] = &["loss-0", "loss-1", "loss-5", "loss-10", "loss-20"];

/// The links for a name, for `losses`, or for settings.
pub fn find_all(text: &str) -> Result<Vec<Link>, String> {
    if text == "losses" {
        LOSSES.iter().map(|name| find(name)).collect()
    } else {
        find(text).map(|link| vec![link])
    }
}

/// The link with this name or these settings, such as `rtt=30+loss=3`.
pub fn find(text: &str) -> Result<Link, String> {
    match NAMED.iter().find(|(name, ..)| *name == text) {
        Some((name, settings, _)) => Link::parse(name, settings),
        None if text.contains('=') => Link::parse(text, text),
        None => Err(format!(
            "unknown link {text}; use a name from --list, or settings such as rtt=30+loss=3"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_link_is_valid() {
        assert_eq!(
            find_all("losses").map(|links| links.len()),
            Ok(LOSSES.len())
        );
        for (name, ..) in NAMED {
            assert_eq!(find(name).map(|link| link.name), Ok((*name).to_owned()));
        }
    }
}

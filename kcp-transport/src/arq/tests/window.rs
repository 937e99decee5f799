//! A window that closes and reopens, over paths that lose, reorder and forge announcements.

use super::*;

/// A sender with more data than its peer's reader reads, and that peer.
struct Stalled {
    sender: Arq,
    receiver: Arq,
    now: Time,
}

impl Stalled {
    /// A pair whose window has been closed since `stalled`, and whose probes were answered.
    fn new(stalled: Duration) -> Self {
        let mut pair = Self {
            sender: arq(ArqConfig {
                send_buffer: 200 * MSS,
                ..config()
            }),
            receiver: arq(with_window(16)),
            now: at(1000),
        };
        assert_eq!(pair.sender.write(&[7; 200 * MSS]), 200 * MSS);
        // The answer to the connecting probe advertised a window.
        direct(&mut pair.sender, pair.now, &tell(0, 16));
        let until = pair.now + stalled;
        while pair.now < until {
            pair.step(|_| true);
        }
        assert_eq!(
            (pair.sender.remote_window(), pair.receiver.unread()),
            (0, 16)
        );
        pair
    }

    /// Advances time by 10 ms. Datagrams of the receiver arrive if `keep` accepts them.
    fn step(&mut self, keep: impl Fn(&SegmentHeader) -> bool) {
        self.now += ms(10);
        for payload in datagrams(&mut self.sender, self.now) {
            direct(&mut self.receiver, self.now, &payload);
        }
        for payload in datagrams(&mut self.receiver, self.now) {
            if segments(&payload).iter().all(&keep) {
                direct(&mut self.sender, self.now, &payload);
            }
        }
    }

    /// Reads everything and returns the time until new data arrives.
    fn resumes_after(&mut self, mut step: impl FnMut(&mut Self)) -> Duration {
        let reopened = self.now;
        let mut out = [0; 16 * MSS];
        assert_eq!(self.receiver.read(&mut out), 16 * MSS);
        while self.receiver.unread() == 0 {
            step(self);
            assert!(self.now - reopened < Duration::from_secs(60), "stalled");
        }
        self.now - reopened
    }
}

const STALLS: [u64; 4] = [1, 5, 60, 600];

#[test]
fn reopening_resumes_at_once() {
    for seconds in STALLS {
        let mut pair = Stalled::new(Duration::from_secs(seconds));
        assert!(pair.resumes_after(|pair| pair.step(|_| true)) <= ms(20));
    }
}

#[test]
fn lost_reopenings_stall_the_sender_for_at_most_two_seconds() {
    for seconds in STALLS {
        for lost in 1..=3 {
            let mut pair = Stalled::new(Duration::from_secs(seconds));
            let left = std::cell::Cell::new(lost);
            let waited = pair.resumes_after(|pair| {
                pair.step(|header| {
                    let lose = header.command == Command::WindowUpdate && left.get() > 0;
                    left.set(left.get() - u32::from(lose));
                    !lose
                });
            });
            let most = if lost < 3 { 450 } else { 2020 };
            assert!(
                waited <= ms(most),
                "{lost} lost after {seconds} s: {waited:?}"
            );
        }
    }
}

#[test]
fn outdated_reordered_window_stalls_the_sender_for_at_most_two_seconds() {
    for seconds in STALLS {
        let mut pair = Stalled::new(Duration::from_secs(seconds));
        let una = pair.receiver.receive.next().to_wire();
        let mut late = 0;
        let waited = pair.resumes_after(|pair| {
            pair.now += ms(10);
            for payload in datagrams(&mut pair.receiver, pair.now) {
                direct(&mut pair.sender, pair.now, &payload);
                // An announcement from before the read arrives after it, three times.
                if late < 3 {
                    late += 1;
                    direct(&mut pair.sender, pair.now, &tell(una, 0));
                }
            }
            for payload in datagrams(&mut pair.sender, pair.now) {
                direct(&mut pair.receiver, pair.now, &payload);
            }
        });
        assert!(waited <= ms(2000), "after {seconds} s: {waited:?}");
    }
}

#[test]
fn forged_windows_with_an_old_una_do_not_stall_the_sender() {
    for seconds in STALLS {
        let mut pair = Stalled::new(Duration::from_secs(seconds));
        let una = pair.receiver.receive.next().to_wire();
        let waited = pair.resumes_after(|pair| {
            for back in 1..10 {
                direct(&mut pair.sender, pair.now, &tell(una - back, 0));
            }
            pair.step(|_| true);
        });
        assert!(waited <= ms(20), "after {seconds} s: {waited:?}");
    }
}

#[test]
fn forged_window_in_place_of_each_reopening_stalls_the_sender_for_at_most_two_seconds() {
    for seconds in STALLS {
        let mut pair = Stalled::new(Duration::from_secs(seconds));
        let una = pair.receiver.receive.next().to_wire();
        let mut forged = 0;
        let waited = pair.resumes_after(|pair| {
            pair.step(|header| header.command != Command::WindowUpdate || forged >= 3);
            if forged < 3 {
                // Even if the forged segment has the current `una`.
                direct(&mut pair.sender, pair.now, &tell(una, 0));
                forged += 1;
            }
        });
        assert!(waited <= ms(2020), "after {seconds} s: {waited:?}");
    }
}

/// Whether the peer is told that a window of one segment is open again, after a datagram of `sends`
/// has told it that it is closed.
fn announces_after(sends: impl Fn(&mut Arq)) -> bool {
    let mut arq = arq(ArqConfig {
        receive_window: 1,
        ack_policy: AckPolicy::Batched,
        ..config()
    });
    direct(&mut arq, at(0), &push(0, &[7; MSS]));
    sends(&mut arq);
    assert_eq!(arq.read(&mut [0; MSS]), MSS);
    let sent = transmit(&mut arq, at(0));
    sent.iter().any(|it| it.command == Command::WindowUpdate)
}

#[test]
fn window_that_any_datagram_has_closed_is_announced_when_it_is_open_again() {
    assert!(!announces_after(|_| {}));
    assert!(announces_after(|arq| {
        assert!(arq.transmit_extension(&[0; 4], &mut [0; 100]) > 0);
    }));
    assert!(announces_after(|arq| {
        assert_eq!(arq.repeated_push(0).window, 0);
    }));
}

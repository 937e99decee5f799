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

/// A sender that nothing but the windows limits, whose peer takes `window` segments, knows it, and has
/// received one.
fn acquainted(window: u16) -> Stalled {
    let size = usize::from(window) * MSS;
    let mut pair = Stalled {
        sender: arq(ArqConfig {
            send_window: window,
            send_buffer: size,
            ..config()
        }),
        receiver: arq(with_window(window)),
        now: at(1000),
    };
    pair.sender.write(&[7; MSS]);
    pair.step(|_| true);
    assert_eq!(pair.sender.in_flight(), 0);
    pair
}

impl Stalled {
    /// Lets what is in flight arrive, and all that is sent from now on. The reader reads everything.
    /// Returns how often a segment was sent again.
    fn finish(&mut self, in_flight: Vec<Vec<u8>>) -> u64 {
        let before = stats(&self.sender).retransmitted;
        self.now += ms(10);
        for payload in in_flight {
            direct(&mut self.receiver, self.now, &payload);
        }
        let mut out = vec![0; 1 << 16];
        let last = self.now + Duration::from_secs(60);
        while !self.sender.is_drained() {
            assert!(self.now < last, "does not end");
            self.step(|_| true);
            while self.receiver.read(&mut out) > 0 {}
        }
        // The window that is open again.
        self.step(|_| true);
        stats(&self.sender).retransmitted - before
    }
}

#[test]
fn each_lost_segment_of_a_large_flight_is_sent_again_about_once() {
    for window in [1000, 4096, 20_000] {
        let mut pair = acquainted(window);
        pair.sender.write(&vec![7; usize::from(window) * MSS]);
        pair.now += ms(10);
        let mut flight = datagrams(&mut pair.sender, pair.now);
        let lost = flight.len() * 2 / 3;
        assert!(lost >= 600, "{lost} of a window of {window}");
        let again = pair.finish(flight.split_off(lost));
        let (least, most) = (lost as u64, lost as u64 + 10);
        assert!((least..=most).contains(&again), "{again} for {lost} lost");
    }
}

#[test]
fn what_a_peer_has_no_room_for_any_more_is_sent_again_once_it_has() {
    let mut pair = acquainted(1000);
    pair.sender.write(&[7; 800 * MSS]);
    pair.now += ms(10);
    let flight = datagrams(&mut pair.sender, pair.now);
    assert_eq!(flight.len(), 800);
    // The first segment is lost, and room for only a few of the others is left.
    pair.receiver.set_memory_pressure(true);
    let again = pair.finish(flight[1..].to_vec());
    assert!((600..900).contains(&again), "{again} for 800");
}

#[test]
fn all_that_is_announced_is_accepted_in_any_order() {
    for window in [100, 4096, 60_000] {
        let mut pair = acquainted(window);
        for _ in 0..8 {
            let room = usize::from(pair.sender.remote_window());
            pair.sender.write(&vec![7; room * MSS]);
            pair.now += ms(10);
            let flight = datagrams(&mut pair.sender, pair.now);
            assert_eq!(flight.len(), room);
            for payload in flight.into_iter().rev() {
                direct(&mut pair.receiver, pair.now, &payload);
            }
            assert_eq!(stats(&pair.receiver).out_of_window_received, 0);
            assert_eq!(pair.finish(Vec::new()), 0);
        }
        let reached = pair.sender.remote_window();
        assert_eq!(reached, window);
    }
}

#[test]
fn large_segments_that_exceed_the_memory_of_a_slow_reader_are_not_sent_again_and_again() {
    const LARGE: usize = 8900;
    let large = |config| ArqConfig {
        segments_len: LARGE + SEGMENT_HEADER_LEN,
        send_window: 1000,
        send_buffer: 1000 * LARGE,
        ..config
    };
    let mut pair = Stalled {
        sender: arq(large(config())),
        receiver: arq(large(with_window(1000))),
        now: at(1000),
    };
    direct(&mut pair.sender, pair.now, &tell(0, 1000));
    pair.sender.write(&vec![7; 1000 * LARGE]);
    pair.now += ms(10);
    let mut out = vec![0; LARGE + SEGMENT_HEADER_LEN];
    let mut flight = Vec::new();
    while let len @ 1.. = pair.sender.poll_transmit(pair.now, &mut out) {
        flight.push(out[..len].to_vec());
    }
    assert_eq!(flight.len(), 1000);
    for payload in &flight[1..] {
        direct(&mut pair.receiver, pair.now, payload);
    }
    let refused = stats(&pair.receiver).out_of_window_received;
    assert!(refused > 500, "{refused}");
    let last = pair.now + Duration::from_secs(60);
    while !pair.sender.is_drained() {
        assert!(pair.now < last, "does not end");
        pair.now += ms(10);
        while let len @ 1.. = pair.receiver.poll_transmit(pair.now, &mut out) {
            direct(&mut pair.sender, pair.now, &out[..len]);
        }
        while let len @ 1.. = pair.sender.poll_transmit(pair.now, &mut out) {
            direct(&mut pair.receiver, pair.now, &out[..len]);
        }
        // A few each time.
        for _ in 0..8 {
            pair.receiver.read(&mut out[..LARGE]);
        }
    }
    let again = stats(&pair.sender).retransmitted;
    assert!(again < 2 * refused, "{again} for {refused} refused");
}

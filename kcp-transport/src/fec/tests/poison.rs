//! Misleading packets and their cost.

use super::*;

/// Share of lost data packets that were rebuilt at 5 % loss, with forged packets in between.
fn recovery(ratio: FecRatio, mut forge: impl FnMut(usize, &mut Receiver)) -> f64 {
    let mut rng = Rng(42);
    let count = 20_000;
    let sent = packets(&mut FecEncoder::new(ratio), count);
    let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
    receiver.poisoned = true;
    for (at, packet) in sent.iter().enumerate() {
        forge(at, &mut receiver);
        if rng.below(20) != 0 {
            receiver.receive(packet);
        }
    }
    assert_eq!(receiver.decoder.ratio(), Some(ratio));
    let lost = count - receiver.arrived.len();
    receiver.rebuilt.difference(&receiver.arrived).count() as f64 / lost as f64
}

#[test]
fn far_ahead_packets_cost_less_than_a_hundredth_of_recovery() {
    for ratio in [ratio(10, 3), ratio(3, 1), ratio(20, 5)] {
        let group = ratio.group();
        let clean = recovery(ratio, |_, _| {});
        assert!(clean > 0.7, "{clean}");
        for ahead in [3, 30, 64, 70, 1000, 100_000_000] {
            let sequence = |at: usize| (at + ahead * group).min(4_000_000_000) as u32;
            let kind = |sequence| match ratio.place(sequence).1 < ratio.data() {
                true => ShardKind::Data,
                false => ShardKind::Parity,
            };
            let forge = |at, receiver: &mut Receiver| {
                receiver.receive_forged(sequence(at), kind(sequence(at)));
            };
            let once = recovery(ratio, |at, receiver| {
                if at == 1000 {
                    forge(at, receiver);
                }
            });
            assert!(
                once > clean - 0.01,
                "{ratio:?}, {ahead} ahead: {once} of {clean}"
            );
            let often = recovery(ratio, |at, receiver| {
                if at % 250 == 0 && ahead > 64 {
                    forge(at, receiver);
                }
            });
            assert!(
                often > clean - 0.01,
                "{ratio:?}, {ahead} ahead: {often} of {clean}"
            );
        }
    }
}

/// Segments without a session, such as challenges and resets, come in the FEC packets that their receiver
/// needs, while its decoder learns the ratio and later.
#[test]
fn packets_of_no_session_cost_no_recovery() {
    for (data, parity) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 3),
        (20, 5),
        (128, 128),
        (15, 1),
        (1, 7),
    ] {
        let sent = packets(&mut FecEncoder::new(ratio(data, parity)), 4000);
        let recovered = |without_session: &dyn Fn(usize) -> usize| {
            let mut rng = Rng(7);
            let mut receiver = Receiver::new(FecDecoder::new());
            for (at, packet) in sent.iter().enumerate() {
                for _ in 0..without_session(at) {
                    let ShardHeader { sequence, kind } = ShardHeader::WITHOUT_SESSION;
                    receiver.receive_forged(sequence, kind);
                }
                if rng.below(20) != 0 {
                    receiver.receive(packet);
                }
            }
            receiver.rebuilt
        };
        let clean = recovered(&|_| 0);
        assert!(clean.len() > 20, "{data}/{parity}: {}", clean.len());
        for answers in [1, 3] {
            let at_first = recovered(&|at| if at == 0 { answers } else { 0 });
            assert_eq!(at_first, clean, "{data}/{parity}, {answers} at first");
            let later = recovered(&|at| if at % 997 == 500 { answers } else { 0 });
            assert_eq!(later, clean, "{data}/{parity}, {answers} now and then");
        }
    }
}

#[test]
fn packets_that_contradict_the_ratio_cost_less_than_a_hundredth_of_recovery() {
    for ratio in [ratio(10, 3), ratio(3, 1), ratio(20, 5)] {
        let clean = recovery(ratio, |_, _| {});
        let group = ratio.group();
        let parity_of_old = recovery(ratio, |at, receiver| {
            if at % 50 == 0 {
                receiver.receive_forged(
                    (at.saturating_sub(2000) / group * group) as u32,
                    ShardKind::Parity,
                );
            }
        });
        let data_of_new = recovery(ratio, |at, receiver| {
            if at % 50 == 0 {
                let parity = at / group * group + 2 * group - 1;
                receiver.receive_forged(parity as u32, ShardKind::Data);
            }
        });
        let other_ratio = recovery(ratio, |at, receiver| {
            if at % 500 == 0 {
                for at in 0..10 {
                    let kind = [ShardKind::Data, ShardKind::Parity][at % 2];
                    receiver.receive_forged(3_000_000_000 + at as u32, kind);
                }
            }
        });
        for poisoned in [parity_of_old, data_of_new, other_ratio] {
            assert!(poisoned > clean - 0.01, "{ratio:?}: {poisoned} of {clean}");
        }
    }
}

#[test]
fn confirmed_jump_is_followed_and_so_is_the_return() {
    let ratio = ratio(10, 3);
    let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
    let sent = packets(&mut FecEncoder::new(ratio), 1000);
    for packet in &sent[..130] {
        receiver.receive(packet);
    }
    for at in 0..3 {
        receiver.receive_forged(1_300_000 + at, ShardKind::Data);
    }
    for (at, packet) in sent.iter().enumerate().skip(130) {
        if at % 13 != 5 {
            receiver.receive(packet);
        }
    }
    let missing = (0..1000).filter(|&at| !receiver.got(at)).count();
    assert!(missing <= 4, "{missing} are missing");
}

#[test]
fn memory_is_bounded_whatever_is_received() {
    for (data, parity) in [(1, 1), (10, 3), (128, 128), (255, 1), (1, 255)] {
        let ratio = ratio(data, parity);
        let mut decoder = FecDecoder::knowing(ratio);
        let group_size = u32::try_from(ratio.group()).expect("small");
        let mut most = 0;
        // One shard less than needed in every group, then groups with scattered numbers.
        for group in (0..50).chain((50..1000).step_by(37)).chain((0..50).rev()) {
            for index in 1..ratio.data() {
                let header = ShardHeader {
                    sequence: group * group_size + index as u32,
                    kind: ShardKind::Data,
                };
                decoder.decode(Time::ZERO, header, &[0; 1490], &mut |_: Rebuilt<'_>| true);
            }
            let (groups, bytes) = decoder.footprint();
            assert!(
                groups <= 40 && bytes <= 512 * 1024,
                "{groups} groups, {bytes} bytes"
            );
            most = most.max(bytes);
        }
        assert!(
            data < 100 || most > 400 * 1024,
            "{most} bytes never came near the bound"
        );
        decoder.shrink();
        assert_eq!(decoder.footprint(), (0, 0));
    }
}

#[test]
fn rebuilt_packet_with_a_bad_size_is_counted_and_dropped() {
    let ratio = ratio(2, 1);
    let mut decoder = FecDecoder::knowing(ratio);
    let mut offer = |sequence, kind, shard: &[u8]| {
        decoder.decode(
            Time::ZERO,
            ShardHeader { sequence, kind },
            shard,
            &mut |_: Rebuilt<'_>| {
                panic!("delivered");
            },
        );
    };
    offer(0, ShardKind::Data, &[4, 0, 1, 2]);
    offer(2, ShardKind::Parity, &[0xff, 0xff, 0xff, 0xff]);
    // Longer than its parity.
    offer(3, ShardKind::Data, &[6, 0, 1, 2, 3, 4]);
    offer(5, ShardKind::Parity, &[1, 2, 3, 4]);
    assert_eq!((decoder.stats().errors, decoder.stats().recovered), (2, 0));
    assert_eq!(decoder.stats().parity_received, 2);
}

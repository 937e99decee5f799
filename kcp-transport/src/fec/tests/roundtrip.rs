//! Encoder and decoder over channels that lose, repeat and reorder.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn group_is_whole_with_any_data_of_its_packets(ratio in ratios(), seed in 1..u64::MAX) {
        let mut rng = Rng(seed);
        // The first packet of a group of one counts as late, so the first group is skipped.
        let groups = 4;
        let sent = packets(&mut FecEncoder::new(ratio), ratio.data() * groups);
        let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
        let whole = |packet: &&Vec<u8>| {
            ShardHeader::detect(packet).expect("has a header").0.sequence as usize >= ratio.group()
        };
        let sent: Vec<&Vec<u8>> = sent.iter().filter(whole).collect();
        for group in sent.chunks(ratio.group()) {
            let mut group = group.to_vec();
            for at in 0..group.len() {
                let left = (group.len() - at) as u64;
                group.swap(at, at + rng.below(left) as usize);
            }
            for packet in &group[..ratio.data()] {
                receiver.receive(packet);
                receiver.receive(packet);
            }
        }
        for at in ratio.data()..ratio.data() * groups {
            prop_assert!(receiver.got(at), "{} is missing", at);
        }
        prop_assert_eq!(receiver.stats().errors, 0);
        prop_assert_eq!(receiver.stats().ignored, 0);
        prop_assert_eq!(receiver.stats().recovered, receiver.rebuilt.len() as u64);
    }

    #[test]
    fn every_group_with_enough_packets_is_whole_on_a_bad_path(
        ratio in (1..=20_usize, 1..=8_usize).prop_map(|(data, parity)| ratio(data, parity)),
        hinted: bool,
        seed in 1..u64::MAX,
    ) {
        let mut rng = Rng(seed);
        let sent = packets(&mut FecEncoder::new(ratio), 3000 / ratio.group() * ratio.data());
        let mut channel: Vec<&Vec<u8>> = Vec::new();
        let mut delivered = vec![0; 3000 / ratio.group() + 1];
        for packet in &sent {
            if rng.below(10) == 0 {
                continue;
            }
            let (header, _) = ShardHeader::detect(packet).expect("has a header");
            delivered[ratio.place(header.sequence).0 as usize] += 1;
            let back = if rng.below(8) == 0 { 3 } else { 0 };
            channel.insert(channel.len().saturating_sub(back), packet);
            if rng.below(10) == 0 {
                channel.push(packet);
            }
        }
        let mut receiver = Receiver::new(if hinted {
            FecDecoder::knowing(ratio)
        } else {
            FecDecoder::new()
        });
        for packet in channel {
            receiver.receive(packet);
        }
        prop_assert_eq!(receiver.decoder.ratio(), Some(ratio));
        prop_assert_eq!(receiver.stats().errors, 0);
        // Without a hint the first groups are used to learn the ratio.
        let learned = if hinted { 0 } else { delivered.len() / 2 };
        for (group, _) in delivered.iter().enumerate().skip(learned)
            .filter(|&(_, &count)| count >= ratio.data())
        {
            for at in group * ratio.data()..(group + 1) * ratio.data() {
                prop_assert!(receiver.got(at), "{} of group {} is missing", at, group);
            }
        }
    }

    #[test]
    fn any_packets_are_decoded_without_panic(
        hint in prop::option::of(ratios()),
        received in prop::collection::vec(
            (
                prop_oneof![0..200_u32, any::<u32>(), u32::MAX - 300..=u32::MAX],
                any::<bool>(),
                prop::collection::vec(any::<u8>(), 0..20),
            ),
            0..1000,
        ),
    ) {
        let mut decoder = hint.map_or_else(FecDecoder::new, FecDecoder::knowing);
        for (sequence, parity, shard) in received {
            let kind = if parity { ShardKind::Parity } else { ShardKind::Data };
            decoder.decode(Time::ZERO, ShardHeader { sequence, kind }, &shard, &mut |_: Rebuilt<'_>| true);
        }
    }
}

#[test]
fn groups_are_rebuilt_across_the_wrap() {
    for ratio in [ratio(1, 1), ratio(3, 1), ratio(10, 3), ratio(100, 50)] {
        for hint in [true, false] {
            let start = ratio.sequence_period() - u32::try_from(8 * ratio.group()).expect("small");
            let sent = packets(
                &mut FecEncoder::starting_at(ratio, start),
                ratio.data() * 20,
            );
            let mut receiver = Receiver::new(if hint {
                FecDecoder::knowing(ratio)
            } else {
                FecDecoder::new()
            });
            for packet in &sent {
                let (header, _) = ShardHeader::detect(packet).expect("has a header");
                // Learning takes the first groups; from the sixth group on, the first packet is
                // lost.
                let after_wrap = header.sequence < start;
                let late = after_wrap || header.sequence - start > 5 * ratio.group() as u32;
                if !late || ratio.place(header.sequence).1 != 0 {
                    receiver.receive(packet);
                }
            }
            for at in 6 * ratio.data()..20 * ratio.data() {
                assert!(receiver.got(at), "{ratio:?}: {at} is missing");
            }
            assert_eq!(receiver.stats().errors, 0);
        }
    }
}

#[test]
fn groups_are_rebuilt_whose_data_is_lost_or_late_many_times_in_a_row() {
    let ratio = ratio(1, 1);
    let sent = packets(&mut FecEncoder::new(ratio), 40);
    // The first packet of a group of one counts as late and has no parity.
    let parity = |at: usize| &sent[2 * at];
    let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
    receiver.receive(&sent[0]);
    // The first parity is late, and parity moves the window by one group at most.
    for at in 2..=20 {
        receiver.receive(parity(at));
    }
    receiver.receive(parity(1));
    let missing: Vec<_> = (0..=20).filter(|&at| !receiver.got(at)).collect();
    assert_eq!(missing, []);
    assert_eq!(receiver.stats().ignored, 0);
}

#[test]
fn unknown_ratio_is_learned_and_used() {
    let theirs = ratio(3, 1);
    let sent = packets(&mut FecEncoder::new(theirs), 300);
    let mut receiver = Receiver::new(FecDecoder::new());
    for (at, packet) in sent.iter().enumerate() {
        if at < 20 || at % 4 != 1 {
            receiver.receive(packet);
        }
    }
    assert_eq!(receiver.decoder.ratio(), Some(theirs));
    assert!((20..300).all(|at| receiver.got(at)));
    assert_eq!(receiver.stats().recovered, 95);
}

#[test]
fn groups_without_parity_do_no_harm() {
    let ratio = ratio(3, 2);
    let mut encoder = FecEncoder::new(ratio);
    let mut decoder = FecDecoder::knowing(ratio);
    let mut recovered = 0;
    for at in 0..300_u64 {
        let mut packet = vec![1; 50];
        let complete = encoder.encode(Time::from_millis(at / 30 * 600 * (at % 2)), &mut packet);
        assert!(!complete || encoder.take_parity(&mut [0; 100]) > 0);
        let (header, shard) = ShardHeader::detect(&packet).expect("has a header");
        decoder.decode(Time::ZERO, header, shard, &mut |_: Rebuilt<'_>| {
            recovered += 1;
            true
        });
    }
    assert_eq!(decoder.ratio(), Some(ratio));
    assert_eq!(
        (recovered, decoder.stats().errors, decoder.stats().ignored),
        (0, 0, 0)
    );
}

#[test]
fn completed_group_is_not_rebuilt_again() {
    let ratio = ratio(10, 3);
    let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
    let sent = packets(&mut FecEncoder::new(ratio), 20);
    for _ in 0..10 {
        for packet in sent.iter().skip(2) {
            receiver.receive(packet);
        }
    }
    // `Receiver` asserts that each packet is rebuilt once.
    assert_eq!(receiver.stats().recovered, 2);
}

#[test]
fn nothing_is_allocated_before_the_first_shard_nor_kept_after_shrinking() {
    let ratio = ratio(4, 2);
    let mut receiver = Receiver::new(FecDecoder::knowing(ratio));
    assert!(receiver.decoder.memory() == 0);
    let sent = packets(&mut FecEncoder::new(ratio), 400);
    for packet in sent[..300].iter().skip(1) {
        receiver.receive(packet);
    }
    assert!(receiver.decoder.memory() > 0);
    receiver.decoder.shrink();
    assert!(receiver.decoder.memory() == 0);
    for (at, packet) in sent.iter().enumerate().skip(300) {
        if at % 6 >= 2 {
            receiver.receive(packet);
        }
    }
    assert!((0..400).all(|at| receiver.got(at)));
}

#[test]
fn ratio_is_learned_from_few_packets_with_long_pauses_between_them() {
    let ratio = ratio(2, 1);
    let mut receiver = Receiver::new(FecDecoder::new());
    for packet in packets(&mut FecEncoder::new(ratio), 30) {
        receiver.receive(&packet);
        receiver.decoder.shrink();
    }
    assert_eq!(receiver.decoder.ratio(), Some(ratio));
    assert!(receiver.decoder.memory() == 0);
}

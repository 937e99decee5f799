//! Two sides over a bad channel, in virtual time.

use super::*;
use proptest::prelude::*;

/// A small pseudo-random number generator: xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(Clone, Debug)]
struct Path {
    seed: u64,
    loss: u64,
    duplicate: u64,
    delay: u64,
    jitter: u64,
    /// How often a reader reads when it could, in percent.
    eagerness: u64,
}

struct Link {
    rng: Rng,
    path: Path,
    /// Arrival in milliseconds, tie breaker, destination, payload.
    flying: std::collections::BTreeMap<(Time, u64), (usize, Vec<u8>)>,
    count: u64,
}

impl Link {
    fn send(&mut self, now: Time, to: usize, payload: &[u8]) {
        let copies = 1 + u64::from(self.rng.percent(self.path.duplicate));
        for _ in 0..copies {
            if self.rng.percent(self.path.loss) {
                continue;
            }
            let delay = ms(self.path.delay + self.rng.below(self.path.jitter + 1));
            self.count += 1;
            self.flying
                .insert((now + delay, self.count), (to, payload.to_vec()));
        }
    }
}

/// Sends `data` both ways; returns the time it took until both sides are drained.
fn exchange(mut sides: [Arq; 2], path: &Path, data: [&[u8]; 2]) -> (Time, [Arq; 2]) {
    let mut link = Link {
        rng: Rng(path.seed | 1),
        path: path.clone(),
        flying: std::collections::BTreeMap::new(),
        count: 0,
    };
    let mut written = [0; 2];
    let mut read = [Vec::new(), Vec::new()];
    let mut now = at(1);
    let mut out = [0; 1500];
    loop {
        while let Some(entry) = link.flying.first_entry()
            && entry.key().0 <= now
        {
            let (to, payload) = entry.remove();
            direct(&mut sides[to], now, &payload);
        }
        for side in 0..2 {
            let arq = &mut sides[side];
            written[side] += arq.write(&data[side][written[side]..]);
            while link.rng.percent(path.eagerness) {
                let most = 1 + link.rng.below(1000) as usize;
                let len = arq.read(&mut out[..most]);
                read[side].extend_from_slice(&out[..len]);
                if len == 0 {
                    break;
                }
            }
            loop {
                let len = arq.poll_transmit(now, &mut out);
                if len == 0 {
                    break;
                }
                link.send(now, 1 - side, &out[..len]);
            }
        }
        let done = |side: usize| {
            written[side] == data[side].len()
                && sides[side].is_drained()
                && read[side].len() == data[1 - side].len()
        };
        if done(0) && done(1) {
            break;
        }
        // A reader polls every 10 ms; everything else has a timer.
        let timers = sides.iter().filter_map(Arq::poll_timeout);
        let arrival = link.flying.first_key_value().map(|(key, _)| key.0);
        let next = timers.chain(arrival).min().unwrap_or(now + ms(10));
        let soon = if path.eagerness < 100 || next > now + ms(10) {
            next.min(now + ms(10))
        } else {
            next
        };
        now = soon.max(Time::from_micros(now.as_micros() + 1));
        assert!(now < at(600_000), "stalled: {sides:?}");
    }
    assert!(read[0] == data[1] && read[1] == data[0], "bytes differ");
    (now, sides)
}

fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed | 1);
    (0..len).map(|_| rng.below(256) as u8).collect()
}

fn pair(config: ArqConfig, first: [u32; 2], offset: u32) -> [Arq; 2] {
    let side = |a, b| Arq::with_initial_sequence(config, CONVERSATION, offset, a, b);
    [side(first[0], first[1]), side(first[1], first[0])]
}

fn paths() -> impl Strategy<Value = Path> {
    (
        any::<u64>(),
        0..30_u64,
        0..20_u64,
        0..60_u64,
        0..40_u64,
        1..=100_u64,
    )
        .prop_map(|(seed, loss, duplicate, delay, jitter, eagerness)| Path {
            seed,
            loss,
            duplicate,
            delay,
            jitter,
            eagerness,
        })
}

fn configs() -> impl Strategy<Value = ArqConfig> {
    let congestion = prop_oneof![Just(Congestion::Kcp), Just(Congestion::Unlimited)];
    let ack_policy = prop_oneof![Just(AckPolicy::Immediate), Just(AckPolicy::Batched)];
    let mode = prop_oneof![Just(Mode::Stream), Just(Mode::Message)];
    let windows = (1..100_u16, 1..100_u16, 200..20_000_usize);
    (
        windows,
        any::<bool>(),
        0..4_u32,
        congestion,
        ack_policy,
        mode,
    )
        .prop_map(
            |(
                (send_window, receive_window, send_buffer),
                no_delay,
                fast,
                congestion,
                ack_policy,
                mode,
            )| {
                ArqConfig {
                    send_window,
                    send_buffer,
                    no_delay,
                    fast_retransmit_after: NonZeroU32::new(fast),
                    congestion,
                    ack_policy,
                    mode,
                    ..with_window(receive_window)
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        path in paths(), config in configs(),
        sizes in (0..20_000_usize, 0..5000_usize),
        first in prop_oneof![Just([0, 0]), Just([u32::MAX - 20, u32::MAX - 3]), any::<[u32; 2]>()],
        offset in prop_oneof![Just(u32::MAX - 100), any::<u32>()],
    ) {
        let (there, back) = (text(sizes.0, path.seed), text(sizes.1, !path.seed));
        let (_, sides) = exchange(pair(config, first, offset), &path, [&there, &back]);
        for mut side in sides {
            side.shrink();
            // A peer with a slow reader has acknowledged everything, but not yet through `una`.
            let lagging = side.send.flight().len();
            prop_assert_eq!(side.buffers.held(), 0);
            prop_assert!(side.send.memory() == 0 || lagging > 0);
        }
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_spin(
        payloads in proptest::collection::vec(segment_like(), 1..60),
    ) {
        let mut arq = sent(config(), 20, at(0));
        let mut out = [0; 1500];
        for (step, payload) in (1..).zip(payloads) {
            let now = at(step * 7);
            let _ = arq.handle_payload(now, &payload, Provenance::Direct);
            let sent = datagrams(&mut arq, now);
            prop_assert!(sent.len() < 100);
            prop_assert_ne!(arq.poll_timeout(), Some(Time::ZERO));
            arq.read(&mut out);
        }
    }
}

/// Payloads with valid framing and values near those in use.
fn segment_like() -> impl Strategy<Value = Vec<u8>> {
    let near = || prop_oneof![0..40_u32, any::<u32>()];
    let window = prop_oneof![Just(0_u16), any::<u16>()];
    let data = proptest::collection::vec(any::<u8>(), 0..20);
    let one = (
        81..=84_u8,
        any::<u8>(),
        window,
        near(),
        near(),
        0..25_u32,
        data,
    )
        .prop_map(|(command, frg, window, ts, sequence, una, data)| {
            let header = SegmentHeader {
                conversation: CONVERSATION,
                command: Command::try_from(command).expect("in range"),
                fragments_left: frg,
                window,
                timestamp: Timestamp::from_wire(ts.wrapping_add(OFFSET)),
                sequence,
                unacknowledged: una,
                payload_len: 0,
            };
            encode(header, &data)
        });
    proptest::collection::vec(one, 1..6).prop_map(|segments| segments.concat())
}

#[test]
fn bulk_over_a_clean_path_is_sent_once() {
    let path = Path {
        seed: 5,
        loss: 0,
        duplicate: 0,
        delay: 20,
        jitter: 0,
        eagerness: 100,
    };
    let data = text(200_000, 1);
    let (time, sides) = exchange(pair(with_window(64), [0, 0], 0), &path, [&data, &[]]);
    assert_eq!(stats(&sides[0]).retransmitted, 0);
    assert_eq!(stats(&sides[0]).data_segments_sent, 2000);
    // 64 segments per round trip of 40 ms.
    assert!(time < at(1500), "{time:?}");
    assert_eq!(sides[0].smoothed_rtt(), Some(ms(40)));
}

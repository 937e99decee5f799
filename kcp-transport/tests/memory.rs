//! Memory as the allocator sees it, and that of maps beside it, whatever peers send and users leave unread.
//!
//! In a binary of its own for its allocator, which counts for each thread.

mod allocator;

use kcp_transport::arq::ArqConfig;
use kcp_transport::config::{Config, Mode};
use kcp_transport::crypto::Overhead;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::testing::{Rng, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

use allocator::held;

const CONVERSATION: ConversationId = ConversationId::new(7);

/// What may be held beyond the budget.
const SLACK: usize = 16 * 1024;

fn session(config: &Config) -> Session {
    let overhead = Overhead { front: 0, back: 0 };
    let layout = config.layout(overhead).expect("mtu has room");
    Session::new(config, layout, CONVERSATION, Role::Accept, 3, Time::ZERO)
}

fn push(out: &mut Vec<u8>, sequence: u32, fragments_left: u8, len: usize) {
    let header = SegmentHeader {
        conversation: CONVERSATION,
        command: Command::Push,
        fragments_left,
        window: 1000,
        timestamp: Timestamp::from_wire(sequence),
        sequence,
        unacknowledged: 0,
        payload_len: u32::try_from(len).expect("small"),
    };
    out.clear();
    out.resize(SEGMENT_HEADER_LEN + len, sequence as u8);
    header.encode(out);
}

/// Which sizes an adversary sends.
const LENGTHS: [usize; 10] = [0, 1, 2, 40, 100, 511, 512, 513, 1024, 1476];

#[test]
fn adversarial_sizes_hold_no_more_than_the_receive_buffer_and_16_kib() {
    let mut highest = 0.0_f64;
    for seed in seeds(0..3000) {
        let mut rng = Rng::new(seed);
        let window = [1_u16, 16, 128, 1024, 65_535][rng.below(5) as usize];
        let given = [None, Some(16 << 10), Some(64 << 10), Some(256 << 10)][rng.below(4) as usize];
        let config = Config::builder()
            .windows(64, window.into())
            .receive_buffer(given)
            .build()
            .expect("in range");
        let budget = given.unwrap_or_else(|| ArqConfig::default_receive_buffer(window));
        let mut datagram = Vec::with_capacity(1500);
        let layout = config
            .layout(Overhead { front: 0, back: 0 })
            .expect("mtu has room");
        let mut batch = TransmitBatch::new(layout, 32);
        let mut out = vec![0; 100_000];
        let mut session = session(&config);
        let before = held() - session.memory();
        let (mut now, mut base) = (Time::ZERO, 0_u32);
        let favourite = LENGTHS[rng.below(10) as usize];
        for _ in 0..400 {
            let ahead = match rng.below(4) {
                0 => 0,
                1 => rng.below(4) as u32,
                2 => rng.below(200) as u32,
                _ => rng.below(70_000) as u32,
            };
            let run = if rng.chance(0.2) {
                rng.below(400) as u32
            } else {
                1
            };
            let len = if rng.chance(0.7) {
                favourite
            } else {
                LENGTHS[rng.below(10) as usize]
            };
            for sequence in base + ahead..base + ahead + run {
                push(&mut datagram, sequence, rng.below(256) as u8, len);
                session.handle_datagram(now, &datagram);
            }
            match rng.below(20) {
                0 => base += session.read(now, &mut out) as u32 / favourite.max(1) as u32,
                1 => {
                    while session.poll_transmit(now, &mut batch) {
                        batch.clear();
                    }
                    batch = TransmitBatch::new(layout, 32);
                }
                2 => now = Time::from_micros(now.as_micros() + rng.below(100_000)),
                3 => session.set_memory_pressure(rng.chance(0.5)),
                _ => {}
            }
            let held = held() + session.mapped_memory() - before;
            let accounted = session.memory();
            highest = highest.max(held as f64 / budget as f64);
            assert!(
                held <= budget + SLACK && accounted <= budget + SLACK,
                "KCP_SIM_SEED={seed}: {held} held, {accounted} accounted of {budget}"
            );
            assert!(
                held.abs_diff(accounted) <= 8192,
                "KCP_SIM_SEED={seed}: {held} held, {accounted} accounted"
            );
        }
    }
    println!("at most {:.1} % of the budget", highest * 100.0);
    assert!(highest > 0.9 || std::env::var("KCP_SIM_SEED").is_ok());
}

#[test]
fn small_writes_hold_no_more_than_the_send_buffer_thrice_and_512_bytes_a_segment() {
    for seed in seeds(0..300) {
        let mut rng = Rng::new(seed);
        let mode = [Mode::Stream, Mode::Message][rng.below(2) as usize];
        let window = [1_u16, 32, 1024, 8000][rng.below(4) as usize];
        let buffer = [16 << 10, 256 << 10, 1 << 20][rng.below(3) as usize];
        let config = Config::builder()
            .windows(window.into(), 1024)
            .send_buffer(buffer)
            .mode(mode)
            .build()
            .expect("in range");
        let budget = 3 * buffer + 512 * usize::from(window);
        let layout = config
            .layout(Overhead { front: 0, back: 0 })
            .expect("mtu has room");
        let mut batch = TransmitBatch::new(layout, 32);
        let data = vec![1; 2000];
        let mut datagram = Vec::with_capacity(1500);
        let mut session = session(&config);
        let before = held();
        let mut now = Time::ZERO;
        // The peer has shown that it is there, and has the largest window.
        push(&mut datagram, 0, 0, 1);
        datagram[6..8].copy_from_slice(&u16::MAX.to_le_bytes());
        session.handle_datagram(now, &datagram);
        let favourite = [1, 2, 100, 511, 513, 700, 1400][rng.below(7) as usize];
        for _ in 0..20_000 {
            session.write(now, &data[..favourite]);
            if rng.chance(0.5) {
                now = Time::from_micros(now.as_micros() + rng.below(30_000));
                while session.poll_transmit(now, &mut batch) {
                    batch.clear();
                }
            }
        }
        let held = held() + session.mapped_memory() - before;
        let accounted = session.memory();
        assert!(
            held <= budget + SLACK && accounted <= budget + SLACK,
            "KCP_SIM_SEED={seed}: {held} held, {accounted} accounted of {budget}"
        );
    }
}

#[test]
fn idle_session_gives_everything_back() {
    let config = Config::default();
    let mut session = session(&config);
    let before = held();
    let mut datagram = Vec::with_capacity(1500);
    for sequence in 0..1000 {
        push(&mut datagram, sequence, 0, 1000);
        session.handle_datagram(Time::ZERO, &datagram);
    }
    assert!(session.memory() > 1_000_000);
    let mut out = vec![0; 1_000_000];
    assert_eq!(session.read(Time::ZERO, &mut out), 1_000_000);
    drop(out);
    let layout = config
        .layout(Overhead { front: 0, back: 0 })
        .expect("mtu has room");
    let mut batch = TransmitBatch::new(layout, 32);
    while session.poll_transmit(Time::ZERO, &mut batch) {
        batch.clear();
    }
    session.handle_timeout(Time::from_millis(2000));
    drop((batch, datagram));
    assert_eq!(session.memory(), 0);
    assert_eq!(held(), before);
}

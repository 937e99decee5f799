//! The rings against models that are too simple to be wrong.

use super::*;
use crate::arq::receive::Arrival;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A sent segment as the naive sender keeps it: in a list, walked for everything.
#[derive(Clone, Debug)]
struct Naive {
    sequence: u32,
    acked: bool,
    last_sent: Time,
    first_sent: Time,
    due_at: Time,
    rto: Duration,
    later_acks: u32,
    resent: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// Acks of segments that many after `una`, in one datagram with an advance of `una`.
    Acks(Vec<u32>, u32),
    Wait(u64),
    WaitForTimer,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let acks = (proptest::collection::vec(0..24_u32, 0..6), 0..4_u32);
    let step = prop_oneof![
        (1..6_usize).prop_map(Step::Write),
        acks.prop_map(|(acks, advance)| Step::Acks(acks, advance)),
        (0..40_u64).prop_map(Step::Wait),
        Just(Step::WaitForTimer),
    ];
    proptest::collection::vec(step, 1..60)
}

/// kcp-go's loss rules by walking the list, with an acknowledging datagram as one event.
struct NaiveSender {
    list: Vec<Naive>,
    next: u32,
    waiting: usize,
    early_at: Option<Time>,
}

impl NaiveSender {
    const THRESHOLD: u32 = 2;
    const TICK: Duration = ms(20);

    fn una(&self) -> u32 {
        self.list.first().map_or(self.next, |first| first.sequence)
    }

    fn on_datagram(&mut self, now: Time, acks: &[u32], una: u32) {
        let mut evidence = None;
        for &sequence in acks {
            let found = self.list.iter_mut().find(|it| it.sequence == sequence);
            if let Some(segment) = found.filter(|it| !it.acked) {
                segment.acked = true;
                // The test acknowledges the last transmission.
                evidence = evidence.max(Some((sequence, segment.last_sent)));
            }
        }
        let before = self.list.len();
        self.list.retain(|segment| segment.sequence >= una);
        let moved = self.list.len() < before;
        // What was in doubt is covered, as far as it is not in doubt for the acks of now.
        let highest_acked = self.list.iter().filter(|it| it.acked).map(|it| it.sequence);
        if moved && highest_acked.max().is_none_or(|highest| highest <= una) {
            self.early_at = None;
        }
        let mut doubt = moved && self.early_at.is_some();
        let (highest, sent) = evidence.unwrap_or((0, now));
        for segment in &mut self.list {
            if !segment.acked
                && !segment.resent
                && segment.sequence < highest
                && segment.last_sent <= sent
                && segment.later_acks < Self::THRESHOLD
            {
                segment.later_acks += 1;
                doubt = true;
            }
        }
        if doubt {
            let full = |it: &Naive| !it.acked && it.later_acks >= Self::THRESHOLD && !it.resent;
            let at = if moved || self.list.iter().any(full) {
                now
            } else {
                now + Self::TICK
            };
            self.early_at = Some(self.early_at.map_or(at, |so_far| so_far.min(at)));
        }
    }

    /// Numbers of what is due, in order of sequence.
    fn transmit(&mut self, now: Time, limit: usize, rto: Duration) -> Vec<u32> {
        let mut early = self.early_at.is_some_and(|at| at <= now);
        if early {
            let new_data = self.waiting > 0 && self.list.len() < limit;
            self.early_at = new_data.then_some(now + Self::TICK);
            early = !new_data;
        }
        let mut due = Vec::new();
        for segment in self.list.iter_mut().filter(|it| !it.acked) {
            let enough = if early { 1 } else { Self::THRESHOLD };
            if !segment.resent && segment.later_acks >= enough {
                segment.resent = true;
                segment.rto = rto;
            } else if segment.due_at <= now {
                segment.resent = false;
                segment.later_acks = 0;
                segment.rto += rto / 2;
            } else {
                continue;
            }
            segment.last_sent = now;
            segment.due_at = now + segment.rto;
            due.push(segment.sequence);
        }
        while self.waiting > 0 && self.list.len() < limit {
            self.waiting -= 1;
            due.push(self.next);
            self.list.push(Naive {
                sequence: self.next,
                acked: false,
                last_sent: now,
                first_sent: now,
                due_at: now + rto,
                rto,
                later_acks: 0,
                resent: false,
            });
            self.next += 1;
        }
        due
    }
}

proptest! {
    #[test]
    fn sender_sends_what_walking_a_list_would(steps in steps(), window in 1..30_u16) {
        let config = ArqConfig { send_window: window, ..config() };
        let mut arq = arq(config);
        let mut naive = NaiveSender { list: vec![], next: 0, waiting: 0, early_at: None };
        let mut now = at(10);
        direct(&mut arq, now, &tell(0, 1000));
        for step in steps {
            match step {
                Step::Write(segments) => {
                    let taken = arq.write(&vec![0; segments * MSS]);
                    prop_assert_eq!(taken % MSS, 0);
                    naive.waiting += taken / MSS;
                }
                Step::Acks(acks, advance) => {
                    let una = naive.una();
                    let acks: Vec<u32> = acks.iter().map(|ahead| una + ahead).collect();
                    let una = (una + advance).min(naive.next);
                    let mut payload = tell(una, 1000);
                    for &sequence in &acks {
                        let found = naive.list.iter().find(|it| it.sequence == sequence);
                        let sent = found.map_or(now, |it| it.last_sent);
                        payload.extend(ack(sequence, sent, una));
                    }
                    direct(&mut arq, now, &payload);
                    naive.on_datagram(now, &acks, una);
                }
                Step::Wait(millis) => now += ms(millis),
                Step::WaitForTimer => now = arq.poll_timeout().map_or(now, |at| at.max(now)),
            }
            let mut sent = pushes(&mut arq, now);
            let mut expected = naive.transmit(now, usize::from(window), arq.rto());
            sent.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(sent, expected);
            let outstanding: Vec<&Naive> = naive.list.iter().filter(|it| !it.acked).collect();
            prop_assert_eq!(arq.in_flight(), outstanding.len());
            prop_assert_eq!(arq.queued(), naive.waiting);
            let bytes = (outstanding.len() + naive.waiting) * MSS;
            prop_assert_eq!(arq.send_capacity(), config.send_buffer - bytes);
            let timer = outstanding.iter().map(|it| it.due_at).min();
            prop_assert!(outstanding.iter().all(|it| it.first_sent <= it.last_sent));
            if naive.waiting == 0 || !outstanding.is_empty() {
                let early = naive.early_at.filter(|_| arq.send.flight().len() > 0);
                let expected = [timer, early].into_iter().flatten().min();
                // A timer may be early once its reason is gone, never late.
                prop_assert!(timer.is_none() || arq.poll_timeout() <= timer);
                prop_assert!(arq.poll_timeout() >= expected || early.is_none());
            }
        }
    }

    #[test]
    fn receiver_orders_as_a_map_would(
        arrivals in proptest::collection::vec(
            (prop_oneof![0..30_u32, 0..150_u32], any::<bool>(), 0..9_usize), 1..200,
        ),
    ) {
        let mut arq = arq(config());
        let mut map = BTreeMap::new();
        let (mut next, mut ready) = (0, 0);
        let mut expected = Vec::new();
        let mut read = Vec::new();
        for (ahead, reads, len) in arrivals {
            // From a little before what is expected to a little beyond the reach of 128 segments,
            // which is more than the window of 16.
            let sequence = (next + ahead).saturating_sub(6);
            let data = vec![sequence as u8; 1 + len];
            let arrival = if sequence < next || map.contains_key(&sequence) {
                Arrival::Duplicate
            } else if sequence >= next + 128 {
                Arrival::OutOfWindow
            } else {
                map.insert(sequence, data.clone());
                Arrival::New
            };
            let before = stats(&arq);
            direct(&mut arq, at(0), &push(sequence, &data));
            let after = stats(&arq);
            let counted = match (
                after.duplicates_received - before.duplicates_received,
                after.out_of_window_received - before.out_of_window_received,
            ) {
                (0, 0) => Arrival::New,
                (_, 0) => Arrival::Duplicate,
                _ => Arrival::OutOfWindow,
            };
            prop_assert_eq!(counted, arrival);
            let mut promote = |ready: &mut u16, next: &mut u32, expected: &mut Vec<u8>| {
                while *ready < 16 && let Some(data) = map.remove(next) {
                    expected.extend(data);
                    *next += 1;
                    *ready += 1;
                }
            };
            promote(&mut ready, &mut next, &mut expected);
            if reads {
                let mut out = [0; 16 * 9];
                let len = arq.read(&mut out);
                read.extend_from_slice(&out[..len]);
                prop_assert_eq!(&read, &expected);
                ready = 0;
                promote(&mut ready, &mut next, &mut expected);
            }
            let told = arq.header(Command::Ack);
            prop_assert_eq!((told.unacknowledged, told.window), (next, 16 - ready));
        }
    }

    /// However small the window, and whatever is repeated, overtaken or read in parts: what is
    /// acknowledged was kept, and what is read is what was sent.
    #[test]
    fn receiver_with_a_small_window_delivers_what_was_sent(
        window in 1..5_u16,
        receive_buffer in prop_oneof![16_384..65_536_usize, Just(config().receive_buffer)],
        arrivals in proptest::collection::vec(
            (prop_oneof![3..8_u32, 0..12_u32, 0..150_u32], 0..250_usize), 1..300,
        ),
    ) {
        let mut arq = arq(ArqConfig { receive_window: window, receive_buffer, ..config() });
        let (mut arrived, mut acked) = (BTreeSet::new(), BTreeSet::new());
        let mut read = Vec::new();
        for (ahead, limit) in arrivals {
            let next = arq.header(Command::Ack).unacknowledged;
            let sequence = (next + ahead).saturating_sub(5);
            arrived.insert(sequence);
            direct(&mut arq, at(0), &push(sequence, &content(sequence)));
            for header in transmit(&mut arq, at(0)) {
                if header.command == Command::Ack {
                    prop_assert!(arrived.contains(&header.sequence));
                    acked.insert(header.sequence);
                }
                prop_assert!((0..header.unacknowledged).all(|it| arrived.contains(&it)));
                prop_assert!(header.window <= window);
            }
            read_on(&mut arq, limit, &mut read);
        }
        // What was acknowledged is not sent again.
        let last = arrived.last().copied().unwrap_or(0);
        for sequence in 0..=last {
            let next = arq.header(Command::Ack).unacknowledged;
            if sequence >= next && !acked.contains(&sequence) {
                direct(&mut arq, at(0), &push(sequence, &content(sequence)));
            }
            read_on(&mut arq, usize::MAX, &mut read);
            read_on(&mut arq, usize::MAX, &mut read);
            prop_assert!(arq.header(Command::Ack).unacknowledged > sequence);
        }
        while read_on(&mut arq, usize::MAX, &mut read) > 0 {}
        let next = arq.header(Command::Ack).unacknowledged;
        let sent: Vec<u8> = (0..next).flat_map(content).collect();
        prop_assert!(next > last);
        prop_assert!(read == sent, "{} bytes of {}", read.len(), sent.len());
    }
}

/// Of each segment, of another length and with other bytes than its neighbours.
fn content(sequence: u32) -> Vec<u8> {
    let mixed = sequence.wrapping_mul(0x9e37_79b9);
    let len = 1 + (mixed >> 16) as usize % MSS;
    (0..len).map(|at| (mixed >> 24) as u8 ^ at as u8).collect()
}

/// Reads up to `limit` bytes, and says how many came.
fn read_on(arq: &mut Arq, limit: usize, read: &mut Vec<u8>) -> usize {
    let mut out = vec![0; limit.min(20 * MSS)];
    let len = arq.read(&mut out);
    read.extend_from_slice(&out[..len]);
    len
}

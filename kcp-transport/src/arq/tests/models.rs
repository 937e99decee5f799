//! The rings against models that are too simple to be wrong.

use super::*;
use crate::arq::loss::PathModel;
use crate::arq::receive::Arrival;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A sent segment as the naive sender keeps it: in a list, walked for everything.
#[derive(Clone, Debug)]
struct Naive {
    sequence: u32,
    acked: bool,
    lost: bool,
    /// All its transmissions: their number among all, and their time.
    sent: Vec<(usize, Time)>,
}

impl Naive {
    fn last(&self) -> (usize, Time) {
        *self.sent.last().expect("was sent")
    }
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

/// The rules of loss detection by walking the list, on a path that does not reorder.
#[derive(Default)]
struct NaiveSender {
    list: Vec<Naive>,
    next: u32,
    waiting: usize,
    /// Transmissions so far, and the numbers of those that arrived.
    count: usize,
    arrived: Vec<usize>,
    /// When something was sent last, and how often the probe time-out passed since an ack.
    since: Time,
    passed: u32,
}

impl NaiveSender {
    const THRESHOLD: usize = 2;

    fn una(&self) -> u32 {
        self.list.first().map_or(self.next, |first| first.sequence)
    }

    fn outstanding(&self) -> usize {
        self.list.iter().filter(|it| !it.acked).count()
    }

    fn on_datagram(&mut self, acks: &[u32], una: u32) {
        let before = self.outstanding();
        for &sequence in acks {
            let found = self.list.iter_mut().find(|it| it.sequence == sequence);
            if let Some(segment) = found.filter(|it| !it.acked) {
                segment.acked = true;
                // The test acknowledges the last transmission; others of the same millisecond
                // cannot be told from it.
                let millis = segment.last().1.as_millis();
                let newest = &segment.sent[segment.sent.len().saturating_sub(3)..];
                let oldest = newest.iter().find(|it| it.1.as_millis() == millis);
                self.arrived.extend(oldest.map(|it| it.0));
            }
        }
        for segment in self.list.iter().filter(|it| it.sequence < una) {
            if !segment.acked && segment.sent.len() == 1 {
                self.arrived.push(segment.last().0);
            }
        }
        self.list.retain(|segment| segment.sequence >= una);
        if self.outstanding() < before {
            self.passed = 0;
        }
    }

    fn detect(&mut self, now: Time, path: &PathModel) {
        let least = path.least().unwrap_or(path.probe_timeout());
        let window = match self.outstanding() {
            0..=4 => (least / 8).min(ms(5)),
            _ => least / 4,
        };
        let trip = path
            .smoothed()
            .map_or(path.probe_timeout(), |_| path.current());
        for segment in self.list.iter_mut().filter(|it| !it.acked) {
            let (number, at) = segment.last();
            let later = self.arrived.iter().filter(|it| **it > number).count();
            let overdue = at + trip + window <= now;
            segment.lost |= later >= Self::THRESHOLD || (later > 0 && overdue);
        }
    }

    /// Numbers of what is due.
    fn transmit(&mut self, now: Time, limit: usize, path: &PathModel) -> Vec<u32> {
        self.detect(now, path);
        let outstanding = self.outstanding();
        let longer = self.passed.saturating_sub(2);
        let timeout = path.probe_timeout();
        let mut due: Vec<u32> = Vec::new();
        let newest = self.arrived.iter().max().copied().unwrap_or(0);
        let mut outstanding_ones = self.list.iter().filter(|it| !it.acked);
        let looks = outstanding_ones.any(|it| it.lost || it.last().0 < newest);
        let wait = (timeout + timeout / 2 * longer).min(Duration::from_secs(60));
        if outstanding > 0 && !looks && self.since + wait <= now {
            self.passed += 1;
            self.since = now;
            let flying = self.list.iter().filter(|it| !it.acked && !it.lost);
            let mut oldest: Vec<_> = flying.map(|it| (it.last().0, it.sequence)).collect();
            // The first segment, then by the age of the last transmission.
            let una = self.una();
            oldest.sort_unstable_by_key(|it| (it.1 != una, it.0));
            oldest.truncate(if outstanding <= 4 { 4 } else { 2 });
            due.extend(oldest.iter().map(|it| it.1));
        }
        // In the order of the transmissions that are lost.
        let lost = self.list.iter().filter(|it| !it.acked && it.lost);
        let mut lost: Vec<_> = lost.map(|it| (it.last().0, it.sequence)).collect();
        lost.sort_unstable();
        due.extend(lost.iter().map(|it| it.1));
        while self.waiting > 0 && self.list.len() < limit {
            self.waiting -= 1;
            due.push(self.next);
            self.list.push(Naive {
                sequence: self.next,
                acked: false,
                lost: false,
                sent: Vec::new(),
            });
            self.next += 1;
        }
        for sequence in &due {
            self.since = now;
            let found = self.list.iter_mut().find(|it| it.sequence == *sequence);
            let segment = found.expect("in the list");
            segment.lost = false;
            segment.sent.push((self.count, now));
            self.count += 1;
        }
        due
    }
}

/// Runs both senders side by side.
fn compare_senders(steps: &[Step], window: u16) -> Result<(), TestCaseError> {
    let config = ArqConfig {
        send_window: window,
        ..config()
    };
    let mut arq = arq(config);
    let mut naive = NaiveSender::default();
    let mut now = at(10);
    direct(&mut arq, now, &tell(0, 1000));
    for step in steps.iter().cloned() {
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
                    let sent = found.map_or(now, |it| it.last().1);
                    payload.extend(ack(sequence, sent, una));
                }
                direct(&mut arq, now, &payload);
                naive.on_datagram(&acks, una);
            }
            Step::Wait(millis) => now += ms(millis),
            Step::WaitForTimer => now = arq.poll_timeout().map_or(now, |at| at.max(now)),
        }
        let sent = pushes(&mut arq, now);
        let expected = naive.transmit(now, usize::from(window), arq.send.path());
        prop_assert_eq!(sent, expected);
        let outstanding: Vec<&Naive> = naive.list.iter().filter(|it| !it.acked).collect();
        prop_assert_eq!(arq.in_flight(), outstanding.len());
        prop_assert_eq!(arq.queued(), naive.waiting);
        let bytes = (outstanding.len() + naive.waiting) * MSS;
        prop_assert_eq!(arq.send_capacity(), config.send_buffer - bytes);
        // A loss is looked for up to two round trips after the segment was sent.
        let trips = arq.send.path().current() * 2;
        let latest = naive.since + trips.max(Duration::from_secs(60));
        // It may be early, for a loss that is looked for, but there is one.
        prop_assert!(outstanding.is_empty() || arq.poll_timeout().is_some_and(|at| at <= latest));
        prop_assert!(arq.poll_timeout().is_none_or(|at| at > now));
        prop_assert_eq!(stats(&arq).spurious_retransmitted, 0);
    }
    Ok(())
}

#[test]
fn probes_of_two_flights_go_out_as_walking_a_list_says() {
    use Step::{Acks, Wait, WaitForTimer, Write};
    let acks = |acks: &[u32], advance| Acks(acks.to_vec(), advance);
    let steps = [
        Write(4),
        WaitForTimer,
        WaitForTimer,
        Write(5),
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        Write(3),
        acks(&[8], 2),
        Write(3),
        Write(3),
        Write(4),
        acks(&[15, 14], 1),
        acks(&[], 1),
        Write(1),
        WaitForTimer,
        WaitForTimer,
        acks(&[0], 0),
        Write(1),
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        acks(&[2], 0),
        Wait(0),
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
        WaitForTimer,
    ];
    compare_senders(&steps, 20).unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #[test]
    fn sender_sends_what_walking_a_list_would(steps in steps(), window in 1..30_u16) {
        compare_senders(&steps, window)?;
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

/// Reads up to `limit` bytes, and returns how many came.
fn read_on(arq: &mut Arq, limit: usize, read: &mut Vec<u8>) -> usize {
    let mut out = vec![0; limit.min(20 * MSS)];
    let len = arq.read(&mut out);
    read.extend_from_slice(&out[..len]);
    len
}

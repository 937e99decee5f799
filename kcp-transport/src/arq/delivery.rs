//! How fast the path delivers, after draft-cheng-iccrg-delivery-rate-estimation.
//!
//! With each transmission it is kept how much had been delivered before. When it is acknowledged,
//! what was delivered meanwhile, over the longer of the times that sending and acknowledging took,
//! is a sample of the rate. A flow that does not send all it may gives samples that are too low:
//! they are marked, also where KCP's windows hold it back.

use std::collections::VecDeque;
use std::time::Duration;

use super::congestion::{Lost, RateSample};
use crate::time::Time;

/// The state of a conversation when a transmission left.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    sent_at: Time,
    lost: u64,
    in_flight: u64,
    limited: bool,
}

/// Takes samples.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Of all transmissions from number `first` on.
    snapshots: VecDeque<Snapshot>,
    first: u64,
    delivered: u64,
    delivered_at: Time,
    /// When the transmission was sent that was acknowledged last.
    first_sent: Time,
    lost: u64,
    /// Samples are marked until so much is delivered.
    limited_until: u64,
    /// The round trip ends once something sent after so much was delivered is acknowledged.
    round_end: u64,
    /// Of what was acknowledged since the last sample: bytes, and the newest transmission.
    acked: u64,
    newest: Option<Snapshot>,
}

impl Delivery {
    /// The transmission with this number is sent, while `in_flight` bytes are under way.
    pub(super) fn on_sent(&mut self, now: Time, number: u64, in_flight: u64) {
        if self.snapshots.is_empty() {
            self.first = number;
        }
        if in_flight == 0 {
            self.first_sent = now;
            self.delivered_at = now;
        }
        self.snapshots.push_back(Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            sent_at: now,
            lost: self.lost,
            in_flight,
            limited: self.limited_until >= self.delivered.max(1),
        });
    }

    fn get(&self, number: u64) -> Option<Snapshot> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.snapshots.get(index).copied()
    }

    /// A segment of `bytes` has arrived, by the transmission with this number if it is known.
    pub(super) fn on_acked(&mut self, number: Option<u64>, bytes: u64) {
        self.acked += bytes;
        self.delivered += bytes;
        if let Some(snapshot) = number.and_then(|it| self.get(it))
            && self.newest.is_none_or(|it| {
                (it.sent_at, it.delivered) <= (snapshot.sent_at, snapshot.delivered)
            })
        {
            self.newest = Some(snapshot);
        }
    }

    /// The transmission with this number is lost.
    pub(super) fn on_lost(&mut self, number: u64, bytes: u64) -> Lost {
        self.lost += bytes;
        let snapshot = self.get(number);
        Lost {
            bytes,
            sent_at: snapshot.map_or(Time::ZERO, |it| it.sent_at),
            in_flight_when_sent: snapshot.map_or(0, |it| it.in_flight),
        }
    }

    /// A whole datagram was read. Returns the bytes that it acknowledged, and what they tell.
    pub(super) fn sample(&mut self, now: Time, least: Duration) -> (u64, Option<RateSample>) {
        let acked = std::mem::take(&mut self.acked);
        if acked > 0 {
            self.delivered_at = now;
        }
        let Some(newest) = self.newest.take() else {
            return (acked, None);
        };
        self.first_sent = newest.sent_at;
        let round_ended = newest.delivered >= self.round_end;
        if round_ended {
            self.round_end = self.delivered;
        }
        let sending = newest.sent_at - newest.first_sent;
        let interval = sending.max(now - newest.delivered_at);
        let delivered = self.delivered - newest.delivered;
        let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        let is_usable = interval >= least && micros > 0;
        let sample = RateSample {
            rate: match is_usable {
                true => delivered.saturating_mul(1_000_000) / micros,
                false => 0,
            },
            delivered,
            lost: self.lost - newest.lost,
            sent_at: newest.sent_at,
            in_flight_when_sent: newest.in_flight,
            is_limited: newest.limited,
            round_ended,
        };
        (acked, Some(sample))
    }

    /// Nothing is sent though more might be: samples are too low until what is under way is
    /// acknowledged.
    pub(super) fn on_limited(&mut self, in_flight: u64) {
        self.limited_until = self.delivered + in_flight.max(1);
    }

    /// Keeps what is known of the last `most` transmissions: where nothing is acknowledged, segments
    /// are sent again and again, and only their last transmissions can still be told apart.
    pub(super) fn keep(&mut self, most: usize) {
        while self.snapshots.len() > most {
            self.snapshots.pop_front();
            self.first += 1;
        }
    }

    /// Transmissions before this number are of no interest any more.
    pub(super) fn forget_before(&mut self, number: u64) {
        while self.first < number && self.snapshots.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.snapshots.shrink_to_fit();
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.snapshots.capacity() * size_of::<Snapshot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn steady_flow_gives_its_rate() {
        let mut delivery = Delivery::default();
        let mut last = None;
        // A thousand bytes in each millisecond, acknowledged after 50.
        for now in 1..500_u64 {
            if let Some(number) = now.checked_sub(50).filter(|it| *it > 0) {
                delivery.on_acked(Some(number), 1000);
                last = delivery.sample(at(now), ms(50)).1;
                delivery.forget_before(number + 1);
            }
            delivery.on_sent(at(now), now, 1000 * now.min(50));
        }
        let sample = last.expect("known transmission");
        assert_eq!((sample.rate, sample.is_limited), (1_000_000, false));
        assert_eq!(sample.delivered, 50_000);
    }

    #[test]
    fn burst_that_is_acknowledged_slowly_gives_the_rate_of_its_acks() {
        let mut delivery = Delivery::default();
        for number in 1..=20 {
            delivery.on_sent(at(1), number, 1000 * (number - 1));
        }
        let mut rates = Vec::new();
        for number in 1..=20 {
            delivery.on_acked(Some(number), 1000);
            let sample = delivery.sample(at(50 + number * 10), ms(10)).1;
            rates.push(sample.expect("known transmission").rate);
        }
        let last = rates[19];
        assert!((70_000..=100_000).contains(&last), "{rates:?}");
    }

    #[test]
    fn flow_that_has_little_to_send_gives_marked_samples() {
        let mut delivery = Delivery::default();
        for number in 1..10 {
            let now = at(number * 100);
            delivery.on_sent(now, number, 0);
            delivery.on_limited(1000);
            delivery.on_acked(Some(number), 1000);
            let sample = delivery.sample(now + ms(50), ms(50)).1;
            assert_eq!(sample.expect("known").is_limited, number > 1);
        }
    }

    #[test]
    fn acks_of_unknown_transmissions_count_and_give_no_sample() {
        let mut delivery = Delivery::default();
        delivery.on_sent(at(1), 1, 0);
        delivery.on_acked(None, 1000);
        delivery.on_acked(Some(77), 500);
        let (acked, sample) = delivery.sample(at(50), ms(10));
        assert_eq!(acked, 1500);
        assert!(sample.is_none());
    }

    #[test]
    fn round_ends_once_in_a_round_trip() {
        let mut delivery = Delivery::default();
        let mut ended = 0;
        for now in 1..=1000_u64 {
            if let Some(number) = now.checked_sub(50).filter(|it| *it > 0) {
                delivery.on_acked(Some(number), 1000);
                let sample = delivery.sample(at(now), ms(50)).1.expect("known");
                ended += u32::from(sample.round_ended);
            }
            delivery.on_sent(at(now), now, 0);
        }
        assert!((18..=20).contains(&ended), "{ended}");
    }
}

use super::super::RateSample;
use super::*;

const SEGMENT: u64 = 1372;
const BASE: f64 = 0.05;

/// A bottleneck that several flows share, one round trip after the other.
struct Path {
    flows: Vec<Model>,
    /// Bytes a second, and bytes that may wait.
    rate: f64,
    queue: f64,
    loss: f64,
    now: Time,
}

impl Path {
    fn new(flows: usize, mbit: f64, queue: f64) -> Self {
        let path = PathInfo {
            segment_len: SEGMENT,
            round_trip: None,
            now: Time::ZERO,
        };
        Self {
            flows: (0..flows).map(|_| Model::new(&path)).collect(),
            rate: mbit * 125_000.0,
            queue: queue * SEGMENT as f64,
            loss: 0.0,
            now: Time::ZERO,
        }
    }

    /// What all windows together take, in seconds, and the part that is lost.
    fn trip(&self) -> (f64, f64) {
        let all: f64 = self.flows.iter().map(|it| it.window() as f64).sum();
        let waits = (all - self.rate * BASE).clamp(0.0, self.queue);
        let overflow = (all - self.rate * BASE - self.queue).max(0.0) / all;
        (BASE + waits / self.rate, (overflow + self.loss).min(1.0))
    }

    fn round(&mut self) {
        let (trip, loss) = self.trip();
        let sent_at = self.now;
        self.now += Duration::from_secs_f64(trip);
        let now = self.now;
        for flow in &mut self.flows {
            let sent = flow.window() as f64;
            let rtt = Duration::from_secs_f64(trip);
            flow.on_lost(
                now,
                &Lost {
                    bytes: (sent * loss) as u64,
                    sent_at,
                    in_flight_when_sent: sent as u64,
                },
            );
            // Several acks make up a round.
            for part in 1..=10 {
                let delivered = sent * (1.0 - loss);
                let sample = RateSample {
                    rate: (delivered / trip) as u64,
                    delivered: delivered as u64,
                    lost: (sent * loss) as u64,
                    sent_at,
                    in_flight_when_sent: sent as u64,
                    is_limited: false,
                    round_ended: part == 10,
                };
                let acked = Acked {
                    bytes: (delivered / 10.0) as u64,
                    sample: Some(sample),
                    rtt: Some(rtt),
                    min_rtt: Duration::from_secs_f64(BASE),
                    in_flight: (sent * f64::from(10 - part) / 10.0) as u64,
                };
                flow.on_acked(now, &acked);
            }
        }
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
        }
    }

    /// The windows, in segments.
    fn windows(&self) -> Vec<f64> {
        let windows = self.flows.iter().map(|it| it.window() as f64);
        windows.map(|it| it / SEGMENT as f64).collect()
    }
}

#[test]
fn one_flow_fills_the_path_and_little_of_the_queue() {
    for loss in [0.0, 0.01, 0.1, 0.2] {
        let mut path = Path::new(1, 100.0, 400.0);
        path.loss = loss;
        path.run(200);
        let fills = path.rate * BASE / SEGMENT as f64;
        let window = path.windows()[0];
        assert!(
            (0.74 * fills..=fills + 40.0).contains(&window),
            "{window} of {fills} at {loss}"
        );
    }
}

#[test]
fn flows_of_different_windows_come_to_the_same() {
    let mut path = Path::new(3, 100.0, 400.0);
    path.run(20);
    path.flows[0].window *= 4.0;
    path.flows[1].window /= 4.0;
    path.run(200);
    let windows = path.windows();
    let most = windows.iter().copied().fold(0.0, f64::max);
    let least = windows.iter().copied().fold(f64::MAX, f64::min);
    assert!(most <= 1.2 * least, "{windows:?}");
}

#[test]
fn window_follows_the_rate_of_the_path() {
    let mut path = Path::new(1, 10.0, 100.0);
    path.run(100);
    for mbit in [100.0, 10.0] {
        path.rate = mbit * 125_000.0;
        path.run(30);
        let fills = path.rate * BASE / SEGMENT as f64;
        let window = path.windows()[0];
        assert!(
            (0.7 * fills..=fills + 60.0).contains(&window),
            "{window} of {fills}"
        );
    }
}

#[test]
fn outage_halves_the_window_and_leaves_four_segments_meanwhile() {
    let mut path = Path::new(1, 100.0, 400.0);
    path.run(100);
    let before = path.windows()[0];
    let now = path.now;
    path.flows[0].on_persistent_loss(now);
    assert_eq!(path.windows()[0] as u64, 4);
    path.run(2);
    let after = path.windows()[0];
    assert!((0.3 * before..=0.9 * before).contains(&after), "{after}");
}

//! The loss models.

use std::time::Duration;

use super::random::Random;
use super::spec::{Burst, Direction};

/// Decides packet by packet which are lost. The decision depends only on the seed and the packet's index or, for
/// bursts in time, on its arrival time.
#[derive(Debug)]
pub(crate) struct Losses {
    model: Model,
    random: Random,
}

#[derive(Debug)]
enum Model {
    Single {
        loss: f64,
    },
    Packets {
        losing: bool,
        begins: f64,
        ends: f64,
    },
    Time {
        losing: bool,
        until: Duration,
        bad: Duration,
        good: Duration,
    },
}

impl Losses {
    pub(crate) fn new(direction: &Direction, seed: u64) -> Self {
        let loss = direction.loss;
        let mut random = Random::new(seed);
        let odds = loss / (1.0 - loss);
        let model = match direction.burst {
            _ if loss == 0.0 => Model::Single { loss },
            Burst::Single => Model::Single { loss },
            Burst::Packets(mean) => Model::Packets {
                losing: random.chance(loss),
                begins: (odds / mean).min(1.0),
                ends: 1.0 / mean,
            },
            Burst::Time(bad) => {
                let good = bad.div_f64(odds);
                Model::Time {
                    losing: false,
                    until: random.exponential(good),
                    bad,
                    good,
                }
            }
        };
        Self { model, random }
    }

    /// Whether the packet that arrives at `now` is lost. `now` must not decrease between calls.
    pub(crate) fn is_lost(&mut self, now: Duration) -> bool {
        match &mut self.model {
            Model::Single { loss } => self.random.chance(*loss),
            Model::Packets {
                losing,
                begins,
                ends,
            } => {
                let turns = self.random.chance(if *losing { *ends } else { *begins });
                *losing ^= turns;
                *losing
            }
            Model::Time {
                losing,
                until,
                bad,
                good,
            } => {
                while *until <= now {
                    *losing = !*losing;
                    *until += self.random.exponential(if *losing { *bad } else { *good });
                }
                *losing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(direction: &Direction, seed: u64, packets: u32) -> Vec<bool> {
        let mut losses = Losses::new(direction, seed);
        (0..packets)
            .map(|index| losses.is_lost(Duration::from_micros(100) * index))
            .collect()
    }

    fn lossy(burst: Burst) -> Direction {
        Direction {
            loss: 0.05,
            burst,
            ..Direction::default()
        }
    }

    /// Loss rate, and mean number of packets lost in a row.
    fn shape(pattern: &[bool]) -> (f64, f64) {
        let lost = pattern.iter().filter(|lost| **lost).count() as f64;
        let starts = pattern.windows(2).filter(|two| !two[0] && two[1]).count() as f64;
        (lost / pattern.len() as f64, lost / starts)
    }

    #[test]
    fn single_losses_have_the_configured_rate() {
        let (loss, run) = shape(&pattern(&lossy(Burst::Single), 1, 200_000));
        assert!((0.047..0.053).contains(&loss), "{loss}");
        assert!((1.0..1.1).contains(&run), "{run}");
    }

    #[test]
    fn bursts_of_packets_have_the_configured_length_and_rate() {
        let (loss, run) = shape(&pattern(&lossy(Burst::Packets(3.0)), 1, 400_000));
        assert!((0.046..0.054).contains(&loss), "{loss}");
        assert!((2.8..3.2).contains(&run), "{run}");
    }

    #[test]
    fn bursts_in_time_have_the_configured_duration_and_rate() {
        let direction = lossy(Burst::Time(Duration::from_millis(10)));
        let (loss, run) = shape(&pattern(&direction, 1, 2_000_000));
        assert!((0.04..0.06).contains(&loss), "{loss}");
        // With a packet every 100 us, 10 ms are 100 packets.
        assert!((85.0..115.0).contains(&run), "{run}");
    }

    #[test]
    fn losses_depend_only_on_the_seed() {
        let direction = lossy(Burst::Packets(3.0));
        assert_eq!(pattern(&direction, 7, 5000), pattern(&direction, 7, 5000));
        assert_ne!(pattern(&direction, 7, 5000), pattern(&direction, 8, 5000));
    }
}

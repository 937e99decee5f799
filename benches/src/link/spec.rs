//! Specification of a link: parameters of its two directions, parsing, and JSON.

use std::time::Duration;

use serde_json::{Value, json};

/// Correlation of losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Burst {
    /// Losses are independent.
    Single,
    /// Gilbert's model with one step per packet. The value is the mean number of packets lost in a row.
    Packets(f64),
    /// The path loses all packets for an exponentially distributed time with this mean, and none for exponentially
    /// distributed times in between.
    Time(Duration),
}

/// Position of the losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossAt {
    /// Before the queue: lost packets use none of the rate.
    Before,
    /// After the queue: lost packets use the rate like others.
    After,
}

/// One direction of a link. Probabilities are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// Propagation delay of each packet after it has left the queue.
    pub delay: Duration,
    /// Maximum of a uniformly distributed additional delay, which does not change the order of packets.
    pub jitter: Duration,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Correlation of losses.
    pub burst: Burst,
    /// Position of the losses.
    pub loss_at: LossAt,
    /// Number of the packet of each flow that is lost: 1 is the first, 0 loses none.
    pub lose_nth: u32,
    /// Probability that a packet is held back and overtaken by later ones.
    pub reorder: f64,
    /// Maximum of the uniformly distributed delay of those packets.
    pub reorder_by: Duration,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Rate in bits of IP packets per second.
    pub rate: u64,
    /// Capacity of the queue, in packets.
    pub queue: usize,
}

/// A link: `up` is the direction from the client to the server, `down` the way back.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its name, or its settings.
    pub name: String,
    /// From the client to the server.
    pub up: Direction,
    /// From the server to the client.
    pub down: Direction,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(25),
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: Burst::Single,
            loss_at: LossAt::Before,
            lose_nth: 0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(5),
            duplicate: 0.0,
            rate: 100_000_000,
            queue: 400,
        }
    }
}

impl Direction {
    /// Applies a setting of the command line such as `loss=5`, without the prefix `up.` or `down.`.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{key}={value}: invalid value for this setting of a link");
        let number = || value.parse::<f64>().ok().filter(|number| *number >= 0.0);
        let part = || Some(number()? / 100.0).filter(|part| *part < 1.0);
        let millis = || Some(Duration::from_secs_f64(number()? / 1e3));
        match key {
            "rtt" => self.delay = millis().ok_or_else(wrong)? / 2,
            "delay" => self.delay = millis().ok_or_else(wrong)?,
            "jitter" => self.jitter = millis().ok_or_else(wrong)?,
            "loss" => self.loss = part().ok_or_else(wrong)?,
            "reorder" => self.reorder = part().ok_or_else(wrong)?,
            "reorder-by" => self.reorder_by = millis().ok_or_else(wrong)?,
            "dup" => self.duplicate = part().ok_or_else(wrong)?,
            "mbit" => {
                let mbit = number().filter(|mbit| *mbit > 0.0).ok_or_else(wrong)?;
                // Rates are far below 2^53 bits a second.
                self.rate = (mbit * 1e6) as u64;
            }
            "lose-nth" => self.lose_nth = value.parse().map_err(|_| wrong())?,
            "queue" => self.queue = value.parse().map_err(|_| wrong())?,
            "burst" => self.burst = burst(value).ok_or_else(wrong)?,
            "loss-at" if value == "before" => self.loss_at = LossAt::Before,
            "loss-at" if value == "after" => self.loss_at = LossAt::After,
            _ => return Err(format!("{key}={value}: unknown setting of a link")),
        }
        Ok(())
    }
}

/// Parses `1` (independent), `3p` (packets in a row) or `10ms`.
fn burst(value: &str) -> Option<Burst> {
    if let Some(millis) = value.strip_suffix("ms") {
        let millis: f64 = millis.parse().ok().filter(|millis| *millis > 0.0)?;
        return Some(Burst::Time(Duration::from_secs_f64(millis / 1e3)));
    }
    let packets: f64 = value.strip_suffix('p').unwrap_or(value).parse().ok()?;
    (packets >= 1.0).then_some(if packets > 1.0 {
        Burst::Packets(packets)
    } else {
        Burst::Single
    })
}

impl Link {
    /// Parses the settings of a link, such as `rtt=50+mbit=100+loss=5`. A setting with the prefix `up.` or `down.` applies
    /// to one direction, others to both. Defaults are RTT 50 ms, 100 Mbit/s, a queue of 400 packets and no faults.
    pub fn parse(name: &str, settings: &str) -> Result<Self, String> {
        let (mut up, mut down) = (Direction::default(), Direction::default());
        for setting in settings.split('+').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("{setting}: settings of a link have the form KEY=VALUE"))?;
            if let Some(key) = key.strip_prefix("up.") {
                up.set(key, value)?;
            } else if let Some(key) = key.strip_prefix("down.") {
                down.set(key, value)?;
            } else {
                up.set(key, value)?;
                down.set(key, value)?;
            }
        }
        Ok(Self {
            name: name.to_owned(),
            up,
            down,
        })
    }

    /// Round-trip time without queueing and jitter.
    pub fn rtt(&self) -> Duration {
        self.up.delay + self.down.delay
    }

    /// The JSON of the results: the direction from the client, and the other one if it differs.
    pub fn to_json(&self) -> Value {
        let mut value = self.up.to_json();
        value["name"] = json!(self.name);
        value["rtt_ms"] = json!(self.rtt().as_secs_f64() * 1e3);
        if self.down != self.up {
            value["down"] = self.down.to_json();
        }
        value
    }
}

impl Direction {
    fn to_json(&self) -> Value {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        json!({
            "delay_ms": millis(self.delay),
            "jitter_ms": millis(self.jitter),
            "mbit": self.rate as f64 / 1e6,
            "loss": self.loss,
            "burst": match self.burst {
                Burst::Single => json!(1),
                Burst::Packets(packets) => json!(packets),
                Burst::Time(mean) => json!(format!("{}ms", millis(mean))),
            },
            "queue": self.queue,
            "loss_at": match self.loss_at {
                LossAt::Before => "before",
                LossAt::After => "after",
            },
            "lose_nth": self.lose_nth,
            "reorder": self.reorder,
            "reorder_by_ms": millis(self.reorder_by),
            "duplicate": self.duplicate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_apply_to_both_directions_or_to_one() {
        let link = Link::parse("far", "rtt=200+loss=2+down.loss=0+queue=25").expect("valid");
        assert_eq!(link.rtt(), Duration::from_millis(200));
        assert_eq!((link.up.loss, link.down.loss), (0.02, 0.0));
        assert_eq!((link.up.queue, link.down.queue), (25, 25));
    }

    #[test]
    fn bursts_are_given_in_packets_or_time() {
        let burst_of = |settings| Link::parse("", settings).map(|link| link.up.burst);
        assert_eq!(burst_of("burst=3p"), Ok(Burst::Packets(3.0)));
        assert_eq!(burst_of("burst=1"), Ok(Burst::Single));
        let mean = Duration::from_millis(10);
        assert_eq!(burst_of("burst=10ms"), Ok(Burst::Time(mean)));
    }

    #[test]
    fn invalid_settings_are_refused() {
        for settings in [
            "loss=100", "loss=-1", "mbit=0", "burst=0", "speed=3", "loss",
        ] {
            assert!(Link::parse("", settings).is_err(), "{settings}");
        }
    }
}

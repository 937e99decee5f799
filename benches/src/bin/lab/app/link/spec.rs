//! What a link is: its two directions, their names, and the JSON of them.

use std::time::Duration;

use serde_json::{Value, json};

/// How losses follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Burst {
    /// Each packet is lost or not by itself.
    Single,
    /// Gilbert's model, one step a packet: so many are lost in a row on average.
    Packets(f64),
    /// The path is dead for an exponential time with this mean, and good for another one between.
    Time(Duration),
}

/// Where packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossAt {
    /// Before the queue: a lost packet takes none of the rate.
    Before,
    /// After the queue: a lost packet has taken its share of the rate.
    After,
}

/// One direction of a link. Probabilities are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Direction {
    /// Time that each packet takes, once it has left the queue.
    pub(crate) delay: Duration,
    /// Further time, uniform up to this. Does not change the order of packets.
    pub(crate) jitter: Duration,
    /// Part of the packets that is lost.
    pub(crate) loss: f64,
    /// How losses follow each other.
    pub(crate) burst: Burst,
    /// Where they happen.
    pub(crate) loss_at: LossAt,
    /// Of each flow, the packet with this number is lost; 0 is none, 1 the first.
    pub(crate) lose_nth: u32,
    /// Part of the packets that later ones overtake.
    pub(crate) reorder: f64,
    /// Those packets are late by a uniform time up to this.
    pub(crate) reorder_by: Duration,
    /// Part of the packets that arrive twice.
    pub(crate) duplicate: f64,
    /// Bits of IP packets a second.
    pub(crate) rate: u64,
    /// Packets that wait for the rate, at most.
    pub(crate) queue: usize,
}

/// Two directions: from the client to the server, and back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) up: Direction,
    pub(crate) down: Direction,
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
    /// A setting as the command line has it: `loss=5`, `up.` and `down.` already cut off.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{key}={value}: not a number this setting can have");
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
            _ => return Err(format!("{key}={value}: no such setting of a link")),
        }
        Ok(())
    }
}

/// `1`, `3p` (packets in a row) or `10ms`.
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
    /// A link from its settings, `rtt=50+mbit=100+loss=5`, in both directions or, with `up.` or
    /// `down.` before the setting, in one. What is not set is RTT 50 ms, 100 Mbit/s, a queue of 400
    /// packets and no fault.
    pub(crate) fn parse(name: &str, settings: &str) -> Result<Self, String> {
        let (mut up, mut down) = (Direction::default(), Direction::default());
        for setting in settings.split('+').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("{setting}: a setting of a link is KEY=VALUE"))?;
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

    /// Round-trip time of a packet that waits nowhere, without jitter.
    pub(crate) fn rtt(&self) -> Duration {
        self.up.delay + self.down.delay
    }

    /// As the results have it: the direction that carries bulk, and the other one where it differs.
    pub(crate) fn to_json(&self) -> Value {
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
    fn bursts_are_of_packets_or_of_time() {
        let burst_of = |settings| Link::parse("", settings).map(|link| link.up.burst);
        assert_eq!(burst_of("burst=3p"), Ok(Burst::Packets(3.0)));
        assert_eq!(burst_of("burst=1"), Ok(Burst::Single));
        let mean = Duration::from_millis(10);
        assert_eq!(burst_of("burst=10ms"), Ok(Burst::Time(mean)));
    }

    #[test]
    fn what_no_link_can_be_is_refused() {
        for settings in [
            "loss=100", "loss=-1", "mbit=0", "burst=0", "speed=3", "loss",
        ] {
            assert!(Link::parse("", settings).is_err(), "{settings}");
        }
    }
}

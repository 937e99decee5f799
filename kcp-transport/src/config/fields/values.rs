//! Values as they are written in configuration files.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{
    AckPolicy, Congestion, Extensions, Mode, MtuDiscovery, Percent, Preset, Redundancy,
    WriteCoalescing,
};
use crate::fec::FecRatio;

/// Serialized as 0 or 1, deserialized also from false or true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bit(pub(super) bool);

/// Serialized as false or true, deserialized also from 0 or 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) bool);

/// kcptun's `nc`: 0 for [`Congestion::Kcp`], 1 for [`Congestion::Unlimited`]. Deserialized also
/// from a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoCongestion(pub(super) Congestion);

/// A number of milliseconds, with a fraction if needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) Duration);

/// A number of seconds, with a fraction if needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Bit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0.into())
    }
}

impl<'de> Deserialize<'de> for Bit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoolVisitor).map(Self)
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoolVisitor).map(Self)
    }
}

struct BoolVisitor;

impl Visitor<'_> for BoolVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("false, true, 0 or 1")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

impl Serialize for NoCongestion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Congestion::Kcp => serializer.serialize_u8(0),
            Congestion::Unlimited => serializer.serialize_u8(1),
            other => serializer.collect_str(&other),
        }
    }
}

impl<'de> Deserialize<'de> for NoCongestion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CongestionVisitor).map(Self)
    }
}

struct CongestionVisitor;

impl Visitor<'_> for CongestionVisitor {
    type Value = Congestion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0, 1 or the name of a congestion control")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Congestion, E> {
        match value {
            0 => Ok(Congestion::Kcp),
            1 => Ok(Congestion::Unlimited),
            other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Congestion, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Congestion, E> {
        name.parse().map_err(E::custom)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_number(self.0, 1000, serializer)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = NumberVisitor { per_second: 1000 };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_number(self.0, 1, serializer)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = NumberVisitor { per_second: 1 };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

/// Serializes `time` in units of 1/`per_second` seconds, as an integer if possible.
fn serialize_number<S: Serializer>(
    time: Duration,
    per_second: u32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let unit = Duration::from_secs(1) / per_second;
    let whole = u64::try_from(time.as_nanos() / unit.as_nanos()).unwrap_or(u64::MAX);
    if time.as_nanos().is_multiple_of(unit.as_nanos()) {
        serializer.serialize_u64(whole)
    } else {
        serializer.serialize_f64(time.as_secs_f64() * f64::from(per_second))
    }
}

/// Deserializes a duration in units of 1/`per_second` seconds.
struct NumberVisitor {
    per_second: u32,
}

impl Visitor<'_> for NumberVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.per_second == 1 {
            "seconds"
        } else {
            "milliseconds"
        };
        write!(f, "a number of {unit}, not negative")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Duration, E> {
        let unit = Duration::from_secs(1) / self.per_second;
        let time = u32::try_from(value)
            .ok()
            .and_then(|value| unit.checked_mul(value));
        time.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Duration, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Duration, E> {
        Duration::try_from_secs_f64(value / f64::from(self.per_second))
            .map_err(|_| E::invalid_value(Unexpected::Float(value), &self))
    }
}

/// Implements serde's traits for types that are represented by their name.
macro_rules! by_name {
    ($($type:ty),*) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                name.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

by_name!(
    AckPolicy,
    Congestion,
    Extensions,
    FecRatio,
    Mode,
    MtuDiscovery,
    Percent,
    Preset,
    Redundancy,
    WriteCoalescing
);

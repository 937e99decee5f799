//! The kinds of statistics by type: how they are merged, displayed and published.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "metrics")]
use super::metric::MetricKind;

/// A statistic for display and publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Only grows.
    Count(u64),
    /// Increases and decreases.
    Level(u64),
    /// A duration, if it is known.
    Time(Option<Duration>),
}

/// The type of a statistics field. `u64` is a counter; the other integers are levels, which are
/// added for `usize` and of which the larger is kept for shorter types.
pub(super) trait Measure: Copy + Default {
    /// That of the metric.
    #[cfg(feature = "metrics")]
    const KIND: MetricKind = MetricKind::Gauge;

    fn value(self) -> Value;

    /// Combines this with the same statistic of another connection.
    fn merge(&mut self, other: Self);

    /// The value itself if it is a counter, else the default.
    fn counter_only(self) -> Self {
        Self::default()
    }
}

impl Measure for u64 {
    #[cfg(feature = "metrics")]
    const KIND: MetricKind = MetricKind::Counter;

    fn value(self) -> Value {
        Value::Count(self)
    }

    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }

    fn counter_only(self) -> Self {
        self
    }
}

impl Measure for usize {
    fn value(self) -> Value {
        // No platform has more than 64 bits.
        Value::Level(self as u64)
    }

    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl Measure for u32 {
    fn value(self) -> Value {
        Value::Level(self.into())
    }

    fn merge(&mut self, other: Self) {
        *self = other.max(*self);
    }
}

impl Measure for u16 {
    fn value(self) -> Value {
        Value::Level(self.into())
    }

    fn merge(&mut self, other: Self) {
        *self = other.max(*self);
    }
}

impl Measure for Duration {
    fn value(self) -> Value {
        Value::Time(Some(self))
    }

    fn merge(&mut self, other: Self) {
        *self = other.max(*self);
    }
}

impl Measure for Option<Duration> {
    fn value(self) -> Value {
        Value::Time(self)
    }

    fn merge(&mut self, other: Self) {
        *self = other.max(*self);
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) | Self::Level(count) => count.fmt(f),
            Self::Time(Some(time)) => {
                let micros = time.as_micros();
                write!(f, "{}.{:03} ms", micros / 1000, micros % 1000)
            }
            Self::Time(None) => f.write_str("-"),
        }
    }
}

/// Writes a line for each row, names left and values right.
pub(super) fn write_table(
    f: &mut fmt::Formatter<'_>,
    rows: &[(&'static str, String)],
) -> fmt::Result {
    let names = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let values = rows.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let values = values.max(MIN_VALUE_WIDTH);
    for (name, value) in rows {
        writeln!(f, "{name:<names$} {value:>values$}")?;
    }
    Ok(())
}

/// Minimum width of the value column, so that tables of different numbers are aligned alike.
const MIN_VALUE_WIDTH: usize = 12;

/// Defines a struct of statistics; each field is named once. The literal is the name under which the
/// field is published, and the documentation is the description of that metric.
macro_rules! statistics {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])* $field:ident: $type:ty = $metric:literal,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])*
                ///
                #[doc = concat!("Published as `", $metric, "`.")]
                pub $field: $type,
            )*
        }

        #[cfg(feature = "metrics")]
        impl $name {
            /// The metrics of [`publish`](Self::publish), in the order of the fields.
            const METRICS: &[$crate::stats::metric::Metric] = &[
                $($crate::stats::metric::Metric::new(
                    <$type as $crate::stats::measure::Measure>::KIND,
                    $metric,
                    concat!($($doc),*).trim_ascii(),
                ),)*
            ];
        }

        impl $name {
            /// Calls `see` with the name, the published name and the value of each field.
            fn visit(
                &self,
                see: &mut dyn FnMut(&'static str, &'static str, $crate::stats::measure::Value),
            ) {
                use $crate::stats::measure::Measure;
                $(see(stringify!($field), $metric, self.$field.value());)*
            }

            /// The counters without levels and times, to keep after the connection has ended.
            #[allow(dead_code, reason = "called for connections only, and only by `net`")]
            pub(crate) fn counters_only(&self) -> Self {
                use $crate::stats::measure::Measure;
                Self { $($field: self.$field.counter_only(),)* }
            }
        }

        /// Counters and lengths add up; of everything else the larger value is kept.
        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                use $crate::stats::measure::Measure;
                $(self.$field.merge(other.$field);)*
            }
        }

        /// A table with one line per field, names left and values right.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut rows = Vec::new();
                self.visit(&mut |field, _, value| rows.push((field, value.to_string())));
                $crate::stats::measure::write_table(f, &rows)
            }
        }
    };
}
pub(super) use statistics;

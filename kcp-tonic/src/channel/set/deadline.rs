//! The header `grpc-timeout`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The time that a call may take, if it has the header and it is valid.
pub(in crate::channel) fn get(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    // At most eight digits, by gRPC over HTTP/2.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Sets the header to what is left, in the smallest unit that has room for it.
pub(super) fn set(headers: &mut HeaderMap, left: Duration) {
    let value = match (left.as_micros(), left.as_millis()) {
        (micros, _) if micros < LARGEST => format!("{micros}u"),
        (_, millis) if millis < LARGEST => format!("{millis}m"),
        _ => format!("{}S", u128::from(left.as_secs()).min(LARGEST - 1)),
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// The first number that has more than eight digits.
const LARGEST: u128 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_and_written() {
        for (left, value) in [
            (Duration::ZERO, "0u"),
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
        ] {
            let mut headers = HeaderMap::new();
            set(&mut headers, left);
            assert_eq!(headers[GRPC_TIMEOUT], value);
            assert_eq!(get(&headers), Some(left));
        }
        let mut headers = HeaderMap::new();
        set(&mut headers, Duration::MAX);
        assert_eq!(headers[GRPC_TIMEOUT], "99999999S");
    }

    #[test]
    fn units_are_those_of_grpc_and_nonsense_is_no_limit() {
        let get = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            get(&HeaderMap::from_iter([(GRPC_TIMEOUT, value)]))
        };
        assert_eq!(get("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(get("2M"), Some(Duration::from_secs(120)));
        assert_eq!(get("7n"), Some(Duration::from_nanos(7)));
        for nonsense in ["", "S", "1", "+1S", "1x", "123456789S", "1 S"] {
            assert_eq!(get(nonsense), None, "{nonsense}");
        }
    }
}

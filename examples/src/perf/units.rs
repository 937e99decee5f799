//! Sizes and rates as iperf3 writes them: sizes in powers of 1024 bytes, rates in powers of 1000 bits.

/// Parses a number of bytes, with K, M, G or T for powers of 1024.
///
/// # Errors
///
/// A message with the allowed forms.
pub fn parse_bytes(given: &str) -> Result<u64, String> {
    parse(given, 1024).ok_or_else(|| {
        "allowed: a number of bytes from 1 to 1P, such as 500, 64K, 10M or 1.5G (powers of 1024)"
            .to_owned()
    })
}

/// Parses bits per second, with K, M or G for powers of 1000.
///
/// # Errors
///
/// A message with the allowed forms.
pub fn parse_rate(given: &str) -> Result<u64, String> {
    parse(given, 1000)
        .filter(|rate| (MIN_RATE..=MAX_RATE).contains(rate))
        .ok_or_else(|| {
            "allowed: bits per second from 1K to 1000G, such as 500K, 10M or 1.5G (powers of 1000)"
                .to_owned()
        })
}

/// Formats a number of bytes with three digits: `112 MBytes`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let (number, prefix) = scaled(count as f64, 1024.0);
    format!("{number} {prefix}Bytes")
}

/// Formats bits per second with three digits: `943 Mbits/sec`.
#[must_use]
pub fn rate(bits_per_second: f64) -> String {
    let (number, prefix) = scaled(bits_per_second, 1000.0);
    format!("{number} {prefix}bits/sec")
}

/// A number with an optional fraction and prefix, as an integer of at least 1.
fn parse(given: &str, base: u64) -> Option<u64> {
    let power = given
        .chars()
        .next_back()
        .and_then(|last| PREFIXES.find(last.to_ascii_uppercase()));
    let (number, power) = match power {
        Some(index) => (&given[..given.len() - 1], index as u32 + 1),
        None => (given, 0),
    };
    if !number.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let value = number * base.pow(power) as f64;
    // The bound keeps the conversion exact enough, and excludes infinity.
    (1.0..=MAX_BYTES as f64)
        .contains(&value)
        .then_some(value as u64)
}

/// Three digits and the prefix of the largest unit that leaves at least 1.
fn scaled(mut value: f64, base: f64) -> (String, &'static str) {
    let mut prefix = "";
    for larger in ["K", "M", "G", "T"] {
        if value < base - 0.5 {
            break;
        }
        value /= base;
        prefix = larger;
    }
    let number = if prefix.is_empty() || value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    (number, prefix)
}

/// Prefixes of growing powers.
const PREFIXES: &str = "KMGTP";

const MAX_BYTES: u64 = 1 << 50;

/// Lower rates would make intervals without data of many seconds.
const MIN_RATE: u64 = 1000;

const MAX_RATE: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_rates_of_1000() {
        for (given, bytes) in [
            ("1", 1),
            ("500", 500),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("10M", 10 << 20),
            ("1.5G", 3 << 29),
            ("1P", 1 << 50),
        ] {
            assert_eq!(parse_bytes(given), Ok(bytes), "{given}");
        }
        assert_eq!(parse_rate("1K"), Ok(1000));
        assert_eq!(parse_rate("2.5M"), Ok(2_500_000));
        assert_eq!(parse_rate("1000G"), Ok(MAX_RATE));
    }

    #[test]
    fn other_forms_are_refused_with_the_allowed_ones() {
        for given in [
            "", "0", "K", "-1", "+1", "1KB", "1e400", "inf", "nan", "2P", "1 K", "0x10", "1\u{e9}",
        ] {
            let problem = parse_bytes(given).unwrap_err();
            assert!(problem.contains("64K"), "{given}: {problem}");
            parse_rate(given).unwrap_err();
        }
        let problem = parse_rate("999").unwrap_err();
        assert!(problem.contains("1K to 1000G"), "{problem}");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (count, text) in [
            (0, "0 Bytes"),
            (999, "999 Bytes"),
            (1023, "1023 Bytes"),
            (1024, "1.00 KBytes"),
            (10_230, "9.99 KBytes"),
            (112 << 20, "112 MBytes"),
            (3 << 29, "1.50 GBytes"),
            (1 << 50, "1024 TBytes"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(rate(943_210_000.0), "943 Mbits/sec");
        assert_eq!(rate(999_900.0), "1.00 Mbits/sec");
        assert_eq!(rate(12_345.0), "12.3 Kbits/sec");
    }
}

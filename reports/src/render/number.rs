//! Numbers for people: as many digits as mean something, and their unit.
//!
//! Number and unit are joined by [`GLUE`], so that no line is ever broken between them.

/// No-break space: joins what must not be torn apart at a line's end.
pub(super) const GLUE: char = '\u{a0}';

/// What stands for a figure that is not a number. A report that can be written as JSON holds none.
const NOT_A_NUMBER: &str = "not a number";

/// Milliseconds: `0.004 ms`, `0.04 ms`, `1.2 ms`, `23 ms`, `12.3 s`.
pub fn ms(value: f64) -> String {
    quantity(value, ms_scale(value))
}

/// A share (0..=1) in percent: `0 %`, `0.23 %`, `3.4 %`, `15 %`. Never rounds to none or all what is not.
pub fn percent(ratio: f64) -> String {
    quantity(ratio, percent_scale(ratio))
}

/// A bit rate (10^3, 10^6, 10^9 bits): `600 kbit/s`, `1.5 Mbit/s`, `23 Mbit/s`.
pub(super) fn rate(bps: f64) -> String {
    quantity(bps, rate_scale(bps))
}

/// A size in bytes (10^3, 10^6, 10^9): `12.4 kB`, `25.3 GB`.
pub(super) fn size(bytes: u64) -> String {
    crate::units::DataSize::from_bytes(bytes).to_string().replace(' ', &GLUE.to_string())
}

/// A plain number with a fixed count of decimals.
pub(super) fn plain(value: f64, decimals: usize) -> String {
    quantity(value, Scale { by: 1.0, decimals, unit: "" })
}

/// A count with thousands separated: `12,345`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An interval in milliseconds: `5.2–7.9 ms`.
pub(super) fn ms_interval(low: Option<f64>, high: Option<f64>) -> Option<String> {
    interval(low, high, ms_scale, ms)
}

/// An interval of shares in percent: `2.0–5.4 %`.
pub(super) fn percent_interval(low: Option<f64>, high: Option<f64>) -> Option<String> {
    interval(low, high, percent_scale, percent)
}

/// An interval of bit rates.
pub(super) fn rate_interval(low: Option<f64>, high: Option<f64>) -> Option<String> {
    interval(low, high, rate_scale, rate)
}

/// An interval of plain numbers.
pub(super) fn plain_interval(low: Option<f64>, high: Option<f64>, decimals: usize) -> Option<String> {
    let scale = move |_| Scale { by: 1.0, decimals, unit: "" };
    interval(low, high, scale, move |value| plain(value, decimals))
}

/// How a number is written.
#[derive(Clone, Copy)]
struct Scale {
    by: f64,
    decimals: usize,
    unit: &'static str,
}

fn ms_scale(value: f64) -> Scale {
    let size = value.abs();
    let decimals = match size {
        s if s < 0.009_5 => 3,
        s if s < 0.995 => 2,
        s if s < 9.95 => 1,
        _ => 0,
    };
    if size >= 10_000.0 {
        return Scale { by: 1e-3, decimals: 1, unit: "s" };
    }
    Scale { by: 1.0, decimals, unit: "ms" }
}

fn percent_scale(ratio: f64) -> Scale {
    let decimals = match (ratio * 100.0).abs() {
        p if p < 0.995 => 2,
        p if p < 9.95 => 1,
        p if p > 99.5 && p < 100.0 => 2,
        _ => 0,
    };
    Scale { by: 100.0, decimals, unit: "%" }
}

fn rate_scale(bps: f64) -> Scale {
    let (by, unit) = match bps.abs() {
        b if b < 999_500.0 => (1e-3, "kbit/s"),
        b if b < 999.5e6 => (1e-6, "Mbit/s"),
        _ => (1e-9, "Gbit/s"),
    };
    let decimals = usize::from(bps.abs() * by < 9.95);
    Scale { by, decimals, unit }
}

fn quantity(value: f64, scale: Scale) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let unit = unit_suffix(scale);
    let least = 0.1_f64.powi(i32::try_from(scale.decimals).unwrap_or(0));
    let scaled = value * scale.by;
    if value > 0.0 && scaled < least / 2.0 {
        return format!("<{GLUE}{least:.*}{unit}", scale.decimals);
    }
    if scale.unit == "%" && value < 1.0 && scaled > 100.0 - least / 2.0 {
        return format!(">{GLUE}{:.*}{unit}", scale.decimals, 100.0 - least);
    }
    format!("{}{unit}", digits(scaled, scale.decimals))
}

/// Writes a number; a rounded zero has neither decimals nor sign.
fn digits(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.chars().any(|c| c.is_ascii_digit() && c != '0') {
        return text;
    }
    "0".to_owned()
}

fn unit_suffix(scale: Scale) -> String {
    if scale.unit.is_empty() { String::new() } else { format!("{GLUE}{}", scale.unit) }
}

/// Writes an interval in the scale of its upper end; `None` when neither end is known.
fn interval(
    low: Option<f64>,
    high: Option<f64>,
    scale: impl Fn(f64) -> Scale,
    alone: impl Fn(f64) -> String,
) -> Option<String> {
    match (low.filter(|l| l.is_finite()), high.filter(|h| h.is_finite())) {
        (None, None) => None,
        (Some(low), None) => Some(format!("≥{GLUE}{}", alone(low))),
        (None, Some(high)) => Some(format!("≤{GLUE}{}", alone(high))),
        (Some(low), Some(high)) => {
            let mut scale = scale(high);
            if digits(low * scale.by, scale.decimals) == digits(high * scale.by, scale.decimals) && low < high
            {
                scale.decimals += 1;
            }
            let [low, high] = [low, high].map(|end| digits(end * scale.by, scale.decimals));
            Some(format!("{low}–{high}{}", unit_suffix(scale)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn written(text: impl AsRef<str>, expected: &str) {
        assert_eq!(text.as_ref().replace(GLUE, " "), expected);
    }

    #[test]
    fn milliseconds_have_the_digits_that_mean_something() {
        for (value, expected) in [
            (0.0, "0 ms"),
            (-0.0, "0 ms"),
            (0.000_4, "< 0.001 ms"),
            (0.004, "0.004 ms"),
            (0.009_6, "0.01 ms"),
            (0.04, "0.04 ms"),
            (0.996, "1.0 ms"),
            (1.24, "1.2 ms"),
            (9.96, "10 ms"),
            (23.4, "23 ms"),
            (999.6, "1000 ms"),
            (12_340.0, "12.3 s"),
            (-2.5, "-2.5 ms"),
            (f64::NAN, "not a number"),
        ] {
            written(ms(value), expected);
        }
    }

    #[test]
    fn percent_never_rounds_to_none_or_all() {
        for (ratio, expected) in [
            (0.0, "0 %"),
            (0.000_01, "< 0.01 %"),
            (0.0023, "0.23 %"),
            (0.034, "3.4 %"),
            (0.0996, "10 %"),
            (0.154, "15 %"),
            (0.997, "99.70 %"),
            (0.999_99, "> 99.99 %"),
            (1.0, "100 %"),
        ] {
            written(percent(ratio), expected);
        }
    }

    #[test]
    fn rates_change_unit_with_size() {
        for (bps, expected) in [
            (0.0, "0 kbit/s"),
            (64_000.0, "64 kbit/s"),
            (999_600.0, "1.0 Mbit/s"),
            (1_500_000.0, "1.5 Mbit/s"),
            (23_400_000.0, "23 Mbit/s"),
            (1_234_000_000.0, "1.2 Gbit/s"),
        ] {
            written(rate(bps), expected);
        }
    }

    #[test]
    fn intervals_share_a_scale_and_never_collapse() {
        written(percent_interval(Some(0.02), Some(0.054)).expect("both ends"), "2.0–5.4 %");
        written(percent_interval(Some(0.0), Some(0.0074)).expect("both ends"), "0–0.74 %");
        written(ms_interval(Some(21.9), Some(22.4)).expect("both ends"), "21.9–22.4 ms");
        written(ms_interval(Some(5.2), None).expect("one end"), "≥ 5.2 ms");
        assert_eq!(ms_interval(None, Some(f64::NAN)), None);
    }

    #[test]
    fn counts_separate_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_573), "1,573");
        assert_eq!(count(12_345_678), "12,345,678");
    }
}

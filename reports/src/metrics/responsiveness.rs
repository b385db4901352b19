//! What a full link does to whoever waits for an answer, in the terms of two documents: the TCP framework of RFC 6349, and round
//! trips per minute of draft-ietf-ippm-responsiveness.

use super::percentile::{Quantile, Sorted};
use crate::units::{Bitrate, DataSize, Micros, Ratio};

/// The draft that [`Responsiveness`] follows. Its versions, and the tools that claim them, differ several-fold: a figure without
/// its version says nothing.
pub const DRAFT: &str = "draft-ietf-ippm-responsiveness-09";

/// Responsiveness with both legs, in round trips per minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Responsiveness {
    /// Of new connections while the link is full.
    pub foreign_rpm: f64,
    /// Of requests on the connections that fill it.
    pub loaded_rpm: f64,
}

/// Round trips of new connections while the link is full.
#[derive(Debug, Clone, Copy)]
pub struct Foreign<'a> {
    /// TCP handshakes.
    pub tcp: &'a Sorted,
    /// TLS handshakes; `None` where there is no TLS.
    pub tls: Option<&'a Sorted>,
    /// First requests.
    pub http: &'a Sorted,
}

impl Responsiveness {
    /// Works out both legs (section 5.1 of the draft); `None` where a kind of round trip was not measured.
    pub fn of(foreign: Foreign<'_>, loaded: &Sorted) -> Option<Self> {
        let mut legs = vec![trimmed_mean(foreign.tcp)?, trimmed_mean(foreign.http)?];
        if let Some(tls) = foreign.tls {
            legs.push(trimmed_mean(tls)?);
        }
        Some(Self { foreign_rpm: per_minute(mean(&legs)?)?, loaded_rpm: per_minute(trimmed_mean(loaded)?)? })
    }

    /// The one number of the draft: the mean of both legs.
    pub fn rpm(self) -> f64 {
        f64::midpoint(self.foreign_rpm, self.loaded_rpm)
    }
}

/// The bandwidth-delay product (RFC 6349 section 3.3.1): what is under way on a full link.
pub fn bandwidth_delay_product(bandwidth: Bitrate, rtt: Micros) -> DataSize {
    bandwidth.in_time(rtt)
}

/// The greatest rate of a receive window over a round trip (RFC 6349 section 3.3.1); `None` without a round trip.
pub fn window_rate(window: DataSize, rtt: Micros) -> Option<Bitrate> {
    Bitrate::of(window, rtt)
}

/// What TCP's payload can reach of frames per second, each with this much payload (RFC 6349 section 4.1.1).
pub fn payload_rate(frames_per_second: u64, payload: DataSize) -> Bitrate {
    Bitrate::from_bps(frames_per_second.saturating_mul(payload.bytes()).saturating_mul(8))
}

/// TCP efficiency (RFC 6349 section 4.2): the share of what was transmitted that was not sent again. `None` where nothing was, or
/// more was sent again than at all.
pub fn efficiency(transmitted: DataSize, retransmitted: DataSize) -> Option<Ratio> {
    Ratio::of(transmitted.bytes().checked_sub(retransmitted.bytes())?, transmitted.bytes())
}

/// Buffer delay (RFC 6349 section 4.3): by what share of the base round trip the mean one is longer, 0.5 for half as long again.
/// `None` without a base.
pub fn buffer_delay(mean_rtt: Micros, base_rtt: Micros) -> Option<f64> {
    (base_rtt > Micros::ZERO).then(|| (mean_rtt - base_rtt).as_ms() / base_rtt.as_ms())
}

/// Mean in milliseconds of what lies at or below the 95th percentile.
fn trimmed_mean(sorted: &Sorted) -> Option<f64> {
    let most = sorted.at(Quantile::P95)?;
    let kept: Vec<f64> =
        sorted.as_slice().iter().take_while(|rtt| **rtt <= most).map(|rtt| rtt.as_ms()).collect();
    mean(&kept)
}

fn mean(values: &[f64]) -> Option<f64> {
    let n = u32::try_from(values.len()).ok().filter(|n| *n > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(n))
}

fn per_minute(ms: f64) -> Option<f64> {
    (ms > 0.0).then(|| 60_000.0 / ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ms: i64) -> Sorted {
        [ms; 20].into_iter().map(Micros::from_millis).collect()
    }

    #[test]
    fn responsiveness_is_the_mean_of_both_legs_not_the_rate_of_the_mean() {
        // By hand from the draft's formula; goresponsiveness, which takes the rate of the mean, says 109, 188 and 480.
        for (foreign, loaded, legs, rpm) in [
            (100, 1_000, (600.0, 60.0), 330.0),
            (40, 600, (1_500.0, 100.0), 800.0),
            (50, 200, (1_200.0, 300.0), 750.0),
        ] {
            let one = all(foreign);
            let foreign = Foreign { tcp: &one, tls: Some(&one), http: &one };
            let found = Responsiveness::of(foreign, &all(loaded)).expect("all were measured");
            assert_eq!((found.foreign_rpm, found.loaded_rpm), legs);
            assert!((found.rpm() - rpm).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn without_tls_two_kinds_make_the_foreign_leg_and_without_samples_there_is_none() {
        let (tcp, http) = (all(40), all(80));
        let found = Responsiveness::of(Foreign { tcp: &tcp, tls: None, http: &http }, &all(60));
        assert_eq!(found, Some(Responsiveness { foreign_rpm: 1_000.0, loaded_rpm: 1_000.0 }));
        let nothing = Sorted::default();
        assert_eq!(
            Responsiveness::of(Foreign { tcp: &tcp, tls: Some(&nothing), http: &http }, &all(60)),
            None
        );
        assert_eq!(Responsiveness::of(Foreign { tcp: &tcp, tls: None, http: &all(0) }, &all(0)), None);
    }

    #[test]
    fn the_slowest_twentieth_is_left_out() {
        let trips: Sorted = (0..20).map(|i| Micros::from_millis(if i < 19 { 10 } else { 5_000 })).collect();
        assert_eq!(trimmed_mean(&trips), Some(10.0));
    }

    #[test]
    fn the_numbers_of_rfc_6349() {
        // Section 3.3.1: 16 KB over 5 ms is 26 Mbit/s with KB of 1,024 octets, 25.6 with those of 1,000.
        let rate = window_rate(DataSize::from_bytes(16_000), Micros::from_millis(5));
        assert_eq!(rate, Some(Bitrate::from_kbps(25_600)));
        // A T3 of 44.21 Mbit/s over 25 ms holds 138 KB.
        let product = bandwidth_delay_product(Bitrate::from_kbps(44_210), Micros::from_millis(25));
        assert_eq!(product, DataSize::from_bytes(138_156));
        // Section 4.1.1: 3,664 frames per second of 1,460 octets on a T3, 8,127 on 100 Mbit/s Ethernet.
        let payload = DataSize::from_bytes(1_460);
        assert!((payload_rate(3_664, payload).mbps() - 42.8).abs() < 0.05);
        assert!((payload_rate(8_127, payload).mbps() - 94.9).abs() < 0.05);
        // Section 4.2: 2,000 of 100,000 octets are sent twice.
        let share =
            efficiency(DataSize::from_bytes(102_000), DataSize::from_bytes(2_000)).map(Ratio::percent);
        assert!(share.is_some_and(|percent| (percent - 98.039).abs() < 1e-3), "{share:?}");
        assert_eq!(efficiency(DataSize::from_bytes(1), DataSize::from_bytes(2)), None);
        // Section 4.3: 32 ms over 25 ms.
        let delay = buffer_delay(Micros::from_millis(32), Micros::from_millis(25)).expect("a base");
        assert!((delay - 0.28).abs() < 1e-12, "{delay}");
        assert_eq!(buffer_delay(Micros::from_millis(32), Micros::ZERO), None);
    }
}

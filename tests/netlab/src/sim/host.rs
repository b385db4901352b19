//! A computer in virtual time: its clock, its scheduler, its receive queue, its moods.

use std::time::Duration;

use greenroom_reports::units::Micros;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::scenario::Host;

/// A computer in virtual time.
pub(super) struct Computer {
    host: Host,
    random: ChaCha8Rng,
}

impl Computer {
    /// `number` keeps its draws apart from those of links (0 and 1) and of the other computer.
    pub(super) fn new(host: &Host, seed: u64, number: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number * 16);
        Self { host: host.clone(), random }
    }

    /// What its clock shows at a point of true time, in whole microseconds as they begin.
    pub(super) fn local(&self, at: Duration) -> Micros {
        let drifted = self.host.clock_ahead + at.mul_f64(1.0 + self.host.skew_ppm / 1e6);
        Micros::from_duration(drifted)
    }

    /// The first point of true time at which its clock shows at least `local`.
    pub(super) fn true_time(&self, local: Micros) -> Duration {
        let ahead = Micros::from_duration(self.host.clock_ahead);
        let mut at = (local - ahead).to_duration().div_f64(1.0 + self.host.skew_ppm / 1e6);
        while self.local(at) < local {
            at += Duration::from_nanos(100);
        }
        at
    }

    /// How long after the kernel the program wakes this time.
    pub(super) fn wake_delay(&mut self) -> Duration {
        self.host.wake.delay(Duration::ZERO, &mut self.random)
    }

    /// Whether the kernel refuses the next send.
    pub(super) fn refuses_send(&mut self) -> bool {
        self.host.refused_ratio > 0.0 && self.random.random_bool(self.host.refused_ratio)
    }

    /// Datagrams that the receive queue holds.
    pub(super) fn receive_queue(&self) -> usize {
        self.host.receive_queue
    }
}

//! Congestion control of QUIC connections. Data that are sent as fast as they go (bulk, reports) are held back by CUBIC (RFC 9438). Probes
//! are not: they stand for media, have a rate of their own that the endpoint granted, and a probe that the sender held back or dropped would
//! be told as the network's delay or loss. So a connection that carries probes has a least window, unless bulk goes over it as well.
//!
//! What is acknowledged comes by here as well, packet by packet, and is counted.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// What probes may have on the way, in octets: a call's audio and video (3 Mbit/s) over a round trip of 0.7 s. Their own rate is far below
/// what this would let through on shorter ways.
const OF_PROBES: u64 = 256 * 1_024;

/// Lets what a connection carries go ahead of CUBIC, so that probes leave when they are to.
pub fn carry_probes(connection: &Connection) {
    set_least(connection, OF_PROBES);
}

/// Lets CUBIC decide alone, until dropped: bulk that goes beside probes takes no more than its share.
pub struct Bulk(Connection);

impl Bulk {
    /// Of a connection that carries probes.
    pub fn begin(connection: &Connection) -> Self {
        set_least(connection, 0);
        Self(connection.clone())
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        carry_probes(&self.0);
    }
}

/// What the other end has acknowledged of a connection: octets of UDP payload, and packets. Of acknowledgments themselves nobody is told. It
/// begins anew where the path is another.
pub fn acknowledged(connection: &Connection) -> (u64, u64) {
    let count = |control: &Control| {
        let Shared { octets, packets, .. } = &*control.shared;
        (octets.load(Ordering::Relaxed), packets.load(Ordering::Relaxed))
    };
    control(connection).as_deref().map(count).unwrap_or_default()
}

fn set_least(connection: &Connection, octets: u64) {
    if let Some(control) = control(connection) {
        control.shared.least.store(octets, Ordering::Relaxed);
    }
}

/// `None`: another controller is none of ours.
fn control(connection: &Connection) -> Option<Box<Control>> {
    connection.congestion_state().into_any().downcast().ok()
}

/// Makes the control of a connection.
#[derive(Debug, Default)]
pub(super) struct Factory(Arc<CubicConfig>);

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Control { inner, shared: Arc::default() })
    }
}

/// CUBIC with a least window, and counts of what was acknowledged. What is cloned shares them.
struct Control {
    inner: Box<dyn Controller>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    least: AtomicU64,
    octets: AtomicU64,
    packets: AtomicU64,
}

impl Controller for Control {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.shared.octets.fetch_add(bytes, Ordering::Relaxed);
        self.shared.packets.fetch_add(1, Ordering::Relaxed);
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().max(self.shared.least.load(Ordering::Relaxed))
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.inner.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), shared: Arc::clone(&self.shared) })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock::Clock;

    #[test]
    fn a_least_window_is_shared_by_what_is_cloned_and_leaves_cubic_alone() {
        let clock = Clock::start();
        let now = clock.instant(clock.now());
        let control = Arc::new(Factory::default()).build(now, 1_200);
        let cubic = control.window();
        assert!((10_000..20_000).contains(&cubic), "{cubic}");
        let clone = control.clone_box().into_any().downcast::<Control>().expect("it is ours");
        clone.shared.least.store(OF_PROBES, Ordering::Relaxed);
        assert_eq!((control.window(), control.metrics().congestion_window), (OF_PROBES, OF_PROBES));
        assert_eq!(control.initial_window(), cubic);
        clone.shared.least.store(0, Ordering::Relaxed);
        assert_eq!(control.window(), cubic);
    }
}

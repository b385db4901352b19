//! Figures that TCP hides: it sends again what is lost and keeps the order, so that a program sees delay instead.

use crate::schema::{DirectionReport, Reached, Target, Value};

/// The transports that are TCP, as far as the relay where there is one.
const OVER_TCP: [&str; 3] = ["websocket", "turn-tcp", "turn-tls"];
const HIDDEN: &str =
    "TCP carried the packets: it sends again what is lost, and the figure would say nothing of the network";

/// Takes out of a target that was measured over TCP what TCP hides. Delays stay: what was lost is in them.
pub(super) fn leave_out_what_is_hidden(target: &mut Target, reached: Option<&Reached>) {
    if reached.is_none_or(|reached| !OVER_TCP.contains(&reached.transport.as_str())) {
        return;
    }
    let streams = target.streams.iter_mut().map(|stream| &mut stream.figures);
    streams.chain([&mut target.up, &mut target.down]).for_each(hide);
}

fn hide(figures: &mut DirectionReport) {
    figures.loss_ratio = Value::not_tested(HIDDEN);
    figures.burst = Value::not_tested(HIDDEN);
    figures.burst_loss_200ms_ratio = Value::not_tested(HIDDEN);
    figures.reordering = Value::not_tested(HIDDEN);
    figures.duplicate_ratio = Value::not_tested(HIDDEN);
}

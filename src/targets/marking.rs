//! What becomes of marks on packets (DSCP, ECN) on the way to a host and back.

use std::net::SocketAddr;

use greenroom_reports::schema::{
    Details, MarkField, MarkFound, MarkWay, MarkingBy, MarkingDetails, RoundTrip,
};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{self, Asked, random, reached};
use super::find::{addresses_unless, socket_for};
use crate::address::OtherKind;
use crate::net::clock::Clock;
use crate::net::udp::{self, Interface};
use crate::plan::ProbePlan;
use crate::proto::asking::AskerConfig;
use crate::proto::icmp::{Echo, Secret};
use crate::proto::marking::{self, Marked, Marks, Prober, Reflected, Stamp, Turn, looked_at, tos, turns};

/// The port of STAMP (RFC 8762 section 4).
const STAMP_PORT: u16 = 862;
/// So long a host is waited for that may not speak what it is asked in.
const TRY: Micros = Micros::from_millis(1_500);

/// From one echo request to the next, at least.
const ECHO_INTERVAL: Micros = Micros::from_millis(50);

/// How a host is asked, the way that tells most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// STAMP with class of service.
    Extended,
    /// STAMP as RFC 8762 has it.
    Plain,
    Echo,
}

/// Sends marked packets to the first of the host's addresses that answers: as a STAMP reflector with class of service, as one without, and,
/// where no port is named, by echo requests. Adds the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing was answered: of its addresses that of the last one tried, in the way that tells most.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let field = if plan.target.kind == OtherKind::Ecn { MarkField::Ecn } else { MarkField::Dscp };
    let named = (plan.target.port != 0).then_some(plan.target.port);
    let ways: &[Way] = match named {
        Some(_) => &[Way::Extended, Way::Plain],
        None => &[Way::Extended, Way::Plain, Way::Echo],
    };
    let addresses = addresses_unless(stop, &plan.target.host, named.unwrap_or(STAMP_PORT)).await?;
    let mut failure = TargetFailure::NoNetwork;
    for host in addresses {
        let mut first = None;
        for (place, way) in ways.iter().enumerate() {
            let mut config = asking::config(host, plan, clock);
            if place + 1 < ways.len() {
                config.give_up = config.give_up.min(TRY);
            }
            let run = Run { field, config, plan, clock, stop };
            match run.ask(*way, spent).await {
                Ok(found) => return Ok(found),
                Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
                // Where it says that nobody listens, it does not listen otherwise either.
                Err(TargetFailure::PortClosed) if named.is_some() => {
                    first = Some(TargetFailure::PortClosed);
                    break;
                }
                Err(other) => first = first.or(Some(other)),
            }
        }
        failure = first.unwrap_or(failure);
    }
    Err(failure)
}

/// A run against one address.
struct Run<'a> {
    field: MarkField,
    config: AskerConfig,
    plan: &'a ProbePlan,
    clock: Clock,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    async fn ask(&self, way: Way, spent: &mut DataSize) -> Result<Found, TargetFailure> {
        let count = self.plan.count;
        match way {
            Way::Extended | Way::Plain => {
                let extended = way == Way::Extended;
                let questions = Stamp::new(count, extended, random()?);
                let socket = socket_for(self.config.server, self.plan, self.clock)?;
                let prober = marking::prober(self.config, questions, turns(self.field, extended));
                let ended = asking::run(prober, socket, self.clock, self.stop).await?;
                Ok(self.found(&asking::judged(ended, "STAMP", spent)?))
            }
            Way::Echo => {
                let any = if self.config.server.is_ipv4() {
                    std::net::Ipv4Addr::UNSPECIFIED.into()
                } else {
                    std::net::Ipv6Addr::UNSPECIFIED.into()
                };
                let interface = self.plan.interface.as_deref().map(Interface::parse);
                let (socket, carrier) = udp::open_echo(any, interface.as_ref(), self.clock)
                    .map_err(|error| TargetFailure::Local { detail: error.to_string() })?;
                let secret = Secret { identifier: u16::from_be_bytes(random()?), token: random()? };
                // Whoever is no reflector has not agreed to be asked as often.
                let interval = self.config.interval.max(ECHO_INTERVAL);
                let in_all = self.config.interval * i64::from(count);
                let count = u32::try_from(in_all.get() / interval.get().max(1)).unwrap_or(count).max(1);
                let questions = Echo::new(self.config.server.is_ipv4(), count, carrier, secret);
                let config = AskerConfig { interval, ..self.config };
                let prober = marking::prober(config, questions, turns(self.field, false));
                let ended = asking::run(prober, socket, self.clock, self.stop).await?;
                let mut found = self.found(&asking::judged(ended, "ICMP echo", spent)?);
                let shown = SocketAddr::new(self.config.server.ip(), 0);
                found.reached = reached("icmp", shown, None);
                if let Details::Marking(details) = &mut found.details {
                    details.by = MarkingBy::EchoRequests;
                }
                Ok(found)
            }
        }
    }

    fn found<Q: Reflected>(&self, asked: &Asked<Marked<Q>>) -> Found {
        let (prober, stamped_by) = (&asked.asker, asked.stamped_by);
        let unmarked = trips(&prober.turn(Marks::NONE), stamped_by);
        let tells = prober.tells();
        let by = if tells { MarkingBy::ClassOfService } else { MarkingBy::Stamp };
        let marks = looked_at(self.field).iter().map(|value| MarkFound {
            name: self.field.name(*value),
            value: *value,
            up: self.up(prober, *value, (&unmarked, stamped_by), tells),
            down: self.down(prober, *value, (&unmarked, stamped_by), tells),
        });
        let strange = prober.strange();
        let details = MarkingDetails {
            field: self.field,
            by,
            marks: marks.collect(),
            unmarked: unmarked.clone(),
            ignored_answers: strange.elsewhere + strange.strangers + strange.garbage,
        };
        Found {
            reached: reached("udp", self.config.server, None),
            details: Details::Marking(Box::new(details)),
            trace: None,
            stopped: asked.stopped,
        }
    }

    fn up<Q: Reflected>(
        &self,
        prober: &Prober<Q>,
        value: u8,
        (unmarked, stamped_by): (&RoundTrip, StampSource),
        tells: bool,
    ) -> MarkWay {
        let turn = prober.turn(Marks { up: tos(self.field, value), down: 0 });
        let there = turn.back.iter().filter_map(|back| back.told.there);
        let mut seen: Vec<u8> = there.map(|tos| self.field.of(tos)).collect();
        // A mark that comes back with an answer that nobody asked to have it went both ways.
        if !tells && turn.back.iter().filter_map(|back| back.came).any(|came| self.field.of(came) == value) {
            seen = self.came(&turn);
        }
        MarkWay::of(self.field, value, &seen, (trips(&turn, stamped_by), unmarked), UNTOLD)
    }

    fn down<Q: Reflected>(
        &self,
        prober: &Prober<Q>,
        value: u8,
        (unmarked, stamped_by): (&RoundTrip, StampSource),
        tells: bool,
    ) -> MarkWay {
        if !tells {
            let up = prober.turn(Marks { up: tos(self.field, value), down: 0 });
            let seen = self.came(&up);
            if !seen.contains(&value) {
                return MarkWay::untold(UNTOLD);
            }
            let fate = MarkWay::of(self.field, value, &seen, (trips(&up, stamped_by), unmarked), UNTOLD);
            return MarkWay { round_trip: None, ..fate };
        }
        let turn = prober.turn(Marks { up: 0, down: tos(self.field, value) });
        let asked_for = |told: marking::Told| match self.field {
            MarkField::Dscp => told.dscp,
            MarkField::Ecn => told.ecn,
        };
        // Where all of them are lost, what others were told counts.
        let all = prober.turn(Marks::NONE).back;
        if !turn.back.iter().chain(&all).any(|back| asked_for(back.told)) {
            return MarkWay::untold(match self.field {
                MarkField::Dscp => "the reflector's own rules do not let it answer with this mark",
                MarkField::Ecn => {
                    "with which ECN a reflector answers is not laid down, and this one does not say"
                }
            });
        }
        MarkWay::of(self.field, value, &self.came(&turn), (trips(&turn, stamped_by), unmarked), NOT_HERE)
    }

    /// The marks that answers came with.
    fn came(&self, turn: &Turn) -> Vec<u8> {
        turn.back.iter().filter_map(|back| back.came).map(|tos| self.field.of(tos)).collect()
    }
}

const UNTOLD: &str = "what answers does not tell with which mark packets come (RFC 8972 section 4.4)";
const NOT_HERE: &str = "this system does not tell with which mark packets come";

fn trips(turn: &Turn, stamped_by: StampSource) -> RoundTrip {
    RoundTrip::of(&turn.exchanges, stamped_by)
}

//! What the answers of a run tell together.

use std::net::SocketAddr;

use greenroom_reports::schema::NatBehavior;
use greenroom_reports::units::Micros;

use super::{Discovery, Of, Question};

/// Why something cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// Nothing came back.
    #[error("the server did not answer")]
    Unanswered,
    /// The server has one address.
    #[error("the server names no other address of its own (RFC 5780)")]
    NoOtherAddress,
    /// It names another, from which nothing came back.
    #[error("nothing came back from the server's other address")]
    OtherAddressSilent,
    /// The answer was an error.
    #[error("the server refuses to answer from elsewhere (CHANGE-REQUEST)")]
    ChangeRefused,
    /// The answer came from the address asked.
    #[error("the server answers from the address asked although another one was wanted (CHANGE-REQUEST)")]
    ChangeIgnored,
    /// There is no NAT.
    #[error("there is no NAT in between")]
    NoNat,
    /// Nobody knows whether there is one.
    #[error("this system does not tell where packets leave from, or the server not where they came from")]
    LocalUnknown,
    /// The second socket was not answered.
    #[error("a second socket got no answer")]
    NeighborUnanswered,
    /// Lifetimes take time.
    #[error("it takes longer: --duration 20s or more, or a deep check")]
    NoTime,
    /// The server does not answer to another port.
    #[error("the server does not answer to another port than the one that asks (RESPONSE-PORT)")]
    NoResponsePort,
    /// Mappings are of several public addresses.
    #[error("the NAT gives its sockets several public addresses")]
    Pooled,
    /// The run ended before.
    #[error("the run ended before")]
    Ended,
}

/// Runs of this length and longer look how long mappings last.
const LONG: Micros = Micros::from_secs(20);

/// How long mappings last, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// One was there after so long.
    pub at_least: u32,
    /// One was gone after so long. `None`: none was.
    pub less_than: Option<u32>,
}

impl Discovery {
    /// This computer as the server sees it.
    pub fn reflexive(&self) -> Option<SocketAddr> {
        self.mapped(Of::Primary)
    }

    /// One socket as each address asked sees it.
    pub fn seen(&self) -> impl Iterator<Item = (SocketAddr, Option<SocketAddr>)> {
        let those = [Of::Primary, Of::OtherPort, Of::OtherAddress, Of::OtherBoth, Of::Second];
        those
            .into_iter()
            .filter_map(|of| self.question(of))
            .filter(|question| question.tries > 0)
            .map(|question| (question.to, question.answer.and_then(|answer| answer.mapped)))
    }

    /// What the mapping depends on (RFC 5780 section 4.3).
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub fn mapping(&self) -> Result<NatBehavior, Untold> {
        let first = self.reflexive().ok_or(Untold::Unanswered)?;
        if self.is_nat() == Some(false) {
            return Err(Untold::NoNat);
        }
        let [port, address, both, second] =
            [Of::OtherPort, Of::OtherAddress, Of::OtherBoth, Of::Second].map(|of| self.mapped(of));
        // Of the same address, and of another.
        let by_port = [(Some(first), port), (address, both)];
        let by_address = [
            (Some(first), address),
            (Some(first), both),
            (port, both),
            (port, address),
            (Some(first), second),
        ];
        let differ = |pairs: &[(Option<SocketAddr>, Option<SocketAddr>)]| {
            let known: Vec<bool> =
                pairs.iter().filter_map(|(one, other)| Some((*one)? != (*other)?)).collect();
            (!known.is_empty()).then(|| known.contains(&true))
        };
        match (differ(&by_port), differ(&by_address)) {
            (Some(true), _) => Ok(NatBehavior::AddressAndPortDependent),
            (Some(false), Some(true)) => Ok(NatBehavior::AddressDependent),
            (None, Some(true)) => Ok(NatBehavior::Dependent),
            (_, Some(false)) => Ok(NatBehavior::EndpointIndependent),
            (_, None) if self.other.is_some() => Err(Untold::OtherAddressSilent),
            (_, None) => Err(Untold::NoOtherAddress),
        }
    }

    /// Whose packets get in (RFC 5780 section 4.4). That nothing came from elsewhere only counts where the same address answers when asked.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub fn filtering(&self) -> Result<NatBehavior, Untold> {
        if self.answer(Of::Primary).is_none() {
            return Err(Untold::Unanswered);
        }
        if self.other.is_none() {
            return Err(Untold::NoOtherAddress);
        }
        if self.let_in(Of::ChangeBoth)? {
            return Ok(NatBehavior::EndpointIndependent);
        }
        let reaches = |of| self.answer(of).is_some();
        if !reaches(Of::OtherBoth) {
            return Err(Untold::OtherAddressSilent);
        }
        match self.let_in(Of::ChangePort)? {
            true => Ok(NatBehavior::AddressDependent),
            false if reaches(Of::OtherPort) => Ok(NatBehavior::AddressAndPortDependent),
            false => Ok(NatBehavior::Dependent),
        }
    }

    /// Whether the answer from elsewhere came.
    fn let_in(&self, of: Of) -> Result<bool, Untold> {
        let question = self.question(of).ok_or(Untold::Ended)?;
        match question.answer {
            Some(answer) if answer.error.is_some() => Err(Untold::ChangeRefused),
            Some(answer) if answer.from == question.to => Err(Untold::ChangeIgnored),
            Some(_) => Ok(true),
            None if self.is_settled(question) => Ok(false),
            None => Err(Untold::Ended),
        }
    }

    /// Whether two behind the NAT reach each other at their public addresses (RFC 5780 section 4.5).
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub fn hairpinning(&self) -> Result<bool, Untold> {
        self.behind_nat()?;
        if self.hairpinned {
            return Ok(true);
        }
        let asked = [Of::ToNeighbor, Of::FromNeighbor].map(|of| self.question(of));
        let settled = |question: Option<&Question>| question.is_some_and(|it| self.is_settled(it));
        match asked {
            [None, _] if self.mapped(Of::Neighbor).is_none() => Err(Untold::NeighborUnanswered),
            [to, from] if settled(to) && settled(from) => Ok(false),
            _ => Err(Untold::Ended),
        }
    }

    /// Whether the public port is that of the socket.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub fn port_preserved(&self) -> Result<bool, Untold> {
        let (mapped, local) = self.behind_nat()?;
        Ok(mapped.port() == local.port())
    }

    /// How long mappings last (RFC 5780 section 4.6).
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub fn lifetime(&self) -> Result<Life, Untold> {
        self.behind_nat()?;
        if self.config.lifetime.is_none() {
            return Err(Untold::NoTime);
        }
        let asker = self.mapped(Of::Asker).ok_or(Untold::NeighborUnanswered)?;
        let first = self.mapped(Of::Kept(0)).ok_or(Untold::NeighborUnanswered)?;
        if first.ip() != asker.ip() {
            return Err(Untold::Pooled);
        }
        match self.question(Of::After(0)) {
            Some(question) if self.is_settled(question) && !self.mapped_was_reached(0) => {
                return Err(Untold::NoResponsePort);
            }
            Some(_) if self.mapped_was_reached(0) => {}
            _ => return Err(Untold::Ended),
        }
        let mut life = Life { at_least: 0, less_than: None };
        for (silence, number) in self.config.silences().zip(1..) {
            let Some(question) = self.question(Of::After(number)) else { continue };
            if self.mapped_was_reached(number) {
                life.at_least = silence;
            } else if self.is_settled(question) && question.answer.is_none() {
                life.less_than = life.less_than.or(Some(silence));
            }
        }
        // One that was gone early and others that lasted longer: some were pushed out, which says nothing of time.
        life.less_than = life.less_than.filter(|gone| *gone > life.at_least);
        match life {
            Life { at_least: 0, less_than: None } => Err(Untold::Ended),
            life => Ok(life),
        }
    }

    /// The longest silence that a run of this length has time for. `None`: one so short does not look.
    pub fn longest_silence(duration: Micros) -> Option<Micros> {
        let asking = super::RETRY * i64::from(super::TRIES) + Micros::from_secs(1);
        (duration >= LONG).then_some(duration - asking)
    }

    fn behind_nat(&self) -> Result<(SocketAddr, SocketAddr), Untold> {
        let known = self.reflexive().zip(self.config.local).ok_or(Untold::LocalUnknown)?;
        if known.0 == known.1 { Err(Untold::NoNat) } else { Ok(known) }
    }
}

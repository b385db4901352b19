//! What is named on the command line to be measured.

use std::path::Path;

use super::exit::CliError;
use crate::address::{EndpointUrl, OtherKind, OtherUrl, TargetUrl, TargetUrlError};

/// The most that one run measures.
const MOST: usize = 100;

/// Endpoints and others, each in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) endpoints: Vec<EndpointUrl>,
    pub(super) others: Vec<OtherUrl>,
}

impl Named {
    /// Reads what was named; what is named twice is measured once.
    ///
    /// It is read here and not by clap, which repeats in its errors what it was given: it may be a secret.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when one of them names nothing that can be measured, or when there are too many.
    pub(super) fn read(texts: &[String]) -> Result<Self, CliError> {
        if texts.len() > MOST {
            let much = format!("{} targets are too many for one run; name {MOST} at most", texts.len());
            return Err(CliError::Usage(much));
        }
        let mut named = Self::default();
        for text in texts {
            match text.parse().map_err(|error: TargetUrlError| CliError::Usage(error.to_string()))? {
                TargetUrl::Greenroom(endpoint) if !named.endpoints.contains(&endpoint) => {
                    named.endpoints.push(endpoint);
                }
                TargetUrl::Other(other) if !named.others.contains(&other) => named.others.push(other),
                TargetUrl::Greenroom(_) | TargetUrl::Other(_) => {}
            }
        }
        Ok(named)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.others.is_empty()
    }

    /// For a sentence, without secrets: there are none in a URL.
    pub(super) fn told(&self) -> Vec<String> {
        let endpoints = self.endpoints.iter().map(ToString::to_string);
        endpoints.chain(self.others.iter().map(ToString::to_string)).collect()
    }
}

/// What some kinds of targets are measured with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct With<'a> {
    /// File with the user of TURN servers.
    pub(super) turn_user_file: Option<&'a Path>,
    /// Folder with entries for services.
    pub(super) catalog: Option<&'a Path>,
}

impl With<'_> {
    /// Refuses what no target that was named has a use for.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] then: what nobody is shown was meant for somebody.
    pub(super) fn refuse_idle(self, named: &Named) -> Result<(), CliError> {
        let idle = |file: Option<&Path>, is: fn(OtherKind) -> bool| {
            file.is_some() && !named.others.iter().any(|target| is(target.kind))
        };
        if idle(self.turn_user_file, OtherKind::is_relay) {
            return Err(CliError::Usage("--turn-user-file is for turn:HOST and turns:HOST alone".to_owned()));
        }
        if idle(self.catalog, |kind| kind == OtherKind::Service) {
            return Err(CliError::Usage("--catalog is for service:NAME alone".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Named, CliError> {
        Named::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn endpoints_and_others_are_told_apart_and_each_is_measured_once() {
        let named =
            read(&["a.example", "stun:b.example", "greenroom://a.example", "tls:b.example", "c.example"])
                .expect("all can be measured");
        assert_eq!(named.endpoints.len(), 2);
        assert_eq!(
            named.told(),
            ["greenroom://a.example", "greenroom://c.example", "stun:b.example", "tls:b.example"]
        );
        assert!(read(&[]).expect("nothing is fine").is_empty());
    }

    #[test]
    fn one_that_is_wrong_and_too_many_are_refused() {
        assert!(matches!(read(&["a.example", "gopher://b"]), Err(CliError::Usage(_))));
        let many: Vec<String> = (0..101).map(|i| format!("stun:host{i}.example")).collect();
        let Err(CliError::Usage(why)) = Named::read(&many) else { panic!("too many") };
        assert!(why.contains("101"), "{why}");
        assert_eq!(Named::read(&many[..100]).expect("as many as can be").others.len(), 100);
    }
}

//! Who was let in lately: so that reports are taken while the store, which knows who may send, is away.
//!
//! Asked only then. A key or an agent that is revoked is shut out at once while the store answers; while it is away, nobody can revoke anything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};

use crate::auth::key::Sender;
use crate::auth::secret;

/// How long somebody is known without the store: agents' bearers last as long.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(15);

/// How many are known; beyond that, those whose time is over are forgotten, then all.
const MOST: usize = 120_000;

/// Senders by the hash of what they showed.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<[u8; 32], (Sender, Timestamp)>>);

impl Known {
    /// The store knows this sender now. Somebody with a check link is not remembered: how often it was used only the store can say.
    pub fn remember(&self, headers: &HeaderMap, sender: &Sender, now: Timestamp) {
        let Some(shown) = shown(headers).filter(|_| !matches!(sender, Sender::Link(_))) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (_, at)| now.duration_since(*at) <= KNOWN_FOR);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(shown, (sender.clone(), now));
    }

    /// The store does not know this sender any more.
    pub fn forget(&self, headers: &HeaderMap) {
        if let Some(shown) = shown(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&shown);
        }
    }

    /// Who it is, if the store knew them lately.
    pub fn find(&self, headers: &HeaderMap, now: Timestamp) -> Option<Sender> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, at) = known.get(&shown(headers)?)?;
        (now.duration_since(*at) <= KNOWN_FOR).then(|| sender.clone())
    }
}

fn shown(headers: &HeaderMap) -> Option<[u8; 32]> {
    Some(secret::hash(headers.get(AUTHORIZATION)?.to_str().ok()?).0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::auth::key;
    use crate::store::{KeyUse, Tenant};
    use crate::testing::start;

    #[test]
    fn who_was_let_in_is_known_for_a_quarter_of_an_hour() {
        let known = Known::default();
        let (shown, kept) = key::mint(Tenant::FIRST, "laptops".into(), KeyUse::Send, start());
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {shown}")).unwrap());
        assert!(known.find(&headers, start()).is_none());
        known.remember(&headers, &Sender::Key(kept), start());
        let later = |minutes| start().checked_add(SignedDuration::from_mins(minutes)).unwrap();
        assert!(known.find(&headers, later(15)).is_some());
        assert!(known.find(&headers, later(16)).is_none());
        assert!(known.find(&HeaderMap::new(), start()).is_none());
        known.forget(&headers);
        assert!(known.find(&headers, start()).is_none());
    }
}

//! Links that are given away. The token is all of a link's secret; its hash finds the row, and 256 random bits cannot be guessed by
//! how long that takes.

use jiff::Timestamp;
use uuid::Uuid;

use super::secret::{self, Secret};
use crate::clock::random;
use crate::store::{CheckLink, ShareLink, Tenant, TokenHash};

/// How the token of a check link begins.
pub const CHECK: &str = "gc_";

/// How the token of a share link begins.
pub const SHARE: &str = "gs_";

/// What a check link is made for.
#[derive(Debug, Clone)]
pub struct NewCheckLink {
    /// The ticket that its reports get.
    pub ticket: String,
    /// The person that its reports get.
    pub person: Option<String>,
    /// What is to be checked.
    pub target: Option<String>,
    /// Who makes it.
    pub author: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Most reports.
    pub most: u32,
}

/// A new check link: its token, shown once, and what is stored.
pub fn mint_check(tenant: Tenant, new: NewCheckLink, now: Timestamp) -> (String, CheckLink) {
    let (token, hash) = mint(CHECK);
    let NewCheckLink { ticket, person, target, author, expires, most } = new;
    let link = CheckLink {
        tenant,
        id: public_id(),
        token: hash,
        ticket,
        person,
        target,
        author,
        created: now,
        expires,
        most,
        used: 0,
        revoked: None,
    };
    (token, link)
}

/// A new share link: its token, shown once, and what is stored.
pub fn mint_share(
    tenant: Tenant,
    report: Uuid,
    author: String,
    now: Timestamp,
    expires: Timestamp,
) -> (String, ShareLink) {
    let (token, hash) = mint(SHARE);
    let link = ShareLink {
        tenant,
        id: public_id(),
        token: hash,
        report,
        author,
        created: now,
        expires,
        views: 0,
        viewed: None,
        revoked: None,
    };
    (token, link)
}

/// What is stored of a token that somebody shows, if it looks like one of this kind.
pub fn hash(token: &str, kind: &str) -> Option<TokenHash> {
    token.starts_with(kind).then(|| secret::hash(token))
}

fn mint(kind: &str) -> (String, TokenHash) {
    let token = format!("{kind}{}", Secret::mint().reveal());
    let hash = secret::hash(&token);
    (token, hash)
}

/// What pages and the audit log call a key or a link.
pub(crate) fn public_id() -> String {
    random::<6>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_token_is_found_by_its_hash_and_only_as_what_it_is() {
        let (token, link) = mint_share(Tenant::FIRST, Uuid::nil(), "ann".into(), start(), start());
        assert_eq!(hash(&token, SHARE), Some(link.token));
        assert_eq!(hash(&token, CHECK), None);
        assert_eq!(token.len(), 46);
        // So that a mail program does not take its end for punctuation.
        assert!(token.ends_with(|c: char| c.is_ascii_alphanumeric()));
        assert!(!token.contains(&link.id));
    }
}

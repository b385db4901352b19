//! Which group may do what.

use serde_json::Value;

use super::Claims;
use crate::store::{Role, Tenant};

/// Most groups of one person that are looked at.
const MOST_GROUPS: usize = 2_000;

/// Who is in this group may do this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The group, as the provider calls it.
    pub group: String,
    /// What its people may do.
    pub role: Role,
    /// Whose data they see.
    pub tenant: Tenant,
}

/// Why a rule cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is not of the form.
    #[error("write GROUP=ROLE, or GROUP=ROLE@TENANT with the tenant's number")]
    Form,
    /// There is no such role.
    #[error("a role is one of support_no_pii, support, admin")]
    Role,
}

impl std::str::FromStr for RoleRule {
    type Err = RuleError;

    /// Reads `GROUP=ROLE` or `GROUP=ROLE@TENANT`. A group's name may hold `=`: the last one counts.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (group, role) = text.rsplit_once('=').ok_or(RuleError::Form)?;
        let (role, tenant) = match role.split_once('@') {
            Some((role, number)) => {
                let number =
                    number.parse::<i64>().ok().filter(|number| *number > 0).ok_or(RuleError::Form)?;
                (role, Tenant(number))
            }
            None => (role, Tenant::FIRST),
        };
        if group.is_empty() {
            return Err(RuleError::Form);
        }
        Ok(Self { group: group.to_owned(), role: Role::from_name(role).ok_or(RuleError::Role)?, tenant })
    }
}

/// The groups that a claim names: a list of texts, or one text. A claim's name may have dots in it, which lead into objects
/// (`realm_access.roles`), unless there is a claim of the whole name.
pub(super) fn groups(claims: &Claims, claim: &str) -> Vec<String> {
    let found = claims.get(claim).or_else(|| {
        let (first, rest) = claim.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
    });
    match found {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => {
            all.iter().take(MOST_GROUPS).filter_map(|one| one.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_said() {
        let rule = |group: &str, role, tenant| RoleRule { group: group.into(), role, tenant: Tenant(tenant) };
        assert_eq!("ops=admin".parse(), Ok(rule("ops", Role::Admin, 1)));
        assert_eq!("cn=help,dc=x=support@7".parse(), Ok(rule("cn=help,dc=x", Role::Support, 7)));
        for wrong in ["", "admin", "=admin", "ops=", "ops=root", "ops=admin@", "ops=admin@0", "ops=admin@x"] {
            assert!(wrong.parse::<RoleRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_are_found_where_providers_put_them() {
        let claims: Claims = serde_json::from_str(
            r#"{"groups": ["a", 7, "b"], "role": "c", "realm_access": {"roles": ["d"]}, "https://x.example/groups": ["e"], "flag": true}"#,
        )
        .unwrap();
        assert_eq!(groups(&claims, "groups"), ["a", "b"]);
        assert_eq!(groups(&claims, "role"), ["c"]);
        assert_eq!(groups(&claims, "realm_access.roles"), ["d"]);
        assert_eq!(groups(&claims, "https://x.example/groups"), ["e"]);
        for nothing in ["flag", "none", "realm_access", "realm_access.no", "groups.x", ""] {
            assert!(groups(&claims, nothing).is_empty(), "{nothing}");
        }
    }
}

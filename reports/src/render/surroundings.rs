//! What stands between this computer and the internet, in plain words.

use super::words::{clean, prose};
use crate::schema::{Exact, Surroundings, Value};

/// What each is about, and what was found; what was not looked at says why.
pub(super) fn facts(surroundings: &Surroundings) -> Vec<(String, String)> {
    let Surroundings { tunnels, proxies, sign_in_page } = surroundings;
    let proxies = named(proxies, |it| format!("{} ({})", clean(&it.proxy), clean(&it.set_by)));
    let sign_in_page = match sign_in_page {
        Value::Measured(page) => {
            format!("{}: {}", if page.found { "yes" } else { "none" }, prose(&page.because))
        }
        Value::Failed { reason } | Value::NotTested { reason } => format!("not known: {}", prose(reason)),
    };
    let lines = [
        ("VPN on the way", named(tunnels, |name| clean(name).into_owned())),
        ("proxy", proxies),
        ("sign-in page", sign_in_page),
    ];
    lines.map(|(name, value)| (name.to_owned(), value)).into()
}

fn named<T>(value: &Value<Exact<Vec<T>>>, name: impl Fn(&T) -> String) -> String {
    match value {
        Value::Measured(found) if found.value.is_empty() => "none".to_owned(),
        Value::Measured(found) => found.value.iter().map(name).collect::<Vec<_>>().join(", "),
        Value::Failed { reason } | Value::NotTested { reason } => format!("not known: {}", prose(reason)),
    }
}

//! What stands between this computer and the internet, beside what measuring shows: VPNs, proxies, sign-in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, Value};

/// What stands between this computer and what was measured, as the system and one web request tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// The VPNs and other tunnels that packets to what was measured leave by, as interfaces are named; empty: none of them does.
    pub tunnels: Value<Exact<Vec<String>>>,
    /// The proxies that programs of this computer are told to use; empty: none.
    pub proxies: Value<Exact<Vec<ProxySetting>>>,
    /// Whether a sign-in page answers in place of the internet (captive portal).
    pub sign_in_page: Value<SignInPage>,
}

/// A proxy that is set. Who it lets in is never told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxySetting {
    /// What sets it: a variable of the environment (`https_proxy`), or the desktop's settings (`GNOME`, `KDE`).
    pub set_by: String,
    /// `HOST:PORT`, with a scheme where that is not HTTP; or what stands in its place: a script, or what cannot be read.
    pub proxy: String,
}

/// What came of a web request in the clear, which a sign-in page would answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInPage {
    /// What was asked for.
    pub url: String,
    /// Whether a sign-in page answered.
    pub found: bool,
    /// What tells so.
    pub because: String,
}

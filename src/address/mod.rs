//! What names an endpoint and lets a client in: its address, the fingerprint of its certificate, a token. The bottom of the
//! house: text in, values out.

mod credentials;
mod fingerprint;
mod part;
mod portal;
mod target;
mod token;
mod url;

pub use credentials::Credentials;
pub use fingerprint::{Fingerprint, NoFingerprint};
pub use part::{Expected, Part, Question, RecordType, Transport};
pub use portal::{NoPortalUrl, Portal, PortalUrl};
pub use target::{OtherKind, OtherUrl, TargetUrl, TargetUrlError};
pub use token::Token;
pub use url::{DEFAULT_PORT, EndpointUrl, Host, SCHEME, UrlError};

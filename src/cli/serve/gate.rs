//! How `greenroom serve` meets others: whom it lets in by a provider, what it asks, and how often it may be asked.

#[cfg(feature = "otlp")]
use std::fs;
use std::num::NonZeroU32;
#[cfg(any(feature = "oidc", feature = "otlp"))]
use std::path::PathBuf;

#[cfg(any(feature = "oidc", feature = "otlp"))]
use clap::ValueHint;
use clap::{Args, ValueEnum};
use greenroom_web::limits::{Network, Rates};
#[cfg(feature = "oidc")]
use greenroom_web::oidc::{Oidc, OidcConfig, RoleRule};
use greenroom_web::outbound::Outbound;
#[cfg(any(feature = "oidc", feature = "otlp"))]
use greenroom_web::outbound::check_url;

use super::alerts::AlertArgs;
#[cfg(any(feature = "oidc", feature = "otlp"))]
use super::warn_if_shared;
use crate::cli::exit::CliError;
use crate::cli::settings;

/// What may go to a private address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Private {
    /// Webhooks, which admins of any tenant set
    Webhooks,
    /// The sign-in provider
    Oidc,
    /// The OpenTelemetry collector
    Otlp,
}

#[derive(Debug, Args)]
pub(super) struct GateArgs {
    #[command(flatten)]
    alerts: AlertArgs,

    /// Let people sign in by this OpenID Connect provider, named as it names itself [env: GREENROOM_OIDC_ISSUER]
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "URL", help_heading = "Signing in")]
    oidc_issuer: Option<String>,

    /// What the provider calls this server [env: GREENROOM_OIDC_CLIENT_ID]
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "ID", help_heading = "Signing in")]
    oidc_client_id: Option<String>,

    /// File with the secret that the provider gave this server; also as GREENROOM_OIDC_SECRET [default: a public client, PKCE alone]
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signing in")]
    oidc_secret_file: Option<PathBuf>,

    /// Who may come in, by the provider's groups: GROUP=ROLE, or GROUP=ROLE@TENANT with a tenant's number. Roles: support_no_pii,
    /// support, admin. Can be given more than once; the first that fits counts, and whom none fits is not let in
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "GROUP=ROLE", help_heading = "Signing in")]
    oidc_role: Vec<RoleRule>,

    /// The claim that names the groups, with dots into objects: realm_access.roles
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "CLAIM", default_value = "groups", help_heading = "Signing in")]
    oidc_groups_claim: String,

    /// What to ask the provider for, besides openid [default: profile email]
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "SCOPE", help_heading = "Signing in")]
    oidc_scope: Vec<String>,

    /// What the button says: "Sign in with NAME" [default: the provider's host]
    #[cfg(feature = "oidc")]
    #[arg(long, value_name = "NAME", help_heading = "Signing in")]
    oidc_name: Option<String>,

    /// Nobody signs in with a password of this server's own: the provider alone lets people in
    #[cfg(feature = "oidc")]
    #[arg(long, requires = "oidc_issuer", help_heading = "Signing in")]
    no_local_sign_in: bool,

    /// What may be asked at private addresses (10.0.0.0/8, this computer, …), there also over plain HTTP
    #[arg(long, value_name = "WHAT", value_delimiter = ',', help_heading = "Whom it asks")]
    allow_private: Vec<Private>,

    /// Send the figures of /metrics to this OpenTelemetry collector every minute (OTLP over HTTP): https://HOST:4318
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", help_heading = "Whom it asks")]
    otlp_endpoint: Option<String>,

    /// File with headers for the collector, one a line: `Authorization: Bearer …`
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "FILE", requires = "otlp_endpoint", value_hint = ValueHint::FilePath, help_heading = "Whom it asks")]
    otlp_headers_file: Option<PathBuf>,

    /// A proxy in front, or its network: its word on where a request is from is taken (X-Forwarded-For), for limits. Can be given more
    /// than once; one on this computer is trusted anyway
    #[arg(long, value_name = "ADDR[/BITS]", help_heading = "Who asks it")]
    trusted_proxy: Vec<Network>,

    /// Requests that one key may make, a second
    #[arg(long, value_name = "COUNT", default_value_t = NonZeroU32::new(Rates::default().key).unwrap_or(NonZeroU32::MIN))]
    #[arg(help_heading = "Who asks it")]
    key_rate: NonZeroU32,

    /// Requests without a key that one address may make, a second
    #[arg(long, value_name = "COUNT", default_value_t = NonZeroU32::new(Rates::default().address).unwrap_or(NonZeroU32::MIN))]
    #[arg(help_heading = "Who asks it")]
    address_rate: NonZeroU32,
}

impl GateArgs {
    /// The gate that was asked for.
    pub(super) fn gate(&self, env: settings::Env<'_>) -> Result<greenroom_web::Gate, CliError> {
        let outbound = Outbound::system();
        Ok(greenroom_web::Gate {
            #[cfg(feature = "oidc")]
            oidc: self.oidc(env, &outbound)?,
            #[cfg(feature = "oidc")]
            local_sign_in: !self.no_local_sign_in,
            #[cfg(feature = "otlp")]
            otlp: self.otlp()?,
            mail: self.alerts.mail(env)?,
            providers: self.alerts.providers()?,
            outbound,
            allow_private_webhooks: self.allows(Private::Webhooks),
            trusted_proxies: self.trusted_proxy.clone(),
            rates: Rates { key: self.key_rate.get(), address: self.address_rate.get() },
            #[cfg(not(feature = "oidc"))]
            local_sign_in: true,
        })
    }

    fn allows(&self, what: Private) -> bool {
        self.allow_private.contains(&what)
    }

    #[cfg(feature = "oidc")]
    fn oidc(&self, env: settings::Env<'_>, outbound: &Outbound) -> Result<Option<Oidc>, CliError> {
        let Some(issuer) = given(self.oidc_issuer.as_ref(), env, "GREENROOM_OIDC_ISSUER")? else {
            return Ok(None);
        };
        let client_id =
            given(self.oidc_client_id.as_ref(), env, "GREENROOM_OIDC_CLIENT_ID")?.ok_or_else(|| {
                CliError::Usage("say with --oidc-client-id what the provider calls this server".to_owned())
            })?;
        if self.oidc_role.is_empty() {
            return Err(CliError::Usage(
                "say with --oidc-role GROUP=ROLE who may come in by the provider: nobody may by default"
                    .to_owned(),
            ));
        }
        let secret = match &self.oidc_secret_file {
            Some(path) => {
                warn_if_shared(path);
                let text = std::fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
                Some(text.trim().to_owned())
            }
            None => given(None, env, "GREENROOM_OIDC_SECRET")?,
        };
        let host = issuer.split('/').nth(2).unwrap_or_default().to_owned();
        let scopes = match self.oidc_scope.is_empty() {
            true => vec!["profile".to_owned(), "email".to_owned()],
            false => self.oidc_scope.clone(),
        };
        let config = OidcConfig {
            issuer,
            client_id,
            secret: secret.filter(|secret| !secret.is_empty()),
            name: self.oidc_name.clone().unwrap_or(host),
            scopes,
            groups_claim: self.oidc_groups_claim.clone(),
            rules: self.oidc_role.clone(),
            allow_private: self.allows(Private::Oidc),
        };
        let oidc = Oidc::new(config, outbound.clone());
        oidc.map(Some).map_err(|problem| CliError::Usage(private_too("--oidc-issuer", &problem, "oidc")))
    }

    #[cfg(feature = "otlp")]
    fn otlp(&self) -> Result<Option<greenroom_web::otlp::OtlpConfig>, CliError> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let allow_private = self.allows(Private::Otlp);
        check_url(endpoint, allow_private)
            .map_err(|error| CliError::Usage(private_too("--otlp-endpoint", &error.to_string(), "otlp")))?;
        let headers = match &self.otlp_headers_file {
            Some(path) => {
                warn_if_shared(path);
                let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
                headers(&text).map_err(|problem| CliError::input(path, &problem))?
            }
            None => Vec::new(),
        };
        // As the OTLP specification has it: what names no path of its own gets the one for metrics.
        let bare = endpoint.trim_end_matches('/');
        let has_path = bare.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let url = if has_path { endpoint.clone() } else { format!("{bare}/v1/metrics") };
        Ok(Some(greenroom_web::otlp::OtlpConfig {
            url,
            headers,
            every: greenroom_web::otlp::EVERY,
            allow_private,
        }))
    }
}

/// Says how private addresses are allowed, where that is what is wrong.
#[cfg(any(feature = "oidc", feature = "otlp"))]
fn private_too(flag: &str, problem: &str, what: &str) -> String {
    let more = if problem.contains("private") {
        format!(" (--allow-private {what} allows them)")
    } else {
        String::new()
    };
    format!("{flag}: {problem}{more}")
}

/// What a flag says, else the environment.
pub(super) fn given(
    flag: Option<&String>,
    env: settings::Env<'_>,
    name: &str,
) -> Result<Option<String>, CliError> {
    if let Some(value) = flag {
        return Ok(Some(value.clone()));
    }
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text =
        value.into_string().map_err(|_| CliError::Usage(format!("{name} is not valid text (UTF-8)")))?;
    Ok(Some(text.trim().to_owned()))
}

/// Headers, one a line. What is wrong is told by its line's number: a line may hold a token.
#[cfg(feature = "otlp")]
fn headers(text: &str) -> Result<Vec<(axum::http::HeaderName, axum::http::HeaderValue)>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let mut value = axum::http::HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    };
    lines.map(|(number, line)| read(line).ok_or_else(|| format!("line {number} is no header"))).collect()
}

#[cfg(all(test, feature = "oidc", feature = "otlp"))]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: GateArgs,
    }

    fn gate(line: &str) -> Result<greenroom_web::Gate, CliError> {
        let line = Line::try_parse_from(["serve"].into_iter().chain(line.split_whitespace())).expect("valid");
        line.args.gate(&|_| None)
    }

    #[test]
    fn who_may_come_in_by_a_provider_is_said() {
        let whole = "--oidc-issuer https://id.example --oidc-client-id us --oidc-role ops=admin";
        let oidc = gate(whole).expect("whole").oidc.expect("a provider");
        assert_eq!(oidc.name(), "id.example");
        for (line, word) in [
            ("--oidc-issuer https://id.example --oidc-role ops=admin", "--oidc-client-id"),
            ("--oidc-issuer https://id.example --oidc-client-id us", "--oidc-role"),
            (
                "--oidc-issuer http://10.0.0.1 --oidc-client-id us --oidc-role ops=admin",
                "--allow-private oidc",
            ),
            ("--otlp-endpoint http://127.0.0.1:4318", "--allow-private otlp"),
        ] {
            let refused = gate(line).expect_err(line).to_string();
            assert!(refused.contains(word), "{line}: {refused}");
        }
        assert!(Line::try_parse_from(["serve", "--no-local-sign-in"]).is_err());
    }

    #[test]
    fn figures_go_to_the_path_for_metrics() {
        let url = |line: &str| gate(line).expect("whole").otlp.expect("a collector").url;
        assert_eq!(url("--otlp-endpoint https://c.example:4318"), "https://c.example:4318/v1/metrics");
        assert_eq!(url("--otlp-endpoint https://c.example/x/v1/metrics"), "https://c.example/x/v1/metrics");
        assert_eq!(
            url("--allow-private otlp --otlp-endpoint http://127.0.0.1:4318/"),
            "http://127.0.0.1:4318/v1/metrics"
        );
        assert_eq!(headers("Authorization: Bearer x\n\n# no\n").expect("headers").len(), 1);
        let wrong = headers("A: b\nhunter2").expect_err("no header");
        assert!(wrong.contains("line 2") && !wrong.contains("hunter2"));
    }
}

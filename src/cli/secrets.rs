//! Keeps secrets out of the process list.

use std::ffi::OsString;

use super::exit::CliError;

/// Refuses a command line that holds a URL with a user name, or a query that names a secret.
///
/// It runs before anything else reads the arguments, so that no error message can repeat one. The argument itself is
/// not repeated either, only its place.
///
/// # Errors
///
/// [`CliError::Usage`].
pub(crate) fn refuse_in(args: &[OsString]) -> Result<(), CliError> {
    match args.iter().skip(1).position(|arg| holds_secret(&arg.to_string_lossy())) {
        None => Ok(()),
        Some(index) => Err(CliError::Usage(format!(
            "argument {} is a URL that carries a user name, password or token, which everybody on this computer can \
             read in the process list. Put the secret in a file and name it with --token-file, or set GREENROOM_TOKEN \
             (for whip: --whip-token-file, GREENROOM_WHIP_TOKEN; for a database: --store-file, GREENROOM_STORE)",
            index + 1
        ))),
    }
}

/// Words that name a secret in a query or fragment.
const NAMES: [&str; 10] =
    ["token", "access_token", "key", "api_key", "apikey", "secret", "password", "pass", "sig", "signature"];

fn holds_secret(arg: &str) -> bool {
    // `--flag=URL` and `URL` alike.
    let Some((_, rest)) = arg.split_once("://") else {
        return arg.split_once('?').is_some_and(|(_, query)| names_secret(query));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    // A database's user is no secret, and is named before its password is asked for elsewhere.
    let is_database = arg.contains("postgres://") || arg.contains("postgresql://");
    user.is_some_and(|user| !is_database || user.contains(':')) || names_secret(tail)
}

fn names_secret(text: &str) -> bool {
    text.split(['?', '&', '#', ';']).any(|pair| {
        pair.split_once('=').is_some_and(|(name, value)| {
            !value.is_empty() && NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_secrets_are_found_wherever_they_stand() {
        for arg in [
            "https://user:hunter2@host/",
            "greenroom://hunter2@host",
            "--endpoint=greenroom://x@host",
            "wss://host/path?token=hunter2",
            "wss://host/path?a=b&access_token=hunter2",
            "https://host/#key=hunter2",
            "host?token=hunter2",
            "postgres://u:hunter2@host/d",
            "--store=postgresql://u@host/d?password=hunter2",
        ] {
            let args = ["greenroom", "check", arg].map(OsString::from);
            let error = refuse_in(&args).expect_err(arg);
            assert!(error.to_string().starts_with("argument 2 "));
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_holds_no_secret_passes() {
        for arg in [
            "greenroom://host#sha256=00",
            "host:7443",
            "https://host/a@b",
            "https://host/?lang=en",
            "file?name",
            "--for=audio,720p",
            "postgres://greenroom@db.example/greenroom",
            "--store=postgres://greenroom@db.example/greenroom?sslmode=verify-full",
        ] {
            assert!(refuse_in(&["greenroom".into(), arg.into()]).is_ok(), "{arg}");
        }
    }
}

//! Where a PostgreSQL database is, as somebody says it: `postgres://USER@HOST[:PORT]/DATABASE`.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What may stand behind the `?`. What is not known is refused: a setting that nobody reads, such as a mistyped `sslmode`, would be
/// believed to hold.
const KNOWN: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
];

/// The address of a database. Holds the password; neither its text nor its `Debug` shows it.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) options: PgConnectOptions,
    shown: String,
    warning: Option<String>,
}

impl PostgresUrl {
    /// Reads an address. What it leaves out comes from the environment, as `psql` takes it: `PGHOST`, `PGUSER`, `PGPASSWORD`,
    /// `PGPASSFILE`, …
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn read(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let Some(rest) = rest else {
            return Err("write postgres://USER@HOST[:PORT]/DATABASE".to_owned());
        };
        if rest.contains('#') {
            return Err("write # as %23".to_owned());
        }
        let keys = query_keys(rest);
        if let Some(unknown) = keys.iter().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!("`{unknown}` is not known; there are: {}", KNOWN.join(" ")));
        }
        let mut options: PgConnectOptions = text.parse().map_err(
            |_| "it is no address of a database: special characters in the password are written as %XX",
        )?;
        let is_local = options.get_socket().is_some() || is_loopback(options.get_host());
        let is_said = keys.iter().any(|key| key == "sslmode") || std::env::var_os("PGSSLMODE").is_some();
        if !is_local && !is_said {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        let warning = match options.get_ssl_mode() {
            PgSslMode::VerifyFull => None,
            _ if is_local => None,
            _ => Some(format!(
                "{} is not asked for a certificate with its name (sslmode): whoever stands between reads and changes everything",
                options.get_host()
            )),
        };
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let shown =
            format!("PostgreSQL at {place}/{}", options.get_database().unwrap_or(options.get_username()));
        Ok(Self { options: options.application_name("greenroom"), shown, warning })
    }

    /// What its operator should know: that the way there is not protected.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Whether an address, readable or not, has a password in it.
pub fn has_password(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let in_front = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_front || query_keys(rest).iter().any(|key| key.contains("password"))
}

fn query_keys(rest: &str) -> Vec<String> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).map(|(key, _)| key.into_owned()).collect()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_elsewhere_has_to_show_a_certificate() {
        let mode = |text: &str| PostgresUrl::read(text).expect("an address").options.get_ssl_mode();
        assert!(matches!(mode("postgres://u@db.example/g"), PgSslMode::VerifyFull));
        for local in [
            "postgres://u@localhost/g",
            "postgres://u@127.0.0.1:5433/g",
            "postgres://u@[::1]/g",
            "postgresql:///g?host=/run/postgresql",
        ] {
            let read = PostgresUrl::read(local).expect("an address");
            assert!(
                matches!(read.options.get_ssl_mode(), PgSslMode::Prefer) && read.warning().is_none(),
                "{local}"
            );
        }
        let said = PostgresUrl::read("postgres://u@db.example/g?sslmode=require").expect("an address");
        assert!(matches!(said.options.get_ssl_mode(), PgSslMode::Require));
        assert!(said.warning().is_some_and(|warning| warning.contains("db.example")));
    }

    #[test]
    fn passwords_are_seen_where_they_are_and_never_shown() {
        for with in [
            "postgres://u:hunter2@db.example/g",
            "postgres://u:hunter2/%@db.example/g",
            "postgres://u@db.example/g?password=hunter2",
            "postgres://u@db.example/g?%70assword=hunter2",
            "u:hunter2@db.example",
        ] {
            assert!(has_password(with), "{with}");
            match PostgresUrl::read(with) {
                Ok(read) => {
                    assert!(!format!("{read} {read:?} {:?}", read.warning()).contains("hunter2"), "{with}");
                }
                Err(problem) => assert!(!problem.contains("hunter2"), "{problem}"),
            }
        }
        for without in
            ["postgres://u@db.example:5432/g", "postgres://[::1]:5432/g", "postgres:///g?host=/run"]
        {
            assert!(!has_password(without), "{without}");
        }
        let shown =
            PostgresUrl::read("postgres://u:hunter2@127.0.0.1:5433/g").expect("an address").to_string();
        assert_eq!(shown, "PostgreSQL at 127.0.0.1:5433/g");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [
            "mysql://u@h/d",
            "postgres://u@h/d?sslmod=require",
            "postgres://u@h/d?sslmode=maybe",
            "postgres://u@h:x/d",
            "postgres://u:a#b@h/d",
        ] {
            assert!(PostgresUrl::read(wrong).is_err(), "{wrong}");
        }
    }
}

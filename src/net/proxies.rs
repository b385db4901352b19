//! The proxies that programs of this computer are told to use: by the environment, and by the settings of the desktop. Only where they
//! are is read out, never who they let in.

use std::path::Path;
use std::time::Duration;

use greenroom_reports::schema::ProxySetting;
use tokio::process::Command;

use crate::address::Host;

/// The variables that programs read, as they are written by most.
const VARIABLES: [&str; 6] =
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// What stands in place of a proxy that a script chooses for each page.
const SCRIPT: &str = "a script that chooses (PAC)";
/// What stands in place of one that makes no sense: what it holds instead may be a secret.
const UNREADABLE: &str = "something that cannot be read";

/// The longest that asking the desktop takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that are set, each once.
///
/// `env` reads a variable.
pub async fn set(env: &(dyn Fn(&str) -> Option<String> + Sync)) -> Vec<ProxySetting> {
    let mut found = of_environment(env);
    let desktop = env("XDG_CURRENT_DESKTOP").unwrap_or_default();
    if desktop.split(':').any(|name| name == "KDE") {
        if let Some(home) = env("HOME") {
            let file = Path::new(&home).join(".config/kioslaverc");
            let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
            found.extend(of_kde(&text));
        }
    } else if !desktop.is_empty() {
        found.extend(of_gnome(&gsettings().await.unwrap_or_default()));
    }
    found
}

fn of_environment(env: &dyn Fn(&str) -> Option<String>) -> Vec<ProxySetting> {
    let mut found: Vec<ProxySetting> = Vec::new();
    for name in VARIABLES {
        let Some(value) = env(name).filter(|value| !value.trim().is_empty()) else { continue };
        let proxy = shown(value.trim());
        let twin = |it: &ProxySetting| it.set_by.eq_ignore_ascii_case(name) && it.proxy == proxy;
        if !found.iter().any(twin) {
            found.push(ProxySetting { set_by: name.to_owned(), proxy });
        }
    }
    found
}

/// `[SCHEME://]HOST[:PORT]` of what is set, without who asks.
fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let known = ["http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"];
    let scheme = scheme.to_ascii_lowercase();
    match Host::with_port(authority) {
        Some((host, port)) if known.contains(&scheme.as_str()) => {
            let scheme = if scheme == "http" { String::new() } else { format!("{scheme}://") };
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            format!("{scheme}{host}{port}")
        }
        _ => UNREADABLE.to_owned(),
    }
}

/// What `gsettings` tells of GNOME's settings, which other desktops heed too.
async fn gsettings() -> Option<String> {
    let asking = Command::new("gsettings")
        .args(["list-recursively", "org.gnome.system.proxy"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let told = tokio::time::timeout(PATIENCE, asking).await.ok()?.ok()?;
    String::from_utf8(told.stdout).ok()
}

/// Lines as `org.gnome.system.proxy mode 'manual'`.
fn of_gnome(told: &str) -> Option<ProxySetting> {
    let value = |schema: &str, key: &str| {
        let of_line = |line: &str| -> Option<String> {
            let rest = line.strip_prefix(schema)?.strip_prefix(' ')?.strip_prefix(key)?.strip_prefix(' ')?;
            Some(rest.trim().trim_matches('\'').to_owned())
        };
        told.lines().find_map(of_line)
    };
    let setting = |proxy| Some(ProxySetting { set_by: "GNOME".to_owned(), proxy });
    match value("org.gnome.system.proxy", "mode")?.as_str() {
        "auto" => setting(SCRIPT.to_owned()),
        "manual" => ["https", "http", "socks"].into_iter().find_map(|kind| {
            let schema = format!("org.gnome.system.proxy.{kind}");
            let host = value(&schema, "host").filter(|host| !host.is_empty())?;
            let scheme = if kind == "socks" { "socks" } else { "http" };
            let port = value(&schema, "port").unwrap_or_default();
            setting(shown(&format!("{scheme}://{host}:{port}")))
        }),
        _ => None,
    }
}

/// The group `[Proxy Settings]` of `kioslaverc`: `ProxyType=1` with `httpsProxy=http://HOST PORT`, 2 and 3 with a script.
fn of_kde(text: &str) -> Option<ProxySetting> {
    let lines = || text.lines().map(str::trim).skip_while(|line| *line != "[Proxy Settings]").skip(1);
    let value = |key: &str| {
        let group = lines().take_while(|line| !line.starts_with('['));
        group.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let setting = |proxy| Some(ProxySetting { set_by: "KDE".to_owned(), proxy });
    match value("ProxyType")? {
        "1" => ["httpsProxy", "httpProxy", "socksProxy"].into_iter().find_map(|key| {
            let url = value(key).filter(|url| !url.is_empty())?;
            setting(shown(&url.replace(' ', ":")))
        }),
        "2" | "3" => setting(SCRIPT.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(set: &[(&str, &str)]) -> Vec<String> {
        let env =
            |wanted: &str| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        of_environment(&env).into_iter().map(|it| format!("{}={}", it.set_by, it.proxy)).collect()
    }

    #[test]
    fn the_environment_tells_where_and_never_who() {
        assert!(by(&[("https_proxy", " ")]).is_empty());
        let told = by(&[
            ("https_proxy", "http://ada:hunter2@proxy.example:3128/"),
            ("HTTPS_PROXY", "http://ada:hunter2@proxy.example:3128/"),
            ("ALL_PROXY", "socks5h://ada:hunter2@[2001:db8::1]:1080"),
            ("HTTP_PROXY", "hunter2://ada"),
        ]);
        assert_eq!(
            told,
            [
                "https_proxy=proxy.example:3128",
                "HTTP_PROXY=something that cannot be read",
                "ALL_PROXY=socks5h://[2001:db8::1]:1080"
            ]
        );
        for odd in ["hunter2 hunter2", "http://hunter2@", "hunter2:hunter2@a..b", "http://ada@hunter2@@:"] {
            let told = by(&[("https_proxy", odd)]);
            assert!(!told.concat().contains("hunter2"), "{told:?}");
        }
    }

    #[test]
    fn desktops_tell_theirs() {
        let gnome = "org.gnome.system.proxy autoconfig-url ''\norg.gnome.system.proxy mode 'manual'\n\
                     org.gnome.system.proxy.https host 'proxy.example'\norg.gnome.system.proxy.https port 3128\n";
        assert_eq!(of_gnome(gnome).unwrap().proxy, "proxy.example:3128");
        assert_eq!(of_gnome(&gnome.replace("manual", "auto")).unwrap().proxy, SCRIPT);
        assert_eq!(of_gnome(&gnome.replace("manual", "none")), None);
        assert_eq!(of_gnome("No such schema"), None);
        let kde = "[$Version]\nx=1\n[Proxy Settings]\nProxyType=1\nhttpsProxy=http://proxy.example 8080\n[Other]\nProxyType=0\n";
        assert_eq!(of_kde(kde).unwrap().proxy, "proxy.example:8080");
        assert_eq!(of_kde(&kde.replace("ProxyType=1", "ProxyType=0")), None);
        assert_eq!(of_kde(""), None);
    }
}

//! Settings, resolved once: command line over environment over config file over default.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use greenroom_reports::schema::{DeviceKind, Mode, Use};
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::Profile;
use serde::{Deserialize, Deserializer, de};

use super::exit::CliError;
use super::values;
use crate::address::{Credentials, NoPortalUrl, OtherUrl, Portal, TargetUrl, TargetUrlError};
use crate::history;
use crate::net::upload::{UploadUrl, UploadUrlError};
use crate::plan::{EndpointUrl, Token};

/// What the commands that measure run with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) endpoint: Option<EndpointUrl>,
    pub(crate) uses: BTreeSet<Use>,
    /// The kinds of devices asked for by name. `None`: those that there are.
    pub(crate) devices: Option<BTreeSet<DeviceKind>>,
    pub(crate) mode: Mode,
    pub(crate) profile: Profile,
    pub(crate) interface: Option<String>,
    pub(crate) token: Option<Token>,
    pub(crate) max_bytes: Option<DataSize>,
    /// Where a sign-in page is looked for.
    pub(crate) portal: Portal,
    /// Whose report it is.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the report is sent.
    pub(crate) upload: Option<UploadUrl>,
    /// What it is sent with; read when it is needed.
    pub(crate) upload_key: Option<TokenSource>,
    /// Past results to keep; 0 keeps none.
    pub(crate) history_keep: usize,
    /// Where past results are kept. `None` where the system names no place for them.
    pub(crate) history_file: Option<PathBuf>,
}

/// One source of settings. What it does not say is left to the next.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Layer {
    pub(crate) endpoint: Option<EndpointUrl>,
    pub(crate) uses: Option<BTreeSet<Use>>,
    pub(crate) devices: Option<BTreeSet<DeviceKind>>,
    pub(crate) mode: Option<Mode>,
    pub(crate) profile: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) token: Option<TokenSource>,
    pub(crate) max_bytes: Option<DataSize>,
    pub(crate) portal: Option<Portal>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) upload: Option<UploadUrl>,
    pub(crate) upload_key: Option<TokenSource>,
    pub(crate) history_keep: Option<usize>,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenSource {
    File(PathBuf),
    Given(Token),
}

/// Reads a variable of the environment.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub(crate) fn process_env(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Resolves settings from the command line's layer, the environment and the config file.
///
/// # Errors
///
/// [`CliError`] names the source that is wrong: a variable, or the file with line and column.
pub(crate) fn resolve(flags: Layer, config: Option<&Path>, env: Env<'_>) -> Result<Settings, CliError> {
    let file = from_file(config, env)?;
    let merged = flags.or(from_env(env)?).or(file);
    Ok(Settings {
        endpoint: merged.endpoint,
        uses: merged.uses.unwrap_or_else(|| BTreeSet::from([Use::Audio, Use::Video720p])),
        devices: merged.devices,
        mode: merged.mode.unwrap_or_default(),
        profile: merged.profile.as_deref().map_or_else(|| Ok(Profile::default()), load_profile)?,
        interface: merged.interface,
        token: merged.token.map(load_token).transpose()?,
        max_bytes: merged.max_bytes,
        portal: merged.portal.unwrap_or_default(),
        labels: merged.labels,
        upload: merged.upload,
        upload_key: merged.upload_key,
        history_keep: merged.history_keep.unwrap_or(history::KEEP),
        history_file: history_file(env),
    })
}

/// Where past results are kept: `$XDG_STATE_HOME/greenroom/history.jsonl`.
pub(crate) fn history_file(env: Env<'_>) -> Option<PathBuf> {
    base_dir(env, "XDG_STATE_HOME", ".local/state").map(|dir| dir.join("greenroom/history.jsonl"))
}

/// Where `greenroom agent` keeps what it has: where systemd says (`$STATE_DIRECTORY`), else `$XDG_STATE_HOME/greenroom/agent`.
pub(crate) fn agent_dir(env: Env<'_>) -> Option<PathBuf> {
    let by_systemd = env("STATE_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute());
    by_systemd
        .or_else(|| base_dir(env, "XDG_STATE_HOME", ".local/state").map(|dir| dir.join("greenroom/agent")))
}

/// Where `greenroom serve` keeps its data: `$XDG_DATA_HOME/greenroom/serve`.
#[cfg(feature = "web")]
pub(crate) fn serve_dir(env: Env<'_>) -> Option<PathBuf> {
    base_dir(env, "XDG_DATA_HOME", ".local/share").map(|dir| dir.join("greenroom/serve"))
}

impl Layer {
    /// Fills what this layer does not say from the next.
    fn or(self, next: Self) -> Self {
        Self {
            endpoint: self.endpoint.or(next.endpoint),
            uses: self.uses.or(next.uses),
            devices: self.devices.or(next.devices),
            mode: self.mode.or(next.mode),
            profile: self.profile.or(next.profile),
            interface: self.interface.or(next.interface),
            token: self.token.or(next.token),
            max_bytes: self.max_bytes.or(next.max_bytes),
            portal: self.portal.or(next.portal),
            labels: next.labels.into_iter().chain(self.labels).collect(),
            upload: self.upload.or(next.upload),
            upload_key: self.upload_key.or(next.upload_key),
            history_keep: self.history_keep.or(next.history_keep),
        }
    }
}

fn from_env(env: Env<'_>) -> Result<Layer, CliError> {
    let text = |name: &'static str| -> Result<Option<String>, CliError> {
        env(name)
            .map(|value| {
                value.into_string().map_err(|_| CliError::Usage(format!("{name} is not valid text (UTF-8)")))
            })
            .transpose()
    };
    fn read<T>(
        name: &str,
        text: Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        text.map(|t| parse(&t).map_err(|why| CliError::Usage(format!("{name}: {why}")))).transpose()
    }
    let secret = |given: &'static str, file: &str| -> Result<Option<TokenSource>, CliError> {
        Ok(match text(given)?.as_deref().and_then(|text| Token::new(text.trim())) {
            Some(token) => Some(TokenSource::Given(token)),
            None => env(file).map(|path| TokenSource::File(path.into())),
        })
    };
    Ok(Layer {
        endpoint: read("GREENROOM_ENDPOINT", text("GREENROOM_ENDPOINT")?, endpoint)?,
        uses: read("GREENROOM_FOR", text("GREENROOM_FOR")?, |t| values::uses(&split(t)))?,
        devices: read("GREENROOM_DEVICES", text("GREENROOM_DEVICES")?, |t| values::devices(&split(t)))?,
        mode: read("GREENROOM_MODE", text("GREENROOM_MODE")?, mode)?,
        profile: text("GREENROOM_PROFILE")?,
        interface: text("GREENROOM_INTERFACE")?,
        token: secret("GREENROOM_TOKEN", "GREENROOM_TOKEN_FILE")?,
        labels: BTreeMap::new(),
        upload: read("GREENROOM_UPLOAD", text("GREENROOM_UPLOAD")?, upload_url)?,
        upload_key: secret("GREENROOM_UPLOAD_KEY", "GREENROOM_UPLOAD_KEY_FILE")?,
        max_bytes: read("GREENROOM_MAX_BYTES", text("GREENROOM_MAX_BYTES")?, values::size)?,
        portal: read("GREENROOM_PORTAL_URL", text("GREENROOM_PORTAL_URL")?, portal)?,
        history_keep: read("GREENROOM_HISTORY", text("GREENROOM_HISTORY")?, history_keep)?,
    })
}

/// The config file as written. Each key is optional.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ConfigFile {
    #[serde(deserialize_with = "parsed_endpoint")]
    endpoint: Option<EndpointUrl>,
    #[serde(rename = "for", deserialize_with = "parsed_uses")]
    uses: Option<BTreeSet<Use>>,
    #[serde(deserialize_with = "parsed_devices")]
    devices: Option<BTreeSet<DeviceKind>>,
    #[serde(deserialize_with = "parsed_mode")]
    mode: Option<Mode>,
    profile: Option<String>,
    interface: Option<String>,
    token_file: Option<PathBuf>,
    #[serde(deserialize_with = "parsed_size")]
    max_bytes: Option<DataSize>,
    #[serde(deserialize_with = "parsed_portal")]
    portal_url: Option<Portal>,
    #[serde(deserialize_with = "parsed_upload")]
    upload: Option<UploadUrl>,
    upload_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "parsed_labels")]
    labels: BTreeMap<String, String>,
    history: HistoryTable,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HistoryTable {
    /// Past results to keep; 0 keeps none.
    keep: Option<usize>,
}

fn from_file(named: Option<&Path>, env: Env<'_>) -> Result<Layer, CliError> {
    let named = named.map(Path::to_owned).or_else(|| env("GREENROOM_CONFIG").map(PathBuf::from));
    let usual = || base_dir(env, "XDG_CONFIG_HOME", ".config").map(|dir| dir.join("greenroom/config.toml"));
    let must_exist = named.is_some();
    let Some(path) = named.or_else(usual) else { return Ok(Layer::default()) };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(Layer::default()),
        Err(error) => return Err(CliError::input(&path, &error)),
    };
    let file: ConfigFile = parse_toml(&path, &text, |text| toml::from_str(text))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    Ok(Layer {
        endpoint: file.endpoint,
        uses: file.uses,
        devices: file.devices,
        mode: file.mode,
        profile: file.profile,
        interface: file.interface,
        // A relative path in a file is relative to that file, not to wherever the command was started.
        token: file.token_file.map(|path| TokenSource::File(dir.join(path))),
        max_bytes: file.max_bytes,
        portal: file.portal_url,
        labels: file.labels,
        upload: file.upload,
        upload_key: file.upload_key_file.map(|path| TokenSource::File(dir.join(path))),
        history_keep: file.history.keep,
    })
}

/// Where a user's own entries for `service:` are: `$XDG_CONFIG_HOME/greenroom/services`.
pub(super) fn services_dir(env: Env<'_>) -> Option<PathBuf> {
    base_dir(env, "XDG_CONFIG_HOME", ".config").map(|dir| dir.join("greenroom/services"))
}

/// Reads a file of settings; what is wrong is told with file, line and column.
pub(super) fn parse_toml<T>(
    path: &Path,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, toml::de::Error>,
) -> Result<T, CliError> {
    parse(text).map_err(|error: toml::de::Error| {
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            format!(":{line}:{column}")
        });
        CliError::Usage(format!("{}{place}: {}", path.display(), error.message()))
    })
}

fn load_profile(name_or_file: &str) -> Result<Profile, CliError> {
    let path = Path::new(name_or_file);
    let is_file = name_or_file.contains(std::path::MAIN_SEPARATOR)
        && !Profile::names().any(|known| known == name_or_file)
        || path.extension().is_some_and(|ext| ext == "toml");
    if !is_file {
        return Profile::named(name_or_file).map_err(|error| CliError::Usage(error.to_string()));
    }
    let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
    Profile::parse(&text).map_err(|error| CliError::input(path, &error))
}

pub(crate) fn load_token(source: TokenSource) -> Result<Token, CliError> {
    match source {
        TokenSource::Given(token) => Ok(token),
        TokenSource::File(path) => {
            let text = if path == Path::new("-") {
                io::read_to_string(io::stdin())
            } else {
                fs::read_to_string(&path)
            }
            .map_err(|error| CliError::input(&path, &error))?;
            Token::new(text.trim()).ok_or_else(|| CliError::input(&path, &"the file holds no token"))
        }
    }
}

/// The token for a server that media are published to: of a file, else of the environment.
///
/// # Errors
///
/// [`CliError`] when the file cannot be read or is empty, or the variable is no text.
pub(crate) fn whip_token(file: Option<&Path>, env: Env<'_>) -> Result<Option<Token>, CliError> {
    if let Some(path) = file {
        return load_token(TokenSource::File(path.to_owned())).map(Some);
    }
    let Some(value) = env("GREENROOM_WHIP_TOKEN") else { return Ok(None) };
    let text = value
        .into_string()
        .map_err(|_| CliError::Usage("GREENROOM_WHIP_TOKEN is not valid text (UTF-8)".to_owned()))?;
    Ok(Token::new(text.trim()))
}

/// Who this computer is to a TURN server: of a file, else of the environment. `None` for any other target, or where nothing says so.
///
/// # Errors
///
/// [`CliError`] when the file cannot be read or lacks one of its two lines, or one variable is set without the other.
pub(crate) fn turn_user(target: &OtherUrl, file: Option<&Path>) -> Result<Option<Credentials>, CliError> {
    if !target.kind.is_relay() {
        return Ok(None);
    }
    match file {
        Some(path) => turn_user_of(path).map(Some),
        None => turn_user_by(&process_env),
    }
}

/// Nothing of the content is repeated in a message.
fn turn_user_of(path: &Path) -> Result<Credentials, CliError> {
    let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
    let mut lines = text.lines();
    let (name, password) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    Credentials::new(name, password).ok_or_else(|| {
        CliError::input(path, &"the first line must be the user name and the second the password")
    })
}

fn turn_user_by(env: Env<'_>) -> Result<Option<Credentials>, CliError> {
    let given = |name: &str| match env(name).map(OsString::into_string) {
        Some(Err(_)) => Err(CliError::Usage(format!("{name} is not valid text (UTF-8)"))),
        Some(Ok(value)) => Ok(Some(value)),
        None => Ok(None),
    };
    match (given("GREENROOM_TURN_USERNAME")?, given("GREENROOM_TURN_PASSWORD")?) {
        (None, None) => Ok(None),
        (Some(name), Some(password)) => Credentials::new(name, password).map(Some).ok_or_else(|| {
            CliError::Usage("GREENROOM_TURN_USERNAME is longer than a TURN user name can be".to_owned())
        }),
        _ => Err(CliError::Usage(
            "set both GREENROOM_TURN_USERNAME and GREENROOM_TURN_PASSWORD, or neither".to_owned(),
        )),
    }
}

/// A base directory (XDG Base Directory Specification: a relative one counts as unset).
fn base_dir(env: Env<'_>, variable: &str, below_home: &str) -> Option<PathBuf> {
    env(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env("HOME").map(PathBuf::from).filter(|h| h.is_absolute()).map(|h| h.join(below_home)))
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// Reads an endpoint's address.
pub(crate) fn endpoint(text: &str) -> Result<EndpointUrl, String> {
    match text.parse().map_err(|error: TargetUrlError| error.to_string())? {
        TargetUrl::Greenroom(endpoint) => Ok(endpoint),
        TargetUrl::Other(other) => Err(format!(
            "{other} is no Greenroom endpoint; name it on the command line beside one: greenroom check ENDPOINT {other}"
        )),
    }
}

fn upload_url(text: &str) -> Result<UploadUrl, String> {
    text.parse().map_err(|error: UploadUrlError| error.to_string())
}

fn portal(text: &str) -> Result<Portal, String> {
    text.parse().map_err(|error: NoPortalUrl| error.to_string())
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "quick" => Ok(Mode::Quick),
        "deep" => Ok(Mode::Deep),
        other => Err(format!("`{other}`: choose quick or deep")),
    }
}

fn history_keep(text: &str) -> Result<usize, String> {
    match text {
        "off" => Ok(0),
        number => number.parse().map_err(|_| format!("`{number}`: give a number of results to keep, or off")),
    }
}

fn parsed_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EndpointUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    endpoint(&text).map(Some).map_err(de::Error::custom)
}

fn parsed_upload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UploadUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    upload_url(&text).map(Some).map_err(de::Error::custom)
}

fn parsed_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    labels
        .into_iter()
        .map(|(name, value)| values::label_of(&name, &value))
        .collect::<Result<_, _>>()
        .map_err(de::Error::custom)
}

fn parsed_devices<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeSet<DeviceKind>>, D::Error> {
    let items = Vec::<String>::deserialize(deserializer)?;
    values::devices(&items).map(Some).map_err(de::Error::custom)
}

fn parsed_uses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeSet<Use>>, D::Error> {
    let items = Vec::<String>::deserialize(deserializer)?;
    values::uses(&items).map(Some).map_err(de::Error::custom)
}

fn parsed_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mode>, D::Error> {
    let text = String::deserialize(deserializer)?;
    mode(&text).map(Some).map_err(de::Error::custom)
}

fn parsed_portal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Portal>, D::Error> {
    let text = String::deserialize(deserializer)?;
    portal(&text).map(Some).map_err(de::Error::custom)
}

fn parsed_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DataSize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    values::size(&text).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolved(flags: Layer, file: &str, vars: &[(&str, &str)]) -> Result<Settings, CliError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("greenroom/config.toml");
        fs::create_dir_all(dir.path().join("greenroom")).expect("a temporary directory");
        fs::write(&config, file).expect("a temporary file");
        let mut vars: BTreeMap<String, OsString> =
            vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        vars.insert("XDG_CONFIG_HOME".to_owned(), dir.path().into());
        resolve(flags, None, &|name| vars.get(name).cloned())
    }

    fn url(text: &str) -> EndpointUrl {
        text.parse().expect("a valid name")
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let file = "endpoint = 'file.example'\nfor = ['screen']\nmode = 'deep'\n[history]\nkeep = 3\n";
        let vars = [("GREENROOM_ENDPOINT", "env.example"), ("GREENROOM_FOR", "audio, 1080p")];
        let flags = Layer { endpoint: Some(url("flag.example")), ..Layer::default() };

        let all = resolved(flags, file, &vars).expect("valid");
        assert_eq!(all.endpoint, Some(url("flag.example")));
        assert_eq!(all.uses, BTreeSet::from([Use::Audio, Use::Video1080p]));
        assert_eq!(all.mode, Mode::Deep);
        assert_eq!(all.history_keep, 3);

        let none = resolved(Layer::default(), "", &[]).expect("valid");
        assert_eq!(none.endpoint, None);
        assert_eq!(none.uses, BTreeSet::from([Use::Audio, Use::Video720p]));
        assert_eq!(none.mode, Mode::Quick);
        assert_eq!(none.profile, Profile::default());
    }

    #[test]
    fn a_wrong_file_is_told_with_line_and_column() {
        for (file, place, problem) in [
            ("endpoint = 'ok'\nfor = ['audio', '4k']\n", ":2:7", "`4k` is not a use; choose from"),
            ("\nspeed = 'fast'\n", ":2:1", "unknown field `speed`"),
            ("mode = 'medium'", ":1:8", "choose quick or deep"),
            ("max_bytes = 10\n", ":1:13", "string"),
            ("endpoint = 'x@y'", ":1:12", "must not carry"),
            ("endpoint = ", ":1:12", ""),
        ] {
            let error = resolved(Layer::default(), file, &[]).expect_err(file);
            let text = error.to_string();
            assert!(matches!(error, CliError::Usage(_)), "{text}");
            assert!(text.contains(&format!("config.toml{place}: ")), "{text}");
            assert!(text.contains(problem), "{text}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = resolved(Layer::default(), "", &[("GREENROOM_MAX_BYTES", "lots")]).expect_err("no size");
        assert!(error.to_string().starts_with("GREENROOM_MAX_BYTES: "), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let error = resolve(Layer::default(), Some(Path::new("/nonexistent/c.toml")), &|_| None)
            .expect_err("it does not exist");
        assert_eq!(error.exit(), super::super::exit::Exit::NoInput);
    }

    #[test]
    fn the_token_comes_from_the_environment_or_a_file() {
        let settings = resolved(Layer::default(), "", &[("GREENROOM_TOKEN", " t0ken\n")]).expect("valid");
        assert_eq!(settings.token, Token::new("t0ken"));
        let error = resolved(Layer::default(), "token_file = 'missing'", &[]).expect_err("no such file");
        assert!(error.to_string().contains("greenroom/missing"), "relative to the config file: {error}");
    }

    #[test]
    fn base_directories_are_absolute() {
        let env = |name: &str| match name {
            "XDG_STATE_HOME" => Some(OsString::from("relative")),
            "HOME" => Some(OsString::from("/home/me")),
            _ => None,
        };
        assert_eq!(history_file(&env), Some(PathBuf::from("/home/me/.local/state/greenroom/history.jsonl")));
    }
}

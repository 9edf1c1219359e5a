//! Settings and where each came from: default < file < environment < flag.
//!
//! `keys.rs` lists the settings, `env.rs` reads the environment, `file.rs` the TOML file. Loading
//! is a pure function of those three and the flags, so that the tests below need no process.

mod env;
mod file;
mod keys;

pub(crate) use env::Env;
pub(crate) use file::{read_capped, read_text};
pub(crate) use keys::Key;

use crate::engine::Kv;
use crate::exit::{Code, Failure};
use crate::options::Global;
use crate::terminal::ColorWhen;
use hearth_cell::Isolation;
use hearth_hub::{Credential, Secret, Url, suggest};
use keys::KEYS;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The hub that `HF_TOKEN` is for.
pub(crate) const PUBLIC_HUB: &str = "https://huggingface.co";

/// Most compute threads that may be asked for: more than any machine this runs on has cores.
pub(crate) const MOST_THREADS: u64 = 512;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "the default"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Flag(name) => write!(f, "the flag {name}"),
        }
    }
}

/// A setting as it stands, before it gets its type.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: &'static Key,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Every setting with its type.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration file, which need not exist; `None` without a home folder.
    pub(crate) file: Option<PathBuf>,
    /// Folder of the models; `None` without a home folder.
    pub(crate) store: Option<PathBuf>,
    /// File that records every connection; `None` without a home folder and a store.
    pub(crate) egress_log: Option<PathBuf>,
    /// File of the lines typed in conversations; `None` keeps none.
    pub(crate) history: Option<PathBuf>,
    /// File of the key that kept conversations are closed with; `None` without a home folder.
    pub(crate) key_file: Option<PathBuf>,
    /// Python interpreter for package sources.
    pub(crate) python: PathBuf,
    /// When to colour.
    pub(crate) color: ColorWhen,
    /// Tokens, each for one server.
    pub(crate) credentials: Vec<Credential>,
    rows: Vec<Row>,
}

impl Settings {
    /// Loads the settings; `flags` win over `env`, `env` over the file.
    pub(crate) fn load(flags: &Global, env: &Env) -> anyhow::Result<Self> {
        let path = match &flags.config {
            Some(path) => Some(path.clone()),
            None => base_folder(env.xdg.config.as_deref(), env, ".config")
                .map(|folder| folder.join("config.toml")),
        };
        let mut rows = defaults(env)?;
        if let Some(path) = &path {
            for (key, value) in file::read(path, flags.config.is_some())? {
                set(&mut rows, &key, expand_home(value, env), Origin::File(path.clone()))?;
            }
        }
        for (key, value) in &env.settings {
            let variable = format!("{}{}", env::PREFIX, key.to_ascii_uppercase());
            set(&mut rows, key, value.clone(), Origin::Variable(variable))?;
        }
        if let Some(store) = &flags.store {
            let value = utf8(store)?;
            set(&mut rows, "store", value, Origin::Flag("--store".into()))?;
        }
        if let Some(color) = flags.color {
            set(&mut rows, "color", color.name().into(), Origin::Flag("--color".into()))?;
        }
        log_beside_store(&mut rows)?;
        check(&rows)?;
        let mut credentials = Vec::new();
        for (token, place) in [("hub_token", "hub_url"), ("registry_token", "registry_url")] {
            if let Some(secret) = take_secret(&mut rows, token)?
                && let Some(server) = addresses(&rows, place)?.first()
            {
                credentials.push(Credential::new(server, secret));
            }
        }
        // After the settings: where both are for one server, those count.
        if let Some(token) = &env.hf_token {
            let hub = Url::parse(PUBLIC_HUB).map_err(anyhow::Error::msg)?;
            credentials.push(Credential::new(&hub, secret("the variable HF_TOKEN", token)?));
        }
        Self::typed(path, rows, credentials)
    }

    fn typed(
        file: Option<PathBuf>,
        rows: Vec<Row>,
        credentials: Vec<Credential>,
    ) -> anyhow::Result<Self> {
        let path = |key| -> anyhow::Result<Option<PathBuf>> {
            Ok(Some(parse::<PathBuf>(&rows, key)?).filter(|path| !path.as_os_str().is_empty()))
        };
        Ok(Self {
            file,
            store: path("store")?,
            egress_log: path("egress_log")?,
            history: path("history")?.filter(|path| path.as_os_str() != "off"),
            key_file: path("key_file")?,
            python: parse(&rows, "python")?,
            color: parse(&rows, "color")?,
            credentials,
            rows,
        })
    }

    /// The addresses of a setting that names several.
    pub(crate) fn addresses(&self, key: &str) -> anyhow::Result<Vec<Url>> {
        addresses(&self.rows, key)
    }

    /// Every setting with its value and origin, in the order of the list.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// A setting that only one command uses, with its type; the error names the origin.
    pub(crate) fn get<T: FromStr>(&self, key: &str) -> anyhow::Result<T>
    where
        T::Err: fmt::Display,
    {
        parse(&self.rows, key)
    }
}

/// A value that no command can use is an error for all of them, and not only for the one that
/// comes to need it.
fn check(rows: &[Row]) -> anyhow::Result<()> {
    parse::<Isolation>(rows, "require_isolation")?;
    parse::<Kv>(rows, "kv")?;
    parse::<usize>(rows, "ctx")?;
    parse::<bool>(rows, "plain_http")?;
    addresses(rows, "hub_url")?;
    addresses(rows, "registry_url")?;
    within(rows, "connections", 1..=16)?;
    within(rows, "network_timeout", 1..=3600)?;
    within(rows, "threads", 0..=MOST_THREADS)
}

/// Refuses a number out of range.
fn within(rows: &[Row], key: &str, range: RangeInclusive<u64>) -> anyhow::Result<()> {
    let found: u64 = parse(rows, key)?;
    if range.contains(&found) {
        return Ok(());
    }
    let origin = rows.iter().find(|row| row.key.name == key).map(|row| &row.origin);
    let origin = origin.unwrap_or(&Origin::Default);
    let (least, most) = range.into_inner();
    let text =
        format!("setting `{key}` from {origin}: found `{found}`: expected {least} to {most}");
    Err(Failure::new(Code::Usage, text))
}

/// The error of what needs a folder where neither a setting nor the environment names one.
pub(crate) fn homeless(what: &str, key: &str) -> anyhow::Error {
    let flag = if key == "store" { "`--store`, " } else { "" };
    let variable = format!("{}{}", env::PREFIX, key.to_ascii_uppercase());
    let text = format!(
        "no place for {what}: neither HOME nor the XDG variable for it is set to an absolute \
         path; name one with {flag}{variable} or the setting `{key}`"
    );
    Failure::new(Code::Usage, text)
}

/// The defaults; folders follow the XDG specification. Where there is no home folder the paths are
/// empty: what needs none of them works all the same.
fn defaults(env: &Env) -> anyhow::Result<Vec<Row>> {
    let data = base_folder(env.xdg.data.as_deref(), env, ".local/share");
    let state = base_folder(env.xdg.state.as_deref(), env, ".local/state");
    let place = |folder: &Option<PathBuf>, name: &str| match folder {
        Some(folder) => utf8(&folder.join(name)),
        None => Ok(String::new()),
    };
    KEYS.iter()
        .map(|key| {
            let value = match key.name {
                "store" => place(&data, "models")?,
                "key_file" => place(&data, "key")?,
                "egress_log" => place(&state, "egress.log")?,
                "history" => place(&state, "history")?,
                "ca_file" => env.certificates.as_deref().map(utf8).transpose()?.unwrap_or_default(),
                _ => key.default.to_owned(),
            };
            Ok(Row { key, value, origin: Origin::Default })
        })
        .collect()
}

/// `hearth` in an XDG base folder, or in its usual place under the home folder.
fn base_folder(xdg: Option<&Path>, env: &Env, usual: &str) -> Option<PathBuf> {
    match (xdg, &env.home) {
        (Some(folder), _) => Some(folder.join("hearth")),
        (None, Some(home)) => Some(home.join(usual).join("hearth")),
        (None, None) => None,
    }
}

/// Without a state folder the ledger lies in the store, wherever that is: whoever can pull has one.
fn log_beside_store(rows: &mut [Row]) -> anyhow::Result<()> {
    let value = |key: &str| rows.iter().find(|row| row.key.name == key).map(|row| &row.value);
    match (value("store"), value("egress_log")) {
        (Some(store), Some(log)) if log.is_empty() && !store.is_empty() => {
            let log = utf8(&Path::new(store).join("egress.log"))?;
            set(rows, "egress_log", log, Origin::Default)
        }
        _ => Ok(()),
    }
}

fn set(rows: &mut [Row], key: &str, value: String, origin: Origin) -> anyhow::Result<()> {
    match rows.iter_mut().find(|row| row.key.name == key) {
        Some(row) => {
            row.value = value;
            row.origin = origin;
            Ok(())
        }
        None => {
            let hint = match suggest::nearest(key, KEYS.iter().map(|key| key.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`hearth config show` lists the settings".to_owned(),
            };
            let text = format!("unknown setting `{key}` in {origin}: {hint}");
            Err(Failure::new(Code::Usage, text))
        }
    }
}

fn parse<T: FromStr>(rows: &[Row], key: &str) -> anyhow::Result<T>
where
    T::Err: fmt::Display,
{
    let Some(row) = rows.iter().find(|row| row.key.name == key) else {
        anyhow::bail!("setting `{key}` is not in the list of settings: a defect of hearth");
    };
    row.value.parse().map_err(|error| {
        let text = format!("setting `{key}` from {}: found `{}`: {error}", row.origin, row.value);
        Failure::new(Code::Usage, text)
    })
}

fn addresses(rows: &[Row], key: &str) -> anyhow::Result<Vec<Url>> {
    let row = rows.iter().find(|row| row.key.name == key);
    let words = row.map_or("", |row| &row.value).split_whitespace();
    let origin = row.map_or(&Origin::Default, |row| &row.origin);
    // Not quoted: somebody may have written a password into it.
    let wrong = |why| Failure::new(Code::Usage, format!("setting `{key}` from {origin}: {why}"));
    words.map(|word| Url::parse(word).map_err(wrong)).collect()
}

/// Takes the token out of a row, which shows from now on only that there is one.
fn take_secret(rows: &mut [Row], key: &str) -> anyhow::Result<Option<Secret>> {
    let Some(row) = rows.iter_mut().find(|row| row.key.name == key && !row.value.is_empty()) else {
        return Ok(None);
    };
    let value = std::mem::replace(&mut row.value, "set, not shown".to_owned());
    secret(&format!("setting `{key}` from {}", row.origin), &value).map(Some)
}

/// A token; the error does not quote it.
fn secret(place: &str, text: &str) -> anyhow::Result<Secret> {
    Secret::new(text).map_err(|why| Failure::new(Code::Usage, format!("{place}: {why}")))
}

/// `~/` at the start of a value of the file means the home folder, as people write it there.
fn expand_home(value: String, env: &Env) -> String {
    match (value.strip_prefix("~/"), &env.home) {
        (Some(rest), Some(home)) => home.join(rest).to_string_lossy().into_owned(),
        _ => value,
    }
}

fn utf8(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let text = format!("the path {} is not UTF-8; choose another with --store", path.display());
        Failure::new(Code::Usage, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env { home: Some("/home/ada".into()), ..Env::default() }
    }

    fn flags(config: Option<&Path>) -> Global {
        Global { store: None, config: config.map(Into::into), quiet: false, color: None }
    }

    fn origin_of(settings: &Settings, key: &str) -> Origin {
        settings.rows().find(|row| row.key.name == key).unwrap().origin.clone()
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "store = \"~/m\"\nthreads = 3\n").unwrap();
        let mut env = env();
        let settings = Settings::load(&flags(Some(&path)), &env).unwrap();
        assert_eq!(settings.store.as_deref(), Some(Path::new("/home/ada/m")));
        assert_eq!(origin_of(&settings, "store"), Origin::File(path.clone()));
        assert_eq!(settings.get::<usize>("threads").unwrap(), 3);
        assert_eq!(origin_of(&settings, "kv"), Origin::Default);

        env.settings.insert("store".into(), "/from/env".into());
        let settings = Settings::load(&flags(Some(&path)), &env).unwrap();
        assert_eq!(settings.store.as_deref(), Some(Path::new("/from/env")));
        assert_eq!(origin_of(&settings, "store"), Origin::Variable("HEARTH_STORE".into()));

        let flags = Global { store: Some("/from/flag".into()), ..flags(Some(&path)) };
        let settings = Settings::load(&flags, &env).unwrap();
        assert_eq!(settings.store.as_deref(), Some(Path::new("/from/flag")));
        assert_eq!(origin_of(&settings, "store"), Origin::Flag("--store".into()));
    }

    #[test]
    fn folders_follow_xdg() {
        let settings = Settings::load(&flags(None), &env()).unwrap();
        let is =
            |found: Option<PathBuf>, expected| assert_eq!(found, Some(PathBuf::from(expected)));
        is(settings.store, "/home/ada/.local/share/hearth/models");
        is(settings.egress_log, "/home/ada/.local/state/hearth/egress.log");
        let mut env = env();
        env.xdg.data = Some("/data".into());
        let settings = Settings::load(&flags(None), &env).unwrap();
        is(settings.store, "/data/hearth/models");
        is(settings.key_file, "/data/hearth/key");

        let homeless = Settings::load(&flags(None), &Env::default()).unwrap();
        assert_eq!((homeless.file, homeless.store, homeless.egress_log), (None, None, None));
        assert_eq!((homeless.history, homeless.key_file), (None, None));
        let flags = Global { store: Some("/s".into()), ..flags(None) };
        let settings = Settings::load(&flags, &Env::default()).unwrap();
        is(settings.egress_log, "/s/egress.log");
    }

    /// A token is in no row, goes to the server that it is for, and its error does not quote it.
    #[test]
    fn tokens_are_not_shown() {
        let mut env = env();
        env.settings.insert("hub_url".into(), "https://hub.example https://b.example".into());
        env.settings.insert("hub_token".into(), "s3cret".into());
        env.hf_token = Some("0ther".into());
        let settings = Settings::load(&flags(None), &env).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
        assert!(shown.contains("https://hub.example") && shown.contains(PUBLIC_HUB), "{shown}");
        assert_eq!(settings.credentials.len(), 2);

        env.settings.insert("hub_token".into(), "s3 cret".into());
        let error = Settings::load(&flags(None), &env).unwrap_err().to_string();
        assert!(error.contains("HEARTH_HUB_TOKEN") && !error.contains("s3"), "{error}");
        env.settings.insert("hub_url".into(), "https://me:s3cret@hub.example".into());
        let error = Settings::load(&flags(None), &env).unwrap_err().to_string();
        assert!(error.contains("HEARTH_HUB_URL") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn unknown_and_wrong_values_are_refused_with_their_origin() {
        let mut env = env();
        env.settings.insert("stroe".into(), "/x".into());
        let error = Settings::load(&flags(None), &env).unwrap_err().to_string();
        assert!(error.contains("HEARTH_STROE") && error.contains("`store`"), "{error}");

        let mut env = self::env();
        env.settings.insert("color".into(), "pink".into());
        let error = Settings::load(&flags(None), &env).unwrap_err().to_string();
        assert!(error.contains("pink") && error.contains("auto, always or never"), "{error}");

        for (key, value) in [
            ("ctx", "abc"),
            ("threads", "513"),
            ("kv", "q3"),
            ("require_isolation", "some"),
            ("connections", "0"),
            ("network_timeout", "0"),
            ("plain_http", "yes"),
        ] {
            let mut env = self::env();
            env.settings.insert(key.into(), value.into());
            let error = Settings::load(&flags(None), &env).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
    }
}

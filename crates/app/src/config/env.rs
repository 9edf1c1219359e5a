//! The one file that reads environment variables.
//!
//! Everything is taken once, at start, into [`Env`]; the rest of the program never looks again.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Prefix of the variables that carry settings: `HEARTH_STORE` sets `store`.
pub(crate) const PREFIX: &str = "HEARTH_";

/// What the environment says. It has no `Debug`: tokens are in it.
#[derive(Clone, Default)]
pub(crate) struct Env {
    /// Settings, by lower-case key without the prefix; an empty variable is as good as none.
    pub(crate) settings: BTreeMap<String, String>,
    /// The user's home folder.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, `XDG_DATA_HOME`, `XDG_STATE_HOME`; relative values are ignored, as the
    /// XDG specification asks.
    pub(crate) xdg: Xdg,
    /// NO_COLOR is set and not empty.
    pub(crate) no_color: bool,
    /// TERM is `dumb`: a terminal that takes characters and no control sequences.
    pub(crate) dumb: bool,
    /// `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, by these names.
    pub(crate) proxies: BTreeMap<String, String>,
    /// `HF_TOKEN`, which other programs read too: the token for the public hub.
    pub(crate) hf_token: Option<String>,
    /// `SSL_CERT_FILE`, which other programs read too: certificates in place of the system's.
    pub(crate) certificates: Option<PathBuf>,
}

/// Base folders of the XDG specification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Xdg {
    pub(crate) config: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
}

impl Env {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        let folder = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            settings: std::env::vars_os()
                .filter(|(_, value)| !value.is_empty())
                .filter_map(|(name, value)| {
                    let key = name.to_str()?.strip_prefix(PREFIX)?.to_ascii_lowercase();
                    Some((key, value.to_string_lossy().into_owned()))
                })
                .collect(),
            home: folder("HOME"),
            xdg: Xdg {
                config: folder("XDG_CONFIG_HOME"),
                data: folder("XDG_DATA_HOME"),
                state: folder("XDG_STATE_HOME"),
            },
            no_color: set("NO_COLOR"),
            proxies: ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
                .into_iter()
                .filter_map(|name| {
                    // The small letters count over the capitals, even where they are empty.
                    let value = std::env::var_os(name)
                        .or_else(|| std::env::var_os(name.to_ascii_uppercase()))?;
                    Some((name.to_owned(), value.to_string_lossy().into_owned()))
                })
                .collect(),
            hf_token: std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty()),
            certificates: folder("SSL_CERT_FILE"),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

//! The list of settings: one line each. `config show` prints it, the file and the environment are
//! checked against it, and `Settings` in `mod.rs` gives each its type.

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file; the variable is `HEARTH_` and the name in capitals.
    pub(crate) name: &'static str,
    /// Its default, shown as such; empty where it depends on the machine (see `mod.rs`).
    pub(crate) default: &'static str,
    /// Is the value a string in TOML (numbers and booleans are not quoted)?
    pub(crate) quoted: bool,
    /// Is it a token, which nothing shows?
    pub(crate) secret: bool,
    /// What it does.
    pub(crate) help: &'static str,
}

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, quoted: true, secret: false, help }
}

/// Every setting, in the order of `config show`.
pub(crate) const KEYS: [Key; 19] = [
    text("store", "", "folder of the models"),
    text("egress_log", "", "file that records every connection before it is made"),
    text("model", hearth_hub::DEFAULT_MODEL, "model of `hearth run` when none is named"),
    text("python", "python3", "Python that downloads models published as packages"),
    text(
        "hub_url",
        super::PUBLIC_HUB,
        "hub that hf.co/… means; further addresses after blanks are asked where it is silent",
    ),
    Key {
        secret: true,
        ..text("hub_token", "", "token for the first of hub_url, and for it alone")
    },
    text(
        "registry_url",
        "https://registry.ollama.ai",
        "registry that ollama:… means; further addresses after blanks as with hub_url",
    ),
    Key {
        secret: true,
        ..text("registry_token", "", "token for the first of registry_url, and for it alone")
    },
    text("ca_file", "", "certificates (PEM) that servers are known by; empty takes the system's"),
    Key {
        quoted: false,
        ..text("plain_http", "false", "allow http:// addresses that lead beyond this machine")
    },
    Key {
        quoted: false,
        ..text("connections", "4", "connections that bring one file in parallel, at most 16")
    },
    Key {
        quoted: false,
        ..text("network_timeout", "30", "seconds that a server may take to send anything")
    },
    text("history", "", "file of the lines typed in conversations; `off` keeps none"),
    text("key_file", "", "file of the key that `--session` closes conversations with"),
    text("color", "auto", "colour on stderr: auto, always or never"),
    text("require_isolation", "syscall", "least isolation of the engine: full, syscall or none"),
    text("kv", "f16", "element type of the KV cache: f32, f16, bf16, q8 or q4"),
    Key { quoted: false, ..text("threads", "0", "worker threads; 0 takes one per usable core") },
    Key {
        quoted: false,
        ..text("ctx", "0", "context limit in tokens; 0 takes the model's own, but at most 8192")
    },
];

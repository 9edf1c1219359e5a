//! A pull that its caller stops: in the middle of a download, and while it waits for another.

mod support;

use hearth_hub::HubError;
use hearth_hub::progress::{Observer, Progress};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;
use support::{DOWNLOAD, World, files_under};

/// Stops at the first report after a file is there.
struct StopAt(PathBuf);

impl Observer for StopAt {
    fn observe(&self, _: Progress) -> ControlFlow<()> {
        match self.0.exists() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The read end of a named pipe: it is at its end when every process that opened it is gone.
fn pipe_at(path: PathBuf) -> File {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
    // Opened without waiting for a writer, read with waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).unwrap();
    file.into()
}

/// The client has downloaded 700 bytes, has a child of its own, and hangs.
const HANGS: &str = r#"case "$pin" in tiny-part1*)
  exec 9>"$root/alive"
  echo alive >&9
  tail -f /dev/null &
  head -c 700 /dev/zero > "$dest/growing"
  echo > "$root/up"
  tail -f /dev/null
esac"#;

#[test]
fn a_stopped_pull_ends_its_client_and_goes_on_later() {
    let world = World::new();
    let mut alive = pipe_at(world.path("alive"));
    world.client(&format!("{HANGS}\n{DOWNLOAD}"));
    let error = world.pull_seen_by(&StopAt(world.path("up"))).unwrap_err();
    assert!(matches!(error, HubError::Stopped), "{error}");

    let mut said = String::new();
    alive.read_to_string(&mut said).unwrap();
    assert_eq!(said, "alive\n", "both processes are gone");
    let last = world.lines("egress.log").pop().unwrap();
    assert!(last.contains(r#""bytes":700,"outcome":"stopped""#), "{last}");
    let left = files_under(&world.path("models/.partial/test-tiny"));
    assert_eq!(left, ["model/tiny.gguf", "resume.toml"]);
    assert_eq!(world.store().begun(&world.entry.name), 3000);

    world.client(DOWNLOAD);
    world.pull().unwrap();
    world.assert_complete();
    assert_eq!(world.lines("calls").len(), 4, "the first piece was not asked for again");
}

#[test]
fn the_question_for_the_configuration_can_be_stopped() {
    let world = World::new();
    let script = "#!/bin/sh\necho > \"${0%/*}/up\"\nexec tail -f /dev/null\n";
    world.script(script);
    let error = world.pull_seen_by(&StopAt(world.path("up"))).unwrap_err();
    assert!(matches!(error, HubError::Stopped), "{error}");
    assert!(world.lines("egress.log").is_empty());
    world.assert_empty();
}

/// Tells once that it waits, and stops waiting when it is asked the second time.
struct Impatient {
    waits: RefCell<usize>,
    tell: mpsc::Sender<String>,
}

impl Observer for Impatient {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        let Progress::Waiting { holder } = progress else { return ControlFlow::Continue(()) };
        self.tell.send(holder).unwrap();
        *self.waits.borrow_mut() += 1;
        match *self.waits.borrow() {
            1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

#[test]
fn waiting_for_another_pull_can_be_stopped() {
    let world = World::new();
    let script = format!("echo > \"$root/up\"\nuntil [ -e \"$root/go\" ]; do :; done\n{DOWNLOAD}");
    world.client(&script);
    std::thread::scope(|scope| {
        let (started, start) = mpsc::channel();
        let first = scope.spawn(|| {
            let started = StartedAt(world.path("up"), started);
            world.pull_seen_by(&started)
        });
        // An error here would be the first pull's, which is shown below.
        let up = start.recv();
        let (tell, told) = mpsc::channel();
        let second = world.pull_seen_by(&Impatient { waits: RefCell::new(0), tell });
        std::fs::write(world.path("go"), "").unwrap();
        first.join().unwrap().unwrap();
        up.unwrap();
        assert!(matches!(second, Err(HubError::Stopped)), "{second:?}");
        let told: Vec<String> = told.iter().collect();
        assert_eq!(told.len(), 2, "it is asked again while it waits");
        assert!(told[0].contains("(pull test:tiny)"), "{told:?}");
    });
    world.assert_complete();
}

/// Says so at the first report after a file is there.
struct StartedAt(PathBuf, mpsc::Sender<()>);

impl Observer for StartedAt {
    fn observe(&self, _: Progress) -> ControlFlow<()> {
        if self.0.exists() {
            // Nobody listens to the later ones.
            let _ = self.1.send(());
        }
        ControlFlow::Continue(())
    }
}

//! Downloads that are cut off anywhere, and two at once: no model or the whole model, and the next
//! pull succeeds. Processes are killed with signal 9, so that nothing of theirs gets to tidy up.

mod support;

use hearth_hub::HubError;
use hearth_hub::progress::{Observer, Progress, Silent};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use support::files_under;
use support::pulls::{Pulls, model_of, quick_folder};
use support::server::{Reply, Request, Server};

const BYTES: usize = 80_500;
const CHUNK: u64 = 400;
const PIECE: u64 = 8000;
/// The test program's other half is told here what to do.
const ORDERS: &str = "HUB_PULL_TEST_ORDERS";

fn pulls_at(root: PathBuf) -> Pulls {
    let mut pulls = Pulls::at(root);
    (pulls.reach.limits.chunk, pulls.reach.limits.piece) = (CHUNK, PIECE);
    pulls
}

/// Kills its own process at the report that it counts down to.
struct Fatal(Cell<usize>);

impl Observer for Fatal {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        if let Progress::Asking | Progress::Waiting { .. } = progress {
            // How often somebody waits differs from run to run.
            return ControlFlow::Continue(());
        }
        match self.0.get() {
            0 => {
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
                unreachable!("signal 9 is not survived")
            }
            left => self.0.set(left - 1),
        }
        ControlFlow::Continue(())
    }
}

/// Does something only in a process that a test below started.
#[test]
fn child_that_pulls() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let [root, url, cut] = orders.split('\n').collect::<Vec<_>>()[..] else { panic!("{orders}") };
    let pulls = pulls_at(root.into());
    let done = match cut.parse() {
        Ok(cut) => pulls.pull_seen_by(url, &Fatal(Cell::new(cut))),
        Err(_) => pulls.pull_seen_by(url, &Silent),
    };
    done.unwrap();
}

/// Starts this test program as a process that pulls, killed at report `cut` if there is one.
fn child(pulls: &Pulls, url: &str, cut: &str) -> Child {
    let orders = format!("{}\n{url}\n{cut}", pulls.path("").display());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_pulls"])
        .env(ORDERS, orders)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The store shows nothing or the right model, and holds nothing but complete pieces of it.
fn assert_sound(pulls: &Pulls, model: &[u8]) {
    match pulls.store().open_model(&"tiny".parse().unwrap()) {
        Ok(open) => assert!(std::fs::read(&open.paths[0]).unwrap() == model),
        Err(error) => {
            assert!(matches!(error, HubError::NotFound { .. }), "{error}");
            let kept = pulls.path("models/.partial/tiny/model/tiny.gguf");
            let kept = std::fs::read(kept).unwrap_or_default();
            let whole = (kept.len() as u64).is_multiple_of(PIECE) || kept.len() == BYTES;
            assert!(whole, "{} bytes kept", kept.len());
            assert!(kept == model[..kept.len()]);
        }
    }
    for file in files_under(&pulls.path("")) {
        assert!(file.starts_with("models/") || file == "egress.log", "{file}");
    }
}

#[test]
fn killed_at_200_points_of_a_download() {
    let model = model_of(BYTES);
    let server = Server::of_file(model.clone());
    let url = server.url("/tiny.gguf");
    let mut cuts = 0;
    loop {
        let folder = quick_folder();
        let pulls = pulls_at(folder.path().to_owned());
        let status = child(&pulls, &url, &cuts.to_string()).wait().unwrap();
        if status.success() {
            pulls.assert_files(&["tiny/manifest.toml", "tiny/tiny.gguf"]);
            break;
        }
        assert_eq!(status.signal(), Some(9), "at {cuts}");
        assert_sound(&pulls, &model);
        pulls.pull(&url).unwrap();
        pulls.assert_files(&["tiny/manifest.toml", "tiny/tiny.gguf"]);
        assert!(std::fs::read(pulls.path("models/tiny/tiny.gguf")).unwrap() == model);
        cuts += 1;
    }
    assert!(cuts >= 200, "only {cuts} places to be killed at");
}

/// Two processes pull the same model: both have asked for it before either gets a byte of it.
#[test]
fn two_processes_at_once_bring_one_model() {
    let model = model_of(BYTES);
    let both = Arc::new((Mutex::new(0), Condvar::new()));
    let sent = Arc::new(AtomicUsize::new(0));
    let (bytes, gate, count) = (model.clone(), both.clone(), sent.clone());
    let server = Server::start(move |request: &Request| {
        let (asked, changed) = &*gate;
        let is_question = request.range() == Some((0, 0));
        *asked.lock().unwrap() += usize::from(is_question);
        changed.notify_all();
        if !is_question {
            let wait = Duration::from_secs(20);
            let asked = asked.lock().unwrap();
            drop(changed.wait_timeout_while(asked, wait, |asked| *asked < 2).unwrap());
            count.fetch_add(1, Ordering::SeqCst);
        }
        Reply::file(request, &bytes, "\"v1\"")
    });
    let folder = quick_folder();
    let pulls = pulls_at(folder.path().to_owned());
    let url = server.url("/tiny.gguf");
    let mut children = [child(&pulls, &url, "-"), child(&pulls, &url, "-")];
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    pulls.assert_model("tiny", "tiny.gguf", &model);
    assert_eq!(*both.0.lock().unwrap(), 2);
    assert_eq!(sent.load(Ordering::SeqCst), BYTES.div_ceil(CHUNK as usize), "fetched once");
}

//! The parent's side of one sealed child: start it, send requests, route its events, notice its
//! end.
//!
//! A keeper thread starts the child, reads its events and reaps it; it lives exactly as long as the
//! child, because the kernel ends a child together with the *thread* that started it
//! (`PR_SET_PDEATHSIG`). `supervise.rs` replaces a dead child.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use command_fds::{CommandFdExt, FdMapping};
use hearth_engine::protocol::{Event, Hello, Job, Request, Stage};

use crate::child::FIRST_PART;
use crate::death::{Death, Evidence, explain};
use crate::error::CellError;
use crate::frame::{self, FrameReader};
use crate::isolation::{Isolation, SealReport};
use crate::memory::oom_kills;
use crate::wire::{Down, Start, Up};

/// Arguments that make the program a sealed child: it calls [`crate::child::main`] when it sees
/// them.
pub const ROLE: [&str; 2] = ["--hearth-role", "engine"];

/// Most requests that wait in one child.
const MAX_REQUESTS: usize = 256;

/// Events kept for a slow listener before the child has to wait.
const EVENTS_AHEAD: usize = 64;

/// How to start a child; kept to start the next one the same way.
#[derive(Debug)]
pub struct SpawnOptions {
    /// The program that knows the role [`ROLE`].
    pub program: PathBuf,
    /// Facts for the child; `parts` is filled in.
    pub hello: Hello,
    /// The model's parts, opened read-only, in order. The child must not depend on their offsets.
    pub parts: Vec<File>,
    /// The weakest isolation to accept.
    pub require: Isolation,
}

impl SpawnOptions {
    /// Options that start this very program, even if its file has been replaced meanwhile.
    ///
    /// # Errors
    /// When the program's own path cannot be found out.
    pub fn this_program(
        hello: Hello,
        parts: Vec<File>,
        require: Isolation,
    ) -> Result<Self, CellError> {
        let own = PathBuf::from("/proc/self/exe");
        let program = if own.exists() { own } else { std::env::current_exe()? };
        Ok(Self { program, hello, parts, require })
    }

    fn command(&self) -> Result<Command, CellError> {
        let mut command = Command::new(&self.program);
        command.args(ROLE).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mapping = |(part, child_fd): (&File, i32)| {
            Ok(FdMapping { parent_fd: part.try_clone()?.into(), child_fd })
        };
        let mappings: io::Result<Vec<_>> =
            self.parts.iter().zip(FIRST_PART..).map(mapping).collect();
        command.fd_mappings(mappings?).map_err(io::Error::other)?;
        Ok(command)
    }
}

/// One sealed child. Dropping it ends the child.
pub struct Cell {
    link: Arc<Link>,
    report: SealReport,
    loading: Mutex<Option<Receiver<Event>>>,
}

/// What the handles and the keeper share.
struct Link {
    pid: u32,
    child: Mutex<Child>,
    requests: Mutex<ChildStdin>,
    state: Mutex<State>,
    last_id: AtomicU64,
}

#[derive(Default)]
struct State {
    replies: HashMap<u64, SyncSender<Event>>,
    refused_calls: u64,
    death: Option<Death>,
    /// Some reply ended with the cause of death: the caller knows of it.
    told: bool,
}

impl Cell {
    /// Starts a child and waits until it is sealed; it loads its model from then on.
    ///
    /// # Errors
    /// When it cannot be started, dies, or is sealed less well than required.
    pub fn spawn(options: &SpawnOptions) -> Result<Self, CellError> {
        let command = options.command()?;
        let hello = Hello { parts: options.parts.len(), ..options.hello.clone() };
        let start = Down::Start(Box::new(Start { hello, require: options.require }));
        let start = frame::encode(&start)?;
        let (started, link) = sync_channel(1);
        let (sealed, report) = sync_channel(1);
        let (load_events, loading) = sync_channel(EVENTS_AHEAD);
        let keep = move || keep(command, &start, load_events, &started, &sealed);
        std::thread::Builder::new().name("cell-keeper".to_owned()).spawn(keep)?;
        let link: Arc<Link> = match link.recv() {
            Ok(link) => link?,
            Err(_) => return Err(io::Error::other("its keeper ended").into()),
        };
        let report: SealReport = report.recv().map_err(|_| link.died())?;
        let cell = Self { link, report, loading: Mutex::new(Some(loading)) };
        if cell.report.level < options.require {
            let report = cell.report.clone();
            return Err(CellError::Weak { required: options.require, report });
        }
        Ok(cell)
    }

    /// Waits until the model is loaded; the milliseconds it took. `progress` gets done and total
    /// units. A second call returns at once.
    ///
    /// # Errors
    /// When the model is refused or the child dies.
    pub fn wait_ready(&self, progress: &mut dyn FnMut(Stage, u64, u64)) -> Result<f64, CellError> {
        let Some(loading) = lock(&self.loading).take() else {
            return Ok(0.0);
        };
        loop {
            match loading.recv() {
                Ok(Event::Ready { load_ms }) => return Ok(load_ms),
                Ok(Event::LoadFailed(failure)) => return Err(CellError::Load(failure)),
                Ok(Event::Progress { stage, done, total, .. }) => progress(stage, done, total),
                Ok(_) => {}
                Err(_) => return Err(self.link.died()),
            }
        }
    }

    /// Sends a job; its events come from the reply. (A job that arrives while the model still loads
    /// waits in the child.)
    ///
    /// # Errors
    /// When the child is dead or too many requests wait.
    pub fn submit(&self, job: Job) -> Result<Reply, CellError> {
        let id = self.link.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, events) = sync_channel(EVENTS_AHEAD);
        {
            let mut state = lock(&self.link.state);
            if let Some(death) = &state.death {
                return Err(CellError::Died(death.clone()));
            }
            if state.replies.len() >= MAX_REQUESTS {
                return Err(CellError::Busy(state.replies.len()));
            }
            state.replies.insert(id, sender);
        }
        let reply =
            Reply { canceller: Canceller { link: Arc::clone(&self.link), id }, events, open: true };
        self.link.send(Request { id, job })?;
        Ok(reply)
    }

    /// What the seal reached.
    #[must_use]
    pub fn report(&self) -> &SealReport {
        &self.report
    }

    /// System calls that the seal refused so far; more than 0 is a defect of the engine.
    #[must_use]
    pub fn refused_calls(&self) -> u64 {
        lock(&self.link.state).refused_calls
    }

    /// Why the child is gone; `None` while it lives.
    #[must_use]
    pub fn death(&self) -> Option<Death> {
        lock(&self.link.state).death.clone()
    }

    /// As [`Cell::death`], unless a reply has told of it.
    pub(crate) fn untold_death(&self) -> Option<Death> {
        let state = lock(&self.link.state);
        state.death.clone().filter(|_| !state.told)
    }

    /// The child's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.link.pid
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // An error means that the child is gone already; the keeper reaps it in both cases.
        let _ = lock(&self.link.child).kill();
    }
}

/// The events of one request, in order; ends after `Done` or `Failed`. Dropping it cancels the
/// request.
pub struct Reply {
    canceller: Canceller,
    events: Receiver<Event>,
    open: bool,
}

impl Reply {
    /// A handle that stops this request from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

impl Iterator for Reply {
    type Item = Result<Event, CellError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.open {
            return None;
        }
        let event = self.events.recv().map_err(|_| self.canceller.link.died());
        self.open = event.as_ref().is_ok_and(|event| !event.is_last());
        Some(event)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.open {
            lock(&self.canceller.link.state).replies.remove(&self.canceller.id);
            self.canceller.cancel();
        }
    }
}

/// Stops one request; it still ends with its own last event.
#[derive(Clone)]
pub struct Canceller {
    link: Arc<Link>,
    id: u64,
}

impl Canceller {
    /// Asks the child to stop the request; nothing happens if it has ended.
    pub fn cancel(&self) {
        // A child that cannot be reached is dead, and the reply says so.
        let _ = self.link.send(Request { id: 0, job: Job::Cancel { target: self.id } });
    }
}

impl Link {
    /// Writes one request. A broken pipe is no error here: the keeper ends every reply with the
    /// cause of death, which says more.
    fn send(&self, request: Request) -> Result<(), CellError> {
        let bytes = frame::encode(&Down::Request(request))?;
        let _ = io::Write::write_all(&mut *lock(&self.requests), &bytes);
        Ok(())
    }

    fn died(&self) -> CellError {
        let unknown =
            || explain(&Evidence { status: None, last_words: "", oom_kills: false, cause: None });
        let mut state = lock(&self.state);
        state.told = true;
        CellError::Died(state.death.clone().unwrap_or_else(unknown))
    }

    /// Hands an event to its listener; a listener that went away is forgotten.
    fn route(&self, event: Event) {
        let id = event.id();
        let listener = {
            let mut state = lock(&self.state);
            if event.is_last() {
                state.replies.remove(&id)
            } else {
                state.replies.get(&id).cloned()
            }
        };
        if let Some(listener) = listener
            && listener.send(event).is_err()
        {
            lock(&self.state).replies.remove(&id);
        }
    }
}

/// The keeper thread, from the child's start to its end.
fn keep(
    mut command: Command,
    start: &[u8],
    load_events: SyncSender<Event>,
    started: &SyncSender<io::Result<Arc<Link>>>,
    sealed: &SyncSender<SealReport>,
) {
    let oom_before = oom_kills();
    let (link, stdout, stderr) = match launch(&mut command, start, load_events) {
        Ok(parts) => parts,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    drop(command);
    let last_words = listen_to_stderr(stderr);
    let _ = started.send(Ok(Arc::clone(&link)));
    let cause = pump(stdout, &link, sealed);

    let status = {
        let mut child = lock(&link.child);
        // It closed its pipe: it is dying already (then this does nothing) or has gone astray.
        let _ = child.kill();
        child.wait().ok()
    };
    let last_words = last_words.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let oom_kills = oom_kills() > oom_before;
    let death = explain(&Evidence { status, last_words: &last_words, oom_kills, cause });
    let mut state = lock(&link.state);
    state.death = Some(death);
    state.replies.clear();
}

/// Starts the child and sends it the start frame.
fn launch(
    command: &mut Command,
    start: &[u8],
    load_events: SyncSender<Event>,
) -> io::Result<(Arc<Link>, ChildStdout, ChildStderr)> {
    let mut child = command.spawn()?;
    let missing = || io::Error::other("a pipe of the child is missing");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    // A child that died already has closed the pipe; its end is noticed by reading.
    let _ = io::Write::write_all(&mut stdin, start);
    let state = State { replies: HashMap::from([(0, load_events)]), ..State::default() };
    let link = Link {
        pid: child.id(),
        child: Mutex::new(child),
        requests: Mutex::new(stdin),
        state: Mutex::new(state),
        last_id: AtomicU64::new(0),
    };
    Ok((Arc::new(link), stdout, stderr))
}

/// Reads until the child closes its pipe; `Some` is a reason to end it.
fn pump(stdout: ChildStdout, link: &Link, sealed: &SyncSender<SealReport>) -> Option<String> {
    let mut frames = FrameReader::<_, Up>::new(stdout);
    loop {
        match frames.receive() {
            Ok(Some(Up::Sealed(report))) => {
                // Only the first is waited for; a child gains nothing by a second.
                let _ = sealed.try_send(report);
            }
            Ok(Some(Up::Refused { calls, .. })) => lock(&link.state).refused_calls = calls,
            Ok(Some(Up::Event(event))) => link.route(event),
            Ok(None) | Err(frame::FrameError::Truncated(_) | frame::FrameError::Io(_)) => {
                return None;
            }
            Err(error) => return Some(format!("it sent damaged data ({error})")),
        }
    }
}

/// Most bytes kept of a line on the child's standard error.
const MAX_WORDS: u64 = 400;

/// Keeps the last line that the child writes on its standard error, and reads on so that it never
/// has to wait.
fn listen_to_stderr(stderr: ChildStderr) -> Option<JoinHandle<String>> {
    let listen = move || {
        let mut pipe = BufReader::new(stderr);
        let mut last = String::new();
        let mut line = Vec::new();
        while pipe.by_ref().take(MAX_WORDS).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let printable: String = text.trim().chars().filter(|c| !c.is_control()).collect();
            let hint = printable.starts_with("note: ");
            if !printable.is_empty() && !hint {
                last = printable;
            }
            line.clear();
        }
        last
    };
    std::thread::Builder::new().name("cell-stderr".to_owned()).spawn(listen).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

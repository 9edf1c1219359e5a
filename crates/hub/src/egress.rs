//! The only module that connects, or starts a program which does, and the ledger it writes first.
//!
//! A line stands in the ledger, synced to disk, before anything connects: [`Ledger::open`] writes
//! it and gives the [`Ticket`] without which [`Ticket::start`] cannot be called; `line.rs` opens
//! one for each of its own connections. A second line with the bytes follows. One JSON object per
//! line, so that people and programs read the same file. What a program that was started then
//! contacts (mirrors it is redirected to) is its own affair and is not seen here; the ledger holds
//! what it was configured to contact.

mod certificates;
mod line;

pub(crate) use certificates::Roots;
pub(crate) use line::{Line, LineError, Reply, Route};

use crate::{HubError, clock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ledger of connections.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
    /// Tells lines of the same millisecond apart.
    opened: Arc<AtomicU64>,
}

/// A program and its arguments: never a shell, never a closed-over string.
pub(crate) struct Program {
    /// What to run.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// The folder it runs in; also its folder for temporary files.
    pub(crate) folder: PathBuf,
    /// Variables set for it beside the inherited ones.
    pub(crate) variables: Vec<(&'static str, OsString)>,
}

/// Leave to dial one destination for one purpose; its line is on disk.
#[derive(Debug)]
pub(crate) struct Ticket {
    ledger: Ledger,
    id: String,
    open: bool,
}

#[derive(Serialize)]
struct Opened<'a> {
    time: String,
    event: &'static str,
    id: &'a str,
    command: &'a str,
    destination: &'a [String],
    what: &'a str,
}

#[derive(Serialize)]
struct Closed<'a> {
    time: String,
    event: &'static str,
    id: &'a str,
    bytes: u64,
    outcome: &'a str,
}

impl Ledger {
    /// The ledger at `path`; the file and its folder are made when the first line is written.
    pub fn new(path: PathBuf) -> Self {
        Self { path, opened: Arc::default() }
    }

    /// Where the ledger is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines, oldest first; at most `count`, and no more than the last 256 KiB are read.
    ///
    /// # Errors
    /// If the file exists and cannot be read. A missing file is an empty ledger.
    pub fn last_lines(&self, count: usize) -> Result<Vec<String>, HubError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(HubError::io("read", &self.path)(error)),
        };
        let mut tail = Vec::new();
        let mut read = || -> io::Result<u64> {
            let start = file.metadata()?.len().saturating_sub(256 << 10);
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut tail)?;
            Ok(start)
        };
        let start = read().map_err(HubError::io("read", &self.path))?;
        let text = String::from_utf8_lossy(&tail);
        // The first line of a tail may be cut.
        let mut lines: Vec<&str> = text.lines().skip(usize::from(start > 0)).collect();
        let skip = lines.len().saturating_sub(count);
        Ok(lines.drain(skip..).map(str::to_owned).collect())
    }

    /// Writes and syncs the line that allows one connection. `destination` must come from
    /// [`destination`], which strips secrets; `command` is what the user started.
    pub(crate) fn open(
        &self,
        command: &str,
        destination: &[String],
        what: &str,
    ) -> Result<Ticket, HubError> {
        let time = clock::now_rfc3339();
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{time}-{number}", std::process::id());
        let line = Opened { time, event: "open", id: &id, command, destination, what };
        self.append(&line)?;
        Ok(Ticket { ledger: self.clone(), id, open: true })
    }

    fn append(&self, line: &impl Serialize) -> Result<(), HubError> {
        let write = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let mut file =
                OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            // One write call: lines of two processes do not mix.
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(|error| HubError::Ledger { path: self.path.clone(), error })
    }
}

impl Ticket {
    /// Starts a program that dials: input closed, output and errors piped.
    pub(crate) fn start(&self, program: &Program) -> io::Result<Running> {
        Running::start(program)
    }

    /// Writes the second line: what came, as far as it was seen, and how it ended.
    pub(crate) fn close(mut self, bytes: u64, outcome: &str) -> Result<(), HubError> {
        self.open = false;
        self.write_closed(bytes, outcome)
    }

    fn write_closed(&self, bytes: u64, outcome: &str) -> Result<(), HubError> {
        let time = clock::now_rfc3339();
        self.ledger.append(&Closed { time, event: "close", id: &self.id, bytes, outcome })
    }
}

impl Drop for Ticket {
    /// An error path still leaves its second line; failing to write it must not hide that error.
    fn drop(&mut self) {
        if self.open {
            let _ = self.write_closed(0, "abandoned");
        }
    }
}

/// A running program; dropping it before its end kills it and what it started.
pub(crate) struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    fn start(program: &Program) -> io::Result<Self> {
        Ok(Self { child: command(program).spawn()?, ended: false })
    }

    /// What it writes: output and errors. Given once.
    pub(crate) fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end the number of its group may be another's.
        if !self.ended {
            // Both calls fail only where it has ended already.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Starts a program that makes no connection (a question about local configuration).
pub(crate) fn ask_local(program: &Program) -> io::Result<Running> {
    Running::start(program)
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .current_dir(&program.folder)
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        // Ctrl-C on the terminal reaches us alone, who stop the program and write how it ended.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The part of an address that may stand in the ledger: scheme, host and port. User names,
/// passwords, paths, queries and fragments may all carry tokens and are left out; what cannot be
/// taken apart beyond doubt is not written at all.
pub(crate) fn destination(address: &str) -> String {
    let unreadable = || "an address that is not written down: it cannot be read safely".to_owned();
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        Some(_) => return unreadable(),
        None => return "a local folder".to_owned(),
    };
    if scheme == "file" {
        return "a local folder".to_owned();
    }
    let (authority, tail) = match rest.find(['/', '?', '#', '\\']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    // `user:pass/word@host`: the slash ended the authority too early.
    if user.is_none() && host.contains(':') && !host.starts_with('[') && tail.contains('@') {
        return unreadable();
    }
    if !is_host(host) {
        return unreadable();
    }
    format!("{scheme}://{}", host.to_ascii_lowercase())
}

fn is_scheme(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    first && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// A host name or address with an optional numeric port.
pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((host, port)) => (host, port),
            None => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let bracketed = text.starts_with('[');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host_fine = !host.is_empty() && host.chars().all(|c| allowed(c) || (bracketed && c == ':'));
    let port_fine = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    host_fine && port_fine
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn destinations() {
        for (address, expected) in [
            ("https://pypi.org/simple", "https://pypi.org"),
            ("https://user:s3cret@Example.COM:8443/t0ken/simple?k=v#f", "https://example.com:8443"),
            (concat!("http:", "//[::1]:80/simple"), concat!("http:", "//[::1]:80")),
            (concat!("http:", "//u:p@[fe80::1]/"), concat!("http:", "//[fe80::1]")),
            ("/srv/wheels", "a local folder"),
            ("file:///srv/wheels", "a local folder"),
        ] {
            assert_eq!(destination(address), expected);
        }
        for rest in ["user:se/cret@host/", "user:12/34@host/", "a b/", "", "h:99999", "[::1"] {
            let address = format!("https://{rest}");
            assert!(destination(&address).starts_with("an address"), "{address}");
        }
    }

    proptest! {
        /// No part of a user name, password, path, query or fragment is ever written.
        #[test]
        fn secrets_never_pass(
            user in "(U[a-z0-9%/:?#@.-]{0,6})?", pass in "[a-zA-Z0-9/?#@:.%-]{0,8}",
            path in "[a-z0-9/@:]{0,8}", query in "[a-z0-9=&@]{0,8}",
        ) {
            let user = format!("https://{user}:TOPSECRET{pass}");
            let address = format!("{user}@example.org/{path}TOPSECRET?{query}TOPSECRET");
            let written = destination(&address);
            prop_assert!(!written.to_lowercase().contains("topsecret"), "{address} -> {written}");
        }
    }

    #[test]
    fn lines_are_there_before_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().join("state/egress.log"));
        assert!(ledger.last_lines(5).unwrap().is_empty());
        let to = [destination("https://pypi.org/simple")];
        let ticket = ledger.open("pull x", &to, "a==1").unwrap();
        let lines = ledger.last_lines(5).unwrap();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("\"command\":\"pull x\"") && lines[0].contains("pypi.org"));
        ticket.close(42, "done").unwrap();
        drop(ledger.open("pull y", &to, "b==1").unwrap());
        let lines = ledger.last_lines(3).unwrap();
        assert!(lines[0].contains("\"bytes\":42"), "{lines:?}");
        assert!(lines[2].contains("abandoned"), "{lines:?}");
    }

    #[test]
    fn no_ledger_no_ticket() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().to_owned());
        let refused = ledger.open("pull x", &[], "a==1").err().unwrap();
        assert!(matches!(refused, HubError::Ledger { .. }), "{refused}");
    }
}

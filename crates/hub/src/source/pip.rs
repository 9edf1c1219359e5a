//! Python's package client, run as a program: where it would connect, and one download.
//!
//! It runs in an empty folder of the store, so that no file of the user's folder is taken for a
//! Python module, with closed input, no shell, and its temporary files inside that folder.

use super::proxy::{Proxies, through};
use crate::HubError;
use crate::catalogue::PackagePin;
use crate::egress::{self, Program, Running, Ticket};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How often the growing download is measured.
const TICK: Duration = Duration::from_millis(100);
/// How long killed processes are waited for.
const DYING: Duration = Duration::from_secs(2);
/// Most of the client's output that is kept, in bytes.
const OUTPUT_CAP: u64 = 1 << 20;
/// Lines of the client's errors that are shown.
const LINES_SHOWN: usize = 6;
/// Longest line that is kept, in bytes.
const LINE_CAP: u64 = 2000;

/// The package client of one Python.
pub(super) struct Pip<'a> {
    pub(super) python: &'a Path,
}

/// What went wrong, before it is given the source's name.
pub(super) enum PipError {
    /// In words for the user.
    Said(String),
    /// From the caller or the store.
    Hub(HubError),
}

impl From<String> for PipError {
    fn from(text: String) -> Self {
        Self::Said(text)
    }
}

impl From<HubError> for PipError {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl Pip<'_> {
    /// What the client is configured to contact, without secrets. This asks its configuration
    /// (environment and files) and makes no connection. `asked` may stop it.
    pub(super) fn destinations(
        &self,
        scratch: &Path,
        proxies: &Proxies,
        mut asked: impl FnMut() -> Result<(), HubError>,
    ) -> Result<Vec<String>, PipError> {
        let program = self.program(scratch, &["config", "list"]);
        let running = egress::ask_local(&program).map_err(|error| self.cannot_run(&error))?;
        match watch(running, |_| asked().map_err(PipError::Hub))? {
            Ok(output) => Ok(configured(&String::from_utf8_lossy(&output), proxies)),
            Err(lines) => Err(self.explain("its configuration cannot be read", &lines).into()),
        }
    }

    /// Downloads one package and gives the path of its file. `ticket` proves that the ledger has
    /// its line. `measured` is told the bytes that are on disk so far and may stop the download.
    pub(super) fn download(
        &self,
        ticket: &Ticket,
        pin: &PackagePin,
        scratch: &Path,
        cap: u64,
        mut measured: impl FnMut(u64) -> Result<(), HubError>,
    ) -> Result<PathBuf, PipError> {
        let wheels = scratch.join("wheels");
        std::fs::create_dir(&wheels).map_err(HubError::io("make", &wheels))?;
        let fixed = ["download", "--only-binary=:all:", "--no-deps", "--no-cache-dir"];
        let mut program = self.program(scratch, &fixed);
        program.args.push("--disable-pip-version-check".into());
        program.args.push(pin.as_str().into());
        program.args.push("-d".into());
        program.args.push(wheels.clone().into());
        let running = ticket.start(&program).map_err(|error| self.cannot_run(&error))?;
        let ended = watch(running, |ended| {
            let bytes = size_of_tree(scratch, 4);
            if bytes > cap && !ended {
                let text = format!("the download went beyond {bytes} bytes and was stopped");
                return Err(PipError::Said(text));
            }
            measured(bytes).map_err(PipError::Hub)
        })?;
        match ended {
            Ok(_) => the_wheel(&wheels),
            Err(lines) => {
                Err(self.explain(&format!("`{}` was not downloaded", pin.as_str()), &lines).into())
            }
        }
    }

    fn program(&self, scratch: &Path, args: &[&str]) -> Program {
        let words = ["-m", "pip"].iter().chain(args);
        Program {
            path: self.python.to_owned(),
            args: words.map(OsString::from).collect(),
            folder: scratch.to_owned(),
            variables: vec![
                ("TMPDIR", scratch.into()),
                ("PIP_NO_INPUT", "1".into()),
                ("PIP_PROGRESS_BAR", "off".into()),
            ],
        }
    }

    fn cannot_run(&self, error: &io::Error) -> String {
        let python = self.python.display();
        format!(
            "this source needs Python 3 with pip, and `{python}` cannot be run ({error}); install \
             it, name another with the setting `python`, or `hearth import` a file you have"
        )
    }

    /// What happened, in the client's own last words.
    fn explain(&self, what: &str, lines: &[String]) -> String {
        if lines.iter().any(|line| line.contains("No module named pip")) {
            let python = self.python.display();
            return format!(
                "this source needs Python's pip, and `{python}` has none; install it \
                 (`{python} -m ensurepip`, or your system's python3-pip)"
            );
        }
        let said = if lines.is_empty() { "  (nothing)".to_owned() } else { lines.join("\n  ") };
        format!("{what}; pip said:\n  {said}\ncheck the network and pip's index, then run it again")
    }
}

/// Waits for a program while `tick` is called about ten times a second and once at the end; gives
/// the start of its output, or the last lines of its errors if it failed. An error of `tick` ends
/// the program.
fn watch(
    mut running: Running,
    mut tick: impl FnMut(bool) -> Result<(), PipError>,
) -> Result<Result<Vec<u8>, Vec<String>>, PipError> {
    let (stdout, stderr) = running.pipes();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let output = std::thread::spawn(move || stdout.map(first_bytes).unwrap_or_default());
        let lines = stderr.map(|mut pipe| last_lines(&mut pipe)).unwrap_or_default();
        // The receiver is gone only if the caller gave up; nobody waits for the words then.
        let _ = sender.send((output.join().unwrap_or_default(), lines));
    });
    let (output, lines) = loop {
        match ended.recv_timeout(TICK) {
            Ok(said) => break said,
            Err(RecvTimeoutError::Disconnected) => break Default::default(),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = tick(false) {
                    drop(running);
                    // Both pipes close when the last process of its group is gone, and only then
                    // does nothing write below its folder any more.
                    let _ = ended.recv_timeout(DYING);
                    return Err(error);
                }
            }
        }
    };
    let status = running.wait().map_err(|error| format!("cannot wait for pip: {error}"))?;
    tick(true)?;
    Ok(if status.success() { Ok(output) } else { Err(lines) })
}

/// The start of a stream that is read to its end: a full pipe would stop the writer.
fn first_bytes(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What can be read no more is at its end.
    let _ = stream.by_ref().take(OUTPUT_CAP).read_to_end(&mut bytes);
    let _ = io::copy(&mut stream, &mut io::sink());
    bytes
}

/// The last lines of a stream, without control characters, each cut to a bounded length.
fn last_lines(stream: &mut dyn Read) -> Vec<String> {
    let mut reader = BufReader::new(stream);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_CAP).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text: String =
            String::from_utf8_lossy(&line).trim_end().chars().filter(|c| !c.is_control()).collect();
        if !text.is_empty() {
            lines.push_back(text);
        }
        if lines.len() > LINES_SHOWN {
            lines.pop_front();
        }
    }
    lines.into()
}

/// The one file that a download left. Symbolic links and anything else are not it.
fn the_wheel(folder: &Path) -> Result<PathBuf, PipError> {
    let entries = std::fs::read_dir(folder).map_err(HubError::io("read", folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(HubError::io("read", folder))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.path().extension().is_some_and(|ending| ending == "whl") {
            found.push(entry.path());
        }
    }
    match found.pop() {
        Some(wheel) if found.is_empty() => Ok(wheel),
        Some(_) => Err("pip left several packages, expected one".to_owned().into()),
        None => Err("pip ended well but left no package".to_owned().into()),
    }
}

/// Bytes of all files under `folder`, to a small depth. Files that vanish meanwhile do not count.
fn size_of_tree(folder: &Path, depth: usize) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            match meta.is_dir() {
                true if depth > 0 => Some(size_of_tree(&entry.path(), depth - 1)),
                true => None,
                false => Some(meta.len()),
            }
        })
        .sum()
}

/// The addresses in the output of `pip config list` (`global.index-url='https://…'` and so on), in
/// pip's own order of precedence, without secrets.
fn configured(listing: &str, proxies: &Proxies) -> Vec<String> {
    // The command's own section counts over the global one, the environment over both.
    let value = |key: &str| {
        [":env:", "download", "global"].iter().find_map(|section| {
            listing.lines().find_map(|line| line.strip_prefix(&format!("{section}.{key}=")))
        })
    };
    let addresses = |value: &str| -> Vec<String> {
        let plain = value.trim().trim_matches(['\'', '"']).replace("\\n", " ");
        plain.split_whitespace().map(egress::destination).collect()
    };
    let on = |value: &str| !matches!(value.trim_matches(['\'', '"']), "" | "0" | "false" | "no");
    let mut found = Vec::new();
    if !value("no-index").is_some_and(on) {
        match value("index-url").or_else(|| value("index_url")) {
            Some(index) => found.extend(addresses(index)),
            None => found.push("https://pypi.org".to_owned()),
        }
        found.extend(value("extra-index-url").map(addresses).unwrap_or_default());
    }
    found.extend(value("find-links").map(addresses).unwrap_or_default());
    found.dedup();
    // With a proxy of its own, the client does not look at the environment.
    match value("proxy").map(|proxy| proxy.trim().trim_matches(['\'', '"'])) {
        Some(proxy) if !proxy.is_empty() => found.push(through(proxy)),
        _ => found.extend(proxies.towards(&found)),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_follow_pips_precedence_and_carry_no_secret() {
        let configured = |listing: &str| configured(listing, &Proxies::default());
        assert_eq!(configured(""), ["https://pypi.org"]);
        let listing = "global.index-url='https://me:pw@example.org/tok/simple'\n\
            global.extra-index-url='\\nhttps://example.com:1/x\\nhttps://example.com:2'\n\
            global.timeout='60'\n";
        let expected = ["https://example.org", "https://example.com:1", "https://example.com:2"];
        assert_eq!(configured(listing), expected);
        let with_env = format!("{listing}:env:.index-url='http://localhost:3141/i'\n");
        assert_eq!(configured(&with_env)[0], "http://localhost:3141");
        let local = "global.no-index='true'\nglobal.find-links='/srv/w'\n";
        assert_eq!(configured(local), ["a local folder"]);
    }

    #[test]
    fn lines_are_bounded_and_plain() {
        let mut noise = vec![b'x'; 1 << 20];
        noise.extend(b"\n\x1b[31mERROR: red\x07\nlast\n");
        let lines = last_lines(&mut noise.as_slice());
        assert_eq!(lines.len(), LINES_SHOWN);
        assert_eq!(lines[LINES_SHOWN - 2..], ["[31mERROR: red", "last"]);
        assert!(lines.iter().all(|line| line.len() <= LINE_CAP as usize));
    }
}

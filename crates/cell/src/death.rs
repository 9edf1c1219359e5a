//! How a child ended, in one line that a user can act on.

use std::fmt;
use std::process::ExitStatus;

/// Why the engine process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// One line: what happened and what to do.
    pub reason: String,
    /// The system's out-of-memory killer or the allocator ended it.
    pub out_of_memory: bool,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What was seen of a death.
pub(crate) struct Evidence<'a> {
    /// How the process ended, if that could be learned.
    pub status: Option<ExitStatus>,
    /// The last line it wrote on its standard error.
    pub last_words: &'a str,
    /// The system killed some process for memory while this one lived.
    pub oom_kills: bool,
    /// The parent ended it because of this.
    pub cause: Option<String>,
}

/// Names the cause of death.
pub(crate) fn explain(evidence: &Evidence<'_>) -> Death {
    let Evidence { status, last_words, oom_kills, cause } = evidence;
    let plain = |reason: String| Death { reason, out_of_memory: false };
    let starved = |how: &str| Death {
        reason: format!(
            "the engine process ran out of memory ({how}); \
             use a smaller model or a smaller context (--ctx)"
        ),
        out_of_memory: true,
    };
    if let Some(cause) = cause {
        return plain(format!("the engine process was ended: {cause}"));
    }
    let said = if last_words.is_empty() { String::new() } else { format!(": {last_words}") };
    let Some(status) = status else {
        return plain(format!("the engine process is gone{said}"));
    };
    match signal_of(*status) {
        Some(SIGABRT) if last_words.contains("memory allocation of") => starved(last_words),
        Some(SIGKILL) if *oom_kills => starved("killed by the system's out-of-memory killer"),
        Some(SIGKILL) => plain("the engine process was killed from outside (SIGKILL)".to_owned()),
        Some(SIGSYS) => plain(
            "the engine process was killed by its seal: it made a forbidden system call (SIGSYS); \
             the model file may be hostile, or this is a defect of the engine"
                .to_owned(),
        ),
        Some(SIGSEGV | SIGBUS) => plain(format!(
            "the engine process crashed (signal {}){said}; \
             was the model file changed while it was in use?",
            signal_of(*status).unwrap_or_default()
        )),
        Some(number) => plain(format!("the engine process was ended by signal {number}{said}")),
        None => plain(match status.code() {
            Some(code) => format!("the engine process ended early with exit code {code}{said}"),
            None => format!("the engine process ended early{said}"),
        }),
    }
}

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
#[cfg(target_os = "linux")]
const SIGBUS: i32 = 7;
#[cfg(not(target_os = "linux"))]
const SIGBUS: i32 = 10;
#[cfg(target_os = "linux")]
const SIGSYS: i32 = 31;
#[cfg(not(target_os = "linux"))]
const SIGSYS: i32 = 12;

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn after(wait_status: i32, last_words: &str, oom_kills: bool) -> Death {
        let status = Some(ExitStatus::from_raw(wait_status));
        explain(&Evidence { status, last_words, oom_kills, cause: None })
    }

    #[test]
    fn each_cause_has_its_line() {
        assert!(after(SIGKILL, "", false).reason.contains("from outside"));
        let oom = after(SIGKILL, "", true);
        assert!(oom.out_of_memory && oom.reason.contains("--ctx"));
        assert!(after(SIGABRT, "memory allocation of 9 bytes failed", false).out_of_memory);
        assert!(!after(SIGABRT, "something else", false).out_of_memory);
        assert!(after(SIGSYS, "", false).reason.contains("forbidden system call"));
        assert!(after(SIGBUS, "", false).reason.contains("changed while"));
        assert!(after(3 << 8, "last words", false).reason.contains("exit code 3: last words"));
        let ended = Evidence { status: None, last_words: "", oom_kills: true, cause: None };
        assert_eq!(explain(&ended).reason, "the engine process is gone");
        let cause = Some("bad frame".to_owned());
        assert!(explain(&Evidence { cause, ..ended }).reason.ends_with("bad frame"));
    }
}

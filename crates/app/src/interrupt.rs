//! Ctrl-C and its kin: stops the answer that is being written, or the pull that is running; when
//! there is neither, or at a second press during an answer, it ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_cell::Canceller;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Code;

/// What Ctrl-C means at the moment.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Option<Running>>>);

enum Running {
    /// Ctrl-C stops it once; a request to end the program ends it with the program.
    Answer { answer: Canceller, pressed: bool },
    /// Whatever comes, it is asked to stop and ends the program itself: it has a program of its own
    /// to stop and a line to write. It looks at the flag many times a second.
    Work(Arc<AtomicBool>),
}

impl Interrupt {
    /// Takes the signals over, once in a process. One that whoever started us has set aside
    /// (`nohup`, a job in the background of a script) stays so.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let pressed = interrupt.clone();
        let ignored = ignored();
        let wanted = [SIGINT, SIGTERM, SIGHUP];
        let wanted = wanted.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let mut signals = Signals::new(wanted)?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if !pressed.press(signal == SIGINT) {
                    std::process::exit(i32::from(Code::Interrupted as u8));
                }
            }
        })?;
        Ok(interrupt)
    }

    /// Lets Ctrl-C stop this answer until the guard is dropped.
    pub(crate) fn guard(&self, answer: Canceller) -> Guard {
        *self.lock() = Some(Running::Answer { answer, pressed: false });
        Guard(self.clone())
    }

    /// Lets Ctrl-C set the flag that comes with the guard, until the guard is dropped.
    pub(crate) fn guard_work(&self) -> (Guard, Arc<AtomicBool>) {
        let flag = Arc::new(AtomicBool::new(false));
        *self.lock() = Some(Running::Work(Arc::clone(&flag)));
        (Guard(self.clone()), flag)
    }

    /// A signal came, Ctrl-C or a request to end; `false` if the program should end.
    fn press(&self, ctrl_c: bool) -> bool {
        match self.lock().as_mut() {
            Some(Running::Answer { answer, pressed }) if ctrl_c && !*pressed => {
                *pressed = true;
                answer.cancel();
                true
            }
            Some(Running::Work(flag)) => {
                flag.store(true, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signals that this process ignores, one bit each; none where the system does not say so.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Something that Ctrl-C stops.
pub(crate) struct Guard(Interrupt);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

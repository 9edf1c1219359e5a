//! Ctrl-C: stops the answer that is being written; when there is none, or at a second press, it
//! ends the program.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_cell::Canceller;

use crate::exit::Code;

/// What Ctrl-C means at the moment.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Option<Running>>>);

struct Running {
    answer: Canceller,
    pressed: bool,
}

impl Interrupt {
    /// Takes Ctrl-C over, once in a process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let pressed = interrupt.clone();
        ctrlc::set_handler(move || {
            if !pressed.press() {
                std::process::exit(i32::from(Code::Interrupted as u8));
            }
        })?;
        Ok(interrupt)
    }

    /// Lets Ctrl-C stop this answer until the guard is dropped.
    pub(crate) fn guard(&self, answer: Canceller) -> Guard<'_> {
        *self.lock() = Some(Running { answer, pressed: false });
        Guard(self)
    }

    /// Ctrl-C was pressed; `false` if the program should end.
    fn press(&self) -> bool {
        match self.lock().as_mut() {
            Some(running) if !running.pressed => {
                running.pressed = true;
                running.answer.cancel();
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that Ctrl-C stops.
pub(crate) struct Guard<'a>(&'a Interrupt);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

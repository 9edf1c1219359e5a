//! One model, one living child: a dead child is replaced when the next request comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hearth_engine::protocol::{Job, Stage};

use crate::cell::{Cell, Reply, SpawnOptions};
use crate::death::Death;
use crate::error::CellError;

/// A model behind a sealed child that is started again after a crash, from the same open files.
pub struct Engine {
    options: SpawnOptions,
    current: Mutex<Arc<Cell>>,
    load_ms: f64,
}

impl Engine {
    /// Starts the child and waits until its model is loaded.
    ///
    /// # Errors
    /// As [`Cell::spawn`] and [`Cell::wait_ready`].
    pub fn start(
        options: SpawnOptions,
        progress: &mut dyn FnMut(Stage, u64, u64),
    ) -> Result<Self, CellError> {
        let started = Instant::now();
        let cell = Cell::spawn(&options)?;
        cell.wait_ready(progress)?;
        let load_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Self { options, current: Mutex::new(Arc::new(cell)), load_ms })
    }

    /// Sends a job to the living child, or to a new one if the last has died. A death that no reply
    /// has told of is told to `on_death` first: loading the model again may take a while.
    ///
    /// # Errors
    /// As [`Cell::submit`], and those of a start if one was needed.
    pub fn submit(&self, job: Job, on_death: &mut dyn FnMut(&Death)) -> Result<Reply, CellError> {
        self.cell_alive(on_death)?.submit(job)
    }

    /// The child of the moment, which may be dead.
    #[must_use]
    pub fn cell(&self) -> Arc<Cell> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Milliseconds from the start of the first child to its loaded model.
    #[must_use]
    pub fn load_ms(&self) -> f64 {
        self.load_ms
    }

    fn cell_alive(&self, on_death: &mut dyn FnMut(&Death)) -> Result<Arc<Cell>, CellError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.death().is_some() {
            if let Some(death) = current.untold_death() {
                on_death(&death);
            }
            let cell = Cell::spawn(&self.options)?;
            cell.wait_ready(&mut |_, _, _| {})?;
            *current = Arc::new(cell);
        }
        Ok(Arc::clone(&current))
    }
}

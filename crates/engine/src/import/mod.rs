//! A model's folder, as its makers publish it, becomes one GGUF file: the same tensors and keys as
//! llama.cpp's converter writes, byte by byte where they matter to running the model.
//!
//! `folder.rs` holds the open files, `safetensors.rs` reads where tensors lie, `config.rs` the
//! hyperparameters; `family/` has a file for each family of models and `vocabulary/` turns the
//! tokenizer's files into keys. `plan.rs` brings it all together before anything is written,
//! `convert.rs` writes the tensors. Everything runs in the sealed child: all of it is foreign.
//!
//! Left out are keys that only describe: who made the model, how many parameters its name states,
//! tags, what it was made from. They stand in the folder's own page and change nothing here.

mod config;
mod convert;
mod error;
mod family;
mod folder;
mod metadata;
pub(crate) mod peft;
mod plan;
mod pooling;
pub mod safetensors;
mod vocabulary;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use error::ImportError;
pub use folder::Folder;

use crate::protocol::{
    self, Event, Failure, FailureKind, Finish, Import, ImportPlan, Imported, Job, Stats,
};
use crate::worker::Host;
use convert::Broken;
use plan::Plan;

/// Most bytes of a piece of the file. Some dozens may wait in queues, and that is little.
const PIECE_BYTES: usize = 256 << 10;

/// A folder that can be imported, answering the jobs of a child that does so.
pub struct Importer {
    folder: Folder,
    job: protocol::Folder,
    facts: ImportPlan,
    /// Until it is carried out.
    plan: Option<Plan>,
    stop: Arc<AtomicBool>,
}

impl Importer {
    /// Reads everything of the folder but the data of its tensors.
    ///
    /// # Errors
    /// The folder is no model that can be imported.
    pub fn new(folder: Folder, job: protocol::Folder) -> Result<Importer, ImportError> {
        let plan = plan::plan(&folder, &job)?;
        Ok(Importer {
            folder,
            job,
            facts: plan.facts.clone(),
            plan: Some(plan),
            stop: Arc::default(),
        })
    }

    /// What the file will be.
    pub fn facts(&self) -> &ImportPlan {
        &self.facts
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The folder's, and those of writing.
    pub fn write(&mut self, out: impl Write) -> Result<(), Failure> {
        let Plan { writer, tensors, .. } = match self.plan.take() {
            Some(plan) => plan,
            None => plan::plan(&self.folder, &self.job)?,
        };
        let broken = |broken| match broken {
            Broken::Folder(error) => Failure::from(error),
            Broken::Output(error) => output(&error),
        };
        let mut body = writer.start(out).map_err(|error| output(&error))?;
        for planned in &tensors {
            convert::write(&self.folder, planned, &mut body).map_err(broken)?;
        }
        body.finish().map_err(|error| output(&error))?;
        Ok(())
    }
}

fn output(error: &io::Error) -> Failure {
    let message = format!("the file cannot be written: {error}");
    Failure { kind: FailureKind::Internal, message }
}

impl Host for Importer {
    fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    fn handle(
        &mut self,
        id: u64,
        job: Job,
        out: &mut dyn FnMut(Event),
    ) -> Result<Option<Stats>, Failure> {
        let done = Ok(Some(Stats::ended(Finish::Stop)));
        match job {
            Job::Import(Import::Plan) => {
                out(Event::Imported { id, part: Imported::Plan(self.facts.clone()) });
                done
            }
            Job::Import(Import::Write) => {
                let stop = Arc::clone(&self.stop);
                let mut pieces = Pieces { id, out, stop: &stop, piece: Vec::new() };
                match self.write(&mut pieces) {
                    Ok(()) => done,
                    Err(_) if self.stop.load(Ordering::Acquire) => {
                        Ok(Some(Stats::ended(Finish::Cancelled)))
                    }
                    Err(failure) => Err(failure),
                }
            }
            Job::Clear | Job::Cancel { .. } => done,
            _ => Err(Failure {
                kind: FailureKind::Request,
                message: "this process imports a folder and runs no model".to_owned(),
            }),
        }
    }

    fn reset(&mut self) {}
}

/// Sends what is written to it, in pieces of equal size and a last one.
struct Pieces<'a> {
    id: u64,
    out: &'a mut dyn FnMut(Event),
    stop: &'a AtomicBool,
    piece: Vec<u8>,
}

impl Pieces<'_> {
    fn send(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        (self.out)(Event::Imported { id: self.id, part: Imported::Piece(piece) });
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Acquire) {
            return Err(io::Error::other("it was cancelled"));
        }
        let room = PIECE_BYTES - self.piece.len();
        let now = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(now);
        if self.piece.len() == PIECE_BYTES {
            self.send();
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.send();
        }
        Ok(())
    }
}

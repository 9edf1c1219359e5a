//! The sealed child that makes a GGUF file of a folder of safetensors: it reads the folder's files
//! and sends the file's bytes, which are hashed and written here.

use std::fs::File;

use hearth_cell::{CellError, Engine, SpawnOptions};
use hearth_engine::protocol::{
    Event, Failure as EngineFailure, Folder, Hello, Import, ImportPlan, Imported, Job, LoadOptions,
    MatrixType,
};
use hearth_hub::progress::Stage;
use hearth_hub::{FileName, HubError, Intake, StoredFile};

use crate::context::App;
use crate::exit::{Code, Failure};

/// A child that has read everything of a folder but the weights.
pub(crate) struct Converter {
    engine: Engine,
    /// What the folder is, for messages.
    from: String,
    /// What the file will be.
    pub(crate) plan: ImportPlan,
}

impl Converter {
    /// Starts a child on a folder's files, each with its name there. `from` says in messages what
    /// the folder is, which the child never learns; `name` becomes the model's own.
    pub(crate) fn start(
        app: &App,
        from: String,
        files: Vec<(String, File)>,
        name: &str,
        matrices: MatrixType,
    ) -> anyhow::Result<Self> {
        let (files, parts) = files.into_iter().unzip();
        let folder = Folder { files, name: name.to_owned(), matrices };
        let load = LoadOptions::default();
        let hello = Hello { threads: 1, date: String::new(), parts: 0, load, folder: Some(folder) };
        let require = app.settings.get("require_isolation")?;
        let options = SpawnOptions::this_program(hello, parts, require)?;
        let engine = Engine::start(options, &mut |_, _, _| {}).map_err(|error| match error {
            CellError::Load(failure) => CellError::Load(named(&from, failure)),
            other => other,
        })?;
        let mut plan = None;
        for event in engine.submit(Job::Import(Import::Plan), &mut |_| {})? {
            match event? {
                Event::Imported { part: Imported::Plan(found), .. } => plan = Some(found),
                Event::Failed { failure, .. } => {
                    return Err(CellError::Load(named(&from, failure)).into());
                }
                _ => {}
            }
        }
        match plan {
            Some(plan) => Ok(Self { engine, from, plan }),
            None => Err(Failure::new(Code::Engine, "the engine gave no plan")),
        }
    }

    /// Makes the file and puts it into the store.
    ///
    /// # Errors
    /// Those of [`Intake::make`]; what the child found in the weights.
    pub(crate) fn make(&self, intake: &Intake<'_>, name: FileName) -> Result<StoredFile, HubError> {
        let total = self.plan.bytes;
        intake.make(name, total, |out| {
            let reply = self.engine.submit(Job::Import(Import::Write), &mut |_| {});
            for event in reply.map_err(|error| self.broken(error.to_string()))? {
                match event.map_err(|error| self.broken(error.to_string()))? {
                    Event::Imported { part: Imported::Piece(bytes), .. } => {
                        out.put(&bytes)?;
                        intake.progress(Stage::Convert, out.done(), total)?;
                    }
                    Event::Failed { failure, .. } => return Err(self.broken(failure.message)),
                    _ => {}
                }
            }
            Ok(())
        })
    }

    fn broken(&self, found: String) -> HubError {
        HubError::Source { source_name: self.from.clone(), found }
    }
}

/// What is wrong with a folder begins with what that is.
fn named(from: &str, failure: EngineFailure) -> EngineFailure {
    EngineFailure { message: format!("{from}: {}", failure.message), ..failure }
}

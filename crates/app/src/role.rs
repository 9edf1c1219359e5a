//! This program as the sealed child: what `hearth --hearth-role engine` does instead of reading a
//! command line. Not for people; `hearth-cell` starts it.

use hearth_cell::child::Sealed;
use hearth_engine::error::ModelError;
use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::import::{Folder, Importer};
use hearth_engine::protocol::{Event, Failure, FailureKind, Stage};
use hearth_engine::worker;

/// Was this process started as a sealed child?
pub(crate) fn is_child() -> bool {
    std::env::args_os().skip(1).eq(hearth_cell::ROLE)
}

/// Loads the model, or what is to become one, from the inherited parts and serves requests until
/// the parent leaves.
pub(crate) fn serve(sealed: Sealed) {
    let Sealed { mut hello, parts, mut requests, mut events } = sealed;
    if let Some(folder) = hello.folder.take() {
        let load = move |_: &mut dyn FnMut(Event)| -> Result<Importer, Failure> {
            let files = Folder::new(folder.files.iter().cloned().zip(parts))?;
            Ok(Importer::new(files, folder)?)
        };
        return worker::serve(move || requests.receive(), move |event| events.send(event), load);
    }
    let load = move |out: &mut dyn FnMut(Event)| -> Result<Engine, Failure> {
        let mut parts = parts;
        let draft = parts.split_off(parts.len().saturating_sub(hello.load.draft_parts));
        let gguf = Gguf::open(parts).map_err(ModelError::from)?;
        let mut progress =
            |done, total| out(Event::Progress { id: 0, stage: Stage::Load, done, total });
        let engine = Engine::load(gguf, &hello.load, hello.threads, &hello.date, &mut progress)?;
        if draft.is_empty() {
            return Ok(engine);
        }
        let of_draft = |error: ModelError| Failure {
            kind: FailureKind::Request,
            message: format!("the draft model cannot be used: {}", Failure::from(error).message),
        };
        let gguf = Gguf::open(draft).map_err(|error| of_draft(error.into()))?;
        engine.with_draft(&gguf, &mut progress).map_err(of_draft)
    };
    worker::serve(move || requests.receive(), move |event| events.send(event), load);
}

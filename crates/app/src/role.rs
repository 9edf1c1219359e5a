//! This program as the sealed child: what `hearth --hearth-role engine` does instead of reading a
//! command line. Not for people; `hearth-cell` starts it.

use hearth_cell::child::Sealed;
use hearth_engine::error::ModelError;
use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{Event, Failure, Stage};
use hearth_engine::worker;

/// Was this process started as a sealed child?
pub(crate) fn is_child() -> bool {
    std::env::args_os().skip(1).eq(hearth_cell::ROLE)
}

/// Loads the model from the inherited parts and serves requests until the parent leaves.
pub(crate) fn serve(sealed: Sealed) {
    let Sealed { hello, parts, mut requests, mut events } = sealed;
    let load = move |out: &mut dyn FnMut(Event)| -> Result<Engine, Failure> {
        let gguf = Gguf::open(parts).map_err(ModelError::from)?;
        let mut progress =
            |done, total| out(Event::Progress { id: 0, stage: Stage::Load, done, total });
        Ok(Engine::load(gguf, &hello.load, hello.threads, &hello.date, &mut progress)?)
    };
    worker::serve(move || requests.receive(), move |event| events.send(event), load);
}

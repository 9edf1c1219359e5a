//! Adapters on their way into the engine, and which of them a request goes through.

use serde::{Deserialize, Serialize};

/// One step of handing an adapter in. One comes in at a time: a new beginning drops an unfinished
/// one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdapterPart {
    /// What follows is an adapter of this name; one that has the name already is replaced once all
    /// is in.
    Begin {
        /// Chosen by the gateway.
        name: String,
        /// Its files and their lengths in bytes, in the order in which they come.
        files: Vec<(AdapterFile, u64)>,
    },
    /// The next bytes of the files, one after the other; far smaller than a frame.
    Piece {
        /// As they are in the file.
        bytes: Vec<u8>,
    },
    /// That was all: the files are read, and the adapter is ready or refused.
    End,
}

/// The files that adapters consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdapterFile {
    /// All in one, as llama.cpp has it.
    Gguf,
    /// `adapter_config.json` of the PEFT library.
    PeftConfig,
    /// `adapter_model.safetensors` of the same.
    PeftWeights,
}

/// An adapter that a request goes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterUse {
    /// The name that it came in by.
    pub name: String,
    /// What its difference is multiplied by; 1 is what it was trained for.
    pub strength: f32,
}

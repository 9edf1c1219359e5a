//! What was computed of a sequence, on its way out of the engine and in again.

use serde::{Deserialize, Serialize};

use super::Prompt;

/// Out or in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Keep {
    /// Hand out what is computed of the longest known beginning of a prompt, part by part.
    Out {
        /// That of the requests which computed it.
        salt: u64,
        /// The prompt that will want it.
        prompt: Prompt,
    },
    /// Take in the next part of what was handed out. Prompts find it once the last part is in; a
    /// wrong part undoes those before it. One sequence comes in at a time: a new beginning drops an
    /// unfinished one.
    In {
        /// That of the requests which may use it.
        salt: u64,
        /// The part.
        part: KeptPart,
    },
}

/// The parts of a kept sequence, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptPart {
    /// What follows is of these tokens.
    Begin {
        /// What computed the numbers, in words: they are of use to nothing else.
        make: String,
        /// The tokens, from the beginning of a sequence.
        tokens: Vec<u32>,
    },
    /// The next piece of the keys and values; far smaller than a frame.
    Piece {
        /// Counts from 0.
        number: u64,
        /// The numbers, as they lie in memory.
        bytes: Vec<u8>,
    },
    /// That was all.
    End,
}

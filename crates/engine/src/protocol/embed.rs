//! Texts to embed or to score, and their rows.

use serde::{Deserialize, Serialize};

/// A row is wanted for each of these.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Embed {
    /// What to read.
    pub inputs: Vec<EmbedInput>,
    /// Cut what is longer than the model reads; otherwise it is an error.
    pub truncate: bool,
}

/// A text, or a pair whose fit is to be scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedInput {
    /// The text, or the query.
    pub text: String,
    /// The document that may fit the query.
    pub second: Option<String>,
}

/// The row of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedded {
    /// Tokens read.
    pub tokens: u64,
    /// Tokens cut off.
    pub cut: u64,
    /// The embedding, of length 1, or the scores.
    pub values: Vec<f32>,
}

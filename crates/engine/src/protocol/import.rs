//! A folder of a model as its makers publish it, on its way to one GGUF file.

use serde::{Deserialize, Serialize};

/// What a child that imports is told; the files themselves are its inherited descriptors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Folder {
    /// Names of the files, in the order of the descriptors.
    pub files: Vec<String>,
    /// What the model is called in its file (`general.name`).
    pub name: String,
    /// The element type that matrices get.
    pub matrices: MatrixType,
}

/// The element type of the matrices of an imported model; everything else stays 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatrixType {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Whole numbers of 8 bits with a scale for 32 of them.
    Q8,
    /// bfloat16 if the first matrix has it, else IEEE half precision.
    Auto,
}

/// A job of a child that imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Import {
    /// Say what the file will be.
    Plan,
    /// Send the file, from its first byte to its last.
    Write,
}

/// Answers to the jobs of a child that imports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Imported {
    /// Answer to [`Import::Plan`].
    Plan(ImportPlan),
    /// The next bytes of the file; far fewer than a frame holds.
    Piece(Vec<u8>),
}

/// What a file will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPlan {
    /// Its size.
    pub bytes: u64,
    /// `general.architecture`.
    pub architecture: String,
    /// `general.file_type`: the number that stands for the type of the matrices.
    pub file_type: u64,
    /// Number of weights.
    pub parameters: u64,
    /// It has a chat template.
    pub chats: bool,
}

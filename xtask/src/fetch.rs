//! The one step with a network: crates of every platform, and the real models that tests read.
//!
//! Models come through `hearth pull`, so the project's own hub pins, hashes and logs them. They lie
//! in `target/store`, and a second run finds them there. Tests that follow need no network.

use crate::cargo::{cargo, root, succeed};
use crate::hearth::{self, hearth};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Catalogue names of the models that write, which tests, conformance and benchmarks read.
pub(crate) const MODELS: &[&str] = &["smollm2:135m", "gemma3:270m"];

/// Catalogue name of the encoder whose rows are compared.
pub(crate) const ENCODER: &str = "minilm:l6-v2";

/// The model store of tests and measurements.
pub(crate) fn store() -> PathBuf {
    root().join("target/store")
}

/// Brings everything the later steps need.
pub(crate) fn run() -> Result<()> {
    succeed(&mut cargo(&["fetch", "--locked"]))?;
    succeed(&mut cargo(&["fetch", "--locked", "--manifest-path", "fuzz/Cargo.toml"]))?;
    hearth::build()?;
    MODELS.iter().chain([&ENCODER]).try_for_each(|name| model(name))
}

/// Brings one model; does nothing if the store has it.
pub(crate) fn model(name: &str) -> Result<()> {
    succeed(&mut hearth(&["pull", name]))
}

/// A file of random weights at a model's shape, written by `synth` if it is not there.
pub(crate) fn synthetic(shape: &str, kind: &str) -> Result<PathBuf> {
    let path = root().join(format!("target/synth/{shape}-{}.gguf", kind.to_lowercase()));
    if !path.is_file() {
        succeed(&mut cargo(&[
            "run",
            "--release",
            "--quiet",
            "-p",
            "xtask",
            "--",
            "synth",
            shape,
            kind,
        ]))?;
    }
    if !path.is_file() {
        bail!("`cargo xtask synth {shape} {kind}` did not write {}", path.display());
    }
    Ok(path)
}

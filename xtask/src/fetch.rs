//! The one step with a network: crates of every platform, and the two real models the tests read.
//!
//! Models come through `hearth pull`, so the project's own hub pins, hashes and logs them. They lie
//! in `target/store`, and a second run finds them there. Tests that follow need no network.

use crate::cargo::{cargo, root, succeed};
use anyhow::Result;
use std::path::PathBuf;

/// Catalogue names of the models that tests, conformance and benchmarks read.
pub(crate) const MODELS: &[&str] = &["smollm2:135m", "gemma3:270m"];

/// The model store of tests and measurements.
pub(crate) fn store() -> PathBuf {
    root().join("target/store")
}

/// Brings everything the later steps need.
pub(crate) fn run() -> Result<()> {
    succeed(&mut cargo(&["fetch", "--locked"]))?;
    for model in MODELS {
        let mut pull =
            cargo(&["run", "--release", "--locked", "--quiet", "--package", "hearth-app"]);
        pull.args(["--", "pull", model, "--store"]).arg(store());
        succeed(&mut pull)?;
    }
    Ok(())
}

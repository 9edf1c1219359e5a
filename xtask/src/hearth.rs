//! The built `hearth` command and the real models, for measurements.

use crate::cargo::{cargo, output, program, root, succeed};
use crate::fetch;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the release binary once; every later call only starts it.
pub(crate) fn build() -> Result<()> {
    succeed(&mut cargo(&["build", "--release", "--locked", "--quiet", "--package", "hearth-app"]))
}

/// `hearth ARGS`, not started yet, with the store of tests and measurements.
pub(crate) fn hearth(args: &[&str]) -> Command {
    hearth_in(&fetch::store(), args)
}

/// The same with another store.
pub(crate) fn hearth_in(store: &Path, args: &[&str]) -> Command {
    let mut command = program(root().join("target/release/hearth"), args);
    command.arg("--store").arg(store);
    command
}

/// A real model: its catalogue name and the file in the store.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// Both real models, fetched if they are not there yet.
pub(crate) fn models() -> Result<Vec<Model>> {
    let mut models = Vec::new();
    for name in fetch::MODELS {
        fetch::model(name)?;
        models.push(Model { name, path: path_of(name)? });
    }
    Ok(models)
}

/// Asks `hearth show` where the model lies.
fn path_of(name: &str) -> Result<PathBuf> {
    let shown = output(&mut hearth(&["show", name, "--json"]))?;
    let shown: serde_json::Value = serde_json::from_str(&shown).context("`hearth show --json`")?;
    let path = shown.pointer("/files/0/path").and_then(serde_json::Value::as_str);
    let path = PathBuf::from(path.context("`hearth show --json` names no file")?);
    if !path.is_file() {
        bail!("{name} should lie at {}, where there is no file", path.display());
    }
    Ok(path)
}

/// Reads a file of little-endian f32 values.
pub(crate) fn read_f32(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        bail!("{} holds {} bytes, not a multiple of 4", path.display(), bytes.len());
    }
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

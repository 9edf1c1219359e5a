//! Our results beside those of Hugging Face's transformers library, on a tiny random model of every
//! family that is imported: the library makes the folder, `hearth import` the file.
//!
//! Only on request, because the library brings gigabytes with it.

use super::{Bench, logits};
use crate::cargo::{output, root};
use crate::hearth::{hearth_in, read_f32};
use crate::record::Row;
use anyhow::{Context, Result, bail, ensure};
use hearth_engine::encoder::Encoder;
use hearth_engine::gguf::Gguf;
use hearth_kernels::pool::Pool;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What rows call it.
const LIBRARY: &str = "transformers";

/// Allowed for f32 weights, as beside llama.cpp.
const ALLOWED: f64 = 1e-5;

/// Tokens read, and the vocabulary that all models have.
const TOKENS: u32 = 100;
const VOCABULARY: u32 = 320;

/// Compares every case of the importer's goldens.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let goldens = root().join("testdata/import");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&goldens)? {
        let name = entry?.file_name();
        names.extend(
            name.to_str().and_then(|name| name.strip_suffix(".json.xz")).map(str::to_owned),
        );
    }
    names.sort();
    ensure!(!names.is_empty(), "{} holds no golden", goldens.display());
    let folder = bench.folder.join("transformers");
    if folder.exists() {
        // Models of an earlier run have the same names.
        std::fs::remove_dir_all(&folder)?;
    }
    let row = |name: &String| {
        let what = |library: &str| format!("NMSE to {library}, tiny random {name}");
        match nmse(bench, &goldens.join(format!("{name}.json.xz")), &folder, name) {
            Ok(Compared::Nmse { library, nmse }) => Row::at_most(what(&library), nmse, ALLOWED),
            Ok(Compared::Refused(why)) => Row::left_out(what(LIBRARY), &why),
            Err(error) => Row::failed(what(LIBRARY), &error),
        }
    };
    Ok(names.iter().map(row).collect())
}

/// What came of a case.
enum Compared {
    /// The library with its version, and the measure.
    Nmse { library: String, nmse: f64 },
    /// The library has no such model.
    Refused(anyhow::Error),
}

fn nmse(bench: &Bench, golden: &Path, folder: &Path, name: &str) -> Result<Compared> {
    let made = folder.join(name);
    std::fs::create_dir_all(&made)?;
    let tokens: Vec<u32> = (0..TOKENS).map(|at| (at * 37 + 11) % VOCABULARY).collect();
    let rows = folder.join("rows.f32");
    let mut script = bench.oracle.transformers(bench.transformers.as_deref())?;
    script.arg(golden).arg("--tokens").arg(logits::list(&tokens));
    script.arg("--folder").arg(&made).arg("--out").arg(&rows);
    let said = output(&mut script)?;
    let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    if let Some(why) = said.get("refused").and_then(Value::as_str) {
        return Ok(Compared::Refused(anyhow::anyhow!("{why}")));
    }
    let version = said.get("version").and_then(Value::as_str).context("no `version`")?;
    let library = format!("{LIBRARY} {version}");
    let theirs = read_f32(&rows)?;
    let ours = ours(bench, &import(&made, folder, name)?, &tokens)?;
    ensure!(ours.len() == theirs.len(), "{} numbers, expected {}", ours.len(), theirs.len());
    Ok(Compared::Nmse { library, nmse: logits::nmse(&ours, &theirs) })
}

/// Makes a file of the folder, in a store of its own.
fn import(made: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    let mut command = hearth_in(&folder.join("store"), &["import", "--type", "f32", "--json"]);
    // The catalogue keeps some of the names to itself.
    let shown = output(command.arg("--name").arg(format!("tiny-{name}")).arg(made))?;
    let shown: Value = serde_json::from_str(&shown).context("`hearth import --json`")?;
    match shown.pointer("/files/0/path").and_then(Value::as_str) {
        Some(path) => Ok(PathBuf::from(path)),
        None => bail!("`hearth import --json` names no file"),
    }
}

/// Our logits after every token or, of an encoder, the row of every beginning: computed in this
/// process, because no command takes an encoder's tokens.
fn ours(bench: &Bench, model: &Path, tokens: &[u32]) -> Result<Vec<f32>> {
    let gguf = Gguf::open(vec![File::open(model)?])?;
    let Some(config) = Encoder::config(&gguf)? else {
        return logits::ours(bench, model, tokens, &[]);
    };
    let never = AtomicBool::new(false);
    let encoder = Encoder::load(&gguf, config, true, Pool::new(2), &never, &mut |_, _| ())?;
    let texts: Vec<Vec<u32>> = (1..=tokens.len()).map(|end| tokens[..end].to_vec()).collect();
    let rows = encoder.embed(&texts, &mut |_| ());
    Ok(rows.map_err(|_| anyhow::anyhow!("the engine was stopped"))?.concat())
}

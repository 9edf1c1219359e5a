//! Token ids: the vector files in llama.cpp's source, and the text against `llama-tokenize`.
//!
//! A vector file pairs a vocabulary (a GGUF without tensors) with inputs and the ids that the
//! model's original tokenizer gives. The ones in `testdata/` are run by the engine's own tests as
//! well.

use super::Bench;
use crate::cargo::{line, output};
use crate::hearth::hearth;
use crate::record::Row;
use crate::text;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// Compares every vector file, then the whole text on the real models.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for vocabulary in vocabularies(&bench.oracle.source().join("models"))? {
        let name = vocabulary.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let what = format!("token vectors, {name}");
        rows.push(vectors(&vocabulary).map_or_else(
            |error| Row::failed(&what, &error),
            |(equal, total)| share(&what, equal, total),
        ));
    }
    let alice = text::alice()?;
    let path = bench.folder.join("alice.txt");
    fs::write(&path, &alice)?;
    for model in &bench.models {
        let mut theirs = bench.oracle.program("llama-tokenize", &["--ids", "--no-bos"]);
        theirs.args(["--no-parse-special", "--log-disable", "-m"]).arg(&model.path);
        let theirs = ids(&output(theirs.arg("-f").arg(&path))?)?;
        let ours = ours(model.name, &alice, true)?;
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        let what = format!("tokens of a text, {}", model.name);
        rows.push(share(&what, equal, ours.len().max(theirs.len())));
    }
    Ok(rows)
}

fn share(what: &str, equal: usize, total: usize) -> Row {
    let figure = format!("{equal} of {total}");
    Row { what: what.to_owned(), figure, target: "all".to_owned(), holds: equal == total }
}

/// Our ids of a text; `plain` adds no special token.
pub(super) fn ours(model: &str, text: &str, plain: bool) -> Result<Vec<u32>> {
    let mut command = hearth(&["tokenize", model, "--json"]);
    if plain {
        command.arg("--no-bos");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| line(&command))?;
    child.stdin.take().context("a pipe to hearth")?.write_all(text.as_bytes())?;
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("{} ended with {}", line(&command), done.status);
    }
    ids(std::str::from_utf8(&done.stdout)?)
}

/// Vocabularies with inputs and expected ids beside them.
fn vocabularies(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "gguf") && beside(&path, ".out").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How many inputs of a vector file give the expected ids, and how many there are.
fn vectors(vocabulary: &Path) -> Result<(usize, usize)> {
    let inputs = fs::read_to_string(beside(vocabulary, ".inp"))?;
    let expected = fs::read_to_string(beside(vocabulary, ".out"))?;
    let model = vocabulary.to_str().context("a path in UTF-8")?;
    let (mut equal, mut total) = (0, 0);
    for (input, expected) in inputs.split(SEPARATOR).zip(expected.lines()) {
        equal += usize::from(ours(model, input, true)? == ids(expected)?);
        total += 1;
    }
    Ok((equal, total))
}

/// The numbers of a line or of a JSON array.
fn ids(text: &str) -> Result<Vec<u32>> {
    let words = text.split(|c: char| c.is_whitespace() || "[],".contains(c));
    let parse = |word: &str| word.parse().with_context(|| format!("`{word}` is no token id"));
    words.filter(|word| !word.is_empty()).map(parse).collect()
}

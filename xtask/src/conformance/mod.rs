//! `cargo xtask conformance`: our results beside llama.cpp's, as a table and a dated record.
//!
//! `--only transformers` compares with Hugging Face's library instead. One comparison per file,
//! listed below. A comparison that cannot run is a row that misses its
//! target, not a gap. The bit-exact comparisons with Python packages are tests, not part of this.

mod codebooks;
mod divergence;
mod logits;
mod perplexity;
mod tiny;
mod tokens;
mod transformers;

use crate::oracle::{self, Oracle};
use crate::record::{self, Row};
use crate::{cargo::root, hearth};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// What the command takes.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// A folder with llama.cpp already built, instead of target/oracle.
    #[arg(long)]
    oracle: Option<PathBuf>,
    /// Only these comparisons; `transformers` only if it is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A virtual environment that has transformers and torch, instead of one that is made.
    #[arg(long, value_name = "VENV")]
    transformers: Option<PathBuf>,
}

/// What a comparison works with.
struct Bench {
    oracle: Oracle,
    models: Vec<hearth::Model>,
    transformers: Option<PathBuf>,
    /// For files that both programs read or write.
    folder: PathBuf,
}

impl Bench {
    fn open(oracle: Option<&Path>, transformers: Option<PathBuf>) -> Result<Self> {
        hearth::build()?;
        let folder = root().join("target/conformance");
        std::fs::create_dir_all(&folder)?;
        let (oracle, models) = (Oracle::open(oracle)?, hearth::models()?);
        Ok(Self { oracle, models, transformers, folder })
    }
}

/// What speed must not cost: the comparisons with exact arithmetic, for `bench`.
pub(crate) fn quality(oracle: Option<&Path>) -> Result<Vec<Row>> {
    divergence::quality(&Bench::open(oracle, None)?)
}

type Comparison = fn(&Bench) -> Result<Vec<Row>>;

const COMPARISONS: &[(&str, Comparison)] = &[
    ("tokens", tokens::compare),
    ("logits", logits::compare),
    ("tiny", tiny::compare),
    ("codebooks", codebooks::compare),
    ("divergence", divergence::compare),
    ("perplexity", perplexity::compare),
];

/// Comparisons that run only if they are named: what they need is heavy.
const ON_REQUEST: &[(&str, Comparison)] = &[("transformers", transformers::compare)];

/// Runs the comparisons, prints the table and records it; an error if a target is missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let all = || COMPARISONS.iter().chain(ON_REQUEST);
    let unknown = |only: &&String| !all().any(|(name, _)| name == only);
    if let Some(name) = args.only.iter().find(unknown) {
        let known: Vec<&str> = all().map(|(name, _)| *name).collect();
        bail!("there is no comparison `{name}`; known are {known:?}");
    }
    let bench = Bench::open(args.oracle.as_deref(), args.transformers.clone())?;
    let mut rows = Vec::new();
    let named = |(name, _): &&(&str, Comparison)| args.only.iter().any(|only| only == name);
    let usual = COMPARISONS.iter().filter(|one| args.only.is_empty() || named(one));
    for (name, compare) in usual.chain(ON_REQUEST.iter().filter(named)) {
        let found = compare(&bench).unwrap_or_else(|error| vec![Row::failed(*name, &error)]);
        record::print(&found);
        rows.extend(found);
    }
    record::append("conformance", oracle::VERSION, &rows)?;
    let missed = rows.iter().filter(|row| !row.holds).count();
    if missed > 0 {
        bail!("{missed} of {} targets are missed", rows.len());
    }
    Ok(())
}

//! `cargo xtask synth SHAPE TYPE`: a GGUF file with random weights at a real model's shape.
//!
//! For timing and for tests of size, where the real file cannot be had: the arithmetic is that of
//! the real model, the text it writes is noise. Every row has its own random stream, so no row
//! repeats and no cache is flattered. `shapes` lists the models, `mix` says which tensor has which
//! type (as llama.cpp's quantiser chooses), `blocks` makes random blocks that are valid.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hearth_engine::gguf::Gguf;
use hearth_engine::gguf::write::{Body, Writer};

use crate::record::{self, Row};

mod blocks;
mod mix;
mod shapes;
mod vocabulary;

use mix::Mix;
use shapes::{Fill, Planned, Shape};

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model's shape: llama-3.2-1b, gemma-3-4b, … (any other word lists them).
    shape: String,
    /// A type (Q4_0, F16, …) or a mixture (Q4_K_M, IQ2_M, …; any other word lists them).
    #[arg(value_name = "TYPE")]
    mix: String,
    /// Where to write; target/synth/SHAPE-TYPE.gguf unless given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Seed of the weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A GGUF file whose tokenizer to use; one from testdata unless given.
    #[arg(long)]
    vocab: Option<PathBuf>,
}

/// Writes the file and a line in `bench/record/synth.csv`.
pub(crate) fn run(args: Args) -> Result<()> {
    let shape = Shape::named(&args.shape)?;
    let mix = Mix::named(&args.mix)?;
    let default = || format!("target/synth/{}-{}.gguf", args.shape, args.mix.to_lowercase()).into();
    let out: PathBuf = args.out.clone().unwrap_or_else(default);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let vocabulary = match &args.vocab {
        Some(path) => open(path)?,
        None => vocabulary::packed(shape.vocabulary())?,
    };
    let start = Instant::now();
    let partial = out.with_extension("gguf.partial");
    let file = File::create(&partial).with_context(|| format!("{}", partial.display()))?;
    write(shape, mix, args.seed, &vocabulary, BufWriter::with_capacity(1 << 20, file))?;
    fs::rename(&partial, &out)?;
    let seconds = start.elapsed().as_secs_f64();
    let gguf = open(&out).context("the file just written does not read back")?;
    ensure!(gguf.tensors().len() == shape.tensors().len(), "a tensor is missing");
    let megabytes = gguf.file_bytes() as f64 / 1e6;
    println!("{}: {megabytes:.0} MB, {seconds:.1} s", out.display());
    let row = Row {
        what: format!("{} {} seed {}", args.shape, args.mix, args.seed),
        figure: format!("{} bytes; {seconds:.1} s", gguf.file_bytes()),
        target: String::new(),
        holds: true,
    };
    record::append("synth", "", &[row])
}

fn open(path: &Path) -> Result<Gguf> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Gguf::open(vec![file]).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes the model to `out`; memory stays at the header's size.
fn write<W: std::io::Write>(
    shape: &Shape,
    mix: &Mix,
    seed: u64,
    vocabulary: &Gguf,
    out: W,
) -> Result<()> {
    let tensors = shape.tensors();
    let mut writer = Writer::new();
    shape.describe(&mut writer);
    writer.set("general.file_type", mix.file_type());
    writer.set("general.quantization_version", 2u32);
    writer.set("hearth.synth.seed", seed);
    for (key, value) in vocabulary::keys(vocabulary, shape.vocab)? {
        writer.set(&key, value);
    }
    for tensor in &tensors {
        writer.tensor(&tensor.name, mix.tensor_type(shape, tensor), &tensor.dims)?;
    }
    let mut body = writer.start(out)?;
    for (number, tensor) in tensors.iter().enumerate() {
        body.tensor()?;
        fill(&mut body, shape, mix, tensor, blocks::stream(seed, number as u64))
            .with_context(|| tensor.name.clone())?;
    }
    body.finish()?;
    Ok(())
}

/// Writes one tensor, row by row.
fn fill<W: std::io::Write>(
    body: &mut Body<W>,
    shape: &Shape,
    mix: &Mix,
    tensor: &Planned,
    seed: u64,
) -> Result<()> {
    let floats = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let (cols, rows) = (tensor.dims[0], tensor.dims[1..].iter().product::<usize>());
    match tensor.fill {
        Fill::Norm => body.write(&floats(blocks::near_one(cols, seed)))?,
        Fill::Factors => body.write(&floats(shape.rope_factors(cols)))?,
        Fill::Weights => {
            let ty = mix.tensor_type(shape, tensor);
            let bytes = ty.row_bytes(cols).context("the row is not whole blocks")?;
            // A row's dot product with a vector of unit variance then has unit variance.
            let deviation = 1.0 / (cols as f32).sqrt();
            let mut row = vec![0; bytes];
            for number in 0..rows {
                blocks::fill(ty, &mut row, deviation, blocks::stream(seed, number as u64));
                body.write(&row)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hearth_engine::gguf::Value;

    use super::*;

    fn vocabulary() -> Gguf {
        let mut writer = Writer::new();
        writer.set("tokenizer.ggml.model", "gpt2");
        writer.set("tokenizer.ggml.tokens", Value::strings(["a", "b"]));
        writer.set("tokenizer.ggml.token_type", vec![1i32, 1]);
        Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap()
    }

    #[test]
    fn the_vocabularies_in_testdata_fit_their_shapes() {
        for name in ["llama-3.2-1b", "gemma-3-1b", "qwen3-0.6b", "phi-4-mini"] {
            let shape = Shape::named(name).unwrap();
            let vocabulary = vocabulary::packed(shape.vocabulary()).unwrap();
            let keys = vocabulary::keys(&vocabulary, shape.vocab).unwrap();
            let mut writer = Writer::new();
            keys.into_iter().for_each(|(key, value)| {
                writer.set(&key, value);
            });
            let gguf = Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap();
            let tokens = gguf.meta().strs("tokenizer.ggml.tokens").unwrap().unwrap();
            assert_eq!(tokens.len(), shape.vocab, "{name}");
            assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), shape.vocab, "{name}");
        }
    }

    #[test]
    fn a_small_model_reads_back_and_no_row_repeats() {
        let shape = Shape::tiny();
        for mix in Mix::names() {
            let mut file = Vec::new();
            let mix = Mix::named(mix).unwrap();
            write(&shape, mix, 7, &vocabulary(), &mut file).unwrap();
            let gguf = Gguf::from_vec(file).unwrap();
            assert_eq!(gguf.meta().strs("tokenizer.ggml.tokens").unwrap().unwrap().len(), 512);
            let mut rows = HashSet::new();
            for tensor in gguf.tensors() {
                let bytes = tensor.ty().row_bytes(tensor.cols()).unwrap();
                for row in tensor.bytes().chunks_exact(bytes) {
                    assert!(rows.insert(row.to_vec()), "{} repeats a row", tensor.name());
                }
            }
        }
    }
}

//! Logits on a tiny random model in every type that has a codebook. llama.cpp writes the model and
//! quantises it; as it does so with an importance matrix only, it gets one that finds every column
//! equally important.

use super::logits::QUANTISED;
use super::{Bench, tiny};
use crate::cargo::output;
use crate::record::Row;
use anyhow::{Context, Result, ensure};
use hearth_engine::gguf::write::Writer;
use hearth_engine::gguf::{Gguf, Value};
use hearth_kernels::quant::TensorType;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The mixtures of one type: llama.cpp's name and the type, which is not always of that name.
const MIXTURES: &[(&str, TensorType)] = &[
    ("IQ1_S", TensorType::IQ1_S),
    ("IQ1_M", TensorType::IQ1_M),
    ("IQ2_XXS", TensorType::IQ2_XXS),
    ("IQ2_XS", TensorType::IQ2_XS),
    ("IQ2_M", TensorType::IQ2_S),
    ("IQ3_XXS", TensorType::IQ3_XXS),
    ("IQ3_S", TensorType::IQ3_S),
];

/// Compares every type; a row holds the worst seed and length.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &(mixture, ty) in MIXTURES {
        let what = format!("logits NMSE, tiny random llama (dense) {ty}");
        let model = |seed| {
            let full = tiny::model(bench, ("llama", "dense"), seed, "F32")?;
            quantised(bench, &full, mixture, ty)
        };
        rows.push(match tiny::worst(bench, model) {
            Ok(nmse) => Row::at_most(what, nmse, QUANTISED),
            Err(error) => Row::failed(what, &error),
        });
    }
    Ok(rows)
}

/// Lets llama.cpp quantise every matrix to `mixture`, those whose rows are no whole blocks apart.
fn quantised(bench: &Bench, full: &Path, mixture: &str, ty: TensorType) -> Result<PathBuf> {
    let importance = full.with_extension("importance.gguf");
    std::fs::write(&importance, equally_important(full)?)?;
    let path = full.with_extension(format!("{mixture}.gguf"));
    let mut command = bench.oracle.program("llama-quantize", &["--pure", "--imatrix"]);
    output(command.arg(&importance).arg(full).arg(&path).arg(mixture))?;
    let gguf = Gguf::open(vec![File::open(&path)?])?;
    let found = gguf.tensors().iter().filter(|tensor| tensor.ty() == ty).count();
    ensure!(found > 10, "only {found} tensors of {} are {ty}", path.display());
    Ok(path)
}

/// An importance matrix: for every matrix of a model a one for each column.
fn equally_important(model: &Path) -> Result<Vec<u8>> {
    let gguf = Gguf::open(vec![File::open(model)?])?;
    let mut writer = Writer::new();
    writer.set("general.type", "imatrix");
    writer.set("imatrix.datasets", Value::strings(["none"]));
    writer.set("imatrix.chunk_count", 1u32);
    writer.set("imatrix.chunk_size", 1u32);
    let mut data = Vec::new();
    for tensor in gguf.tensors().iter().filter(|tensor| tensor.dims().len() > 1) {
        let mut ones = |part: &str, dims: &[usize]| {
            let name = format!("{}.{part}", tensor.name());
            data.push(1f32.to_le_bytes().repeat(dims.iter().product()));
            writer.tensor(&name, TensorType::F32, dims).map(|_| ())
        };
        ones("in_sum2", &[tensor.cols()])?;
        ones("counts", &[1])?;
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).context("an importance matrix")
}

//! Writes a tiny random model, so that another program can be asked about it:
//! `tiny SHAPE TYPE SEED OUT` with SHAPE `llama` or `gemma3`. The tests write the same bytes.

#[path = "../tests/tiny/mod.rs"]
mod tiny;

use std::error::Error;

use hearth_kernels::quant::TensorType;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, shape, ty, seed, out] = &args[..] else {
        return Err("usage: tiny SHAPE TYPE SEED OUT".into());
    };
    let shape = match shape.as_str() {
        "llama" => tiny::Shape::Llama,
        "gemma3" => tiny::Shape::Gemma3,
        other => return Err(format!("unknown shape `{other}`").into()),
    };
    let ty = TensorType::from_name(ty).ok_or("unknown type")?;
    Ok(std::fs::write(out, tiny::model(shape, ty, seed.parse()?))?)
}

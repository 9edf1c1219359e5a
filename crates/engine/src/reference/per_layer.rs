//! Embeddings of tokens for each layer, in plain loops. P is the width of one.

use super::ffn::activate;
use super::norm;
use super::reader::Reader;
use crate::arch::Config;
use crate::error::ModelError;

/// What each layer gets: half a row of the table, half a projection of the embedding. `[L][T][P]`
pub(super) fn inputs(
    config: &Config,
    reader: &Reader,
    tokens: &[u32],
    x: &[f32],
) -> Result<Vec<Vec<f32>>, ModelError> {
    let Some(width) = config.per_layer else { return Ok(Vec::new()) };
    let all = width * config.n_layer;
    let table = reader.tensor("per_layer_token_embd.weight")?;
    let mut projected = reader.model("per_layer_model_proj", x, config.n_embd)?;
    projected.iter_mut().for_each(|value| *value /= (config.n_embd as f32).sqrt());
    let projected = norm(&projected, &reader.tensor("per_layer_proj_norm.weight")?, config);
    let mut layers = vec![Vec::new(); config.n_layer];
    for (row, &token) in tokens.iter().enumerate() {
        for (layer, out) in layers.iter_mut().enumerate() {
            let stored = &table[token as usize * all + layer * width..][..width];
            let projected = &projected[row * all + layer * width..][..width];
            let sum = |(a, b): (&f32, &f32)| (a * (width as f32).sqrt() + b) / 2f32.sqrt();
            out.extend(stored.iter().zip(projected).map(sum));
        }
    }
    Ok(layers)
}

/// What a layer adds. `[T][E] -> [T][E]`
pub(super) fn give(
    config: &Config,
    reader: &Reader,
    layer: usize,
    input: &[f32],
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let gate = reader.attn(layer, "inp_gate", x, config.n_embd)?;
    let open = |(gate, input): (&f32, &f32)| activate(config.gate, *gate) * input;
    let opened: Vec<f32> = gate.iter().zip(input).map(open).collect();
    let y = reader.attn(layer, "proj", &opened, config.per_layer.unwrap_or(1))?;
    Ok(norm(&y, &reader.tensor(&format!("blk.{layer}.post_norm.weight"))?, config))
}

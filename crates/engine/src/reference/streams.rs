//! Several residual streams (AltUp) and a path of low rank beside attention, in plain loops, as in
//! Gemma 3n. The first stream is the one that layers compute.

use super::reader::Reader;
use super::{KeyValue, add, after, before, dot, feed_forward, matmul, mix, norm, per_layer};
use crate::arch::{Config, Streams};
use crate::error::ModelError;

/// All layers, from the embedding to what the head's norm reads. `[T][E] -> [T][E]`
pub(super) fn run(
    config: &Config,
    streams: Streams,
    reader: &Reader,
    x: Vec<f32>,
    inputs: &[Vec<f32>],
) -> Result<Vec<f32>, ModelError> {
    let mut all = vec![x];
    for proj in parts(config, streams, reader, "altup_proj.weight")? {
        all.push(as_long(config, &matmul(&all[0], &proj, config.n_embd), &all[0]));
    }
    let mut kept = Vec::new();
    for layer in 0..config.n_layer {
        let place = Place { config, reader, layer };
        place.predict(&mut all)?;
        let made = place.layer(&all[0], &mut kept)?;
        place.correct(&mut all, &made)?;
        if let Some(input) = inputs.get(layer) {
            let scale = place.read("altup_correct_scale")?;
            let rows = all[0].chunks_exact(config.n_embd);
            let x: Vec<f32> =
                rows.flat_map(|row| row.iter().zip(&scale).map(|(x, scale)| x * scale)).collect();
            let y = per_layer::give(config, reader, layer, input, &x)?;
            all[1..].iter_mut().for_each(|stream| add(stream, &y));
        }
    }
    let mut sum = all[0].clone();
    let projections = parts(config, streams, reader, "altup_unembd_proj.weight")?;
    for (proj, stream) in projections.iter().zip(&all[1..]) {
        add(&mut sum, &as_long(config, &matmul(stream, proj, config.n_embd), &all[0]));
    }
    sum.iter_mut().for_each(|value| *value /= streams.count as f32);
    Ok(sum)
}

/// The matrices of all streams but the first, from one tensor. `[E][E]` each
fn parts(
    config: &Config,
    streams: Streams,
    reader: &Reader,
    name: &str,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let all = reader.tensor(name)?;
    let each = all.chunks_exact(config.n_embd * config.n_embd).map(<[f32]>::to_vec);
    Ok(each.take(streams.count - 1).collect())
}

/// The rows of `x`, each made as long as that of `pattern`.
fn as_long(config: &Config, x: &[f32], pattern: &[f32]) -> Vec<f32> {
    let length = |row: &[f32]| dot(row, row).sqrt();
    let rows = x.chunks_exact(config.n_embd).zip(pattern.chunks_exact(config.n_embd));
    rows.flat_map(|(row, pattern)| {
        let scale = length(pattern) / length(row);
        row.iter().map(move |x| x * scale)
    })
    .collect()
}

/// One layer.
struct Place<'a> {
    config: &'a Config,
    reader: &'a Reader<'a>,
    layer: usize,
}

impl Place<'_> {
    fn read(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.reader.tensor(&format!("blk.{}.{name}.weight", self.layer))
    }

    /// What the router says of each row. `[T][E] -> [T][N]`
    fn modes(&self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut normed = norm(x, &self.read("altup_router_norm")?, self.config);
        normed.iter_mut().for_each(|value| *value /= self.config.n_embd as f32);
        let modes = self.reader.attn(self.layer, "altup_router", &normed, self.config.n_embd)?;
        Ok(modes.into_iter().map(f32::tanh).collect())
    }

    fn predict(&self, all: &mut [Vec<f32>]) -> Result<(), ModelError> {
        let count = all.len();
        let coefs = matmul(&self.modes(&all[0])?, &self.read("altup_predict_coef")?, count);
        let was: Vec<Vec<f32>> = all.to_vec();
        for (to, stream) in all.iter_mut().enumerate() {
            for (at, value) in stream.iter_mut().enumerate() {
                let coefs = &coefs[(at / self.config.n_embd * count + to) * count..][..count];
                *value += coefs.iter().zip(&was).map(|(coef, was)| coef * was[at]).sum::<f32>();
            }
        }
        Ok(())
    }

    fn correct(&self, all: &mut [Vec<f32>], made: &[f32]) -> Result<(), ModelError> {
        let count = all.len();
        let coefs = matmul(&self.modes(made)?, &self.read("altup_correct_coef")?, count);
        let off: Vec<f32> = made.iter().zip(&all[0]).map(|(made, x)| made - x).collect();
        for (to, stream) in all.iter_mut().enumerate() {
            for (at, value) in stream.iter_mut().enumerate() {
                *value += off[at] * (1.0 + coefs[at / self.config.n_embd * count + to]);
            }
        }
        Ok(())
    }

    /// What the layer makes of the first stream. `[T][E] -> [T][E]`
    fn layer(&self, x: &[f32], kept: &mut Vec<KeyValue>) -> Result<Vec<f32>, ModelError> {
        let Self { config, reader, layer } = *self;
        let input = before(config, reader, layer, "attn_norm", x)?;
        let low = reader.attn(layer, "laurel_l", &input, config.n_embd)?;
        let rank = low.len() / (x.len() / config.n_embd);
        let laurel = reader.attn(layer, "laurel_r", &low, rank)?;
        let y = mix(config, layer, reader, &input, kept)?;
        let mut sum = x.to_vec();
        add(&mut sum, &after(config, reader, layer, "post_attention_norm", y)?);
        add(&mut sum, &norm(&laurel, &self.read("laurel_post_norm")?, config));
        add(&mut sum, &input);
        sum.iter_mut().for_each(|value| *value /= 2f32.sqrt());
        let input = before(config, reader, layer, "ffn_norm", &sum)?;
        let y = feed_forward(config, layer, reader, (&sum, &input))?;
        add(&mut sum, &after(config, reader, layer, "post_ffw_norm", y)?);
        Ok(sum)
    }
}

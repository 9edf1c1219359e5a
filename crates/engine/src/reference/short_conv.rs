//! A gated convolution over the last few tokens, in plain loops.

use super::reader::Reader;
use crate::error::ModelError;

/// out(c * conv(b * x)). `[T][E] -> [T][E]`
pub(super) fn short_conv(
    taps: usize,
    embd: usize,
    layer: usize,
    reader: &Reader,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let bcx = reader.attn(layer, "shortconv.in_proj", x, embd)?; // [T][3 E]
    let weights = reader.tensor(&format!("blk.{layer}.shortconv.conv.weight"))?; // [E][taps]
    let at = |t: usize, part: usize, e: usize| bcx[(3 * t + part) * embd + e];
    let mut mixed = vec![0.0; x.len()];
    for t in 0..x.len() / embd {
        for e in 0..embd {
            let mut sum = 0.0;
            for (back, weight) in weights[e * taps..][..taps].iter().rev().enumerate() {
                if let Some(t) = t.checked_sub(back) {
                    sum += weight * at(t, 0, e) * at(t, 2, e);
                }
            }
            mixed[t * embd + e] = at(t, 1, e) * sum;
        }
    }
    reader.attn(layer, "shortconv.out_proj", &mixed, embd)
}

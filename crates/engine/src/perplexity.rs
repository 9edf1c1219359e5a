//! Perplexity by llama-perplexity's method: the text is cut into chunks of `ctx` tokens, each read
//! from an empty context with the first token replaced by bos where the model wants one, and the
//! second half of every chunk is scored.

use crate::block::Stopped;
use crate::model::Model;
use crate::protocol::KvKind;
use crate::session::{PREFILL_CHUNK, Session};

/// Result over all chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// exp of the mean negative log-likelihood.
    pub ppl: f64,
    /// Tokens scored.
    pub tokens: u64,
}

/// Scores a tokenised text. `bos` is the token to begin each chunk with, if the model wants one.
/// `progress` hears chunks done and chunks in all.
///
/// # Errors
/// [`Stopped`].
///
/// # Panics
/// If there are fewer than `ctx` tokens or `ctx` is below 4: the caller checks and explains.
pub fn perplexity(
    model: &Model,
    kind: KvKind,
    tokens: &[u32],
    ctx: usize,
    bos: Option<u32>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Perplexity, Stopped> {
    let chunks = tokens.len() / ctx;
    assert!(chunks > 0 && ctx >= 4, "perplexity needs a whole chunk of at least 4 tokens");
    let mut session = Session::new(model, kind);
    let (mut nll, mut scored) = (0.0f64, 0u64);
    for (index, chunk) in tokens.chunks_exact(ctx).enumerate() {
        session.truncate(0);
        let mut input = chunk.to_vec();
        if let Some(bos) = bos {
            input[0] = bos;
        }
        // Of the first half only the last row's logits could be asked for, and none is scored.
        let first = ctx / 2;
        session.prefill(model, &input[..first], PREFILL_CHUNK, &mut |_| ())?;
        let mut position = first;
        let width = model.weights.n_vocab();
        session.all_logits(model, &input[first..ctx - 1], PREFILL_CHUNK, &mut |rows| {
            for row in rows.chunks_exact(width) {
                nll -= log_softmax_at(row, chunk[position + 1] as usize);
                position += 1;
                scored += 1;
            }
        })?;
        progress(index as u64 + 1, chunks as u64);
    }
    Ok(Perplexity { ppl: (nll / scored as f64).exp(), tokens: scored })
}

/// Natural logarithm of the softmax of one logit, summed in double precision.
fn log_softmax_at(logits: &[f32], index: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    f64::from(logits[index] - max) - sum.ln()
}

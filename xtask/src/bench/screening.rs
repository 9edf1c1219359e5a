//! What screening the head gains in greedy decoding: a committed text is read token by token with
//! and without it, some tokens of each in turn. The tokens chosen must be the same, and every logit
//! that is not left out has the bits of the whole head.

use super::{Args, median};
use crate::record::Row;
use crate::{hearth, text};
use anyhow::{Context, Result, ensure};
use hearth_engine::gguf::Gguf;
use hearth_engine::model::Model;
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::session::Session;
use hearth_engine::tokenizer::Tokenizer;
use hearth_kernels::matmul::Need;
use hearth_kernels::pool::Pool;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Least gain of both real models: a head is more of a model the smaller its layers are.
const LEAST: [f64; 2] = [1.05, 1.15];

/// Tokens read before anything is timed: what is screened with is learned meanwhile.
const PROMPT: usize = 128;

/// Tokens of one turn, and turns of each in a round.
const TURN: usize = 16;
const TURNS: usize = 8;

/// Measures both real models.
pub(super) fn run(args: &Args) -> Result<Vec<Row>> {
    hearth::models()?
        .iter()
        .zip(LEAST)
        .map(|(model, least)| {
            let (gain, scored) = gain(&model.path, args)?;
            Ok(Row {
                what: format!("screened head, greedy, {}, {} threads", model.name, args.threads),
                figure: format!("{gain:.3}x, {scored:.0} rows scored a token; same tokens"),
                target: format!(">= {least:.2}x the whole head"),
                holds: gain >= least,
            })
        })
        .collect()
}

/// Time of a token with the whole head over that with the screened one, in the median; and rows
/// scored.
fn gain(path: &Path, args: &Args) -> Result<(f64, f64)> {
    let gguf = Gguf::open(vec![File::open(path)?])?;
    let (pool, never) = (Pool::new(args.threads), AtomicBool::new(false));
    let model = Model::load(&gguf, &LoadOptions::default(), pool, &never, &mut |_, _| ())?;
    let count = PROMPT + TURN * TURNS * args.rounds;
    let text = text::beginning(12 * count)?;
    let tokens = Tokenizer::from_gguf(&gguf)?.encode(text.as_bytes(), true, false);
    ensure!(tokens.len() > count, "{} tokens of text, {count} are needed", tokens.len());
    let (prompt, rest) = tokens.split_at(PROMPT);
    let mut sessions = [Session::new(&model, KvKind::F16), Session::new(&model, KvKind::F16)];
    sessions[0].set_need(Some(Need::BEST));
    for session in &mut sessions {
        decode(session, &model, prompt)?;
    }
    let mut gains = Vec::new();
    for (turn, tokens) in rest[..count - PROMPT].chunks_exact(TURN).enumerate() {
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut found = [(0.0, Vec::new()), (0.0, Vec::new())];
        for which in order {
            found[which] = decode(&mut sessions[which], &model, tokens)?;
        }
        let [(screened_s, some), (whole_s, all)] = found;
        same(&some, &all).with_context(|| format!("{}, turn {turn}", path.display()))?;
        gains.push(whole_s / screened_s);
    }
    let totals = sessions[0].screened();
    Ok((median(gains), totals.scored as f64 / totals.tokens.max(1) as f64))
}

/// Appends tokens one by one; the seconds of the passes, and the logits after each.
fn decode(session: &mut Session, model: &Model, tokens: &[u32]) -> Result<(f64, Vec<Vec<f32>>)> {
    let (mut seconds, mut rows) = (0.0, Vec::new());
    for token in tokens {
        let start = Instant::now();
        let Ok(row) = session.prefill(model, &[*token], 1, &mut |_| ()) else {
            anyhow::bail!("the pass was stopped");
        };
        seconds += start.elapsed().as_secs_f64();
        rows.push(row.to_vec());
    }
    Ok((seconds, rows))
}

/// Fails unless the best token is the same and no logit has other bits, but for those left out.
fn same(some: &[Vec<f32>], all: &[Vec<f32>]) -> Result<()> {
    for (some, all) in some.iter().zip(all) {
        let best = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for (token, (a, b)) in some.iter().zip(all).enumerate() {
            let left_out = *a == f32::NEG_INFINITY && *b < best;
            ensure!(a.to_bits() == b.to_bits() || left_out, "token {token} has {a}, not {b}");
        }
    }
    Ok(())
}

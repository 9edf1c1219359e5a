//! Embeddings and scores: texts to tokens, rows of the encoder to vectors of length 1.

use std::time::Instant;

use crate::arch::Pooling;
use crate::encoder::Encoder;
use crate::host::{Engine, request, stats};
use crate::protocol::{
    Embed, EmbedInput, Embedded, Event, Failure, FailureKind, Finish, Stage, Stats,
};
use crate::tokenizer::Tokenizer;

/// Inputs that are read before their rows are sent: a cancel comes between.
const AT_ONCE: usize = 16;

impl Engine {
    /// Sends a row for each input.
    pub(crate) fn embed(
        &mut self,
        id: u64,
        job: &Embed,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        let start = Instant::now();
        let (encoder, tokenizer) = (self.encoder()?, self.tokenizer()?);
        check(encoder, &job.inputs)?;
        // All at first: a text that is too long costs nobody the others' time.
        let all = job.inputs.iter().enumerate();
        let texts = all
            .map(|(index, input)| {
                let tokens = tokens(tokenizer, input);
                fitted(encoder, tokenizer, tokens, job.truncate)
                    .map_err(|failure| numbered(failure, index, job.inputs.len()))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let (mut done, mut read) = (0, 0);
        for group in texts.chunks(AT_ONCE) {
            let ids: Vec<Vec<u32>> = group.iter().map(|(ids, _)| ids.clone()).collect();
            let Ok(rows) = encoder.embed(&ids, &mut |_| ()) else {
                return Ok(Stats::ended(Finish::Cancelled));
            };
            for ((ids, cut), mut values) in group.iter().zip(rows) {
                if encoder.config.pooling != Pooling::Rank {
                    normalise(&mut values);
                }
                let tokens = ids.len() as u64;
                out(Event::Embedded { id, row: Embedded { tokens, cut: *cut as u64, values } });
                read += ids.len();
            }
            done += group.len() as u64;
            let total = texts.len() as u64;
            out(Event::Progress { id, stage: Stage::Embed, done, total });
        }
        Ok(stats(Ok(()), read, start))
    }
}

/// Whether the model does what the inputs are for.
fn check(encoder: &Encoder, inputs: &[EmbedInput]) -> Result<(), Failure> {
    let scores = encoder.config.pooling == Pooling::Rank;
    match inputs.iter().find(|input| input.second.is_some() != scores) {
        None => Ok(()),
        Some(_) if scores => {
            Err(request("this model scores how well a document fits a query: use `hearth rerank`"))
        }
        Some(_) => Err(request("this model embeds texts and scores no pairs: use `hearth embed`")),
    }
}

/// The ids of an input; between those of a pair stands what ends a text.
fn tokens(tokenizer: &Tokenizer, input: &EmbedInput) -> Vec<u32> {
    let mut ids = tokenizer.encode(input.text.as_bytes(), true, false);
    if let Some(second) = &input.second {
        ids.extend(tokenizer.encode(second.as_bytes(), false, false));
        ids.extend(end(tokenizer));
    }
    ids
}

/// What the tokenizer puts at the end of a text.
fn end(tokenizer: &Tokenizer) -> Option<u32> {
    let added = tokenizer.encode(b"", true, false);
    added.last().copied().filter(|_| added.len() > 1)
}

/// At most as many ids as the model reads, and how many were cut off before the last one, if that
/// ends the text.
fn fitted(
    encoder: &Encoder,
    tokenizer: &Tokenizer,
    mut ids: Vec<u32>,
    truncate: bool,
) -> Result<(Vec<u32>, usize), Failure> {
    let (most, vocab) = (encoder.config.n_ctx_train, encoder.weights.token_embd.len());
    if let Some(bad) = ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(request(&format!("token {bad} is outside the vocabulary of {vocab}")));
    }
    if ids.is_empty() {
        return Err(request("the text has no token"));
    }
    let cut = ids.len().saturating_sub(most);
    if cut > 0 && !truncate {
        let message = format!(
            "the text has {} tokens and the model reads {most}: split it, or cut it with \
             `--truncate`",
            ids.len()
        );
        return Err(Failure { kind: FailureKind::TooLong, message });
    }
    if cut > 0 {
        let last = ids.last().copied().filter(|last| end(tokenizer) == Some(*last) && most > 1);
        ids.truncate(most - usize::from(last.is_some()));
        ids.extend(last);
    }
    Ok((ids, cut))
}

/// Says which of several inputs it is about.
fn numbered(failure: Failure, index: usize, count: usize) -> Failure {
    if count == 1 {
        return failure;
    }
    Failure { message: format!("text {} of {count}: {}", index + 1, failure.message), ..failure }
}

/// Makes the length 1; nothing can be done about a row of zeros.
fn normalise(values: &mut [f32]) {
    let length = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

//! What guessing tokens gains: each prompt answered with and without it, in turn. The answers must
//! be the same, and the time of a token is compared.

use super::measure::{figure, report};
use super::{Args, median};
use crate::record::Row;
use crate::{hearth, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Tokens of an answer: enough that its end is like its middle.
const TOKENS: &str = "192";

/// Kinds of prompt, with the least gain in the median and in the worst prompt. Free prose has
/// little to guess: there it must not cost.
const KINDS: [(&str, f64, f64); 4] = [
    ("rewriting", 1.8, 0.97),
    ("extraction", 1.8, 0.97),
    ("code", 1.8, 0.97),
    ("prose", 0.97, 0.97),
];

/// Measures the default model on the committed prompts.
pub(super) fn run(args: &Args) -> Result<Vec<Row>> {
    let models = hearth::models()?;
    let model = models.first().context("no model")?;
    let prompts = text::prompts()?;
    KINDS
        .iter()
        .map(|&(kind, middle, worst)| {
            let mut gains = Vec::new();
            for prompt in prompts.iter().filter(|prompt| prompt.kind == kind) {
                gains.push(gain(model.name, &prompt.text, args)?);
                eprint!("\r{kind} {}", gains.len());
            }
            eprintln!();
            let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
            let found = median(gains.clone());
            Ok(Row {
                what: format!("speculation, {kind}, {} prompts, {}", gains.len(), model.name),
                figure: format!("{found:.2}x in the median, {least:.2}x at worst; same output"),
                target: format!(">= {middle:.2}x; {worst:.2}x"),
                holds: found >= middle && least >= worst,
            })
        })
        .collect()
}

/// Time of a token without guesses over that with them; medians over the rounds.
fn gain(model: &str, prompt: &str, args: &Args) -> Result<f64> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut output: Option<Value> = None;
    for _ in 0..args.rounds {
        for (times, options) in [(&mut with, &[][..]), (&mut without, &["--no-speculation"][..])] {
            let mut command = hearth::hearth(&["run", "--json", "--max-tokens", TOKENS]);
            command.args(["--threads", &args.threads.to_string()]).args(options);
            let answer = report(command.args([model, prompt]))?;
            let figure = |place: &str| figure(&answer, place);
            times.push(figure("/decode_ms")? / figure("/output_tokens")?.max(1.0));
            let text = answer["text"].clone();
            let same = output.get_or_insert_with(|| text.clone()) == &text;
            ensure!(same, "speculation changes the answer to: {prompt}");
        }
    }
    Ok(median(without) / median(with))
}

//! One answer: from the request to text on stdout, piece by piece, and the figures behind it.

use std::io::{IsTerminal, Write};

use hearth_engine::protocol::{Event, Finish, Generate, Job, Stats, TokenLogprob};
use serde_json::{Value, json};

use crate::context::App;
use crate::engine::Running;
use crate::exit::say;
use crate::generation::Recipe;
use crate::interrupt::Interrupt;

/// A finished answer.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) logprobs: Vec<TokenLogprob>,
    pub(crate) stats: Stats,
}

/// Where the text goes while it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// On stdout at once; one line feed at the end if it has none.
    Stream,
    /// Nowhere.
    Nothing,
}

/// Generates one answer; Ctrl-C ends it early, which is no error here (see its `finish`).
pub(crate) fn generate(
    app: &App,
    running: &Running,
    interrupt: &Interrupt,
    request: Generate,
    show: Show,
) -> anyhow::Result<Answer> {
    running.adapters.give(app, running)?;
    let request = Generate { adapters: running.adapters.uses(), ..request };
    let reply = running.submit(Job::Generate(Box::new(request)))?;
    let guard = interrupt.guard(reply.canceller());
    let mut out = std::io::stdout().lock();
    let visible = out.is_terminal();
    let mut text = String::new();
    let mut logprobs = Vec::new();
    let result = running.follow(app, reply, &mut |event| {
        if let Event::Text { text: piece, logprobs: more, .. } = event {
            if show == Show::Stream {
                let shown = if visible { harmless(&piece) } else { piece.clone() };
                out.write_all(shown.as_bytes())?;
                out.flush()?;
            }
            text.push_str(&piece);
            logprobs.extend(more);
        }
        Ok(())
    });
    drop(guard);
    if show == Show::Stream && !text.is_empty() && !text.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(Answer { text, logprobs, stats: result? })
}

/// A text from outside, such as model output, for a terminal: other control characters than line
/// feed and tab could move the cursor or change what the terminal shows.
pub(crate) fn harmless(text: &str) -> String {
    let keep = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if keep(c) { c } else { '\u{fffd}' }).collect()
}

impl Answer {
    /// Says why the answer ended if that is not its natural end.
    pub(crate) fn explain(&self, app: &App, recipe: &Recipe) {
        let (used, limit) = self.stats.context;
        match self.stats.finish {
            Finish::Length if self.stats.output_tokens >= recipe.max_tokens() as u64 => {
                app.note(format_args!("(stopped at --max-tokens {})", recipe.max_tokens()));
            }
            Finish::Length => {
                app.note(format_args!("(stopped: the context is full, {used} of {limit} tokens)"));
            }
            Finish::Loop => {
                app.note("(stopped: the output repeats itself; --no-loop-detector lets it go on)")
            }
            Finish::Cancelled => app.note("(stopped)"),
            Finish::Stop => {}
        }
    }

    /// The line of `--json`. Field names are stable.
    pub(crate) fn json(&self, running: &Running) -> Value {
        let mut value = json!({
            "text": self.text,
            "finish": finish_word(self.stats.finish),
            "prompt_tokens": self.stats.prompt_tokens,
            "cached_tokens": self.stats.cached_tokens,
            "output_tokens": self.stats.output_tokens,
            "guessed_tokens": self.stats.guessed_tokens,
            "accepted_tokens": self.stats.accepted_tokens,
            "prefill_ms": self.stats.prefill_ms,
            "decode_ms": self.stats.decode_ms,
            "load_ms": running.engine.load_ms(),
            "context_tokens": self.stats.context.0,
            "context_limit": self.stats.context.1,
            "isolation": running.engine.cell().report().level.name(),
        });
        if !self.logprobs.is_empty()
            && let Some(fields) = value.as_object_mut()
        {
            let places = self.logprobs.iter().map(logprob_json).collect();
            fields.insert("logprobs".to_owned(), Value::Array(places));
        }
        value
    }

    /// The lines of `--verbose`, on stderr.
    pub(crate) fn verbose(&self, running: &Running) {
        let cell = running.engine.cell();
        let Stats { prompt_tokens, cached_tokens, output_tokens, .. } = self.stats;
        let Stats { prefill_ms, decode_ms, context: (used, limit), .. } = self.stats;
        let read = prompt_tokens.saturating_sub(cached_tokens);
        say(format_args!("isolation {}", cell.report().level));
        say(format_args!("load      {:.0} ms", running.engine.load_ms()));
        say(format_args!(
            "prompt    {prompt_tokens} tokens ({cached_tokens} from the cache), \
             {prefill_ms:.0} ms, {:.1} tok/s",
            rate(read, prefill_ms)
        ));
        say(format_args!(
            "output    {output_tokens} tokens, {decode_ms:.0} ms, {:.1} tok/s, finish: {}",
            rate(output_tokens, decode_ms),
            finish_word(self.stats.finish)
        ));
        if self.stats.guessed_tokens > 0 {
            let Stats { guessed_tokens, accepted_tokens, .. } = self.stats;
            say(format_args!("guessed   {guessed_tokens} tokens, {accepted_tokens} came true"));
        }
        say(format_args!("context   {used} of {limit} tokens"));
        if cell.refused_calls() > 0 {
            let calls = cell.refused_calls();
            say(format_args!(
                "seal      {calls} system calls refused: a defect of hearth, please report"
            ));
        }
    }
}

fn logprob_json(place: &TokenLogprob) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let top: Vec<Value> = place
        .top
        .iter()
        .map(|(id, bytes, logprob)| json!({ "id": id, "text": text(bytes), "logprob": logprob }))
        .collect();
    json!({
        "id": place.token, "text": text(&place.bytes), "logprob": place.logprob, "top": top,
    })
}

/// Tokens per second.
fn rate(tokens: u64, ms: f64) -> f64 {
    if ms > 0.0 { tokens as f64 * 1e3 / ms } else { 0.0 }
}

/// The word for why an answer ended.
fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Loop => "loop",
        Finish::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_escapes() {
        assert_eq!(harmless("a\tb\n\x1b[31mc\r\u{9b}"), "a\tb\n\u{fffd}[31mc\u{fffd}\u{fffd}");
    }

    #[test]
    fn no_time_is_no_rate() {
        assert_eq!(rate(10, 0.0), 0.0);
        assert_eq!(rate(10, 500.0), 20.0);
    }
}

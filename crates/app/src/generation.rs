//! The options of a generation: every sampler under llama.cpp's name, limits and constraints.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hearth_engine::protocol::{Constraint, Generate, Overflow, Prompt, Sampling};
use hearth_engine::sample::{Sampler, SettingError};

use crate::config::read_text;
use crate::exit::{Code, Failure};

/// Largest schema or grammar file that is read, in bytes.
const CONSTRAINT_CAP: u64 = 1 << 20;

/// Most tokens of a summary of a conversation.
pub(crate) const SUMMARY_TOKENS: usize = 512;

/// What and how much to generate.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Most tokens to produce
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_tokens: usize,
    /// End the output before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The output must match this JSON Schema
    #[arg(long, value_name = "FILE", group = "constraint")]
    json_schema: Option<PathBuf>,
    /// The output must match this regular expression
    #[arg(long, value_name = "REGEX", group = "constraint")]
    regex: Option<String>,
    /// The output must match this Lark grammar
    #[arg(long, value_name = "FILE", group = "constraint")]
    lark: Option<PathBuf>,
    /// With --json: log-probabilities of the N best tokens at each place
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,
    /// What to do with a prompt that does not fit the context
    #[arg(long, value_name = "WHAT", default_value = "error")]
    overflow: OnOverflow,
    /// Go on even if the output repeats itself (8 times, over 256 tokens)
    #[arg(long)]
    no_loop_detector: bool,
    /// Do not guess tokens to check several at once: slower, the same output
    #[arg(long)]
    no_speculation: bool,
}

/// What to do with a prompt that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOverflow {
    /// Refuse, naming the counts
    Error,
    /// Drop the oldest messages after the system message
    DropOldest,
    /// Keep the end of the prompt
    KeepEnd,
}

/// How the next token is chosen. Temperature 0 takes the likeliest and turns the others off.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Randomness; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = Sampling::default().temperature)]
    temp: f32,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = Sampling::default().seed)]
    seed: u64,
    /// Keep the N likeliest tokens; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Keep the likeliest tokens up to this probability in all; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p)]
    top_p: f32,
    /// Drop tokens below this share of the likeliest one's probability; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = Sampling::default().min_p)]
    min_p: f32,
    /// Locally typical sampling; 1 is off
    #[arg(long, value_name = "P", default_value_t = Sampling::default().typical_p)]
    typical: f32,
    /// Penalty on tokens that occurred; 1 is off
    #[arg(long, value_name = "X", default_value_t = Sampling::default().repeat_penalty)]
    repeat_penalty: f32,
    /// Tokens that the penalties look back at; 0 is off, -1 the whole context
    #[arg(
        long, value_name = "N", default_value_t = Sampling::default().repeat_last_n,
        allow_negative_numbers = true
    )]
    repeat_last_n: i32,
    /// Subtracted for each time a token occurred
    #[arg(
        long, value_name = "X", default_value_t = Sampling::default().frequency_penalty,
        allow_negative_numbers = true
    )]
    frequency_penalty: f32,
    /// Subtracted once for a token that occurred
    #[arg(
        long, value_name = "X", default_value_t = Sampling::default().presence_penalty,
        allow_negative_numbers = true
    )]
    presence_penalty: f32,
    /// Strength of DRY against repeated phrases; 0 is off
    #[arg(long, value_name = "X", default_value_t = Sampling::default().dry_multiplier)]
    dry_multiplier: f32,
    /// Growth of DRY with each repeated token
    #[arg(long, value_name = "X", default_value_t = Sampling::default().dry_base)]
    dry_base: f32,
    /// Longest repeat that DRY leaves alone
    #[arg(long, value_name = "N", default_value_t = Sampling::default().dry_allowed_length)]
    dry_allowed_length: i32,
    /// Tokens that DRY looks back at; 0 is off, -1 the whole context
    #[arg(
        long, value_name = "N", default_value_t = Sampling::default().dry_penalty_last_n,
        allow_negative_numbers = true
    )]
    dry_penalty_last_n: i32,
    /// Text that ends a repeat for DRY, several times for several; `none` for no such text
    #[arg(long, value_name = "TEXT")]
    dry_sequence_breaker: Vec<String>,
    /// Chance that XTC applies; 0 is off
    #[arg(long, value_name = "P", default_value_t = Sampling::default().xtc_probability)]
    xtc_probability: f32,
    /// XTC drops all but the last token above this probability
    #[arg(long, value_name = "P", default_value_t = Sampling::default().xtc_threshold)]
    xtc_threshold: f32,
    /// 2 for Mirostat 2 in place of the samplers that drop tokens; 0 is off
    #[arg(long, value_name = "N", default_value = "0", value_parser = ["0", "2"])]
    mirostat: String,
    /// Mirostat's target surprise (tau)
    #[arg(long, value_name = "X", default_value_t = 5.0)]
    mirostat_ent: f32,
    /// Mirostat's learning rate (eta)
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    mirostat_lr: f32,
    /// Added to a token's logit, as `ID+1.5` or `ID-1.5`; may be given several times
    #[arg(long, value_name = "ID(+/-)X", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
}

impl SamplingArgs {
    /// The settings for the engine.
    pub(crate) fn sampling(&self) -> Sampling {
        let breakers = match &self.dry_sequence_breaker[..] {
            [] => Sampling::default().dry_sequence_breakers,
            [none] if none == "none" => Vec::new(),
            given => given.to_vec(),
        };
        Sampling {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: self.repeat_last_n,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
            dry_penalty_last_n: self.dry_penalty_last_n,
            dry_sequence_breakers: breakers,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            mirostat: (self.mirostat == "2").then_some((self.mirostat_ent, self.mirostat_lr)),
            logit_bias: self.logit_bias.clone(),
            seed: self.seed,
        }
    }
}

/// `15043+1.5` or `15043-1.5`, as llama.cpp takes it.
fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let expected = || format!("found `{text}`; expected ID+VALUE or ID-VALUE, as 15043-1.5");
    let sign = text.find(['+', '-']).ok_or_else(expected)?;
    let (id, value) = text.split_at(sign);
    let value: f32 = value.parse().map_err(|_| expected())?;
    if value.is_nan() {
        return Err(expected());
    }
    Ok((id.parse().map_err(|_| expected())?, value))
}

/// Everything of a generation but its prompt, ready to be used many times.
pub(crate) struct Recipe {
    sampling: Sampling,
    output: OutputArgs,
    constraint: Option<Constraint>,
}

impl Recipe {
    /// Reads the files that the options name.
    pub(crate) fn new(sampling: &SamplingArgs, output: OutputArgs) -> anyhow::Result<Self> {
        let constraint = match (&output.json_schema, &output.regex, &output.lark) {
            (Some(path), _, _) => Some(Constraint::JsonSchema(read(path)?)),
            (_, Some(regex), _) => Some(Constraint::Regex(regex.clone())),
            (_, _, Some(path)) => Some(Constraint::Lark(read(path)?)),
            (None, None, None) => None,
        };
        let sampling = sampling.sampling();
        check(&sampling)?;
        Ok(Self { sampling, output, constraint })
    }

    /// Most tokens that one answer may have.
    pub(crate) fn max_tokens(&self) -> usize {
        self.output.max_tokens
    }

    /// The request for a summary: the user's constraints and limits are meant for answers, and
    /// a conversation that fills the context must still get one.
    pub(crate) fn summary(&self, prompt: Prompt) -> Generate {
        Generate {
            sampling: self.sampling.clone(),
            speculate: !self.output.no_speculation,
            overflow: Overflow::DropOldest,
            ..Generate::new(prompt, SUMMARY_TOKENS)
        }
    }

    /// The request for one prompt.
    pub(crate) fn generate(&self, prompt: Prompt) -> Generate {
        Generate {
            sampling: self.sampling.clone(),
            stop: self.output.stop.clone(),
            constraint: self.constraint.clone(),
            top_logprobs: self.output.logprobs,
            loop_detector: !self.output.no_loop_detector,
            speculate: !self.output.no_speculation,
            overflow: match self.output.overflow {
                OnOverflow::Error => Overflow::Error,
                OnOverflow::DropOldest => Overflow::DropOldest,
                OnOverflow::KeepEnd => Overflow::KeepEnd,
            },
            ..Generate::new(prompt, self.output.max_tokens)
        }
    }
}

/// Checks the ranges before a model is loaded. The engine does so too, and knows the vocabulary,
/// but not the flags.
fn check(sampling: &Sampling) -> anyhow::Result<()> {
    match Sampler::new(sampling, usize::MAX, Vec::new(), 1) {
        Ok(_) => Ok(()),
        Err(SettingError { name, found, expected }) => {
            let flag = match name {
                "temperature" => "temp".to_owned(),
                "typical_p" => "typical".to_owned(),
                "mirostat tau" => "mirostat-ent".to_owned(),
                "mirostat eta" => "mirostat-lr".to_owned(),
                name => name.replace('_', "-"),
            };
            Err(Failure::new(Code::Usage, format!("--{flag} is {found}; it must be {expected}")))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    File::open(path).and_then(|file| read_text(file, CONSTRAINT_CAP)).map_err(|error| {
        Failure::new(Code::Usage, format!("cannot use the file {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: SamplingArgs,
        #[command(flatten)]
        output: OutputArgs,
        #[arg(long)]
        json: bool,
    }

    fn parse(words: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from(["line"].iter().chain(words))
    }

    #[test]
    fn no_flag_is_the_deterministic_default() {
        assert_eq!(parse(&[]).unwrap().sampling.sampling(), Sampling::default());
    }

    #[test]
    fn every_sampler_has_its_flag() {
        let words = "--temp 0.5 --seed 7 --top-k 3 --top-p 0.25 --min-p 0.125 --typical 0.75 \
            --repeat-penalty 1.5 --repeat-last-n -1 --frequency-penalty -0.5 \
            --presence-penalty 0.25 --dry-multiplier 2 --dry-base 3 --dry-allowed-length 4 \
            --dry-penalty-last-n 5 --dry-sequence-breaker a --dry-sequence-breaker b \
            --xtc-probability 0.5 --xtc-threshold 0.25 --mirostat 2 --mirostat-ent 6 \
            --mirostat-lr 0.5 --logit-bias 5+1.5 --logit-bias 6-inf";
        let words: Vec<&str> = words.split_whitespace().collect();
        let expected = Sampling {
            temperature: 0.5,
            top_k: 3,
            top_p: 0.25,
            min_p: 0.125,
            typical_p: 0.75,
            repeat_penalty: 1.5,
            repeat_last_n: -1,
            frequency_penalty: -0.5,
            presence_penalty: 0.25,
            dry_multiplier: 2.0,
            dry_base: 3.0,
            dry_allowed_length: 4,
            dry_penalty_last_n: 5,
            dry_sequence_breakers: vec!["a".into(), "b".into()],
            xtc_probability: 0.5,
            xtc_threshold: 0.25,
            mirostat: Some((6.0, 0.5)),
            logit_bias: vec![(5, 1.5), (6, f32::NEG_INFINITY)],
            seed: 7,
        };
        assert_eq!(parse(&words).unwrap().sampling.sampling(), expected);
        let none = parse(&["--dry-sequence-breaker", "none"]).unwrap().sampling.sampling();
        assert!(none.dry_sequence_breakers.is_empty());
    }

    #[test]
    fn a_value_out_of_range_is_named_by_a_flag_that_exists() {
        for flag in [
            "temp",
            "top-p",
            "min-p",
            "typical",
            "repeat-penalty",
            "repeat-last-n",
            "dry-multiplier",
            "dry-base",
            "dry-allowed-length",
            "dry-penalty-last-n",
            "xtc-probability",
            "xtc-threshold",
            "mirostat-ent",
            "mirostat-lr",
        ] {
            let line = parse(&[&format!("--{flag}=-5"), "--mirostat=2"]).unwrap();
            let error = Recipe::new(&line.sampling, line.output).err().unwrap().to_string();
            assert!(error.starts_with(&format!("--{flag} is -5;")), "{error}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for words in [
            ["--logit-bias", "5"],
            ["--logit-bias", "+5"],
            ["--logit-bias", "x-1"],
            ["--logit-bias", "1+nan"],
            ["--mirostat", "1"],
            ["--overflow", "truncate"],
            ["--logprobs", "3"],
        ] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
        assert!(parse(&["--regex", "a", "--lark", "b"]).is_err());
    }

    #[test]
    fn a_summary_is_free_of_what_answers_must_obey() {
        let words = ["--regex", "a", "--stop", "b", "--max-tokens", "3", "--temp", "0.5"];
        let line = parse(&words).unwrap();
        let recipe = Recipe::new(&line.sampling, line.output).unwrap();
        let summary = recipe.summary(Prompt::Tokens(vec![1]));
        assert!(summary.constraint.is_none() && summary.stop.is_empty());
        assert_eq!((summary.max_tokens, summary.overflow), (SUMMARY_TOKENS, Overflow::DropOldest));
        assert_eq!(summary.sampling.temperature, 0.5);
    }

    #[test]
    fn a_constraint_file_is_read_and_bounded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}").unwrap();
        let path = file.path().to_str().unwrap();
        let line = parse(&["--json-schema", path]).unwrap();
        let recipe = Recipe::new(&line.sampling, line.output).unwrap();
        let generate = recipe.generate(Prompt::Tokens(vec![1]));
        assert!(matches!(generate.constraint, Some(Constraint::JsonSchema(text)) if text == "{}"));
        assert!(generate.loop_detector && generate.max_tokens == 1024);

        file.as_file().set_len(CONSTRAINT_CAP + 1).unwrap();
        let line = parse(&["--lark", path]).unwrap();
        let error = Recipe::new(&line.sampling, line.output).err().unwrap().to_string();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }
}

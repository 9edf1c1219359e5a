//! Messages between the gateway and a sealed engine: what may be asked and what comes back.
//!
//! Plain serde types without framing (see `hearth-cell` for frames) and without any API dialect
//! (see the server). Every list and string that crosses the pipe is bounded by the frame limit;
//! a value larger than one frame (rows of logits) is sent as several events.

mod adapter;
mod bench;
mod embed;
mod import;
mod kept;
mod plain;

pub use adapter::{AdapterFile, AdapterPart, AdapterUse};
pub use bench::{BenchPlan, BenchReport, OpTime, Probe};
pub use embed::{Embed, EmbedInput, Embedded};
pub use import::{Folder, Import, ImportPlan, Imported, MatrixType};
pub use kept::{Keep, KeptPart};

use serde::{Deserialize, Serialize};

/// Facts the sealed child cannot look up itself, because it reads no file and no clock zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Worker threads to use for compute (already bounded by cores and cgroup quota).
    pub threads: usize,
    /// Today's date as `YYYY-MM-DD`, for chat templates.
    pub date: String,
    /// Number of model parts inherited as descriptors, in order.
    pub parts: usize,
    /// How the weights and the cache are kept.
    pub load: LoadOptions,
    /// The parts are the files of this folder, to be imported; they are no model to run.
    pub folder: Option<Folder>,
}

/// How a model is loaded. Part of [`Hello`], because the child maps the model right after sealing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadOptions {
    /// Element type of the KV cache.
    pub kv: KvKind,
    /// Context limit in tokens; `None` takes the model's own, bounded by the engine's default.
    pub ctx: Option<usize>,
    /// Stop after the metadata and tokenizer: no tensor is read (tokenize, show).
    pub vocab_only: bool,
    /// How many of the parts, at the end, are those of a draft model: a smaller one whose guesses
    /// are checked.
    pub draft_parts: usize,
    /// Lay weights out for this machine; otherwise they stay in the file's map, which takes the
    /// least memory and is slow.
    pub repack: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { kv: KvKind::F16, ctx: None, vocab_only: false, draft_parts: 0, repack: true }
    }
}

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvKind {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Whole numbers of 8 bits with a scale for 32 of them.
    Q8,
    /// As [`Self::Q8`], of 4 bits, after a rotation that makes the elements of a head alike.
    Q4,
}

/// One request; `id` is chosen by the gateway and returned in every event of that request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the gateway, unique among running requests.
    pub id: u64,
    /// What to do.
    pub job: Job,
}

/// What a request asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Produce text.
    Generate(Box<Generate>),
    /// Token ids of these bytes.
    Tokenize {
        /// Text, byte for byte.
        text: Vec<u8>,
        /// Add the special tokens the model's metadata asks for (bos, eos).
        add_special: bool,
        /// Read special tokens written in the text as such; otherwise they are text.
        parse_special: bool,
    },
    /// Text of these ids.
    Detokenize {
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// Logits after every one of these tokens, as [`Event::Logits`] rows.
    Logits {
        /// Token ids; no special token is added.
        tokens: Vec<u32>,
        /// What they go through besides the model.
        adapters: Vec<AdapterUse>,
    },
    /// Perplexity of a text by llama-perplexity's method (chunks of `ctx`, second half scored).
    Perplexity {
        /// The text.
        text: Vec<u8>,
        /// Tokens in a chunk.
        ctx: usize,
    },
    /// Timed runs on fixed ids.
    Bench(BenchPlan),
    /// Facts about the loaded file.
    Describe,
    /// Stop the running request of this id; it ends with [`Finish::Cancelled`].
    Cancel {
        /// The request to stop.
        target: u64,
    },
    /// Drop every cached sequence.
    Clear,
    /// A row for each of some texts, as [`Event::Embedded`].
    Embed(Embed),
    /// Hand out what is computed of a sequence, as [`Event::Kept`], or take it in again.
    Keep(Keep),
    /// Take in the next part of an adapter.
    Adapter(AdapterPart),
    /// Of a child that imports: say what the file will be, or send it, as [`Event::Imported`].
    Import(Import),
}

/// Input and limits of one generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generate {
    /// What to continue.
    pub prompt: Prompt,
    /// Most tokens to produce.
    pub max_tokens: usize,
    /// Sampling settings.
    pub sampling: Sampling,
    /// Output ends before the first of these strings.
    pub stop: Vec<String>,
    /// What the output must match.
    pub constraint: Option<Constraint>,
    /// Report the log-probabilities of this many best tokens at each position.
    pub top_logprobs: Option<usize>,
    /// Stop when the output repeats one cycle exactly (>= 8 times over >= 256 tokens).
    pub loop_detector: bool,
    /// Guess tokens and check several in one pass; the output is the same.
    pub speculate: bool,
    /// What it goes through besides the model; they add up.
    pub adapters: Vec<AdapterUse>,
    /// Only requests of the same salt share what was computed for a common beginning.
    pub salt: u64,
    /// What to do when prompt and `max_tokens` do not fit the context.
    pub overflow: Overflow,
}

/// The input of a generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Prompt {
    /// Text as it is; no template. Special tokens in it are text.
    Raw(String),
    /// Token ids as they are.
    Tokens(Vec<u32>),
    /// Messages rendered by the model's chat template.
    Chat {
        /// The conversation.
        messages: Vec<Message>,
        /// Tool definitions as a JSON array, empty for none.
        tools_json: String,
    },
}

/// One chat message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub content: String,
    /// Name of the speaker, or of the tool that answers.
    pub name: Option<String>,
    /// The tool calls of an assistant's message, as a JSON array.
    pub tool_calls_json: Option<String>,
    /// Which tool call a `tool` message answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message of text alone.
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: content.to_owned(),
            name: None,
            tool_calls_json: None,
            tool_call_id: None,
        }
    }
}

/// What the output must match.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Constraint {
    /// A JSON Schema document.
    JsonSchema(String),
    /// A regular expression.
    Regex(String),
    /// A Lark grammar.
    Lark(String),
}

/// What to do with an input that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// Refuse, naming the exact counts.
    Error,
    /// Drop the oldest messages after the system message (chat only).
    DropOldest,
    /// Keep the end of the prompt.
    KeepEnd,
}

/// Sampling settings, in llama.cpp's order and meaning; the neutral value of each turns it off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 means greedy.
    pub temperature: f32,
    /// Keep the best k; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set with this probability mass; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens below this share of the best one's probability; 0 keeps all.
    pub min_p: f32,
    /// Locally typical sampling; 1 is off.
    pub typical_p: f32,
    /// Repetition penalty over `repeat_last_n` tokens; 1 is off.
    pub repeat_penalty: f32,
    /// Tokens looked back at by the penalties; 0 is off, -1 the whole context.
    pub repeat_last_n: i32,
    /// Subtracted per occurrence.
    pub frequency_penalty: f32,
    /// Subtracted once for a token that occurred.
    pub presence_penalty: f32,
    /// DRY strength; 0 is off.
    pub dry_multiplier: f32,
    /// DRY growth per repeated token.
    pub dry_base: f32,
    /// Longest repeat that DRY leaves alone.
    pub dry_allowed_length: i32,
    /// Tokens DRY looks back at; 0 is off, -1 the whole context.
    pub dry_penalty_last_n: i32,
    /// Strings that end a DRY match.
    pub dry_sequence_breakers: Vec<String>,
    /// Chance that XTC applies; 0 is off.
    pub xtc_probability: f32,
    /// XTC removes all but the last token above this probability.
    pub xtc_threshold: f32,
    /// Mirostat 2: `Some((tau, eta))` replaces the truncating samplers.
    pub mirostat: Option<(f32, f32)>,
    /// Added to a token's logit.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    /// Deterministic: greedy, every other sampler off.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: -1,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).to_vec(),
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            mirostat: None,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// What comes back. Events of one request arrive in order and end with `Done` or `Failed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The model is loaded; sent once, before any answer. (What the seal reached is said earlier,
    /// by `hearth-cell` itself.)
    Ready {
        /// Milliseconds from the seal to here.
        load_ms: f64,
    },
    /// The model could not be loaded; the child exits after it.
    LoadFailed(Failure),
    /// Long work goes on: `done` of `total` units of `stage`.
    Progress {
        /// The request, or 0 while loading.
        id: u64,
        /// What is being done.
        stage: Stage,
        /// Units finished.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// A piece of output: whole characters only.
    Text {
        /// The request.
        id: u64,
        /// The text, possibly empty when only log-probabilities are new.
        text: String,
        /// Log-probabilities of the tokens behind it, if asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// Token ids (answer to `Tokenize`).
    Tokens {
        /// The request.
        id: u64,
        /// The ids.
        tokens: Vec<u32>,
    },
    /// One or more rows of logits, row-major.
    Logits {
        /// The request.
        id: u64,
        /// Values in a row (the vocabulary).
        width: usize,
        /// The rows.
        values: Vec<f32>,
    },
    /// Answer to `Perplexity`.
    Perplexity {
        /// The request.
        id: u64,
        /// Perplexity over the scored tokens.
        ppl: f64,
        /// Tokens scored.
        tokens: u64,
    },
    /// Answer to `Bench`.
    Bench {
        /// The request.
        id: u64,
        /// The medians.
        report: BenchReport,
    },
    /// Answer to `Describe`.
    Described {
        /// The request.
        id: u64,
        /// The facts.
        card: Box<ModelCard>,
    },
    /// Answer to `Keep::Out`.
    Kept {
        /// The request.
        id: u64,
        /// The next part.
        part: KeptPart,
    },
    /// Answer to `Embed`, one for each text, in their order.
    Embedded {
        /// The request.
        id: u64,
        /// The row.
        row: Embedded,
    },
    /// Answer to `Import`.
    Imported {
        /// The request.
        id: u64,
        /// The plan, or the next piece.
        part: Imported,
    },
    /// The request ended well.
    Done {
        /// The request.
        id: u64,
        /// Why and how fast.
        stats: Stats,
    },
    /// The request ended with an error; the engine goes on.
    Failed {
        /// The request.
        id: u64,
        /// What went wrong.
        failure: Failure,
    },
}

impl Event {
    /// The request it belongs to; 0 for the events of loading.
    #[must_use]
    pub fn id(&self) -> u64 {
        match *self {
            Self::Ready { .. } | Self::LoadFailed(_) => 0,
            Self::Progress { id, .. }
            | Self::Text { id, .. }
            | Self::Tokens { id, .. }
            | Self::Logits { id, .. }
            | Self::Perplexity { id, .. }
            | Self::Bench { id, .. }
            | Self::Described { id, .. }
            | Self::Kept { id, .. }
            | Self::Embedded { id, .. }
            | Self::Imported { id, .. }
            | Self::Done { id, .. }
            | Self::Failed { id, .. } => id,
        }
    }

    /// Nothing follows it for its request.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Ready { .. } | Self::LoadFailed(_) | Self::Done { .. } | Self::Failed { .. }
        )
    }
}

/// A kind of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Reading and packing weights (bytes).
    Load,
    /// Reading a prompt (tokens).
    Prefill,
    /// Scoring a text (chunks).
    Perplexity,
    /// Timed runs.
    Bench,
    /// Reading texts (texts).
    Embed,
}

/// Log-probability of one output token and of the best others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Token id.
    pub token: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the unmodified logits.
    pub logprob: f32,
    /// The best tokens: id, bytes, log-probability; best first.
    pub top: Vec<(u32, Vec<u8>, f32)>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended its answer, a stop string came, or the constraint is complete.
    Stop,
    /// `max_tokens` or the context limit.
    Length,
    /// The loop detector.
    Loop,
    /// Cancelled by the gateway.
    Cancelled,
}

/// Figures of one finished request.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, taken from the cache.
    pub cached_tokens: u64,
    /// Tokens produced.
    pub output_tokens: u64,
    /// Tokens that were guessed and checked.
    pub guessed_tokens: u64,
    /// Of these, the ones that came true.
    pub accepted_tokens: u64,
    /// Milliseconds spent on the prompt.
    pub prefill_ms: f64,
    /// Milliseconds spent on the output.
    pub decode_ms: f64,
    /// Tokens now in the context, and its limit.
    pub context: (u64, u64),
}

/// An error that crosses the pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of error, for exit codes and API errors.
    pub kind: FailureKind,
    /// What was found, what was expected and the next step; one or a few lines.
    pub message: String,
}

/// Kinds of error that a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The file is not a valid model.
    Model,
    /// The file may be a valid model, of a kind that this version does not run.
    Unsupported,
    /// The same of one part of a split file, counted from 1: the gateway knows its name.
    Part(usize),
    /// The request is wrong: a parameter, a schema, a missing template.
    Request,
    /// The input does not fit the context.
    TooLong,
    /// Memory ran out.
    Memory,
    /// A defect of the engine.
    Internal,
}

/// What a model file says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    /// `general.name`, if present.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: String,
    /// `general.license`, if present.
    pub license: Option<String>,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all parts.
    pub file_bytes: u64,
    /// Tensor types and how many bytes each holds, largest first.
    pub tensor_types: Vec<(String, u64)>,
    /// Trained context length, if stated.
    pub context_length: Option<u64>,
    /// Embedding width, if stated.
    pub embedding_length: Option<u64>,
    /// Layers, if stated.
    pub block_count: Option<u64>,
    /// Vocabulary size, if the tokenizer can be used or the file states it.
    pub vocab_size: Option<u64>,
    /// Tokenizer kind and pre-tokenizer.
    pub tokenizer: String,
    /// The chat template, if the file has one.
    pub chat_template: Option<String>,
    /// SHA-256 of a template that can be used, in hexadecimal.
    pub chat_template_sha256: Option<String>,
    /// `general.file_type`, if present: the number that names the mix of tensor types.
    pub file_type: Option<u64>,
    /// Why the chat template cannot be used.
    pub chat_template_error: Option<String>,
    /// This version runs the architecture.
    pub supported: bool,
    /// All other metadata, rendered short.
    pub metadata: Vec<(String, String)>,
}

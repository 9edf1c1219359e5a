//! One loaded file answering the jobs of [`protocol`](crate::protocol): the engine's front. It owns
//! the model, the tokenizer, the template and what runs; `worker` feeds it requests.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hearth_kernels::pool::Pool;

use crate::adapter::Adapters;
use crate::arch::Config;
use crate::batch::Batch;
use crate::bench;
use crate::block::Stopped;
use crate::describe::describe;
use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::grammar::GrammarEnv;
use crate::kept::{Incoming, make};
use crate::model::Model;
use crate::perplexity::perplexity;
use crate::protocol::{
    AdapterUse, BenchPlan, Event, Failure, FailureKind, Finish, Job, KvKind, LoadOptions, Stage,
    Stats,
};
use crate::session::{PREFILL_CHUNK, Sequence, Session};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::worker::Host;

/// What of a file was loaded to compute with.
enum Loaded {
    /// Nothing: its vocabulary is enough.
    Vocabulary,
    /// A model that writes.
    Decoder(Box<Model>),
    /// A model that reads.
    Encoder(Box<Encoder>),
}

impl Loaded {
    fn decoder(&self) -> Result<&Model, Failure> {
        match self {
            Self::Decoder(model) => Ok(model),
            Self::Vocabulary => Err(vocabulary_only()),
            Self::Encoder(_) => Err(request(
                "this model reads texts and writes none: use `hearth embed` or `hearth rerank`",
            )),
        }
    }

    fn encoder(&self) -> Result<&Encoder, Failure> {
        match self {
            Self::Encoder(encoder) => Ok(encoder),
            Self::Vocabulary => Err(vocabulary_only()),
            Self::Decoder(_) => Err(request(
                "this model writes text and gives no embeddings: take an encoder, such as a BERT",
            )),
        }
    }
}

fn vocabulary_only() -> Failure {
    request("only the vocabulary of this file was loaded")
}

/// A loaded file.
pub struct Engine {
    pub(crate) gguf: Gguf,
    loaded: Loaded,
    tokenizer: Result<Tokenizer, String>,
    template: Result<Option<ChatTemplate>, String>,
    grammar: Option<GrammarEnv>,
    batch: Batch,
    pub(crate) adapters: Adapters,
    /// What computes keys and values here, in words.
    pub(crate) make: String,
    /// A kept sequence on its way in.
    pub(crate) incoming: Option<Incoming>,
    kv: KvKind,
    date: String,
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Loads a file for `threads` threads. `date` (YYYY-MM-DD) is what chat templates may print;
    /// `progress` hears bytes done and bytes in all.
    ///
    /// # Errors
    /// The file is no model that this version runs. An unusable tokenizer or template is no error
    /// here: jobs that need it say so.
    pub fn load(
        gguf: Gguf,
        options: &LoadOptions,
        threads: usize,
        date: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Engine, ModelError> {
        let pool = Pool::new(threads);
        let stop = pool.stop_flag();
        let loaded = match Encoder::config(&gguf)? {
            _ if options.vocab_only => Loaded::Vocabulary,
            Some(config) => {
                let encoder = Encoder::load(&gguf, config, options.repack, pool, &stop, progress)?;
                Loaded::Encoder(encoder.into())
            }
            None => Loaded::Decoder(Model::load(&gguf, options, pool, &stop, progress)?.into()),
        };
        let model = loaded.decoder().ok();
        Ok(Engine {
            tokenizer: Tokenizer::from_gguf(&gguf).map_err(|error| error.to_string()),
            template: ChatTemplate::from_gguf(&gguf).map_err(|error| error.to_string()),
            batch: Batch::new(model.map_or(0, |model| model.ctx), options.kv),
            make: model.map_or_else(String::new, |model| make(model, options)),
            adapters: Adapters::default(),
            incoming: None,
            grammar: None,
            kv: options.kv,
            date: date.to_owned(),
            gguf,
            loaded,
            stop,
        })
    }

    /// Lets a smaller model guess tokens; the output stays the same.
    ///
    /// # Errors
    /// The file is no model that this version runs, or its vocabulary is another one.
    pub fn with_draft(
        mut self,
        gguf: &Gguf,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Engine, ModelError> {
        let Loaded::Decoder(model) = &self.loaded else { return Ok(self) };
        if let Ok(ours) = &self.tokenizer {
            let theirs = Tokenizer::from_gguf(gguf)
                .map_err(|error| ModelError::Unsupported(error.to_string()))?;
            if let Some(why) = ours.differs_from(&theirs) {
                return Err(ModelError::Unsupported(format!(
                    "its vocabulary is not the model's ({why}); take a smaller model of the same \
                     family"
                )));
            }
        }
        let ctx = Some(Config::read(gguf.meta())?.n_ctx_train.min(model.ctx));
        let options = LoadOptions { kv: self.kv, ctx, ..LoadOptions::default() };
        let draft = Model::load(gguf, &options, Arc::clone(&model.pool), &self.stop, progress)?;
        self.batch.set_draft(draft, model.weights.n_vocab());
        Ok(self)
    }

    /// The tokenizer, or why there is none.
    pub(crate) fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        self.tokenizer.as_ref().map_err(|reason| Failure {
            kind: FailureKind::Model,
            message: format!("this file's tokenizer cannot be used: {reason}"),
        })
    }

    /// The chat template, or why there is none.
    pub(crate) fn template(&self) -> Result<&ChatTemplate, Failure> {
        let reason = match &self.template {
            Ok(Some(template)) => return Ok(template),
            Ok(None) => {
                "it has no chat template: it is a base model, which continues text".to_owned()
            }
            Err(reason) => format!("its chat template cannot be used: {reason}"),
        };
        let message =
            format!("this model cannot chat: {reason}. Use `--raw` to continue plain text");
        Err(Failure { kind: FailureKind::Request, message })
    }

    /// What chat templates may print as today.
    pub(crate) fn date(&self) -> &str {
        &self.date
    }

    /// The model.
    pub(crate) fn model(&self) -> Result<&Model, Failure> {
        self.loaded.decoder()
    }

    /// The model, if it is one that reads.
    pub(crate) fn encoder(&self) -> Result<&Encoder, Failure> {
        self.loaded.encoder()
    }

    /// The model, and what runs on it.
    pub(crate) fn computing(&mut self) -> Result<(&Model, &mut Batch), Failure> {
        Ok((self.loaded.decoder()?, &mut self.batch))
    }

    /// The vocabulary as grammars see it, built when first needed.
    pub(crate) fn grammar(&mut self) -> Result<&GrammarEnv, Failure> {
        if self.grammar.is_none() {
            let env =
                GrammarEnv::new(self.tokenizer()?).map_err(|error| request(&error.to_string()))?;
            self.grammar = Some(env);
        }
        self.grammar.as_ref().ok_or_else(|| request("no grammar"))
    }

    /// Refuses ids that the model has no row for.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), Failure> {
        let model = self.model()?;
        let (vocab, ctx) = (model.weights.n_vocab(), model.ctx);
        if let Some(bad) = tokens.iter().find(|&&token| token as usize >= vocab) {
            return Err(request(&format!("token {bad} is outside the vocabulary of {vocab}")));
        }
        if tokens.is_empty() {
            return Err(request("the input has no token"));
        }
        if tokens.len() > ctx {
            let message = format!(
                "the input has {} tokens and the context holds {ctx}: shorten it or raise `--ctx`",
                tokens.len()
            );
            return Err(Failure { kind: FailureKind::TooLong, message });
        }
        Ok(())
    }

    fn logits(
        &mut self,
        id: u64,
        tokens: &[u32],
        adapters: &[AdapterUse],
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        self.check_tokens(tokens)?;
        let adapters = self.adapters.find(adapters)?;
        let kv = self.kv;
        let model = self.model()?;
        let width = model.weights.n_vocab();
        let start = Instant::now();
        let mut session = Session::with(Sequence::new(model, kv).through(adapters));
        let result = session.all_logits(model, tokens, PREFILL_CHUNK, &mut |rows| {
            // A row of a large vocabulary is about a megabyte: sent row by row, no frame is near
            // its limit.
            for row in rows.chunks_exact(width) {
                out(Event::Logits { id, width, values: row.to_vec() });
            }
        });
        Ok(stats(result, tokens.len(), start))
    }

    fn perplexity(
        &mut self,
        id: u64,
        text: &[u8],
        ctx: usize,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        let tokenizer = self.tokenizer()?;
        let tokens = tokenizer.encode(text, true, false);
        let bos = tokenizer.adds_bos().then(|| tokenizer.bos()).flatten();
        let kv = self.kv;
        let model = self.model()?;
        if ctx < 4 || ctx > model.config.n_ctx_train || tokens.len() < ctx {
            return Err(request(&format!(
                "perplexity with `--ctx {ctx}` needs 4 to {} tokens a chunk and at least one \
                 whole chunk; the text has {} tokens",
                model.config.n_ctx_train,
                tokens.len()
            )));
        }
        let start = Instant::now();
        let result = perplexity(model, kv, &tokens, ctx, bos, &mut |done, total| {
            out(Event::Progress { id, stage: Stage::Perplexity, done, total });
        });
        if let Ok(result) = result {
            out(Event::Perplexity { id, ppl: result.ppl, tokens: result.tokens });
        }
        Ok(stats(result.map(|_| ()), tokens.len(), start))
    }

    fn bench(
        &mut self,
        id: u64,
        plan: BenchPlan,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        let kv = self.kv;
        let model = self.model()?;
        let longest = model.config.n_ctx_train;
        let each = plan.depth.saturating_add(plan.prompt).saturating_add(plan.generate);
        if plan.prompt == 0 || plan.runs == 0 || plan.sequences == 0 || each > longest {
            return Err(request(&format!(
                "bench needs at least one prompt token, one sequence and one run, and at most \
                 {longest} tokens in a sequence"
            )));
        }
        let start = Instant::now();
        let result = bench::bench(model, kv, plan, &mut |done, total| {
            out(Event::Progress { id, stage: Stage::Bench, done, total });
        });
        Ok(stats(result.map(|report| out(Event::Bench { id, report })), plan.prompt, start))
    }
}

impl Host for Engine {
    fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    fn handle(
        &mut self,
        id: u64,
        job: Job,
        out: &mut dyn FnMut(Event),
    ) -> Result<Option<Stats>, Failure> {
        let start = Instant::now();
        let done = |count| Ok(stats(Ok(()), count, start));
        let stats = match job {
            Job::Generate(request) => return self.admit(id, &request).map(|()| None),
            Job::Tokenize { text, add_special, parse_special } => {
                let tokens = self.tokenizer()?.encode(&text, add_special, parse_special);
                let count = tokens.len();
                // Far below what a frame holds, whatever the ids.
                for tokens in tokens.chunks(1 << 20) {
                    out(Event::Tokens { id, tokens: tokens.to_vec() });
                }
                done(count)
            }
            Job::Detokenize { tokens } => {
                let mut decoder = self.tokenizer()?.decoder();
                let mut text: String = tokens.iter().map(|&token| decoder.push(token)).collect();
                text.push_str(&decoder.finish());
                out(Event::Text { id, text, logprobs: Vec::new() });
                done(tokens.len())
            }
            Job::Logits { tokens, adapters } => self.logits(id, &tokens, &adapters, out),
            Job::Perplexity { text, ctx } => self.perplexity(id, &text, ctx, out),
            Job::Bench(plan) => self.bench(id, plan, out),
            Job::Describe => {
                let template = self.template.as_ref().map(Option::as_ref).map_err(Clone::clone);
                let tokenizer = self.tokenizer.as_ref().map_err(Clone::clone);
                let card = Box::new(describe(&self.gguf, tokenizer, template)?);
                out(Event::Described { id, card });
                done(0)
            }
            Job::Adapter(part) => {
                self.adapters.take(self.loaded.decoder()?, &self.gguf, part)?;
                done(0)
            }
            Job::Keep(job) => self.keep(id, job, out),
            Job::Embed(job) => self.embed(id, &job, out),
            Job::Clear => {
                self.incoming = None;
                self.batch.forget();
                done(0)
            }
            Job::Import(_) => return Err(request("this process runs a model and imports none")),
            Job::Cancel { .. } => done(0),
        };
        stats.map(Some)
    }

    fn running(&self) -> Vec<u64> {
        self.batch.running()
    }

    fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    fn turn(&mut self, out: &mut dyn FnMut(Event)) {
        if let Loaded::Decoder(model) = &self.loaded {
            self.batch.turn(model, out);
        }
    }

    fn cancel(&mut self, id: u64, out: &mut dyn FnMut(Event)) {
        if let Loaded::Decoder(model) = &self.loaded {
            self.batch.cancel(model, id, out);
        }
    }

    fn reset(&mut self) {
        self.incoming = None;
        self.batch.reset();
    }
}

/// A request that cannot be done, with the reason.
pub(crate) fn request(message: &str) -> Failure {
    Failure { kind: FailureKind::Request, message: message.to_owned() }
}

/// Figures of a job that reads tokens and produces none.
pub(crate) fn stats(result: Result<(), Stopped>, prompt_tokens: usize, start: Instant) -> Stats {
    let finish = if result.is_ok() { Finish::Stop } else { Finish::Cancelled };
    Stats {
        prompt_tokens: prompt_tokens as u64,
        prefill_ms: start.elapsed().as_secs_f64() * 1e3,
        ..Stats::ended(finish)
    }
}

//! The beginning of a generation: prompt to ids, sampler and constraint. `answer.rs` goes on.

use crate::answer::{Answer, Choose};
use crate::grammar::Matcher;
use crate::host::{Engine, request};
use crate::protocol::{Failure, FailureKind, Generate, Message, Overflow, Prompt};
use crate::sample::{Sampler, dry_breakers};

impl Engine {
    /// Takes a generation in; it goes on in turns with the others.
    pub(crate) fn admit(&mut self, id: u64, job: &Generate) -> Result<(), Failure> {
        let adapters = self.adapters.find(&job.adapters)?;
        let prompt = self.prompt_tokens(job)?;
        self.check_tokens(&prompt)?;
        let (mut sampler, matcher) = self.choosers(job)?;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let choose = Choose { sampler, matcher };
        let tokenizer = self.tokenizer().ok().cloned();
        let room = self.model()?.ctx - prompt.len();
        let answer = Answer::new(id, job, choose, tokenizer, (&prompt, room))?;
        let (model, batch) = self.computing()?;
        batch.admit(model, id, answer, prompt, (job.salt, adapters));
        Ok(())
    }

    /// The sampler and the constraint of a request.
    fn choosers(&mut self, job: &Generate) -> Result<(Sampler, Option<Matcher>), Failure> {
        let model = self.model()?;
        let (vocab, ctx) = (model.weights.n_vocab(), model.ctx);
        let breakers = match self.tokenizer() {
            Ok(tokenizer) if job.sampling.dry_multiplier != 0.0 => dry_breakers(
                &job.sampling.dry_sequence_breakers,
                vocab,
                |token| tokenizer.token_bytes(token),
                |text| tokenizer.encode(text, false, false),
            ),
            _ => Vec::new(),
        };
        let sampler = Sampler::new(&job.sampling, vocab, breakers, ctx)
            .map_err(|error| request(&error.to_string()))?;
        let matcher = match &job.constraint {
            None => None,
            Some(constraint) => Some(
                Matcher::new(constraint, self.grammar()?)
                    .map_err(|error| request(&error.to_string()))?,
            ),
        };
        Ok((sampler, matcher))
    }

    /// The ids of the prompt, cut only by the strategy that the request names.
    fn prompt_tokens(&mut self, job: &Generate) -> Result<Vec<u32>, Failure> {
        let model = self.model()?;
        let ctx = model.ctx;
        // One place is needed for the first new token.
        let room = ctx.saturating_sub(1);
        let mut tokens = match &job.prompt {
            Prompt::Tokens(_) | Prompt::Raw(_) => self.ids(&job.prompt)?,
            Prompt::Chat { messages, tools_json } => {
                let mut messages = messages.clone();
                loop {
                    let tokens = self.render(&messages, tools_json)?;
                    let drop = job.overflow == Overflow::DropOldest && tokens.len() > room;
                    match messages.iter().position(|message| message.role != "system") {
                        // The last message is what is being answered: it is never dropped.
                        Some(oldest) if drop && oldest + 1 < messages.len() => {
                            messages.remove(oldest);
                        }
                        _ => break tokens,
                    }
                }
            }
        };
        if tokens.len() > room && job.overflow == Overflow::KeepEnd {
            tokens.drain(..tokens.len() - room);
        }
        if tokens.len() > room {
            let message = format!(
                "the prompt has {} tokens; the context of {ctx} holds {room} and one new token. \
                 Shorten it, raise `--ctx`, or choose `--overflow drop-oldest` or `keep-end`",
                tokens.len()
            );
            return Err(Failure { kind: FailureKind::TooLong, message });
        }
        Ok(tokens)
    }

    /// The ids of a prompt, however many they are.
    pub(crate) fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>, Failure> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Raw(text) => Ok(self.tokenizer()?.encode(text.as_bytes(), true, false)),
            Prompt::Chat { messages, tools_json } => self.render(messages, tools_json),
        }
    }

    /// Messages to ids: special tokens count in the template's own text, never in a message.
    fn render(&self, messages: &[Message], tools_json: &str) -> Result<Vec<u32>, Failure> {
        let (tokenizer, template) = (self.tokenizer()?, self.template()?);
        let guarded: Vec<Message> = messages
            .iter()
            .map(|message| Message {
                content: tokenizer.guard(&message.content).into_owned(),
                ..message.clone()
            })
            .collect();
        let text = template
            .render(&guarded, tools_json, self.date(), true)
            .map_err(|error| request(&error.to_string()))?;
        let mut tokens = tokenizer.encode_guarded(&text);
        // Most templates write bos themselves; the others rely on the tokenizer's setting.
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        if let Some(bos) = bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }
}

//! Special tokens: which there are, which end an answer, and where text names them.
//!
//! Files often leave the type or the role of a special token out, so that well-known names count
//! too; they are listed here once, as llama.cpp has them.

use crate::gguf::Meta;

use super::error::TokenizerError;
use super::load::Family;
use super::prefix::PrefixIndex;
use super::vocab::{Kind, Vocab};

/// Names of tokens that end a turn; the first one that a vocabulary has is its `eot` if no key
/// names it.
const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];

/// Names of other tokens that end an answer.
const END_OF_GENERATION: &[&str] = &[
    "<|eom_id|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    // Padding and borders between files, in models that fill in code.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Names of control tokens that end nothing.
const OTHER_CONTROL: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];

/// Keys of further tokens that end an answer.
const END_KEYS: &[&str] = &[
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// The tokens with a role.
#[derive(Default)]
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) eot: Option<u32>,
    pub(super) separator: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// Tokens that end an answer, sorted.
    pub(super) ends: Vec<u32>,
}

impl SpecialTokens {
    /// Reads the roles, and marks tokens with a well-known name as control tokens.
    pub(super) fn read(
        meta: &Meta,
        family: Family,
        vocab: &mut Vocab,
    ) -> Result<SpecialTokens, TokenizerError> {
        let id = |key| special_id(meta, key, vocab.len());
        let usual = |id: u32| ((id as usize) < vocab.len()).then_some(id);
        let mut special = SpecialTokens {
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            eot: id("tokenizer.ggml.eot_token_id")?,
            separator: id("tokenizer.ggml.seperator_token_id")?,
            unknown: id("tokenizer.ggml.unknown_token_id")?,
            ends: Vec::new(),
        };
        for key in END_KEYS {
            special.ends.extend(id(key)?);
        }
        // Where the file is silent: the ids that the family has always had.
        match family {
            Family::Bpe | Family::BpeOfLines => {}
            Family::SentencePiece => {
                special.bos = special.bos.or(usual(1));
                special.eos = special.eos.or(usual(2));
                special.unknown = special.unknown.or(usual(0));
            }
            Family::WordPiece => {
                let class = id("tokenizer.ggml.cls_token_id")?;
                special.bos = special.bos.or(class).or(usual(101));
                special.separator = special.separator.or(usual(102));
                special.unknown = special.unknown.or(usual(100));
            }
            Family::Unigram => {
                special.eos = special.eos.or(usual(1));
                special.unknown = special.unknown.or(usual(2));
            }
        }
        special.find_by_name(vocab);
        Ok(special)
    }

    fn find_by_name(&mut self, vocab: &mut Vocab) {
        let find = |name: &&str| vocab.find(name.as_bytes());
        let turn_ends: Vec<u32> = END_OF_TURN.iter().filter_map(find).collect();
        let others = OTHER_CONTROL.iter().filter_map(find).collect::<Vec<_>>();
        self.eot = self.eot.or(turn_ends.first().copied());
        self.ends.extend(&turn_ends);
        self.ends.extend(END_OF_GENERATION.iter().filter_map(find));
        // `</s>` is also a tag of HTML, so that it counts only with control tokens of that style.
        let control =
            |name: &[u8]| vocab.find(name).is_some_and(|id| vocab.kind(id) == Kind::Control);
        if control(b"<s>") || control(b"</s>") {
            self.ends.extend(vocab.find(b"</s>"));
        }
        let by_name = self.ends.clone();
        self.ends.extend(self.eos.iter().chain(&self.eot));
        // With `<|return|>` and `<|call|>`, `<|end|>` only ends a part of the answer.
        let has = |name: &str| vocab.find(name.as_bytes()).is_some();
        let parts =
            (has("<|return|>") && has("<|call|>")) || (has("<|calls|>") && has("<|flush|>"));
        if parts && let Some(end) = vocab.find(b"<|end|>") {
            self.ends.retain(|&id| id != end);
        }
        self.ends.sort_unstable();
        self.ends.dedup();
        for id in by_name.into_iter().chain(others) {
            vocab.set_kind(id, Kind::Control);
        }
    }
}

/// The token that `key` names, which must exist.
fn special_id(
    meta: &Meta,
    key: &'static str,
    vocab_size: usize,
) -> Result<Option<u32>, TokenizerError> {
    match meta.u32(key)? {
        Some(found) if found as usize >= vocab_size => {
            Err(TokenizerError::NoSuchToken { key, found, vocab_size })
        }
        id => Ok(id),
    }
}

/// Finds special tokens in text.
pub(super) struct Partition {
    index: PrefixIndex,
    /// Tokens that swallow the spaces after them, sorted.
    swallow_after: Vec<u32>,
    /// The token that swallows the spaces before it.
    swallow_before: Option<u32>,
}

impl Partition {
    /// Files do not say which tokens swallow spaces; it goes by the names of models, as in
    /// llama.cpp.
    pub(super) fn new(meta: &Meta, vocab: &Vocab) -> Result<Partition, TokenizerError> {
        let special =
            |&id: &u32| matches!(vocab.kind(id), Kind::Control | Kind::UserDefined | Kind::Unknown);
        let index = PrefixIndex::new(vocab, vocab.ids().filter(special));
        // Only a hint: a name that is not text names none of these models.
        let name = meta.str("general.name").ok().flatten().unwrap_or_default().to_lowercase();
        let architecture = meta.str("general.architecture")?.unwrap_or_default();
        let pre = meta.str("tokenizer.ggml.pre")?.unwrap_or_default();
        let jina = ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre);
        let mut partition = Partition { index, swallow_after: Vec::new(), swallow_before: None };
        if jina || ["nomic-bert-moe", "jina-bert-v3"].contains(&architecture) {
            partition.swallow_before = vocab.find(b"<mask>");
        } else if name.contains("phi-3") || name.contains("phi3") {
            let keep = [&b"<unk>"[..], b"<s>", b"<|endoftext|>"];
            let swallows = |id: &u32| {
                (special(id) || vocab.text(*id) == b"</s>") && !keep.contains(&vocab.text(*id))
            };
            partition.swallow_after = vocab.ids().filter(swallows).collect();
        } else if name.contains("modern-bert") {
            partition.swallow_before = vocab.find(b"[MASK]");
        }
        Ok(partition)
    }

    /// Whether `text` begins with a token that is found only when special tokens are parsed.
    pub(super) fn control_at(&self, vocab: &Vocab, text: &[u8]) -> bool {
        self.index.longest(vocab, text, |id| vocab.kind(id) != Kind::UserDefined).is_some()
    }

    /// Cuts `text` at special tokens, from the left, the longest first: `piece` gets the text
    /// before each (never empty) and then the token. Control tokens are text unless
    /// `parse_special`; tokens that the model's makers added as words are always found.
    pub(super) fn cut<'a>(
        &self,
        vocab: &Vocab,
        mut text: &'a [u8],
        parse_special: bool,
        mut piece: impl FnMut(Piece<'a>),
    ) {
        let allowed = |id| parse_special || vocab.kind(id) == Kind::UserDefined;
        let mut at = 0;
        while at < text.len() {
            let Some((token, len)) = self.index.longest(vocab, &text[at..], allowed) else {
                at += 1;
                continue;
            };
            let (mut before, mut after) = (&text[..at], &text[at + len..]);
            if self.swallow_before == Some(token) {
                before = trim_end(before);
            }
            if self.swallow_after.binary_search(&token).is_ok() {
                after = trim_start(after);
            }
            if !before.is_empty() {
                piece(Piece::Text(before));
            }
            piece(Piece::Token(token));
            text = after;
            at = 0;
        }
        if !text.is_empty() {
            piece(Piece::Text(text));
        }
    }
}

/// A part of a text.
pub(super) enum Piece<'a> {
    /// Text to encode.
    Text(&'a [u8]),
    /// A special token.
    Token(u32),
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| is_space(byte)).count()..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    &text[..text.len() - text.iter().rev().take_while(|&&byte| is_space(byte)).count()]
}

//! The families of models that are imported: one file each, stating only what differs.
//!
//! What most decoders have alike is in `decoder.rs`; `layout.rs` finds the names of tensors.
//! Everything here follows llama.cpp's converter (`convert_hf_to_gguf.py` at the commit that the
//! oracle pins): the same keys, the same names, the same bytes.

mod bert;
mod decoder;
mod gemma2;
mod gemma3;
mod layout;
mod llama;
mod mistral;
mod nomic_bert;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use super::ImportError;
use super::config::{Config, Default, wrong};
use super::metadata::Metadata;
use layout::Layout;

/// What is known of one family.
pub(super) struct Family {
    /// `architectures` of `config.json`.
    pub(super) classes: &'static [&'static str],
    /// `general.architecture` of the file.
    pub(super) arch: &'static str,
    /// What values mean that `config.json` leaves out.
    pub(super) defaults: &'static [(&'static str, Default)],
    /// Sets the keys of the architecture.
    pub(super) keys: fn(&Config, &mut Metadata) -> Result<(), ImportError>,
    /// How its tensors are called.
    layout: &'static Layout,
    /// Parts of tensor names beside those of the layout, which they come before.
    names: &'static [(&'static str, &'static str)],
    /// The name of a tensor in the layout; `None` for one that is left out.
    pub(super) text_name: fn(&str) -> Option<String>,
    /// What becomes of a tensor of that name.
    pub(super) change: fn(&Config, &str) -> Result<Change, ImportError>,
    /// Tensors that are computed from the configuration.
    pub(super) computed: fn(&Config, &mut Metadata) -> Result<Computed, ImportError>,
    /// How the tokenizer is read.
    pub(super) vocabulary: Vocabulary,
    /// The function within the feed-forward part that its architecture has, by its names.
    pub(super) activations: &'static [&'static str],
    /// It reads a whole text, and files beside its own say how that becomes one row.
    pub(super) pooled: bool,
}

/// Names and elements of tensors that no file has.
pub(super) type Computed = Vec<(&'static str, Vec<f32>)>;

/// What becomes of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Keep,
    /// The halves of each of so many heads, which turn against each other, come to lie row by row
    /// beside each other.
    Interleave { heads: u64 },
    /// Each is one more: norms that are kept as their distance from one.
    AddOne,
    /// Only as many rows stay as the vocabulary has tokens.
    CutToVocabulary,
    /// The tensor is left out.
    Drop,
}

/// What differs in how a tokenizer is read.
#[derive(Clone, Copy)]
pub(super) struct Vocabulary {
    /// How words become tokens.
    pub(super) kind: VocabularyKind,
    /// Whether the file says if a text gets a space in front.
    pub(super) space_prefix: SpacePrefix,
    /// Tokens added to a SentencePiece model are taken as they are written, and from
    /// `tokenizer.json` too.
    pub(super) added_as_written: bool,
    /// With this many tokens no begin token is put before a text, whatever else is said.
    pub(super) no_bos_with: Option<u64>,
}

/// How words become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VocabularyKind {
    /// Two tokens become one, again and again, as the folder's files say.
    Merged,
    /// The longest token from the left, again and again.
    WordPiece,
}

/// What a file says of the space in front of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpacePrefix {
    /// Nothing: there is one where scores count.
    Unsaid,
    /// What `tokenizer_config.json` says.
    Told,
    /// That there is none.
    Never,
}

/// The usual way to read a tokenizer.
const USUAL: Vocabulary = Vocabulary {
    kind: VocabularyKind::Merged,
    space_prefix: SpacePrefix::Unsaid,
    added_as_written: false,
    no_bos_with: None,
};

/// Every family.
static FAMILIES: &[&Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &smollm3::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &bert::FAMILY,
    &nomic_bert::FAMILY,
];

/// The family of a model's class.
pub(super) fn find(class: &str) -> Result<&'static Family, ImportError> {
    FAMILIES.iter().find(|family| family.classes.contains(&class)).copied().ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.classes).copied().collect();
        ImportError::Unsupported(format!(
            "config.json: the architecture is \"{}\"; expected one of {}. A GGUF file of the \
             model, if there is one, may run all the same",
            class.escape_debug(),
            known.join(", ")
        ))
    })
}

/// The family whose files have this architecture.
pub(super) fn of_arch(arch: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.arch == arch)
}

impl Family {
    /// Refuses what the architecture does not do and no key of the file could tell.
    pub(super) fn check(&self, config: &Config) -> Result<(), ImportError> {
        let names = ["hidden_activation", "hidden_act"];
        match names.iter().find_map(|key| config.word(key)) {
            Some(name) if !self.activations.contains(&name) => {
                let found = format!("\"{}\"", name.escape_debug());
                Err(wrong("hidden_act", found, self.activations.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    /// The number of layers that `config.json` says there are.
    pub(super) fn depth(&self, config: &Config) -> Result<u64, ImportError> {
        config.count(self.layout.depth)
    }

    /// Refuses the names of a file's tensors if one is missing that every model has.
    pub(super) fn check_names(&self, names: &[String]) -> Result<(), ImportError> {
        let is_there =
            |needed: &str| names.iter().any(|name| name.strip_suffix(".weight") == Some(needed));
        match self.layout.needed.iter().find(|needed| !is_there(needed)) {
            None => Ok(()),
            Some(name) => Err(self.layout.missing(name)),
        }
    }

    /// The rows of the embedding among tensors of these names and shapes: there are not more
    /// tokens.
    pub(super) fn embedding_rows<'a>(
        &self,
        mut tensors: impl Iterator<Item = (&'a str, &'a [u64])>,
    ) -> Result<u64, ImportError> {
        const EMBEDDING: &str = "token_embd";
        let is_embedding = |(name, _): &(&str, &[u64])| {
            let name = (self.text_name)(name).and_then(|name| self.layout.name_of(&name, &[])?);
            name.is_some_and(|name| name.strip_suffix(".weight") == Some(EMBEDDING))
        };
        let rows = tensors.find(is_embedding).and_then(|(_, shape)| shape.first().copied());
        rows.ok_or_else(|| self.layout.missing(EMBEDDING))
    }

    /// The file's name for a tensor of the folder, or `None` if it is left out.
    pub(super) fn name_of(&self, name: &str) -> Result<Option<String>, ImportError> {
        self.layout.name_of(name, self.names).ok_or_else(|| {
            ImportError::Unsupported(format!(
                "tensor `{}` has no place in the architecture {}; expected the tensors of one of \
                 its models and nothing else",
                name.escape_debug(),
                self.arch
            ))
        })
    }
}

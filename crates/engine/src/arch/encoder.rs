//! Encoders: what a transformer that reads a whole text at once, both ways, needs to know about
//! itself. The mathematics is in `encoder.rs`, which reads only [`EncoderConfig`].

use super::Keys;
use crate::error::ModelError;
use crate::rope::Rope;

/// One architecture of encoders.
pub struct EncoderArch {
    /// Its name in `general.architecture`.
    pub gguf: &'static str,
    /// Reads its metadata.
    pub config: fn(&Keys) -> Result<EncoderConfig, ModelError>,
}

impl EncoderArch {
    /// The architecture of this name, if this version runs it.
    pub fn find(name: &str) -> Option<&'static EncoderArch> {
        super::ENCODERS.iter().copied().find(|arch| arch.gguf == name)
    }
}

/// Facts about one encoder, all that it reads besides the tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Layers.
    pub n_layer: usize,
    /// Width of the rows between layers, and of an embedding.
    pub n_embd: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Heads, of queries as of keys.
    pub n_head: usize,
    /// Most tokens of a text.
    pub n_ctx_train: usize,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// How positions are told.
    pub positions: Positions,
    /// The feed-forward part has a gate (SiLU); without one its activation is gelu.
    pub gated: bool,
    /// What becomes of a text's rows.
    pub pooling: Pooling,
}

impl EncoderConfig {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }
}

/// How an encoder knows where a token stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A learned row for each position is added to the token's.
    Learned,
    /// Queries and keys are turned.
    Rotary(Rope),
}

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    First,
    /// The last one.
    Last,
    /// The first one, which the head scores: of a query and a document, how well they fit.
    Rank,
}

impl Keys<'_> {
    /// What every encoder has; an architecture's file says what differs.
    pub fn encoder(&self, positions: Positions, gated: bool) -> Result<EncoderConfig, ModelError> {
        let (n_embd, n_head) =
            (self.count("embedding_length")?, self.count("attention.head_count")?);
        self.check("attention.head_count", n_head, n_embd % n_head == 0, "a divisor of the width")?;
        let kv = self.count_or("attention.head_count_kv", n_head)?;
        self.check("attention.head_count_kv", kv, kv == n_head, "equal to head_count")?;
        Ok(EncoderConfig {
            n_layer: self.layers()?,
            n_embd,
            n_ff: self.count("feed_forward_length")?,
            n_head,
            n_ctx_train: self.count("context_length")?,
            norm_eps: self.number("attention.layer_norm_epsilon")?,
            positions,
            gated,
            pooling: self.pooling()?,
        })
    }

    /// How a text's rows become one; the mean where the file does not say.
    fn pooling(&self) -> Result<Pooling, ModelError> {
        match self.whole("pooling_type")? {
            None | Some(1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::First),
            Some(3) => Ok(Pooling::Last),
            Some(4) => Ok(Pooling::Rank),
            Some(0) => Err(ModelError::Unsupported(
                "this encoder gives a row for every token and none for the text (pooling 0)".into(),
            )),
            Some(other) => {
                let expected = "1 (mean), 2 (first), 3 (last) or 4 (rank)";
                Err(ModelError::range("pooling_type", other, expected))
            }
        }
    }
}

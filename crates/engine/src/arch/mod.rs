//! Architectures: what a decoder-only transformer needs to know about itself, and the one list of
//! those this program runs. A file of this folder states how one architecture's metadata maps to
//! [`Config`]; the mathematics is in `block.rs` and `reference/`, which read only `Config`.

mod bert;
mod encoder;
mod gemma2;
mod gemma3;
mod gemma3n;
mod gemma4;
mod granite;
mod granitemoe;
mod keys;
mod lfm2;
mod llama;
mod llama4;
mod mistral3;
mod nomic_bert;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen3moe;
mod smollm3;

use crate::error::ModelError;
use crate::gguf::Meta;
use crate::rope::Rope;
pub use encoder::{EncoderArch, EncoderConfig, Pooling, Positions};
pub use hearth_kernels::attention::Window;
pub use hearth_kernels::matmul::Gate;
pub(crate) use keys::Keys;

/// Every architecture that writes, by file.
pub const ARCHS: &[&Arch] = &[
    &gemma2::ARCH,
    &gemma3::ARCH,
    &gemma3n::ARCH,
    &gemma4::ARCH,
    &granite::ARCH,
    &granitemoe::ARCH,
    &lfm2::ARCH,
    &llama::ARCH,
    &llama4::ARCH,
    &mistral3::ARCH,
    &olmo2::ARCH,
    &phi3::ARCH,
    &qwen2::ARCH,
    &qwen2moe::ARCH,
    &qwen3::ARCH,
    &qwen3moe::ARCH,
    &smollm3::ARCH,
];

/// Every architecture that reads a whole text and gives one row for it, by file.
pub const ENCODERS: &[&EncoderArch] = &[
    &bert::ARCH,
    &nomic_bert::ARCH, //
];

/// One architecture.
pub struct Arch {
    /// Its name in `general.architecture`.
    pub gguf: &'static str,
    /// Reads its metadata.
    pub config: fn(&Keys) -> Result<Config, ModelError>,
}

impl Arch {
    /// The architecture of this name, if this version runs it.
    pub fn find(name: &str) -> Option<&'static Arch> {
        ARCHS.iter().copied().find(|arch| arch.gguf == name)
    }
}

/// Facts about one model, all that the forward pass reads besides the tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Width of each layer's feed-forward part; as long as `n_layer`.
    pub n_ff: Vec<usize>,
    /// Heads of the layers that see everything.
    pub heads: Heads,
    /// Heads of the layers with a sliding window.
    pub heads_windowed: Heads,
    /// So many layers have keys and values of their own; each later one reads those of the last
    /// such layer that sees as far as it does.
    pub kv_layers: usize,
    /// Values are normed over each head, without weights.
    pub value_norm: bool,
    /// In a layer without a tensor for values, keys serve as values, before they are normed.
    pub keys_as_values: bool,
    /// Trained context length in tokens.
    pub n_ctx_train: usize,
    /// Epsilon of every RMS norm.
    pub norm_eps: f32,
    /// Activation of the feed-forward gate.
    pub gate: Gate,
    /// The embedding is multiplied by this.
    pub embed_scale: f32,
    /// Scores are multiplied by this before the softmax.
    pub attn_scale: f32,
    /// RMS norms over queries and keys.
    pub qk_norm: QkNorm,
    /// RMS norms before attention and feed-forward.
    pub pre_norm: bool,
    /// RMS norms after attention and feed-forward, before the residual is added.
    pub post_norm: bool,
    /// Rotary embedding of the layers that see everything.
    pub rope: Rope,
    /// Rotary embedding of the layers with a sliding window.
    pub rope_windowed: Rope,
    /// Which layers turn queries and keys by their position at all; as long as `n_layer`.
    pub rotary: Vec<bool>,
    /// What a windowed layer sees.
    pub window: Option<Window>,
    /// Which layers have the window; as long as `n_layer`.
    pub windowed: Vec<bool>,
    /// Queries grow with their position.
    pub temperature: Option<Temperature>,
    /// Scores are squashed to +- this before the softmax.
    pub attn_softcap: Option<f32>,
    /// What a layer adds to the residual stream is multiplied by this.
    pub residual_scale: f32,
    /// Experts in the place of one feed-forward part.
    pub experts: Option<Experts>,
    /// The feed-forward matrices' `.scale` tensors count, those of experts too; llama.cpp, which
    /// defined them, passes over them in most architectures.
    pub ffn_scale: bool,
    /// Logits are multiplied by this.
    pub logit_scale: f32,
    /// Logits are squashed to +- this.
    pub final_softcap: Option<f32>,
    /// Gates that a feed-forward part closes.
    pub cutoff: Option<Cutoff>,
    /// Width of the embedding that every token has for each layer.
    pub per_layer: Option<usize>,
    /// Several residual streams.
    pub streams: Option<Streams>,
    /// Short convolutions in the place of some layers' attention.
    pub short_conv: Option<ShortConv>,
    /// The tensor with the weights of the norm before the head.
    pub output_norm: &'static str,
}

/// The heads of a layer's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub count: usize,
    /// Key and value heads; divides `count`.
    pub kv: usize,
    /// Width of a head.
    pub dim: usize,
}

impl Heads {
    /// Width of all query heads.
    pub fn q_dim(self) -> usize {
        self.count * self.dim
    }

    /// Width of all key (or value) heads.
    pub fn kv_dim(self) -> usize {
        self.kv * self.dim
    }
}

/// In the first layers, only gates far above the mean of their row open, by what they are above
/// the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cutoff {
    /// How many layers.
    pub layers: usize,
    /// The limit is so many standard deviations above the mean.
    pub deviations: f32,
}

/// Several residual streams, and a path of low rank beside attention; see `altup.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Streams, from 2 to 8.
    pub count: usize,
    /// Rank of the path beside attention.
    pub rank: usize,
}

/// A gated convolution over the last few tokens, in the place of attention.
#[derive(Clone, Debug, PartialEq)]
pub struct ShortConv {
    /// Tokens that it sees, its own included.
    pub taps: usize,
    /// Which layers have it; as long as `n_layer`.
    pub layers: Vec<bool>,
}

/// RMS norms over queries and keys (`attn_q_norm`, `attn_k_norm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// Over each head, before it is turned.
    Heads,
    /// Over all heads of a token together, before they are turned.
    Rows,
    /// Over each head after it was turned, without weights; not where nothing is turned.
    Turned,
}

/// Queries at position `p` are multiplied by `1 + scale * ln(1 + floor((p + offset) / interval))`,
/// which keeps attention sharp over long contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// See above.
    pub interval: usize,
    /// See above.
    pub scale: f32,
    /// See above.
    pub offset: usize,
    /// Only in layers that turn nothing.
    pub unturned_only: bool,
}

impl Temperature {
    /// The factor at a position.
    pub fn factor(&self, position: usize) -> f32 {
        let steps = (position + self.offset) / self.interval;
        (1.0 + f64::from(self.scale) * (1.0 + steps as f64).ln()) as f32
    }
}

/// A mixture of experts: a router chooses some of many feed-forward parts for each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// Experts of a layer.
    pub count: usize,
    /// How many a token goes to.
    pub used: usize,
    /// Width of each.
    pub n_ff: usize,
    /// Width of the expert that every token goes to; 0 for none.
    pub n_ff_shared: usize,
    /// What that one gives is multiplied by the sigmoid of a product (`ffn_gate_inp_shexp`).
    pub shared_gate: bool,
    /// How the router's scores become weights.
    pub gating: Gating,
    /// The weights of a token's experts are made to sum to 1.
    pub normalise: bool,
    /// The weights are multiplied by this.
    pub scale: f32,
    /// An expert's input is weighted, not what it gives.
    pub weigh_input: bool,
    /// The layer's usual feed-forward part is the expert that every token goes to; router, experts
    /// and that one read the stream through norms of their own, and what they give is normed too.
    pub beside_dense: bool,
    /// Which layers have experts; as long as `n_layer`.
    pub layers: Vec<bool>,
}

/// How a router's scores become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gating {
    /// Softmax over all experts.
    Softmax,
    /// Sigmoid of each.
    Sigmoid,
}

impl Config {
    /// Reads the configuration of a file of a known architecture.
    ///
    /// # Errors
    /// An unknown architecture, or metadata that is missing, of a wrong type or out of range.
    pub fn read(meta: &Meta) -> Result<Config, ModelError> {
        let name = meta
            .str("general.architecture")?
            .ok_or_else(|| ModelError::missing("general.architecture"))?;
        let arch = Arch::find(name).ok_or_else(|| {
            let writers = ARCHS.iter().map(|arch| arch.gguf);
            let known: Vec<_> = writers.chain(ENCODERS.iter().map(|arch| arch.gguf)).collect();
            ModelError::Unsupported(format!(
                "architecture {:?} is not supported; this version runs: {}",
                name.chars().take(64).collect::<String>(),
                known.join(", ")
            ))
        })?;
        let keys = Keys::new(meta, arch.gguf);
        let config = (arch.config)(&keys)?;
        keys.check_experts(&config)?;
        Ok(config)
    }

    /// The window of a layer, if it has one.
    pub fn window_of(&self, layer: usize) -> Option<Window> {
        if self.windowed[layer] { self.window } else { None }
    }

    /// The convolution of a layer, if it has one instead of attention.
    pub fn short_conv_of(&self, layer: usize) -> Option<&ShortConv> {
        self.short_conv.as_ref().filter(|conv| conv.layers[layer])
    }

    /// The experts of a layer, if it has some.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| experts.layers[layer])
    }

    /// How many deviations above the mean a layer's gates open, if there is a limit.
    pub fn cutoff_of(&self, layer: usize) -> Option<f32> {
        self.cutoff.filter(|cutoff| layer < cutoff.layers).map(|cutoff| cutoff.deviations)
    }

    /// The growth of the queries of a layer, if they grow.
    pub fn temperature_of(&self, layer: usize) -> Option<Temperature> {
        self.temperature.filter(|growth| !(growth.unturned_only && self.rotary[layer]))
    }

    /// The rotary embedding of a layer.
    pub fn rope_of(&self, layer: usize) -> &Rope {
        if self.windowed[layer] { &self.rope_windowed } else { &self.rope }
    }

    /// The heads of a layer.
    pub fn heads_of(&self, layer: usize) -> Heads {
        if self.windowed[layer] { self.heads_windowed } else { self.heads }
    }

    /// The layer whose keys and values a layer reads: its own, or an earlier one's.
    pub fn kv_of(&self, layer: usize) -> usize {
        let own = &self.windowed[..self.kv_layers];
        match layer < self.kv_layers {
            true => layer,
            false => own.iter().rposition(|kind| *kind == self.windowed[layer]).unwrap_or(0),
        }
    }
}

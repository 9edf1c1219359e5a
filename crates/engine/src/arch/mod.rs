//! Architectures: what a decoder-only transformer needs to know about itself, and the one list of
//! those this program runs. A file of this folder states how one architecture's metadata maps to
//! [`Config`]; the mathematics is in `block.rs` and `reference.rs`, which read only `Config`.

mod gemma3;
mod keys;
mod llama;

use crate::error::ModelError;
use crate::gguf::Meta;
use crate::rope::Rope;
pub(crate) use keys::Keys;

/// Every architecture, by file.
pub const ARCHS: &[&Arch] = &[&gemma3::ARCH, &llama::ARCH];

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
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_head_kv: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Trained context length in tokens.
    pub n_ctx_train: usize,
    /// Epsilon of every RMS norm.
    pub norm_eps: f32,
    /// The gate's activation.
    pub activation: Activation,
    /// The embedding is multiplied by this.
    pub embed_scale: f32,
    /// Scores are multiplied by this before the softmax.
    pub attn_scale: f32,
    /// RMS norms over each query and key head (`attn_q_norm`, `attn_k_norm`).
    pub qk_norm: bool,
    /// RMS norms after attention and feed-forward, before the residual is added.
    pub post_norm: bool,
    /// Rotary embedding of the layers that see everything.
    pub rope: Rope,
    /// Rotary embedding of the layers with a sliding window.
    pub rope_windowed: Rope,
    /// Tokens that a windowed layer sees, itself included.
    pub window: Option<usize>,
    /// Which layers have the window; as long as `n_layer`.
    pub windowed: Vec<bool>,
    /// The feed-forward matrices' `.scale` tensors count; llama.cpp, which defined them, passes
    /// over them in some architectures.
    pub ffn_scale: bool,
    /// Logits are squashed to +- this.
    pub final_softcap: Option<f32>,
}

/// Activation of the feed-forward gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU, tanh approximation.
    GeluTanh,
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
            let known: Vec<_> = ARCHS.iter().map(|arch| arch.gguf).collect();
            ModelError::Unsupported(format!(
                "architecture {:?} is not supported; this version runs: {}",
                name.chars().take(64).collect::<String>(),
                known.join(", ")
            ))
        })?;
        (arch.config)(&Keys::new(meta, arch.gguf))
    }

    /// The window of a layer, if it has one.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        if self.windowed[layer] { self.window } else { None }
    }

    /// The rotary embedding of a layer.
    pub fn rope_of(&self, layer: usize) -> &Rope {
        if self.windowed[layer] { &self.rope_windowed } else { &self.rope }
    }

    /// Width of all query heads.
    pub fn q_dim(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn kv_dim(&self) -> usize {
        self.n_head_kv * self.head_dim
    }
}

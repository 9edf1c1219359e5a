//! The shapes of real models: sizes, metadata and the list of tensors.
//!
//! Figures are those of the published configurations. What the names of the families mean to the
//! engine is in `engine/src/arch`; here they only become keys and tensor names.

use anyhow::{Result, bail};
use hearth_engine::gguf::write::Writer;

/// Which tensors a family has beside the plain ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Phi3,
    Gemma3,
    Qwen3,
}

/// How long contexts change the rotation.
#[derive(Clone, Copy, PartialEq)]
enum Rope {
    Plain,
    /// Every position divided by this.
    Linear(f32),
    /// Llama 3's division of the low frequencies by this, from an original context of 8192.
    Llama3(f32),
    /// Two tables of factors, from an original context of 4096.
    Long,
}

/// A model's shape.
pub(super) struct Shape {
    name: &'static str,
    family: Family,
    pub(super) layers: usize,
    embedding: usize,
    feed_forward: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    head_dim: usize,
    pub(super) vocab: usize,
    /// Whether the output matrix is the token embedding.
    pub(super) tied: bool,
    context: u32,
    freq_base: f32,
    epsilon: f32,
    window: Option<u32>,
    rope: Rope,
}

const LLAMA_3_2_1B: Shape = Shape {
    name: "llama-3.2-1b",
    family: Family::Llama,
    layers: 16,
    embedding: 2048,
    feed_forward: 8192,
    heads: 32,
    kv_heads: 8,
    head_dim: 64,
    vocab: 128_256,
    tied: true,
    context: 131_072,
    freq_base: 500_000.0,
    epsilon: 1e-5,
    window: None,
    rope: Rope::Llama3(32.0),
};

const GEMMA_3_1B: Shape = Shape {
    name: "gemma-3-1b",
    family: Family::Gemma3,
    layers: 26,
    embedding: 1152,
    feed_forward: 6912,
    heads: 4,
    kv_heads: 1,
    head_dim: 256,
    vocab: 262_144,
    tied: true,
    context: 32_768,
    freq_base: 1_000_000.0,
    epsilon: 1e-6,
    window: Some(512),
    rope: Rope::Plain,
};

const QWEN3_0_6B: Shape = Shape {
    name: "qwen3-0.6b",
    family: Family::Qwen3,
    layers: 28,
    embedding: 1024,
    feed_forward: 3072,
    heads: 16,
    kv_heads: 8,
    head_dim: 128,
    vocab: 151_936,
    tied: true,
    context: 40_960,
    freq_base: 1_000_000.0,
    epsilon: 1e-6,
    window: None,
    rope: Rope::Plain,
};

const SHAPES: &[Shape] = &[
    LLAMA_3_2_1B,
    Shape {
        name: "llama-3.2-3b",
        layers: 28,
        embedding: 3072,
        heads: 24,
        head_dim: 128,
        ..LLAMA_3_2_1B
    },
    Shape {
        name: "llama-3-8b",
        layers: 32,
        embedding: 4096,
        feed_forward: 14_336,
        head_dim: 128,
        tied: false,
        context: 8192,
        rope: Rope::Plain,
        ..LLAMA_3_2_1B
    },
    Shape {
        name: "phi-4-mini",
        family: Family::Phi3,
        layers: 32,
        embedding: 3072,
        heads: 24,
        head_dim: 128,
        vocab: 200_064,
        freq_base: 10_000.0,
        window: Some(262_144),
        rope: Rope::Long,
        ..LLAMA_3_2_1B
    },
    GEMMA_3_1B,
    Shape {
        name: "gemma-3-4b",
        layers: 34,
        embedding: 2560,
        feed_forward: 10_240,
        heads: 8,
        kv_heads: 4,
        context: 131_072,
        window: Some(1024),
        rope: Rope::Linear(8.0),
        ..GEMMA_3_1B
    },
    QWEN3_0_6B,
    Shape {
        name: "qwen3-4b",
        layers: 36,
        embedding: 2560,
        feed_forward: 9728,
        heads: 32,
        ..QWEN3_0_6B
    },
];

/// What a tensor is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Random numbers of mean zero.
    Weights,
    /// Random numbers near one.
    Norm,
    /// The shape's rotation factors.
    Factors,
}

/// A tensor to be written.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) layer: Option<usize>,
    pub(super) fill: Fill,
}

impl Shape {
    pub(super) fn named(name: &str) -> Result<&'static Shape> {
        match SHAPES.iter().find(|shape| shape.name == name) {
            Some(shape) => Ok(shape),
            None => {
                let known = SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>().join(" ");
                bail!("no shape {name:?}; known: {known}")
            }
        }
    }

    /// Two small layers, for tests.
    #[cfg(test)]
    pub(super) fn tiny() -> Shape {
        Shape {
            layers: 2,
            embedding: 256,
            feed_forward: 512,
            heads: 4,
            kv_heads: 2,
            vocab: 512,
            tied: false,
            ..LLAMA_3_2_1B
        }
    }

    /// The vocabulary in testdata that is the shape's own, or else as good as another.
    pub(super) fn vocabulary(&self) -> &'static str {
        match self.family {
            Family::Llama | Family::Phi3 => "llama-bpe",
            Family::Gemma3 => "gemma-4",
            Family::Qwen3 => "qwen2",
        }
    }

    /// Elements of a head that are rotated.
    fn rotated(&self) -> usize {
        if self.family == Family::Phi3 { self.head_dim * 3 / 4 } else { self.head_dim }
    }

    /// Writes the keys that say the shape.
    pub(super) fn describe(&self, writer: &mut Writer) {
        let arch = match self.family {
            Family::Llama => "llama",
            Family::Phi3 => "phi3",
            Family::Gemma3 => "gemma3",
            Family::Qwen3 => "qwen3",
        };
        writer.set("general.architecture", arch);
        writer.set("general.type", "model");
        writer.set("general.name", format!("synthetic {}", self.name));
        let key = |name: &str| format!("{arch}.{name}");
        let mut number = |name: &str, value: usize| {
            writer.set(&key(name), value as u32);
        };
        number("block_count", self.layers);
        number("context_length", self.context as usize);
        number("embedding_length", self.embedding);
        number("feed_forward_length", self.feed_forward);
        number("attention.head_count", self.heads);
        number("attention.head_count_kv", self.kv_heads);
        number("attention.key_length", self.head_dim);
        number("attention.value_length", self.head_dim);
        number("rope.dimension_count", self.rotated());
        number("vocab_size", self.vocab);
        if let Some(window) = self.window {
            number("attention.sliding_window", window as usize);
        }
        writer.set(&key("rope.freq_base"), self.freq_base);
        writer.set(&key("attention.layer_norm_rms_epsilon"), self.epsilon);
        match self.rope {
            // Llama 3's division is in the tensor of factors alone, as converters write it.
            Rope::Plain | Rope::Llama3(_) => {}
            Rope::Linear(factor) => {
                writer.set(&key("rope.scaling.type"), "linear");
                writer.set(&key("rope.scaling.factor"), factor);
            }
            Rope::Long => {
                writer.set(&key("rope.scaling.original_context_length"), 4096u32);
                // sqrt(1 + ln(131072 / 4096) / ln(4096))
                writer.set(&key("rope.scaling.attn_factor"), 1.190_238_1f32);
            }
        }
    }

    /// All tensors, in the order written.
    pub(super) fn tensors(&self) -> Vec<Planned> {
        let mut list = List::default();
        list.add("token_embd", &[self.embedding, self.vocab]);
        list.add("output_norm", &[self.embedding]);
        if !self.tied {
            list.add("output", &[self.embedding, self.vocab]);
        }
        match self.rope {
            Rope::Plain | Rope::Linear(_) => {}
            Rope::Llama3(_) => list.factors("rope_freqs", self.rotated() / 2),
            Rope::Long => {
                list.factors("rope_factors_long", self.rotated() / 2);
                list.factors("rope_factors_short", self.rotated() / 2);
            }
        }
        for layer in 0..self.layers {
            list.layer = Some(layer);
            self.layer(&mut list);
        }
        list.tensors
    }

    fn layer(&self, list: &mut List) {
        let (width, wide) = (self.embedding, self.feed_forward);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        list.add("attn_norm", &[width]);
        if self.family == Family::Phi3 {
            list.add("attn_qkv", &[width, q + 2 * kv]);
        } else {
            list.add("attn_q", &[width, q]);
            list.add("attn_k", &[width, kv]);
            list.add("attn_v", &[width, kv]);
        }
        if matches!(self.family, Family::Gemma3 | Family::Qwen3) {
            list.add("attn_q_norm", &[self.head_dim]);
            list.add("attn_k_norm", &[self.head_dim]);
        }
        list.add("attn_output", &[q, width]);
        list.add("ffn_norm", &[width]);
        if self.family == Family::Phi3 {
            list.add("ffn_up", &[width, 2 * wide]);
        } else {
            list.add("ffn_gate", &[width, wide]);
            list.add("ffn_up", &[width, wide]);
        }
        list.add("ffn_down", &[wide, width]);
        if self.family == Family::Gemma3 {
            list.add("post_attention_norm", &[width]);
            list.add("post_ffw_norm", &[width]);
        }
    }

    /// Divisors of the rotation's frequencies, one for each of `pairs`.
    pub(super) fn rope_factors(&self, pairs: usize) -> Vec<f32> {
        let one = |pair: usize| match self.rope {
            Rope::Llama3(factor) => {
                let exponent = -2.0 * pair as f32 / self.rotated() as f32;
                let wavelength = std::f32::consts::TAU / self.freq_base.powf(exponent);
                // Wavelengths beyond the original context are divided, those under a quarter of
                // it kept, and between the two it goes over smoothly.
                let turns = (8192.0 / wavelength).clamp(1.0, 4.0);
                let smooth = (turns - 1.0) / 3.0;
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
            // Made up, but rising as the published tables do.
            Rope::Long => 1.0 + 31.0 * (pair as f32 / pairs as f32).powi(2),
            Rope::Plain | Rope::Linear(_) => 1.0,
        };
        (0..pairs).map(one).collect()
    }
}

/// The list of tensors as it grows.
#[derive(Default)]
struct List {
    layer: Option<usize>,
    tensors: Vec<Planned>,
}

impl List {
    fn add(&mut self, name: &str, dims: &[usize]) {
        let fill = if dims.len() == 1 { Fill::Norm } else { Fill::Weights };
        self.push(name, dims, fill);
    }

    fn factors(&mut self, name: &str, pairs: usize) {
        self.push(name, &[pairs], Fill::Factors);
    }

    fn push(&mut self, name: &str, dims: &[usize], fill: Fill) {
        let name = match self.layer {
            Some(layer) => format!("blk.{layer}.{name}.weight"),
            None => format!("{name}.weight"),
        };
        self.tensors.push(Planned { name, dims: dims.to_vec(), layer: self.layer, fill });
    }
}

//! All tensors of a model, typed, checked and packed by `load.rs`. Nothing here knows an
//! architecture: `Config` says which tensors there must be, and optional ones are taken if the file
//! has them.

mod encoder;
mod extra;
mod load;

use hearth_kernels::bytes::Bytes;
use hearth_kernels::matmul::{Reads, Weight};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, dequantize};
use hearth_kernels::rows::for_rows;

use crate::arch::Experts;
use crate::rope::Rope;
pub use encoder::{EncoderLayer, EncoderWeights, Norm, RankHead};
pub use extra::{AltUp, AltUpLayer, PerLayer, PerLayerTable};

/// All tensors of a model, under GGUF's names.
pub struct Weights {
    /// Rows of the vocabulary.
    pub token_embd: Embedding,
    /// The layers.
    pub blk: Vec<Layer>,
    /// Norm before the head. `[n_embd]`
    pub output_norm: Vec<f32>,
    /// The head. `[n_vocab][n_embd]`
    pub output: Linear,
    /// Rotary embedding with the file's factors, for the layers that see everything.
    pub rope: Rope,
    /// The same for windowed layers.
    pub rope_windowed: Rope,
    /// Embeddings for each layer.
    pub per_layer: Option<PerLayerTable>,
    /// Makes and joins the residual streams.
    pub altup: Option<AltUp>,
}

/// One layer. Matrices are `[rows][cols]` as `load.rs` asks for them.
#[allow(missing_docs)]
pub struct Layer {
    pub attn_norm: Option<Vec<f32>>,
    pub mix: Mix,
    pub post_attention_norm: Option<Vec<f32>>,
    pub ffn_norm: Option<Vec<f32>>,
    pub ffn: Ffn,
    pub post_ffw_norm: Option<Vec<f32>>,
    pub per_layer: Option<PerLayer>,
    /// What the layer gives is multiplied by this.
    pub output_scale: Option<f32>,
    pub altup: Option<AltUpLayer>,
}

/// How a layer mixes tokens.
pub enum Mix {
    /// Every token looks at those before it.
    Attention(Box<Attention>),
    /// The last few tokens are summed.
    ShortConv(Box<ShortConv>),
}

/// Attention: query, key, value, and what becomes of what they give.
#[allow(missing_docs)]
pub struct Attention {
    pub attn_q: Linear,
    pub attn_q_norm: Option<Vec<f32>>,
    /// None: those of an earlier layer, see `Config::kv_of`.
    pub own: Option<KeyValue>,
    pub attn_output: Linear,
}

/// A layer's own keys and values.
#[allow(missing_docs)]
pub struct KeyValue {
    pub attn_k: Linear,
    pub attn_k_norm: Option<Vec<f32>>,
    /// None: keys serve as values.
    pub attn_v: Option<Linear>,
    pub attn_v_norm: Option<Vec<f32>>,
}

impl Attention {
    fn inputs(&self) -> Vec<&Weight> {
        let own = self.own.iter().flat_map(|own| [Some(&own.attn_k), own.attn_v.as_ref()]);
        [Some(&self.attn_q)].into_iter().chain(own).flatten().map(|one| &one.weight).collect()
    }
}

/// A gated convolution, see `short_conv.rs`.
pub struct ShortConv {
    /// `[3 E][E]`
    pub in_proj: Linear,
    /// The weights of each element, the oldest token's first. `[E][taps]`
    pub conv: Vec<f32>,
    /// `[E][E]`
    pub out_proj: Linear,
}

impl Mix {
    /// The matrices that the layer's input is multiplied with.
    pub fn inputs(&self) -> Vec<&Weight> {
        match self {
            Self::Attention(attention) => attention.inputs(),
            Self::ShortConv(conv) => vec![&conv.in_proj.weight],
        }
    }

    /// The matrix that what is mixed is multiplied with.
    pub fn output(&self) -> &Weight {
        match self {
            Self::Attention(attention) => &attention.attn_output.weight,
            Self::ShortConv(conv) => &conv.out_proj.weight,
        }
    }
}

/// The feed-forward part of a layer.
pub enum Ffn {
    /// One for all tokens.
    Dense(Box<Gated>),
    /// A mixture.
    Mixture(Box<Mixture>),
}

/// `down(act(gate(x)) * up(x))`.
pub struct Gated {
    /// `[F][E]`
    pub gate: Linear,
    /// `[F][E]`
    pub up: Linear,
    /// `[E][F]`
    pub down: Linear,
}

impl Gated {
    /// The forms of their input that gate and up read.
    pub fn reads(&self) -> Reads {
        Reads::of([&self.gate.weight, &self.up.weight])
    }

    /// Without the matrices' scales, for architectures that do not apply them.
    fn unscaled(self) -> Self {
        let plain = |linear: Linear| Linear { scale: None, ..linear };
        Self { gate: plain(self.gate), up: plain(self.up), down: plain(self.down) }
    }
}

/// Experts and who chooses them.
pub struct Mixture {
    /// A score for each expert. `[experts][E]`
    pub router: Linear,
    /// All experts.
    pub experts: Vec<Gated>,
    /// How they are chosen and weighed.
    pub rule: Experts,
    /// The expert that every token goes to.
    pub shared: Option<Gated>,
    /// A score for that one. `[1][E]`
    pub shared_gate: Option<Linear>,
    /// Norms of its own, see [`Experts::beside_dense`].
    pub norms: Option<MixtureNorms>,
}

/// Norms of a mixture beside the usual feed-forward part. `[E]` each
pub struct MixtureNorms {
    /// Before the router, divided by the square root of E.
    pub router: Vec<f32>,
    /// Before the experts.
    pub experts: Vec<f32>,
    /// After them.
    pub after_experts: Vec<f32>,
    /// After the expert for all tokens.
    pub after_shared: Vec<f32>,
}

/// A matrix with what some files put beside it: one factor for the whole product (`NAME.scale`)
/// and one value to add for each row (`NAME.bias`).
pub struct Linear {
    /// The matrix, packed.
    pub weight: Weight,
    scale: Option<f32>,
    bias: Option<Vec<f32>>,
    order: Order,
}

/// Which of scale and bias comes first; llama.cpp, which defined both, does not do it alike
/// everywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Attention and the head.
    ScaleFirst,
    /// The feed-forward matrices.
    BiasFirst,
}

impl Linear {
    /// Whether nothing is applied to the product.
    pub fn is_plain(&self) -> bool {
        self.scale.is_none() && self.bias.is_none()
    }

    /// Applies scale and bias to every row of the product, where the file has them.
    pub fn finish(&self, pool: &Pool, product: &mut [f32]) {
        if self.is_plain() {
            return;
        }
        let scale = self.scale.unwrap_or(1.0);
        let zeros;
        let bias = match &self.bias {
            Some(bias) => bias,
            None => {
                zeros = vec![0.0; self.weight.rows()];
                &zeros
            }
        };
        for_rows(pool, product, self.weight.rows(), &|_, row| {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value = match self.order {
                    Order::ScaleFirst => *value * scale + bias,
                    Order::BiasFirst => (*value + bias) * scale,
                };
            }
        });
    }
}

/// Where embedding rows come from.
pub enum Embedding {
    /// The head is the transposed embedding: rows are read back from its packed form.
    Tied,
    /// A tensor of its own.
    Mapped(MappedRows),
}

/// A tensor left in the file's map: only single rows are ever read.
pub struct MappedRows {
    ty: TensorType,
    bytes: Bytes,
    row_bytes: usize,
}

impl MappedRows {
    /// Writes row `index`.
    pub fn read(&self, index: usize, row: &mut [f32]) {
        dequantize(self.ty, &self.bytes[index * self.row_bytes..][..self.row_bytes], row);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_bytes.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Weights {
    /// Size of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.output.weight.rows()
    }

    /// Writes the embedding of a token. `[n_embd]`
    pub fn embed(&self, token: usize, row: &mut [f32]) {
        match &self.token_embd {
            Embedding::Tied => self.output.weight.row(token, row),
            Embedding::Mapped(rows) => rows.read(token, row),
        }
    }

    /// Bytes read for one decoded token: every matrix once, and one embedding row.
    pub fn bytes_per_token(&self) -> u64 {
        let layers = self.blk.iter().flat_map(Layer::matrices);
        let table = self.per_layer.iter().map(|table| &table.proj);
        let streams = self.altup.iter().flat_map(|all| all.proj.iter().chain(&all.unembd_proj));
        let others = table.chain(streams).chain([&self.output]).map(|one| &one.weight);
        layers.chain(others).map(Weight::bytes).sum::<usize>() as u64
    }
}

impl Layer {
    /// The matrices that a token is multiplied with; of equal experts, the first ones.
    pub fn matrices(&self) -> Vec<&Weight> {
        let mix = self.mix.inputs().into_iter().chain([self.mix.output()]);
        let per_layer = self.per_layer.iter().flat_map(|part| [&part.inp_gate, &part.proj]);
        let altup = self.altup.iter().flat_map(AltUpLayer::matrices);
        let extra = per_layer.map(|one| &one.weight).chain(altup);
        mix.chain(self.ffn.gate_up()).chain(self.ffn.down()).chain(extra).collect()
    }
}

impl Ffn {
    /// The matrices that a token is multiplied with before the activation function.
    pub fn gate_up(&self) -> Vec<&Weight> {
        let parts = self.parts().flat_map(|part| [&part.gate, &part.up]);
        let mut all: Vec<&Weight> = parts.map(|linear| &linear.weight).collect();
        if let Self::Mixture(mixture) = self {
            all.push(&mixture.router.weight);
            all.extend(mixture.shared_gate.iter().map(|gate| &gate.weight));
        }
        all
    }

    /// Those after it.
    pub fn down(&self) -> Vec<&Weight> {
        self.parts().map(|part| &part.down.weight).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &Gated> {
        let (experts, one) = match self {
            Self::Dense(gated) => (&[][..], Some(&**gated)),
            Self::Mixture(mixture) => {
                (&mixture.experts[..mixture.rule.used], mixture.shared.as_ref())
            }
        };
        experts.iter().chain(one)
    }
}

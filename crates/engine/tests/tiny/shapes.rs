//! What tiny models of each architecture are made of: one entry each.

use hearth_engine::gguf::Value;

use super::{EMBD, FF, HEADS, HEADS_KV};

/// A shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Llama 3 with its rotary factors, an untied head, biases on query, key and value.
    Llama,
    /// Gemma 3 with a window of 24 on two of three layers and a tied head.
    Gemma3,
    /// Gemma 2 with a window of 24 on every other layer, and both caps.
    Gemma2,
    /// Granite with its four factors.
    Granite,
    /// LFM2: the middle one of three layers attends, the others convolve three tokens.
    Lfm2,
    /// Llama 4 with four layers, every other one a mixture.
    Llama4,
    /// Ministral 3 with YaRN, and queries that grow every 16 tokens.
    Mistral3,
    /// Mixtral: Llama with four experts.
    Mixtral,
    /// OLMo 2.
    Olmo2,
    /// OLMo 3: OLMo 2 with a window of 24 on three layers of four, and YaRN on the fourth.
    Olmo3,
    /// Phi-4-mini: fused tensors, three quarters of a head turned, long and short factors.
    Phi3,
    /// Qwen 2.5.
    Qwen2,
    /// Qwen 1.5's mixture.
    Qwen2Moe,
    /// Qwen 3.
    Qwen3,
    /// Qwen 3's mixture.
    Qwen3Moe,
    /// SmolLM 3: four layers, the last of which turns nothing.
    SmolLm3,
}

impl Shape {
    #[allow(dead_code)]
    pub(crate) const ALL: [Shape; 16] = [
        Self::Llama,
        Self::Gemma3,
        Self::Gemma2,
        Self::Granite,
        Self::Lfm2,
        Self::Llama4,
        Self::Mistral3,
        Self::Mixtral,
        Self::Olmo2,
        Self::Olmo3,
        Self::Phi3,
        Self::Qwen2,
        Self::Qwen2Moe,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::SmolLm3,
    ];
}

/// Norms over queries and keys.
#[derive(Clone, Copy)]
enum QkNorm {
    None,
    Heads,
    Rows,
}

/// Experts of a layer.
#[derive(Clone, Copy)]
struct Experts {
    count: usize,
    ff: usize,
    shared: usize,
    shared_gate: bool,
}

/// What a shape is made of.
pub(super) struct Spec {
    pub(super) arch: &'static str,
    pub(super) layers: usize,
    pub(super) head_dim: usize,
    pub(super) rope_dims: usize,
    /// Keys beside those of every model.
    pub(super) keys: Vec<(&'static str, Value)>,
    pub(super) tied: bool,
    /// Tensors of rotary factors.
    pub(super) factors: &'static [&'static str],
    biases: bool,
    fused: bool,
    pre_norm: bool,
    post_norm: bool,
    qk_norm: QkNorm,
    experts: Option<Experts>,
    /// All layers but this one convolve.
    attends: Option<usize>,
    pub(super) output_norm: &'static str,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            arch: "llama",
            layers: 3,
            head_dim: 64,
            rope_dims: 64,
            keys: Vec::new(),
            tied: false,
            factors: &[],
            biases: false,
            fused: false,
            pre_norm: true,
            post_norm: false,
            qk_norm: QkNorm::None,
            experts: None,
            attends: None,
            output_norm: "output_norm.weight",
        }
    }
}

fn count(value: u32) -> Value {
    Value::U32(value)
}

fn number(value: f32) -> Value {
    Value::F32(value)
}

/// The keys of a mixture of four experts, of which two are used.
fn mixture(used: u32) -> Vec<(&'static str, Value)> {
    vec![("expert_count", count(4)), ("expert_used_count", count(used))]
}

/// The keys of YaRN, eight times as long as the model was first trained at.
fn yarn(original: u32) -> Vec<(&'static str, Value)> {
    vec![
        ("rope.scaling.type", Value::from("yarn")),
        ("rope.scaling.factor", number(8.0)),
        ("rope.scaling.original_context_length", count(original)),
    ]
}

fn window(length: u32, period: u32) -> Vec<(&'static str, Value)> {
    vec![
        ("attention.sliding_window", count(length)),
        ("attention.sliding_window_pattern", count(period)),
    ]
}

const EXPERTS: Experts = Experts { count: 4, ff: FF, shared: 0, shared_gate: false };

impl Shape {
    pub(super) fn spec(self) -> Spec {
        let plain = Spec::default();
        match self {
            Shape::Llama => Spec { factors: &["rope_freqs.weight"], biases: true, ..plain },
            Shape::Gemma3 => Spec {
                arch: "gemma3",
                head_dim: 128,
                rope_dims: 128,
                keys: [
                    window(24, 3),
                    vec![
                        ("rope.scaling.type", Value::from("linear")),
                        ("rope.scaling.factor", number(8.0)),
                    ],
                ]
                .concat(),
                tied: true,
                post_norm: true,
                qk_norm: QkNorm::Heads,
                ..plain
            },
            Shape::Gemma2 => Spec {
                arch: "gemma2",
                head_dim: 128,
                rope_dims: 128,
                keys: [
                    window(24, 2),
                    vec![
                        ("attn_logit_softcapping", number(2.0)),
                        ("final_logit_softcapping", number(3.0)),
                    ],
                ]
                .concat(),
                tied: true,
                post_norm: true,
                ..plain
            },
            Shape::Granite => Spec {
                arch: "granite",
                keys: vec![
                    ("embedding_scale", number(12.0)),
                    ("attention.scale", number(0.0625)),
                    ("residual_scale", number(0.22)),
                    ("logit_scale", number(8.0)),
                ],
                ..plain
            },
            Shape::Llama4 => Spec {
                arch: "llama4",
                layers: 4,
                keys: [
                    mixture(1),
                    vec![
                        ("expert_feed_forward_length", count(256)),
                        ("interleave_moe_layer_step", count(1)),
                    ],
                ]
                .concat(),
                factors: &["rope_freqs.weight"],
                experts: Some(Experts { ff: 256, shared: 256, ..EXPERTS }),
                ..plain
            },
            Shape::Mistral3 => Spec {
                arch: "mistral3",
                keys: [
                    yarn(16),
                    vec![
                        ("rope.scaling.yarn_log_multiplier", number(0.5)),
                        ("attention.temperature_scale", number(0.1)),
                    ],
                ]
                .concat(),
                ..plain
            },
            Shape::Mixtral => Spec { keys: mixture(2), experts: Some(EXPERTS), ..plain },
            Shape::Olmo2 => Spec {
                arch: "olmo2",
                pre_norm: false,
                post_norm: true,
                qk_norm: QkNorm::Rows,
                ..plain
            },
            Shape::Olmo3 => {
                Spec { layers: 4, keys: [window(24, 4), yarn(64)].concat(), ..Shape::Olmo2.spec() }
            }
            Shape::Phi3 => Spec {
                arch: "phi3",
                rope_dims: 48,
                keys: vec![("rope.scaling.attn_factor", number(1.19))],
                factors: &["rope_factors_long.weight", "rope_factors_short.weight"],
                fused: true,
                ..plain
            },
            Shape::Qwen2 => Spec { arch: "qwen2", tied: true, biases: true, ..plain },
            Shape::Qwen2Moe => Spec {
                arch: "qwen2moe",
                keys: [
                    mixture(2),
                    vec![
                        ("expert_feed_forward_length", count(256)),
                        ("expert_shared_feed_forward_length", count(768)),
                    ],
                ]
                .concat(),
                biases: true,
                experts: Some(Experts { ff: 256, shared: 768, shared_gate: true, ..EXPERTS }),
                ..plain
            },
            Shape::Qwen3 => Spec { arch: "qwen3", tied: true, qk_norm: QkNorm::Heads, ..plain },
            Shape::Qwen3Moe => Spec {
                arch: "qwen3moe",
                keys: [mixture(2), vec![("expert_feed_forward_length", count(256))]].concat(),
                qk_norm: QkNorm::Heads,
                experts: Some(Experts { ff: 256, ..EXPERTS }),
                ..plain
            },
            Shape::Lfm2 => Spec {
                arch: "lfm2",
                tied: true,
                keys: vec![
                    ("attention.head_count_kv", Value::from(vec![0, HEADS_KV as u32, 0])),
                    ("shortconv.l_cache", count(3)),
                ],
                qk_norm: QkNorm::Heads,
                attends: Some(1),
                output_norm: "token_embd_norm.weight",
                ..plain
            },
            Shape::SmolLm3 => Spec { arch: "smollm3", layers: 4, tied: true, ..plain },
        }
    }
}

impl Spec {
    /// Names and dimensions of a layer's tensors.
    pub(super) fn layer(&self, layer: usize) -> Vec<(&'static str, Vec<usize>)> {
        let mut all = Vec::new();
        if self.pre_norm {
            all.push(("attn_norm.weight", vec![EMBD]));
        }
        let attends = self.attends.is_none_or(|attends| attends == layer);
        if attends {
            all.extend(self.attention());
        } else {
            all.push(("shortconv.conv.weight", vec![3, EMBD]));
            all.push(("shortconv.in_proj.weight", vec![EMBD, 3 * EMBD]));
            all.push(("shortconv.out_proj.weight", vec![EMBD, EMBD]));
        }
        if self.pre_norm {
            all.push(("ffn_norm.weight", vec![EMBD]));
        }
        match self.experts {
            None if self.fused => {
                all.push(("ffn_up.weight", vec![EMBD, 2 * FF]));
                all.push(("ffn_down.weight", vec![FF, EMBD]));
            }
            None => {
                all.push(("ffn_gate.weight", vec![EMBD, FF]));
                all.push(("ffn_up.weight", vec![EMBD, FF]));
                all.push(("ffn_down.weight", vec![FF, EMBD]));
            }
            Some(experts) => all.extend(experts.tensors()),
        }
        if attends {
            all.extend(self.attention_vectors());
        }
        if self.post_norm {
            all.push(("post_attention_norm.weight", vec![EMBD]));
            all.push(("post_ffw_norm.weight", vec![EMBD]));
        }
        all
    }

    /// Widths of all queries and of all keys.
    fn widths(&self) -> (usize, usize) {
        (HEADS * self.head_dim, HEADS_KV * self.head_dim)
    }

    fn attention(&self) -> Vec<(&'static str, Vec<usize>)> {
        let (q, kv) = self.widths();
        let mut all = if self.fused {
            vec![("attn_qkv.weight", vec![EMBD, q + 2 * kv])]
        } else {
            vec![
                ("attn_q.weight", vec![EMBD, q]),
                ("attn_k.weight", vec![EMBD, kv]),
                ("attn_v.weight", vec![EMBD, kv]),
            ]
        };
        all.push(("attn_output.weight", vec![q, EMBD]));
        all
    }

    fn attention_vectors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let (q, kv) = self.widths();
        let mut all = Vec::new();
        if self.biases {
            all.push(("attn_q.bias", vec![q]));
            all.push(("attn_k.bias", vec![kv]));
            all.push(("attn_v.bias", vec![kv]));
        }
        let norms = match self.qk_norm {
            QkNorm::None => None,
            QkNorm::Heads => Some((self.head_dim, self.head_dim)),
            QkNorm::Rows => Some((q, kv)),
        };
        if let Some((q, k)) = norms {
            all.push(("attn_q_norm.weight", vec![q]));
            all.push(("attn_k_norm.weight", vec![k]));
        }
        all
    }
}

impl Experts {
    fn tensors(self) -> Vec<(&'static str, Vec<usize>)> {
        let mut all = vec![
            ("ffn_gate_inp.weight", vec![EMBD, self.count]),
            ("ffn_gate_exps.weight", vec![EMBD, self.ff, self.count]),
            ("ffn_up_exps.weight", vec![EMBD, self.ff, self.count]),
            ("ffn_down_exps.weight", vec![self.ff, EMBD, self.count]),
        ];
        if self.shared > 0 {
            all.push(("ffn_gate_shexp.weight", vec![EMBD, self.shared]));
            all.push(("ffn_up_shexp.weight", vec![EMBD, self.shared]));
            all.push(("ffn_down_shexp.weight", vec![self.shared, EMBD]));
        }
        if self.shared_gate {
            all.push(("ffn_gate_inp_shexp.weight", vec![EMBD]));
        }
        all
    }
}

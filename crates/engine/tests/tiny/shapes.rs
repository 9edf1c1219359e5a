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
    /// Gemma 3n: 22 layers, the last two of which read what layers 18 and 19 keep.
    Gemma3n,
    /// Gemma 4: six layers, every one of the last three reads what an earlier one of its kind keeps;
    /// windowed ones have narrower heads, and more of keys.
    Gemma4,
    /// Gemma 4's mixture: the same without embeddings for layers, with experts beside the
    /// feed-forward part.
    Gemma4Moe,
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
    pub(crate) const ALL: [Shape; 19] = [
        Self::Llama,
        Self::Gemma3,
        Self::Gemma2,
        Self::Gemma3n,
        Self::Gemma4,
        Self::Gemma4Moe,
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

/// What else a model has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Extra {
    None,
    /// Embeddings for each layer, streams, a path of low rank.
    Gemma3n,
    /// Embeddings for each layer, two kinds of layers.
    Gemma4,
    /// Two kinds of layers, experts beside the feed-forward part.
    Gemma4Moe,
}

/// Streams of Gemma 3n.
const STREAMS: usize = 4;
/// Rank of its path beside attention.
const RANK: usize = 64;
/// Which layers of Gemma 4 have a window.
const WINDOWED: [bool; 6] = [true, true, false, true, false, true];
/// Its first layer that has no keys of its own.
const SHARED: usize = 3;

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
    pub(super) extra: Extra,
    ff: usize,
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
            extra: Extra::None,
            ff: FF,
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
    /// Whether the norm of queries makes their scores small.
    pub(super) fn scales_queries(self) -> bool {
        [Self::Gemma3n, Self::Gemma4, Self::Gemma4Moe].contains(&self)
    }

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
            Shape::Gemma3n => Spec {
                arch: "gemma3n",
                layers: 22,
                keys: [
                    window(24, 2),
                    vec![
                        ("feed_forward_length", count(256)),
                        ("altup.num_inputs", count(STREAMS as u32)),
                        ("embedding_length_per_layer_input", count(EMBD as u32)),
                    ],
                ]
                .concat(),
                tied: true,
                post_norm: true,
                qk_norm: QkNorm::Heads,
                extra: Extra::Gemma3n,
                ff: 256,
                ..plain
            },
            Shape::Gemma4 => Shape::gemma4(),
            Shape::Gemma4Moe => {
                let mut spec = Shape::gemma4();
                spec.keys.retain(|(key, _)| {
                    ![
                        "embedding_length_per_layer_input",
                        "attention.shared_kv_layers",
                        "feed_forward_length",
                    ]
                    .contains(key)
                });
                spec.keys.push(("embedding_length_per_layer_input", count(0)));
                spec.keys.push(("expert_feed_forward_length", count(256)));
                spec.keys.extend(mixture(2));
                Spec {
                    extra: Extra::Gemma4Moe,
                    experts: Some(Experts { ff: 256, ..EXPERTS }),
                    ..spec
                }
            }
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

    fn gemma4() -> Spec {
        let of_kind = |windowed: u32, whole: u32| -> Value {
            let all = WINDOWED.iter().map(|kind| if *kind { windowed } else { whole });
            Value::from(all.collect::<Vec<u32>>())
        };
        let ff = (0..WINDOWED.len()).map(|layer| if layer < SHARED { FF } else { 2 * FF });
        Spec {
            arch: "gemma4",
            layers: WINDOWED.len(),
            head_dim: 128,
            rope_dims: 128,
            keys: vec![
                ("attention.sliding_window", count(24)),
                ("attention.sliding_window_pattern", Value::from(WINDOWED.to_vec())),
                ("attention.head_count_kv", of_kind(HEADS_KV as u32, 1)),
                ("attention.key_length_swa", count(64)),
                ("attention.value_length_swa", count(64)),
                ("attention.shared_kv_layers", count((WINDOWED.len() - SHARED) as u32)),
                ("rope.dimension_count_swa", count(64)),
                ("rope.freq_base_swa", number(10_000.0)),
                ("feed_forward_length", Value::from(ff.map(|n| n as u32).collect::<Vec<u32>>())),
                ("embedding_length_per_layer_input", count(EMBD as u32)),
                ("final_logit_softcapping", number(3.0)),
            ],
            tied: true,
            factors: &["rope_freqs.weight"],
            post_norm: true,
            qk_norm: QkNorm::Heads,
            extra: Extra::Gemma4,
            ..Spec::default()
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
            all.extend(self.attention(layer));
        } else {
            all.push(("shortconv.conv.weight", vec![3, EMBD]));
            all.push(("shortconv.in_proj.weight", vec![EMBD, 3 * EMBD]));
            all.push(("shortconv.out_proj.weight", vec![EMBD, EMBD]));
        }
        if self.pre_norm {
            all.push(("ffn_norm.weight", vec![EMBD]));
        }
        match self.experts {
            Some(experts) if self.extra != Extra::Gemma4Moe => all.extend(experts.tensors()),
            _ if self.fused => {
                all.push(("ffn_up.weight", vec![EMBD, 2 * FF]));
                all.push(("ffn_down.weight", vec![FF, EMBD]));
            }
            _ => {
                let ff = if self.shares(layer) { 2 * self.ff } else { self.ff };
                all.push(("ffn_gate.weight", vec![EMBD, ff]));
                all.push(("ffn_up.weight", vec![EMBD, ff]));
                all.push(("ffn_down.weight", vec![ff, EMBD]));
            }
        }
        if attends {
            all.extend(self.attention_vectors(layer));
        }
        if self.post_norm {
            all.push(("post_attention_norm.weight", vec![EMBD]));
            all.push(("post_ffw_norm.weight", vec![EMBD]));
        }
        all.extend(self.extra());
        all
    }

    /// Whether a layer of Gemma 4 has no keys of its own.
    fn shares(&self, layer: usize) -> bool {
        self.extra == Extra::Gemma4 && layer >= SHARED
    }

    /// Whether a layer of Gemma 4 has no values of its own.
    fn keys_are_values(&self, layer: usize) -> bool {
        [Extra::Gemma4, Extra::Gemma4Moe].contains(&self.extra) && !WINDOWED[layer]
    }

    fn extra(&self) -> Vec<(&'static str, Vec<usize>)> {
        let mut all = Vec::new();
        if [Extra::Gemma3n, Extra::Gemma4].contains(&self.extra) {
            all.push(("inp_gate.weight", vec![EMBD, EMBD]));
            all.push(("proj.weight", vec![EMBD, EMBD]));
            all.push(("post_norm.weight", vec![EMBD]));
        }
        match self.extra {
            Extra::None => {}
            Extra::Gemma4 => all.push(("layer_output_scale.weight", vec![1])),
            Extra::Gemma4Moe => {
                all.push(("ffn_gate_inp.weight", vec![EMBD, 4]));
                all.push(("ffn_gate_inp.scale", vec![EMBD]));
                all.push(("pre_ffw_norm_2.weight", vec![EMBD]));
                all.push(("post_ffw_norm_1.weight", vec![EMBD]));
                all.push(("post_ffw_norm_2.weight", vec![EMBD]));
                all.push(("ffn_gate_up_exps.weight", vec![EMBD, 512, 4]));
                all.push(("ffn_down_exps.weight", vec![256, EMBD, 4]));
                all.push(("ffn_down_exps.scale", vec![4]));
            }
            Extra::Gemma3n => {
                all.push(("altup_correct_coef.weight", vec![STREAMS, STREAMS]));
                all.push(("altup_correct_scale.weight", vec![EMBD]));
                all.push(("altup_predict_coef.weight", vec![STREAMS, STREAMS * STREAMS]));
                all.push(("altup_router.weight", vec![EMBD, STREAMS]));
                all.push(("altup_router_norm.weight", vec![EMBD]));
                all.push(("laurel_l.weight", vec![EMBD, RANK]));
                all.push(("laurel_r.weight", vec![RANK, EMBD]));
                all.push(("laurel_post_norm.weight", vec![EMBD]));
            }
        }
        all
    }

    /// Names and dimensions of the matrices outside the layers, and of their norms.
    pub(super) fn outside(&self) -> Vec<(&'static str, Vec<usize>)> {
        let mut all = Vec::new();
        if [Extra::Gemma3n, Extra::Gemma4].contains(&self.extra) {
            all.push(("per_layer_token_embd.weight", vec![EMBD * self.layers, super::VOCAB]));
            all.push(("per_layer_model_proj.weight", vec![EMBD, EMBD * self.layers]));
            all.push(("per_layer_proj_norm.weight", vec![EMBD]));
        }
        if self.extra == Extra::Gemma3n {
            all.push(("altup_proj.weight", vec![EMBD, EMBD, STREAMS - 1]));
            all.push(("altup_unembd_proj.weight", vec![EMBD, EMBD, STREAMS - 1]));
        }
        all
    }

    /// Widths of all queries and of all keys.
    fn widths(&self, layer: usize) -> (usize, usize) {
        match self.extra {
            Extra::Gemma4 | Extra::Gemma4Moe if WINDOWED[layer] => (HEADS * 64, HEADS_KV * 64),
            Extra::Gemma4 | Extra::Gemma4Moe => (HEADS * self.head_dim, self.head_dim),
            _ => (HEADS * self.head_dim, HEADS_KV * self.head_dim),
        }
    }

    fn attention(&self, layer: usize) -> Vec<(&'static str, Vec<usize>)> {
        let (q, kv) = self.widths(layer);
        let mut all = if self.shares(layer) {
            vec![("attn_q.weight", vec![EMBD, q])]
        } else if self.keys_are_values(layer) {
            // Keys serve as values.
            vec![("attn_q.weight", vec![EMBD, q]), ("attn_k.weight", vec![EMBD, kv])]
        } else if self.fused {
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

    fn attention_vectors(&self, layer: usize) -> Vec<(&'static str, Vec<usize>)> {
        let (q, kv) = self.widths(layer);
        let mut all = Vec::new();
        if self.biases {
            all.push(("attn_q.bias", vec![q]));
            all.push(("attn_k.bias", vec![kv]));
            all.push(("attn_v.bias", vec![kv]));
        }
        let norms = match self.qk_norm {
            QkNorm::None => None,
            QkNorm::Heads => Some((q / HEADS, q / HEADS)),
            QkNorm::Rows => Some((q, kv)),
        };
        if let Some((q, k)) = norms {
            all.push(("attn_q_norm.weight", vec![q]));
            if !self.shares(layer) {
                all.push(("attn_k_norm.weight", vec![k]));
            }
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

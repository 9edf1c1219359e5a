//! Random adapters for a tiny model, in both forms, and the model with one merged into it.

use crate::tiny::Shape;
use hearth_engine::gguf::Gguf;
use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::{TensorType, dequantize};

/// The tensors that are changed, by the end of their names.
const TARGETS: [&str; 8] =
    ["attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

/// A difference to one tensor.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The tensor's name without `.weight`.
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[rank][inputs]`
    pub(crate) a: Vec<f32>,
    /// `[outputs][rank]`
    pub(crate) b: Vec<f32>,
}

/// A random adapter.
#[derive(Clone)]
pub(crate) struct Deltas {
    pub(crate) arch: String,
    pub(crate) rank: usize,
    pub(crate) alpha: f32,
    pub(crate) pairs: Vec<Pair>,
}

impl Deltas {
    /// For the model in `base`, from a seed.
    pub(crate) fn new(base: &[u8], rank: usize, alpha: f32, seed: u64) -> Self {
        let gguf = Gguf::from_vec(base.to_vec()).expect("our file");
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut values = |count: usize, spread: f32| -> Vec<f32> {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                spread * ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
            };
            (0..count).map(|_| next()).collect()
        };
        let mut pairs = Vec::new();
        for info in gguf.tensors() {
            let Some(name) = info.name().strip_suffix(".weight") else { continue };
            if TARGETS.iter().any(|target| name.ends_with(&format!(".{target}"))) {
                let (inputs, outputs) = (info.cols(), info.rows());
                pairs.push(Pair {
                    name: name.to_owned(),
                    inputs,
                    outputs,
                    a: values(rank * inputs, 1.0 / (inputs as f32).sqrt()),
                    b: values(outputs * rank, 0.3),
                });
            }
        }
        let arch = gguf.meta().str("general.architecture").expect("a name").expect("one");
        Self { arch: arch.to_owned(), rank, alpha, pairs }
    }

    /// What the products are multiplied with; an alpha of 0 means 1.
    fn scale(&self) -> f32 {
        if self.alpha == 0.0 { 1.0 } else { self.alpha / self.rank as f32 }
    }

    /// As llama.cpp has it.
    pub(crate) fn gguf(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.set("general.type", "adapter");
        writer.set("general.architecture", self.arch.as_str());
        writer.set("adapter.type", "lora");
        writer.set("adapter.lora.alpha", self.alpha);
        let mut data: Vec<Vec<u8>> = Vec::new();
        for pair in &self.pairs {
            for (half, dims, values) in [
                ("lora_a", [pair.inputs, self.rank], &pair.a),
                ("lora_b", [self.rank, pair.outputs], &pair.b),
            ] {
                let name = format!("{}.weight.{half}", pair.name);
                writer.tensor(&name, TensorType::F32, &dims).expect("a shape");
                data.push(bytes(values));
            }
        }
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        writer.to_vec(&data).expect("the planned tensors")
    }

    /// The same with something else about it.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut other = self.clone();
        change(&mut other);
        if other.rank != self.rank {
            other.pairs.iter_mut().for_each(|pair| {
                pair.a.truncate(other.rank * pair.inputs);
                pair.b.truncate(other.rank * pair.outputs);
            });
        }
        other.gguf()
    }

    /// The model in 32 bits, with this added to it.
    pub(crate) fn merged(&self, base: &[u8], strength: f32) -> Vec<u8> {
        let gguf = Gguf::from_vec(base.to_vec()).expect("our file");
        let mut writer = Writer::new();
        for (key, value) in gguf.meta().iter() {
            writer.set(key, value.clone());
        }
        let mut data: Vec<Vec<u8>> = Vec::new();
        for info in gguf.tensors() {
            writer.tensor(info.name(), TensorType::F32, info.dims()).expect("a shape");
            let mut values = vec![0.0; info.elements()];
            dequantize(info.ty(), &gguf.bytes(info), &mut values);
            let name = info.name().strip_suffix(".weight");
            if let Some(pair) = self.pairs.iter().find(|pair| Some(&pair.name[..]) == name) {
                let scale = f64::from(self.scale() * strength);
                for (at, value) in values.iter_mut().enumerate() {
                    let (row, col) = (at / pair.inputs, at % pair.inputs);
                    let product = |r: usize| {
                        f64::from(pair.b[row * self.rank + r])
                            * f64::from(pair.a[r * pair.inputs + col])
                    };
                    let sum: f64 = (0..self.rank).map(product).sum();
                    *value = (f64::from(*value) + scale * sum) as f32;
                }
            }
            data.push(bytes(&values));
        }
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        writer.to_vec(&data).expect("the planned tensors")
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The same adapter as a folder of the PEFT library: configuration and weights.
pub(crate) fn peft(deltas: &Deltas, shape: Shape) -> (Vec<u8>, Vec<u8>) {
    let config = format!(
        "{{\"peft_type\":\"LORA\",\"r\":{},\"lora_alpha\":{},\"use_dora\":false,\"bias\":\"none\",\
         \"target_modules\":[\"q_proj\"],\"task_type\":\"CAUSAL_LM\"}}",
        deltas.rank, deltas.alpha
    );
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for pair in &deltas.pairs {
        let (layer, part) =
            pair.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).expect("a layer");
        let module = match part {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_qkv" => "self_attn.qkv_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" if shape == Shape::Phi3 => "mlp.gate_up_proj",
            "ffn_up" => "mlp.up_proj",
            _ => "mlp.down_proj",
        };
        let turned = shape == Shape::Llama && ["attn_q", "attn_k"].contains(&part);
        let b = if turned { halved(&pair.b, deltas.rank, 64) } else { pair.b.clone() };
        for (half, dims, values) in
            [("A", [deltas.rank, pair.inputs], &pair.a), ("B", [pair.outputs, deltas.rank], &b)]
        {
            let from = data.len();
            data.extend(bytes(values));
            let name = format!("base_model.model.model.layers.{layer}.{module}.lora_{half}.weight");
            let entry = serde_json::json!({
                "dtype": "F32", "shape": dims, "data_offsets": [from, data.len()],
            });
            header.insert(name, entry);
        }
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    let length = (header.len() as u64).to_le_bytes();
    (config.into_bytes(), [&length[..], &header, &data].concat())
}

/// Rows of heads as their makers have them: first those that turn by a cosine, then the others.
fn halved(b: &[f32], rank: usize, head: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = b.chunks_exact(rank).collect();
    let heads = rows.chunks_exact(head);
    let halves = heads.flat_map(|rows| {
        let even = rows.iter().step_by(2);
        even.chain(rows.iter().skip(1).step_by(2))
    });
    halves.flat_map(|row| row.iter()).copied().collect()
}

//! A cancelled prefill of a large model ends at once: the stop flag is polled between units of
//! work, and at the width of an 8B model's layers no unit is long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hearth_engine::block::Stopped;
use hearth_engine::gguf::write::Writer;
use hearth_engine::gguf::{Gguf, Value};
use hearth_engine::model::Model;
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::session::{PREFILL_CHUNK, Session};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, quantize};

/// Llama 3 8B, but for the number of layers and the vocabulary.
const EMBD: usize = 4096;
const FF: usize = 14336;
const HEADS: usize = 32;
const HEADS_KV: usize = 8;
const HEAD_DIM: usize = 128;
const VOCAB: usize = 256;

/// From the signal to an idle pool.
const LIMIT: Duration = Duration::from_millis(100);

/// One layer whose matrices are of `ty`.
fn model(ty: TensorType, pool: Pool) -> Model {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("tokenizer.ggml.model", "none");
    for (key, value) in [
        ("vocab_size", VOCAB),
        ("block_count", 1),
        ("context_length", 8192),
        ("embedding_length", EMBD),
        ("feed_forward_length", FF),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", HEADS_KV),
    ] {
        writer.set(&format!("llama.{key}"), Value::U32(value as u32));
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let tensors: Vec<(&str, TensorType, Vec<usize>)> = vec![
        ("token_embd.weight", TensorType::F32, vec![EMBD, VOCAB]),
        ("output_norm.weight", TensorType::F32, vec![EMBD]),
        ("blk.0.attn_norm.weight", TensorType::F32, vec![EMBD]),
        ("blk.0.ffn_norm.weight", TensorType::F32, vec![EMBD]),
        ("blk.0.attn_q.weight", ty, vec![EMBD, HEADS * HEAD_DIM]),
        ("blk.0.attn_k.weight", ty, vec![EMBD, HEADS_KV * HEAD_DIM]),
        ("blk.0.attn_v.weight", ty, vec![EMBD, HEADS_KV * HEAD_DIM]),
        ("blk.0.attn_output.weight", ty, vec![HEADS * HEAD_DIM, EMBD]),
        ("blk.0.ffn_gate.weight", ty, vec![EMBD, FF]),
        ("blk.0.ffn_up.weight", ty, vec![EMBD, FF]),
        ("blk.0.ffn_down.weight", ty, vec![FF, EMBD]),
    ];
    let mut data = Vec::new();
    for (name, ty, dims) in &tensors {
        writer.tensor(name, *ty, dims).expect("a valid shape");
        data.push(matrix(*ty, dims.iter().product()));
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let gguf = Gguf::from_vec(writer.to_vec(&data).expect("the planned tensors")).expect("ours");
    Model::load(&gguf, &LoadOptions::default(), pool, &AtomicBool::new(false), &mut |_, _| ())
        .expect("a model")
}

/// Any values will do: one block, again and again.
fn matrix(ty: TensorType, count: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..256).map(|i| (i as f32 - 128.0) / 8192.0).collect();
    let mut block = vec![0; ty.row_bytes(values.len()).expect("whole blocks")];
    quantize(ty, &values, &mut block).expect("finite values");
    block.repeat(count / values.len())
}

/// From setting the flag, `delay` into a prefill, to its return.
fn time_to_idle(model: &Model, delay: Duration) -> Duration {
    let stop = model.pool.stop_flag();
    let flag = stop.clone();
    let prompt: Vec<u32> = (0..4096).map(|i| i % VOCAB as u32).collect();
    let mut session = Session::new(model, KvKind::F16);
    let (ended, end) = channel();
    std::thread::scope(|scope| {
        let setter = scope.spawn(move || {
            // The prefill goes on for seconds: the end comes first only if something is wrong.
            let _ = end.recv_timeout(delay);
            let at = Instant::now();
            flag.store(true, Ordering::Relaxed);
            at
        });
        let end = session.prefill(model, &prompt, PREFILL_CHUNK, &mut |_| ());
        let idle = Instant::now();
        let _ = ended.send(());
        let at = setter.join().expect("no panic");
        assert!(matches!(end, Err(Stopped)), "the whole prompt ran within {delay:?}");
        stop.store(false, Ordering::Relaxed);
        idle - at
    })
}

#[test]
fn a_prefill_at_the_width_of_an_8b_model_stops_within_100_ms() {
    for ty in [TensorType::Q4_K, TensorType::Q6_K, TensorType::IQ4_XS] {
        let model = model(ty, Pool::new(2));
        // Some moments fall into products, some into attention; a neighbour may steal one.
        let mut times: Vec<Duration> =
            (0..7).map(|i| time_to_idle(&model, Duration::from_millis(20 + 37 * i))).collect();
        times.sort();
        println!("{ty}: {times:?}");
        assert!(times[3] < LIMIT, "{ty}: {times:?}");
    }
}

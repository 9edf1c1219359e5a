//! Speed of attention: GFLOP/s of rows in prefill; GB/s of cache read by one row at depth.
//!
//! `cargo run --release -p hearth-kernels --example attention -- [threads]`. Each figure is the
//! best of several calls.

use hearth_kernels::attention::{AttnJob, AttnShape, KvLayer, KvType, attention};
use hearth_kernels::pool::Pool;
use std::time::Instant;

/// Heads, kv heads, elements of a head: SmolLM2 135M, Llama 3.2 1B, Gemma 3 270M, an 8B model.
const SHAPES: [(usize, usize, usize); 4] = [(9, 3, 64), (32, 8, 64), (4, 1, 256), (32, 8, 128)];
/// Rows of a prefill before which the cache holds `FILLED` positions: short calls, so that a busy
/// machine lets one pass undisturbed.
const ROWS: usize = 16;
const FILLED: usize = 512;
const DEPTH: usize = 4096;

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |arg| arg.parse().expect("a number"));
    let pool = Pool::new(threads);
    println!("{pool:?}");
    for (heads, kv_heads, head_dim) in SHAPES {
        for ty in [KvType::F32, KvType::F16, KvType::Bf16, KvType::Q8, KvType::Q4] {
            report(&pool, heads, kv_heads, head_dim, ty);
        }
    }
}

fn best(calls: usize, mut call: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    (0..calls).map(time).fold(f64::MAX, f64::min)
}

fn report(pool: &Pool, heads: usize, kv_heads: usize, head_dim: usize, ty: KvType) {
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (window, both_ways, softcap) = (None, false, None);
    let shape = AttnShape { heads, kv_heads, head_dim, scale, window, both_ways, softcap };
    let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
    let values = |n: usize| (0..n).map(|i| (i * 37 % 101) as f32 * 0.01 - 0.5).collect::<Vec<_>>();
    let (q, k) = (values(ROWS * width), values(DEPTH * kv_width));
    let mut out = vec![0.0; q.len()];
    let mut kv = KvLayer::new(ty, kv_heads, head_dim);
    let append = best(10, || {
        kv.truncate(0);
        kv.append(pool, &k[..FILLED * kv_width], &k[..FILLED * kv_width], FILLED);
    });
    let job = AttnJob { first_row: 0, rows: ROWS, pos0: FILLED - ROWS, kv: &kv };
    let prefill = best(100, || attention(pool, &shape, &q, &[job], &mut out));
    let flops = 4.0 * ((FILLED - ROWS / 2) * ROWS * heads * head_dim) as f64;
    kv.append(pool, &k[FILLED * kv_width..], &k[FILLED * kv_width..], DEPTH - FILLED);
    let job = AttnJob { first_row: 0, rows: 1, pos0: DEPTH - 1, kv: &kv };
    let row = best(40, || attention(pool, &shape, &q[..width], &[job], &mut out[..width]));
    let read = ty.bytes(2 * DEPTH * kv_width) as f64;
    println!(
        "{heads:>3} heads, {kv_heads} kv, {head_dim:>3} {ty:?}: prefill {:6.1} GFLOP/s, one row at \
         {DEPTH} {:5.1} GB/s, append {:.2} ns an element",
        flops / prefill / 1e9,
        read / row / 1e9,
        append * 1e9 / (2 * FILLED * kv_width) as f64
    );
}

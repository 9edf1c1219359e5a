//! Speed of the matrix products: GOP/s (two for each multiply-add); for one row GB/s of weights.
//!
//! `cargo run --release -p hearth-kernels --example gemm -- [threads [level [type...]]]`, the level
//! being `portable`, `avx2` or `best`. Each figure is the best call within a short time, as
//! neighbours on the machine only ever slow a call down.

use hearth_kernels::bytes::Bytes;
use hearth_kernels::cpu::{Cpu, Level};
use hearth_kernels::matmul::{Acts, Weight, WeightError, linear};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, quantize};
use std::time::{Duration, Instant};

/// Time for one figure.
const BUDGET: Duration = Duration::from_millis(250);

const ROWS: [usize; 7] = [1, 2, 4, 8, 16, 64, 512];
const SHAPES: [(usize, usize); 3] = [(64, 1024), (2048, 2048), (576, 1536)];

fn main() {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map_or(1, |arg| arg.parse().expect("a number of threads"));
    let cpu = match args.next().as_deref() {
        Some("portable") => Cpu::portable(),
        Some("avx2") => Cpu::with_level(Level::Avx2),
        _ => Cpu::detect(),
    };
    let wanted: Vec<TensorType> = args.filter_map(|arg| TensorType::from_name(&arg)).collect();
    let pool = Pool::with_cpu(threads, cpu);
    println!("{pool:?}; rows {ROWS:?}: GOP/s, and GB/s at one row");
    for ty in TensorType::all().filter(|ty| wanted.is_empty() || wanted.contains(ty)) {
        for (rows, cols) in SHAPES {
            report(&pool, ty, rows, cols, Weight::new);
        }
        if ty == TensorType::Q8_0 {
            println!("in planes:");
            report(&pool, ty, 2048, 2048, Weight::in_planes);
        }
    }
}

/// Brings a tensor of some rows and columns into a kernel's form.
type Pack = fn(TensorType, usize, usize, Bytes, &Pool) -> Result<Weight, WeightError>;

fn report(pool: &Pool, ty: TensorType, rows: usize, cols: usize, pack: Pack) {
    let Some(row_bytes) = ty.row_bytes(cols) else { return };
    let mut seed = 1u64;
    let mut float = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..rows * cols).map(|_| float()).collect();
    let mut bytes = vec![0; rows * row_bytes];
    match ty.is_written() {
        true => quantize(ty, &values, &mut bytes).expect("finite values"),
        // Any bytes are weights, and scales of denormal numbers cost no more here.
        false => bytes.iter_mut().zip(&values).for_each(|(byte, x)| *byte = x.to_bits() as u8),
    }
    // Copies beyond the caches, so that one row measures memory.
    let copies = ((96 << 20) / bytes.len()).clamp(1, 64);
    let weights: Vec<Weight> = (0..copies)
        .map(|_| pack(ty, rows, cols, bytes.clone().into(), pool).expect("a valid weight"))
        .collect();
    print!("{ty:>7} {rows}x{cols}:");
    for m in ROWS {
        let x: Vec<f32> = (0..m * cols).map(|_| float()).collect();
        let mut acts = Acts::new();
        acts.fill(pool, &x, m, cols, weights[0].reads());
        let mut out = vec![0.0; m * rows];
        let (mut best, start) = (f64::MAX, Instant::now());
        for weight in weights.iter().cycle().take(2000) {
            let call = Instant::now();
            linear(pool, &acts, &mut [(weight, &mut out)]);
            best = best.min(call.elapsed().as_secs_f64());
            if start.elapsed() > BUDGET {
                break;
            }
        }
        print!(" {:7.1}", 2.0 * (m * rows * cols) as f64 / best / 1e9);
        if m == 1 {
            print!(" ({:4.1} GB/s)", weights[0].bytes() as f64 / best / 1e9);
        }
    }
    let x = &values[..64 * cols.min(rows)];
    let mut best = f64::MAX;
    let mut acts = Acts::new();
    for _ in 0..100 {
        let start = Instant::now();
        acts.fill(pool, x, 64, x.len() / 64, weights[0].reads());
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("  fill {:.2} ns a value", best * 1e9 / x.len() as f64);
}

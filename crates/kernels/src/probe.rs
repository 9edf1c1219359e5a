//! What this machine can do at best: rates of arithmetic and of reading memory, by short loops.
//!
//! The figures are the denominators of `hearth bench --probe`. Each thread runs the same loop for a
//! few milliseconds, several times; the best time of a round over all threads counts.

use crate::cpu::Kernel;
use crate::isa::Isa;
use crate::mem::Pages;
use crate::pool::Pool;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

/// Rates of all threads of a pool together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRates {
    /// Operations on int8 a second (two for a multiply-add), in 10^9.
    pub int8_gops: f64,
    /// Operations on bf16 weights a second, in 10^9: widened to f32 in registers, as every kernel
    /// here does, also where the machine has products of bf16.
    pub bf16_gflops: f64,
    /// Operations on f32 a second, in 10^9.
    pub f32_gflops: f64,
    /// Bytes read from memory a second, in 10^9.
    pub read_gb_s: f64,
}

/// Rounds of each loop; those of arithmetic take about a millisecond, so that some meet a clock at
/// its height and no neighbour.
const ROUNDS: usize = 40;
/// Rounds of reading, which takes longer.
const READ_ROUNDS: usize = 7;
/// No more rounds after this.
const LONGEST: Duration = Duration::from_millis(200);
/// Steps of an arithmetic loop.
const STEPS: usize = 400_000;
/// Sums that are independent of each other: more than latency times width of today's cores.
const CHAINS: usize = 10;
/// Bytes read by each thread: far beyond the caches of a core.
const READ: usize = 128 << 20;

/// Measures; takes about half a second.
///
/// # Errors
/// If there is no memory to read.
pub fn probe(pool: &Pool) -> io::Result<PeakRates> {
    let cpu = pool.cpu();
    let threads = pool.threads();
    let lanes = cpu.lanes();
    let ops = (threads * STEPS * CHAINS * lanes * 2) as f64;
    let int8 = ops * 4.0 / best(pool, ROUNDS, &|_| cpu.run(Int8));
    let bf16 = ops / best(pool, ROUNDS, &|_| cpu.run(Bf16));
    let f32 = ops / best(pool, ROUNDS, &|_| cpu.run(F32));
    let pages: Vec<Pages> = (0..threads).map(|_| touched()).collect::<io::Result<_>>()?;
    let read = (threads * READ) as f64
        / best(pool, READ_ROUNDS, &|unit| {
            cpu.run(Read(pages[unit].as_slice()));
        });
    Ok(PeakRates {
        int8_gops: int8 / 1e9,
        bf16_gflops: bf16 / 1e9,
        f32_gflops: f32 / 1e9,
        read_gb_s: read / 1e9,
    })
}

/// Memory whose pages exist.
fn touched() -> io::Result<Pages> {
    let mut pages = Pages::zeroed(READ)?;
    pages.as_mut_slice().iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    Ok(pages)
}

/// The shortest of at most `rounds` in seconds; each round runs one unit for each thread.
fn best(pool: &Pool, rounds: usize, work: &(dyn Fn(usize) + Sync)) -> f64 {
    let begin = Instant::now();
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        pool.run_units(pool.threads(), &|unit, _| work(unit));
        best = best.min(start.elapsed().as_secs_f64());
        // Plain code takes longer and varies less.
        if begin.elapsed() > LONGEST {
            break;
        }
    }
    best
}

struct F32;

impl Kernel for F32 {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let x = isa.splat(black_box(0.999));
        let mut sums = [x; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = isa.fma(*sum, x, x);
            }
        }
        sums.iter().for_each(|&sum| {
            black_box(isa.sum(sum));
        });
    }
}

struct Bf16;

impl Kernel for Bf16 {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let weights = black_box([0x3f7fu16; 32 + CHAINS * 16]);
        let x = isa.splat(black_box(0.999));
        let mut sums = [x; CHAINS];
        for step in 0..STEPS {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: at most 16 weights from 0..32 + 16 * (0..CHAINS).
                let w = unsafe { isa.load_bf16(weights.as_ptr().add(step % 32 + i * I::LANES)) };
                *sum = isa.fma(w, x, *sum);
            }
        }
        sums.iter().for_each(|&sum| {
            black_box(isa.sum(sum));
        });
    }
}

struct Int8;

impl Kernel for Int8 {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let words = black_box([0x0101_0101i32; 64]);
        // SAFETY: a vector of bytes fits 64 words, and words read one at a time are at 0..32 +
        // 0..CHAINS of them.
        unsafe {
            let w = isa.bytes(words.as_ptr().cast());
            let mut sums = [isa.dot_zero(); CHAINS];
            for step in 0..STEPS {
                // Another word each time: a product that never changes would be computed once.
                let first = words.as_ptr().add(step % 32);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = isa.pin(isa.dot(*sum, w, first.add(i)));
                }
            }
            sums.iter().for_each(|&sum| {
                black_box(isa.sum(isa.floats(isa.dot_ints(sum))));
            });
        }
    }
}

struct Read<'a>(&'a [u8]);

impl Kernel for Read<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let vector = I::LANES * 4;
        let mut or = [isa.splat(0.0); 4];
        for chunk in self.0.chunks_exact(4 * vector) {
            for (i, or) in or.iter_mut().enumerate() {
                // SAFETY: inside the chunk.
                *or = isa.max(*or, unsafe { isa.load(chunk.as_ptr().add(i * vector).cast()) });
            }
        }
        or.iter().for_each(|&or| {
            black_box(isa.sum(or));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_positive() {
        let rates = probe(&Pool::new(2)).unwrap();
        for rate in [rates.int8_gops, rates.bf16_gflops, rates.f32_gflops, rates.read_gb_s] {
            assert!(rate.is_finite() && rate > 0.1, "{rates:?}");
        }
    }
}

//! What the kernels' tests share: a small generator of numbers, and every level there is.

use crate::cpu::Cpu;
use crate::quant::{TensorType, quantize};

/// A xorshift generator: tests need no more, and the same numbers each time.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A whole number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// Between -1 and 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Every level of this machine, and the layout of sixteen lanes in plain Rust.
pub(crate) fn all_cpus() -> Vec<Cpu> {
    let mut cpus = Cpu::all();
    cpus.insert(1, Cpu::portable16());
    cpus
}

/// Where a block of `ty` has its f16 scales, if it has any as such.
fn scales(ty: TensorType) -> &'static [usize] {
    match ty {
        TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 | TensorType::IQ4_NL => &[0],
        TensorType::IQ4_XS => &[0],
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4_K | TensorType::Q5_K => &[0, 2],
        TensorType::Q6_K => &[208],
        TensorType::Q2_K => &[80, 82],
        TensorType::Q3_K => &[108],
        TensorType::TQ1_0 => &[52],
        TensorType::TQ2_0 => &[64],
        TensorType::IQ1_S | TensorType::IQ2_XXS | TensorType::IQ2_XS | TensorType::IQ2_S => &[0],
        TensorType::IQ3_XXS | TensorType::IQ3_S => &[0],
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => &[],
        TensorType::MXFP4 | TensorType::IQ1_M => &[],
    }
}

/// `rows` rows of `cols` weights: quantised numbers (but of types that are not written), random
/// bytes with sane scales, and blocks of equal bytes (smallest and largest quants) with scales up
/// to the largest f16.
pub(crate) fn weights(ty: TensorType, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
    if ty.is_written() {
        quantize(ty, &rng.floats(rows * cols), &mut bytes).unwrap();
    }
    let scales = scales(ty);
    if scales.is_empty() && ty.is_written() {
        return bytes;
    }
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        match rng.below(8) {
            0..4 if ty.is_written() => continue,
            4 => block.fill([0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0][rng.below(6)]),
            _ => block.iter_mut().for_each(|byte| *byte = rng.next() as u8),
        }
        // Zero, the smallest, an ordinary one of either sign, the largest.
        let mut scale = || match rng.below(16) {
            0 => 0u16,
            1 => 1,
            2 => 0x7bff,
            3 => 0xfbff,
            _ => 0x2000 | (rng.next() as u16 & 0x83ff),
        };
        if ty == TensorType::IQ1_M {
            let scale = scale();
            for i in 0..4 {
                let byte = &mut block[49 + 2 * i];
                *byte = *byte & 15 | ((scale >> (4 * i)) as u8) << 4;
            }
        }
        for &at in scales {
            block[at..at + 2].copy_from_slice(&scale().to_le_bytes());
        }
    }
    bytes
}

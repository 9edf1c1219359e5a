//! Random blocks of every type: the codes are random bits, the scales chosen so that the values
//! have mean zero and a given standard deviation.
//!
//! Making blocks directly instead of quantising random floats is what lets a file of a billion
//! weights be written at the speed of the disk.

use half::{bf16, f16};
use hearth_kernels::quant::TensorType;

/// SplitMix64: one addition and a mix for eight bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [-1, 1).
    fn signed_unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `value` or its negative: takes away the bias of codes that are not symmetric.
    fn either_sign(&mut self, value: f32) -> f32 {
        if self.next() & 1 == 0 { value } else { -value }
    }

    fn bytes(&mut self, out: &mut [u8]) {
        let mut chunks = out.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = chunks.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of stream `number` under `seed`.
pub(super) fn stream(seed: u64, number: u64) -> u64 {
    mix(seed ^ mix(number.wrapping_add(0x632b_e59b_d9b4_e019)))
}

/// Values near one, as the weights of a norm are.
pub(super) fn near_one(len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..len).map(|_| 1.0 + 0.1 * random.signed_unit()).collect()
}

/// Root mean square of IQ4_NL's sixteen levels, of MXFP4's, and of the groups in IQ1's codebook.
const IQ4_LEVELS: f32 = 67.44;
const MXFP4_LEVELS: f32 = 5.852;
const IQ1_LEVELS: f32 = 0.7809;

/// Root mean square of the odd numbers below 16 and below 32: scales of the codebook types.
const ODD_16: f32 = 9.22;
const ODD_32: f32 = 18.47;

/// Fills a row of whole blocks with values of mean zero and this standard deviation.
pub(super) fn fill(ty: TensorType, row: &mut [u8], deviation: f32, seed: u64) {
    let mut random = Random(seed);
    random.bytes(row);
    let blocks = row.chunks_exact_mut(ty.block_bytes());
    blocks.for_each(|block| scale(ty, block, deviation, &mut random));
}

/// Sets the scales of a block of random bytes. The divisors are the standard deviations of uniform
/// codes: sqrt((n² - 1) / 12) for n levels.
fn scale(ty: TensorType, block: &mut [u8], deviation: f32, random: &mut Random) {
    // A uniform value in ±sqrt(3) has deviation one.
    let float = |random: &mut Random| random.signed_unit() * deviation * 1.732;
    match ty {
        TensorType::F32 => block.copy_from_slice(&float(random).to_le_bytes()),
        TensorType::F16 => put(block, 0, float(random)),
        TensorType::BF16 => {
            block.copy_from_slice(&bf16::from_f32(float(random)).to_le_bytes());
        }
        TensorType::Q8_0 => put(block, 0, deviation / 73.9),
        TensorType::Q4_0 => put(block, 0, random.either_sign(deviation / 4.61)),
        TensorType::Q5_0 => put(block, 0, random.either_sign(deviation / 9.23)),
        TensorType::Q4_1 => put_centred(block, 0, deviation / 4.61, -7.5),
        TensorType::Q5_1 => put_centred(block, 0, deviation / 9.23, -15.5),
        TensorType::Q2_K => {
            // Sub-block scales 8 to 15, the same for the minimum: 11.73 is their root mean square.
            for scales in &mut block[..16] {
                *scales = ((*scales & 0x0f) | 8) * 0x11;
            }
            put_centred(block, 80, deviation / (1.118 * 11.73), 1.5);
        }
        TensorType::Q3_K => put(block, 108, deviation / (2.345 * 18.48)),
        TensorType::Q4_K => {
            equal_scales_and_minima(block);
            put_centred(block, 0, deviation / (4.61 * 48.4), 7.5);
        }
        TensorType::Q5_K => {
            equal_scales_and_minima(block);
            put_centred(block, 0, deviation / (9.23 * 48.4), 15.5);
        }
        TensorType::Q6_K => {
            // Signed scales of magnitude 64 to 127: 97.3 is their root mean square.
            for scale in &mut block[192..208] {
                let magnitude = ((*scale & 0x7f) | 0x40) as i8;
                *scale = (if *scale & 0x80 == 0 { magnitude } else { -magnitude }) as u8;
            }
            put(block, 208, deviation / (18.47 * 97.3));
        }
        TensorType::IQ4_NL => put(block, 0, random.either_sign(deviation / IQ4_LEVELS)),
        TensorType::IQ4_XS => put(block, 0, deviation / (IQ4_LEVELS * 18.48)),
        TensorType::TQ1_0 => put(block, 52, deviation / 0.816),
        TensorType::TQ2_0 => {
            // Two bits hold -1, 0, 1; the fourth code becomes 0.
            for codes in &mut block[..64] {
                *codes &= !((*codes & (*codes >> 1) & 0x55) << 1);
            }
            put(block, 64, deviation / 0.707);
        }
        TensorType::IQ1_S => put(block, 0, deviation / (IQ1_LEVELS * ODD_16)),
        TensorType::IQ1_M => {
            // The scale's nibbles are the highest of the last four words.
            let scale = f16::from_f32(deviation / (IQ1_LEVELS * ODD_16)).to_bits();
            for i in 0..4 {
                let byte = &mut block[49 + 2 * i];
                *byte = *byte & 15 | ((scale >> (4 * i)) as u8) << 4;
            }
        }
        // The first divisor is the root mean square of the type's codebook.
        TensorType::IQ2_XXS => put(block, 0, deviation / (23.12 / 8.0 * ODD_32)),
        TensorType::IQ2_XS => put(block, 0, deviation / (24.22 / 8.0 * ODD_32)),
        TensorType::IQ2_S => put(block, 0, deviation / (24.43 / 8.0 * ODD_32)),
        TensorType::IQ3_XXS => put(block, 0, deviation / (30.85 / 4.0 * ODD_32)),
        TensorType::IQ3_S => put(block, 0, deviation / (7.594 * ODD_32)),
        TensorType::MXFP4 => {
            let exponent = (deviation / MXFP4_LEVELS).log2().round();
            block[0] = (exponent + 128.0).clamp(1.0, 254.0) as u8;
        }
    }
}

/// Stores an f16 at `at`.
fn put(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// Stores a scale and, after it, `centre` times that scale as the minimum, so the mean is zero.
fn put_centred(block: &mut [u8], at: usize, scale: f32, centre: f32) {
    put(block, at, scale);
    put(block, at + 2, f16::from_f32(scale).to_f32() * centre);
}

/// Gives the eight sub-blocks of a Q4_K or Q5_K block scales of 32 to 63 (48.4 in the root mean
/// square) and equal minima. Bytes 4 to 15 hold six-bit numbers: four scales, four minima, and four
/// bytes with the low halves of the other scales and minima, whose upper bits top the first eight.
fn equal_scales_and_minima(block: &mut [u8]) {
    for i in 4..8 {
        block[i] |= 0xa0;
        block[i + 4] = block[i];
        block[i + 8] = (block[i + 8] & 0x0f) * 0x11;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_kernels::quant::dequantize;

    #[test]
    fn every_type_has_the_deviation_asked_for_and_mean_zero() {
        let (cols, rows, deviation) = (2048, 64, 0.02f32);
        for ty in TensorType::all() {
            let mut row = vec![0; ty.row_bytes(cols).unwrap()];
            let mut values = vec![0.0f32; cols];
            let (mut sum, mut squares) = (0.0f64, 0.0f64);
            for number in 0..rows {
                fill(ty, &mut row, deviation, stream(1, number));
                dequantize(ty, &row, &mut values);
                sum += values.iter().map(|&v| f64::from(v)).sum::<f64>();
                squares += values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
            }
            let count = (cols as u64 * rows) as f64;
            let ratio = (squares / count).sqrt() / f64::from(deviation);
            let mean = sum / count / f64::from(deviation);
            // MXFP4's scale is a power of two, so it may miss by up to the root of two.
            let slack = if ty == TensorType::MXFP4 { 0.42 } else { 0.06 };
            assert!((ratio - 1.0).abs() < slack, "{ty}: deviation {ratio} of what was asked");
            assert!(mean.abs() < 0.13, "{ty}: mean {mean} deviations");
        }
    }

    #[test]
    fn streams_of_neighbours_have_nothing_in_common() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..4 {
            for number in 0..1000 {
                assert!(seen.insert(stream(seed, number)));
            }
        }
    }
}

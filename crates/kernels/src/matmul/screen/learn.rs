//! What is computed once for a weight and its directions: each row's residual along them, and its
//! length.

use super::super::acts::{Acts, Reads, panels, quantize_run};
use super::super::int::IntTiles;
use super::super::planes::Planes;
use super::{DIRECTIONS, Screen, Weight, directions};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::quant::TensorType;
use crate::quant::q8_0::planes::Residual;
use crate::quant::tile::Source;
use std::marker::PhantomData;

/// Tiles of a unit.
const TILES: usize = 16;

/// Bytes of a row of `along`.
const ROW: usize = 34;

impl Screen {
    /// Learns the directions from `states`, rows of inputs such as will come, and what belongs to
    /// them. `None` if the weight is not in planes, has no rows or no inputs came, or if the pool
    /// was stopped.
    pub fn learn(pool: &Pool, weight: &Weight, states: &[f32]) -> Option<Self> {
        let (cols, planes) = (weight.cols(), weight.planes()?);
        if weight.rows() == 0 || cols == 0 || states.len() < cols {
            return None;
        }
        let mut acts = Acts::new();
        let reads = Reads { quants: true, floats: false };
        acts.fill(pool, &directions::of(states, cols), DIRECTIONS, cols, reads);
        // A direction is what the kernel multiplies with, not what it was rounded from.
        let mut directions = vec![0.0; DIRECTIONS * cols];
        directions.chunks_exact_mut(cols).enumerate().for_each(|(k, v)| acts.seen(k, v));
        let (along, norms, rounding) = residuals(pool, weight, planes, &acts);
        let along = Weight::new(TensorType::Q8_0, weight.rows(), DIRECTIONS, along.into(), pool);
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let rows: Vec<Vec<f64>> = directions.chunks_exact(cols).map(wide).collect();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let gram = rows.iter().flat_map(|a| rows.iter().map(move |b| product(a, b))).collect();
        let largest = norms.iter().copied().fold(0.0, largest);
        Some(Self { directions, gram, along: along.ok()?, norms, largest, rounding })
    }
}

/// Every row's products with the directions, divided by its residual's length, as blocks of Q8_0;
/// that length; and the largest distance of a block from what it was rounded from.
fn residuals(
    pool: &Pool,
    weight: &Weight,
    planes: &Planes,
    acts: &Acts,
) -> (Vec<u8>, Vec<f32>, f64) {
    let (rows, tiles, lanes) = (weight.rows(), weight.tiles(), weight.lanes());
    let mut along = vec![0u8; tiles * lanes * ROW];
    let (mut norms, mut far) = (vec![0.0f32; tiles * lanes], vec![0.0f32; tiles * lanes]);
    let parts = (Disjoint::new(&mut along), Disjoint::new(&mut norms), Disjoint::new(&mut far));
    pool.run_units(tiles.div_ceil(TILES), &|unit, _| {
        let mut joined = vec![0u8; planes.blocks * lanes * Residual::UNITS];
        let mut products = vec![0.0f32; DIRECTIONS * lanes];
        for tile in unit * TILES..tiles.min((unit + 1) * TILES) {
            let of_rows = |size: usize| tile * lanes * size..(tile + 1) * lanes * size;
            // SAFETY: each unit has its own tiles.
            let (along, norms, far) = unsafe {
                let (along, norms, far) = (&parts.0, &parts.1, &parts.2);
                (along.part(of_rows(ROW)), norms.part(of_rows(1)), far.part(of_rows(1)))
            };
            planes.join(pool.cpu(), tile, 0..planes.blocks, &mut joined);
            pool.cpu().run(Norms { joined: &joined, norms });
            pool.cpu().run(IntTiles {
                format: PhantomData::<Residual>,
                weights: joined.as_ptr(),
                blocks: planes.blocks,
                first_tile: 0,
                tiles: 1,
                out: products.as_mut_ptr(),
                width: lanes,
                panels: 0..panels(DIRECTIONS),
                acts,
            });
            pool.cpu().run(Round { products: &products, norms, along, far });
        }
    });
    along.truncate(rows * ROW);
    let far = far.into_iter().fold(0.0, largest);
    (along, norms, f64::from(far) * 1.001)
}

/// The larger; infinity for what is no number.
fn largest(a: f32, b: f32) -> f32 {
    if b.is_nan() { f32::INFINITY } else { a.max(b) }
}

/// Rounds a tile's products, relative to the norms, to blocks of Q8_0, and tells how far they are.
struct Round<'a> {
    /// `[DIRECTIONS][lanes]`
    products: &'a [f32],
    norms: &'a [f32],
    along: &'a mut [u8],
    far: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (lane, block) in self.along.chunks_exact_mut(ROW).enumerate() {
            // Without a residual there is nothing along any direction.
            let norm = self.norms[lane];
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            let mut row = [0.0f32; DIRECTIONS];
            for (k, row) in row.iter_mut().enumerate() {
                *row = self.products[k * I::LANES + lane] * scale;
            }
            let (d, quants) = quantize_run(isa, &row);
            let d = half::f16::from_f32(d);
            block[..2].copy_from_slice(&d.to_le_bytes());
            let mut far = 0.0;
            for k in 0..DIRECTIONS {
                block[2 + k] = quants[k] as u8;
                far += (row[k] - d.to_f32() * f32::from(quants[k])).powi(2);
            }
            self.far[lane] = far.sqrt();
        }
    }
}

/// Lengths of the residuals of a joined tile's rows.
struct Norms<'a> {
    joined: &'a [u8],
    norms: &'a mut [f32],
}

impl Kernel for Norms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        /// `(2 l - 15)^2`, four times the square of the residual `l - 7.5`.
        const SQUARES: [u8; 16] = {
            let mut table = [0; 16];
            let mut l = 0i32;
            while l < 16 {
                table[l as usize] = ((2 * l - 15) * (2 * l - 15)) as u8;
                l += 1;
            }
            table
        };
        let ones = i32::from_ne_bytes([1; 4]);
        let mut sum = isa.splat(0.0);
        let blocks = self.joined.chunks_exact(Residual::UNITS * I::LANES);
        let roundings = 1.0 + (blocks.len() + 8) as f32 * f32::EPSILON;
        for block in blocks {
            // SAFETY: the chunk is a block.
            unsafe {
                let mut squares = isa.dot_zero();
                for pair in 0..4 {
                    let (a, b) = Residual::pair(isa, block.as_ptr(), 0, pair);
                    squares = isa.dot(squares, isa.lookup(&SQUARES, a), &ones);
                    squares = isa.dot(squares, isa.lookup(&SQUARES, b), &ones);
                }
                let d = isa.load_f16(block.as_ptr().cast());
                sum = isa.fma(isa.mul(d, d), isa.floats(isa.dot_ints(squares)), sum);
            }
        }
        let mut lanes = [0.0; 16];
        // SAFETY: a vector fits sixteen values.
        unsafe { isa.store(lanes.as_mut_ptr(), sum) };
        for (norm, four) in self.norms.iter_mut().zip(lanes) {
            *norm = (four.sqrt() / 2.0) * roundings;
        }
    }
}

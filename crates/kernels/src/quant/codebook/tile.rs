//! Tiles of the codebook types: f16 `d`, the table of levels, the scales as bytes (`2 s + 1`), then
//! eight runs of quants, whose levels are looked up as they are multiplied.
//!
//! A quant takes three or four bits, where the place of its group would take one or two: kernels
//! cannot look up whole groups. The table is in every block so that types share a kernel.

use super::super::TensorType;
use super::super::tile::*;
use super::{Codebook, Codes};
use crate::isa::Isa;
use std::marker::PhantomData;

/// The tile of `T`, whose blocks have `B` bytes and whose quants `BITS` bits.
pub(crate) struct CodebookTile<T, const BITS: usize, const B: usize>(PhantomData<T>);

/// What the kernel reads: quants of three bits with a scale for 16 weights, or of four with a scale
/// for 32.
#[derive(Clone, Copy)]
pub(crate) struct Quants<const BITS: usize>;

/// Units of `d` and the table; with sixteen lanes the table fills half of its two.
const TABLE: usize = 2;
const SCALES: usize = TABLE + 2;

impl<const BITS: usize> Quants<BITS> {
    const FOUR: bool = match BITS {
        3 => false,
        4 => true,
        _ => panic!("three bits or four"),
    };
    /// What a level of one stands for.
    const UNIT: f32 = if Self::FOUR { 0.25 } else { 0.125 };
    /// Weights of a scale.
    const SCALED: usize = if Self::FOUR { 32 } else { 16 };
    /// Units of the head: what comes before the runs.
    const HEAD: usize = SCALES + 256 / Self::SCALED;
    /// Units of a run.
    const RUN: usize = 4 * BITS;
}

impl<T: Codebook<B>, const BITS: usize, const B: usize> Tile for CodebookTile<T, BITS, B> {
    type Read = Quants<BITS>;
    const TYPE: TensorType = T::TYPE;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        const { assert!(T::UNIT == Quants::<BITS>::UNIT) };
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(Quants::<BITS>::HEAD * lanes);
        head[TABLE * lanes..][..16].copy_from_slice(&level_table(&T::LEVELS, 0));
        for (lane, block) in blocks.iter().enumerate() {
            let codes = T::unpack(block.first_chunk().expect("a block"));
            put_f16(head, lane, &codes.d);
            let scales = codes.scales.iter().step_by(Quants::<BITS>::SCALED / 16);
            for (i, s) in scales.enumerate() {
                head[(SCALES + i) * lanes + lane] = 2 * s + 1;
            }
            let runs = runs.chunks_exact_mut(Quants::<BITS>::RUN * lanes);
            for (run, quants) in runs.zip(codes.quants.as_chunks::<32>().0) {
                if Quants::<BITS>::FOUR {
                    pack_nibbles(quants, lanes, lane, run);
                } else {
                    let high = quants.map(|q| (q & 4) << 2);
                    pack_two_bits(quants, lanes, lane, run);
                    pack_high::<1>(&high, lanes, lane, &mut run[8 * lanes..]);
                }
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let d = [tile[2 * lane], tile[2 * lane + 1]];
        let scale = |s: usize| {
            let i = s * 16 / Quants::<BITS>::SCALED;
            tile[(SCALES + i) * lanes + lane] >> 1
        };
        let mut codes = Codes { d, scales: std::array::from_fn(scale), quants: [0; 256] };
        let runs = tile[Quants::<BITS>::HEAD * lanes..].chunks_exact(Quants::<BITS>::RUN * lanes);
        for (run, quants) in runs.zip(codes.quants.as_chunks_mut::<32>().0) {
            if Quants::<BITS>::FOUR {
                restore_nibbles(run, lanes, lane, quants);
            } else {
                let mut high = [0; 32];
                restore_two_bits(run, lanes, lane, quants);
                restore_high::<1>(&run[8 * lanes..], lanes, lane, &mut high);
                quants.iter_mut().zip(high).for_each(|(q, high)| *q |= high >> 2);
            }
        }
        block.copy_from_slice(&T::pack(&codes));
    }
}

impl<const BITS: usize> Source for Quants<BITS> {
    const UNITS: usize = Self::HEAD + 8 * Self::RUN;
    const RUNS: usize = 8;
    const DOT: DotForm = if Self::FOUR { DotForm::Signed } else { DotForm::SignedHalves };
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: a table of sixteen bytes stands in the head, and eight runs follow it: four
        // vectors of nibbles, or two of two bits and one of one bit.
        unsafe {
            let table = &*p.add(TABLE * I::LANES).cast::<[u8; 16]>();
            let run = p.add((Self::HEAD + Self::RUN * run) * I::LANES);
            let (a, b) = if Self::FOUR {
                nibbles(isa, run.add(4 * pair * I::LANES))
            } else {
                let (a, b) = two_bits(isa, run, pair, 0);
                let high = isa.bytes(run.add(8 * I::LANES));
                let top = |group| isa.and(moved(isa, high, group, 2), 4);
                let group = 2 * pair as i32;
                (isa.or(a, top(group)), isa.or(b, top(group + 1)))
            };
            (isa.lookup(table, a), isa.lookup(table, b))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: `d` opens the block, and vectors of scales follow the table.
        let scale = unsafe {
            let d = isa.mul(isa.load_f16(p.cast()), isa.splat(Self::UNIT));
            let scale = |i: usize| isa.load_u8(p.add((SCALES + i) * I::LANES));
            if Self::FOUR { isa.mul(d, scale(run)) } else { d }
        };
        ScaleMin { scale, min: isa.splat(0.0) }
    }

    #[inline(always)]
    unsafe fn halves<I: Isa>(p: *const u8, run: usize) -> *const i8 {
        // SAFETY: sixteen vectors of scales follow the table; all are below 32.
        unsafe { p.add((SCALES + 2 * run) * I::LANES).cast() }
    }
}

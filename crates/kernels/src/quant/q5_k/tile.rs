//! Q5_K in tiles: the head of Q4_K, then eight runs of nibbles, each with its fifth bits.

use super::super::TensorType;
use super::super::block::part;
use super::super::q4_k::pack_nibbles as file_nibbles;
use super::super::q4_k::tile::{HEAD, pack_head, restore_head, run_nibbles, scale_min};
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q5KTile;

impl Tile for Q5KTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q5_K;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            pack_head(block, lanes, lane, head);
            let fifth: &[u8; 32] = part(block, 16);
            for (s, run) in runs.chunks_exact_mut(20 * lanes).enumerate() {
                let mut quants = run_nibbles(part(block, 48), s);
                quants.iter_mut().zip(fifth).for_each(|(q, high)| *q |= ((high >> s) & 1) << 4);
                pack_nibbles(&quants, lanes, lane, run);
                pack_high::<1>(&quants, lanes, lane, &mut run[16 * lanes..]);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 256];
        block[16..48].fill(0);
        let runs = tile[HEAD * lanes..].chunks_exact(20 * lanes);
        for (s, (run, quants)) in runs.zip(quants.as_chunks_mut().0).enumerate() {
            restore_nibbles(run, lanes, lane, quants);
            restore_high::<1>(&run[16 * lanes..], lanes, lane, quants);
            for (high, q) in block[16..48].iter_mut().zip(quants) {
                *high |= (*q >> 4) << s;
            }
        }
        restore_head(tile, lanes, lane, block);
        block[48..176].copy_from_slice(&file_nibbles(&quants));
    }
}

impl Source for Q5KTile {
    const UNITS: usize = HEAD + 8 * 20;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Unsigned { bits: 5 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of four vectors of nibbles and one of fifth bits follow the head.
        unsafe {
            let run = p.add((HEAD + 20 * run) * I::LANES);
            let (a, b) = nibbles(isa, run.add(4 * pair * I::LANES));
            let high = isa.bytes(run.add(16 * I::LANES));
            (with_fifth(isa, a, high, 2 * pair), with_fifth(isa, b, high, 2 * pair + 1))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the head is that of Q4_K.
        unsafe { scale_min(isa, p, run) }
    }
}

//! A weight in two planes (`quant/q8_0/planes.rs`): the high one can be read alone (`screen/`), and
//! both together give what the whole tile gives, bit for bit.

// Loops over rows count indices of arrays and memory at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::acts::{META, Meta, Panel};
use super::int::{IntTiles, prefetch, signed_dots};
use super::pack;
use super::weight::WeightError;
use crate::bytes::Bytes;
use crate::cpu::{Cpu, Kernel};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::mem::Pages;
use crate::pool::Pool;
use crate::quant::TensorType;
use crate::quant::q8_0::planes::{HIGH, LOW, join, split};
use crate::quant::q8_0::tile::Q8_0Tile;
use crate::quant::tile::Tile;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Tiles of a Q8_0 weight: the high plane of all, then the low plane of all.
#[derive(Debug)]
pub(super) struct Planes {
    pages: Pages,
    lanes: usize,
    tiles: usize,
    /// Blocks of a row.
    pub(super) blocks: usize,
}

impl Planes {
    /// Packs `data`, row after row of Q8_0, one tile to a unit; absent rows of the last are zero.
    pub(super) fn pack(data: &Bytes, rows: usize, pool: &Pool) -> Result<Self, WeightError> {
        let lanes = pool.cpu().lanes();
        let block_bytes = TensorType::Q8_0.block_bytes();
        let row_bytes = data.len() / rows.max(1);
        let (tiles, blocks) = (rows.div_ceil(lanes), row_bytes / block_bytes);
        let mut pages = pack::room(rows, blocks * (HIGH + LOW), lanes)?;
        let (high, low) = pages.as_mut_slice().split_at_mut(tiles * blocks * HIGH * lanes);
        let (high, low) = (Disjoint::new(high), Disjoint::new(low));
        let bytes: &[u8] = data;
        pack::tiles(pool, data, (rows, lanes), &|tile| {
            let part =
                |units: usize| tile * blocks * units * lanes..(tile + 1) * blocks * units * lanes;
            // SAFETY: each unit writes its own tile.
            let (high, low) = unsafe { (high.part(part(HIGH)), low.part(part(LOW))) };
            let (absent, mut block) = ([0u8; 34], [0u8; 34 * 16]);
            let mut row_blocks: [&[u8]; 16] = [&absent; 16];
            let blocks = high.chunks_exact_mut(HIGH * lanes).zip(low.chunks_exact_mut(LOW * lanes));
            for (b, (high, low)) in blocks.enumerate() {
                let row_blocks = &mut row_blocks[..lanes];
                pack::blocks(bytes, (rows, row_bytes), (tile * lanes, b), &absent, row_blocks);
                let block = &mut block[..34 * lanes];
                Q8_0Tile::pack(row_blocks, block);
                pool.cpu().run(Split { block, high, low });
            }
        });
        Ok(Self { pages, lanes, tiles, blocks })
    }

    /// Bytes of both planes.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Bytes of a tile in both planes.
    pub(super) fn tile_bytes(&self) -> usize {
        self.blocks * (HIGH + LOW) * self.lanes
    }

    /// The high plane of a tile.
    pub(super) fn high(&self, tile: usize) -> &[u8] {
        let bytes = self.blocks * HIGH * self.lanes;
        &self.pages.as_slice()[tile * bytes..][..bytes]
    }

    /// The low plane of a tile.
    pub(super) fn low(&self, tile: usize) -> &[u8] {
        let bytes = self.blocks * LOW * self.lanes;
        &self.pages.as_slice()[self.tiles * self.blocks * HIGH * self.lanes..][tile * bytes..]
            [..bytes]
    }

    /// Asks for a tile that is about to be multiplied by itself.
    pub(super) fn ask(&self, cpu: Cpu, tile: usize) {
        cpu.run(Ask([self.high(tile), self.low(tile)]));
    }

    /// Puts blocks `blocks` of a tile together in `out`, as the tile of the type has them.
    pub(super) fn join(&self, cpu: Cpu, tile: usize, blocks: Range<usize>, out: &mut [u8]) {
        assert_eq!(out.len(), blocks.len() * 34 * self.lanes, "joined blocks");
        let high = &self.high(tile)[blocks.start * HIGH * self.lanes..]
            [..blocks.len() * HIGH * self.lanes];
        let low =
            &self.low(tile)[blocks.start * LOW * self.lanes..][..blocks.len() * LOW * self.lanes];
        cpu.run(Join {
            high: high.as_ptr(),
            low: low.as_ptr(),
            blocks: blocks.len(),
            out: out.as_mut_ptr(),
        });
    }
}

/// Asks for every line of both slices.
struct Ask<'a>([&'a [u8]; 2]);

impl Kernel for Ask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for slice in self.0 {
            for line in slice.chunks(64) {
                isa.prefetch(line.as_ptr());
            }
        }
    }
}

/// Takes a tile's block apart.
struct Split<'a> {
    block: &'a [u8],
    high: &'a mut [u8],
    low: &'a mut [u8],
}

impl Kernel for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { block, high, low } = self;
        assert_eq!((block.len(), high.len()), (34 * I::LANES, HIGH * I::LANES), "a block");
        assert_eq!(low.len(), LOW * I::LANES, "a block's low plane");
        // SAFETY: the sizes are checked.
        unsafe { split(isa, block.as_ptr(), high.as_mut_ptr(), low.as_mut_ptr()) };
    }
}

/// Joins blocks that follow each other in their planes.
struct Join {
    high: *const u8,
    low: *const u8,
    blocks: usize,
    out: *mut u8,
}

impl Kernel for Join {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for b in 0..self.blocks {
            // SAFETY: the slices it was made from hold these blocks.
            unsafe {
                let high = self.high.add(b * HIGH * I::LANES);
                let low = self.low.add(b * LOW * I::LANES);
                let out = self.out.add(b * 34 * I::LANES);
                std::ptr::copy_nonoverlapping(high, out, 2 * I::LANES);
                for pair in 0..4 {
                    let (even, odd) = join(isa, high, low, pair);
                    let out = out.add((2 + 8 * pair) * I::LANES);
                    isa.store_bytes(out, even);
                    isa.store_bytes(out.add(4 * I::LANES), odd);
                }
            }
        }
    }
}

/// Tiles `tiles` times rows `panels` of activations.
pub(super) struct PlaneTiles<'a> {
    pub(super) planes: &'a Planes,
    pub(super) tiles: Range<usize>,
    /// Row-major outputs `[rows of activations][width]`.
    pub(super) out: *mut f32,
    pub(super) width: usize,
    pub(super) panels: Range<usize>,
    pub(super) acts: &'a super::Acts,
}

impl Kernel for PlaneTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        if self.panels.len() > 1 {
            return self.run_joined(isa);
        }
        for index in self.panels.clone() {
            let panel = self.acts.panel(index);
            for t in self.tiles.clone() {
                // SAFETY: the caller of `linear` checked that tiles, panel and outputs have these
                // sizes.
                unsafe {
                    match panel.rows {
                        1 => self.rows::<I, 1>(isa, t, panel),
                        2 => self.rows::<I, 2>(isa, t, panel),
                        3 => self.rows::<I, 3>(isa, t, panel),
                        4 => self.rows::<I, 4>(isa, t, panel),
                        8 => self.rows::<I, 8>(isa, t, panel),
                        rows => unreachable!("a panel of {rows} rows"),
                    }
                }
            }
        }
    }
}

/// Blocks that are joined at a time: with the same columns of a panel they stay in the first-level
/// cache.
const CHUNK: usize = 16;

/// Room for joined blocks.
#[repr(align(64))]
struct Joined([MaybeUninit<u8>; CHUNK * 34 * 16]);

impl PlaneTiles<'_> {
    /// For several panels: some blocks of a tile are joined once and multiplied with all panels.
    #[inline(always)]
    fn run_joined<I: Isa>(&self, isa: I) {
        let blocks = self.planes.blocks;
        let mut joined = Joined([MaybeUninit::uninit(); _]);
        let joined = joined.0.as_mut_ptr().cast::<u8>();
        let whole = IntTiles {
            format: PhantomData::<Q8_0Tile>,
            weights: joined,
            blocks,
            first_tile: self.tiles.start,
            tiles: self.tiles.len(),
            out: self.out,
            width: self.width,
            panels: self.panels.clone(),
            acts: self.acts,
        };
        for t in self.tiles.clone() {
            let (high, low) = (self.planes.high(t).as_ptr(), self.planes.low(t).as_ptr());
            for start in (0..blocks).step_by(CHUNK) {
                let count = CHUNK.min(blocks - start);
                // SAFETY: the tile has these blocks, and the buffer holds as many.
                let (high, low) =
                    unsafe { (high.add(start * HIGH * I::LANES), low.add(start * LOW * I::LANES)) };
                Join { high, low, blocks: count, out: joined }.run(isa);
                for index in self.panels.clone() {
                    let (panel, runs) = (self.acts.panel(index), start..start + count);
                    // SAFETY: the caller of `linear` checked panel and outputs; the blocks of these
                    // runs are joined.
                    unsafe {
                        whole.rows::<I, Q8_0Tile>(isa, joined, t - self.tiles.start, panel, runs);
                    }
                }
            }
        }
    }

    /// A tile times a panel of `M` rows, in the order of `int::tile`.
    ///
    /// # Safety
    /// Tile and panel exist, and so do their outputs.
    #[inline(always)]
    unsafe fn rows<I: Isa, const M: usize>(&self, isa: I, t: usize, panel: Panel) {
        let (mut high, mut low) = (self.planes.high(t).as_ptr(), self.planes.low(t).as_ptr());
        let (mut q, mut meta) = (panel.quants, panel.meta);
        let mut acc = [isa.splat(0.0); M];
        for _ in 0..self.planes.blocks {
            // SAFETY: planes, quants and meta go on together to the ends the caller vouches for.
            unsafe {
                // Else what lies ahead belongs to tiles that nobody asked for.
                if M == 1 && self.tiles.len() > 1 {
                    prefetch::<I>(isa, high, HIGH);
                    prefetch::<I>(isa, low, LOW);
                }
                let joined = |pair| join(isa, high, low, pair);
                let dots = signed_dots::<I, M>(isa, joined, q, meta);
                let d = isa.load_f16(high.cast());
                for m in 0..M {
                    let a = *meta.add(Meta::Scale as usize * M + m).cast::<f32>();
                    acc[m] = isa.fma(isa.mul(d, isa.splat(a)), dots[m], acc[m]);
                }
                (high, low) = (high.add(HIGH * I::LANES), low.add(LOW * I::LANES));
                (q, meta) = (q.add(8 * M), meta.add(META * M));
            }
        }
        let first = t * I::LANES;
        let valid = I::LANES.min(self.width - first);
        for m in 0..M {
            // SAFETY: as the caller's.
            unsafe {
                let out = self.out.add((panel.first + m) * self.width + first);
                super::store_lanes(isa, acc[m], out, valid);
            }
        }
    }
}

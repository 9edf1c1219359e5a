//! The keys and values of one layer, in the layout the attention kernel reads.
//!
//! Memory grows by blocks of [`BLOCK`] positions. In a block, for each kv head, keys lie
//! transposed, `[head_dim][BLOCK]`, so that scores of neighbouring positions fill a vector; values
//! lie `[BLOCK][dim]`, `dim` being `head_dim` rounded up to whole vectors. Scales, where the type
//! has them, come last (see `scale.rs`). Blocks can be shared by sequences that begin alike;
//! whoever appends to a shared one gets a copy of it.

use super::scale::{self, Side};
use super::stored::{I4, I8, Stored, bytes};
use super::{MAX_HEAD_DIM, Typed};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::element::{Bf16, F16, F32};
use crate::isa::Isa;
use crate::pool::Pool;
use std::marker::PhantomData;
use std::sync::Arc;

/// Positions of a block.
pub const BLOCK: usize = 64;

/// Lanes that `dim` is rounded up to: the widest vector's.
const PAD: usize = 16;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// As computed.
    F32,
    /// Half the memory; values beyond ±65504 become infinite.
    F16,
    /// Half the memory, the range of f32 and 8 bits of precision.
    Bf16,
    /// A quarter of the memory: whole numbers of 8 bits, and a scale for 32 of them.
    Q8,
    /// An eighth of the memory: as `Q8`, of 4 bits. Precise enough only for heads that are rotated
    /// (`ops::rotate`), which spreads large elements over the head.
    Q4,
}

impl KvType {
    /// Bytes of so many elements, an even number, without their scales.
    pub fn bytes(self, elements: usize) -> usize {
        match self {
            KvType::F32 => bytes::<F32>(elements),
            KvType::F16 => bytes::<F16>(elements),
            KvType::Bf16 => bytes::<Bf16>(elements),
            KvType::Q8 => bytes::<I8>(elements),
            KvType::Q4 => bytes::<I4>(elements),
        }
    }

    /// Whether heads are to be rotated before they are appended, and queries and results too.
    pub fn wants_rotation(self) -> bool {
        self == KvType::Q4
    }
}

/// Aligned memory; read through pointers only.
#[repr(align(64))]
#[derive(Clone)]
struct Line([u8; 64]);

/// The memory of [`BLOCK`] positions of one layer, which several sequences may hold.
#[derive(Clone)]
pub struct KvBlock(Arc<[Line]>);

impl KvBlock {
    fn new(lines: usize) -> Self {
        Self(std::iter::repeat_n(Line([0; 64]), lines).collect())
    }

    /// Memory held, by all holders together.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// A copy of the memory, which [`KvLayer::block_from`] makes a block again.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes());
        self.0.iter().for_each(|line| bytes.extend_from_slice(&line.0));
        bytes
    }

    /// Makes the memory that of one holder alone.
    fn unshare(&mut self) {
        if Arc::get_mut(&mut self.0).is_none() {
            self.0 = Arc::from(&*self.0);
        }
    }

    /// The memory, of one holder alone.
    fn lines_mut(&mut self) -> &mut [Line] {
        Arc::get_mut(&mut self.0).expect("an unshared block")
    }
}

impl std::fmt::Debug for KvBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KvBlock({} bytes)", self.bytes())
    }
}

/// Keys and values of one layer and one sequence.
#[derive(Clone)]
pub struct KvLayer {
    ty: KvType,
    kv_heads: usize,
    head_dim: usize,
    blocks: Vec<KvBlock>,
    len: usize,
}

impl KvLayer {
    /// An empty cache; it holds no memory yet.
    pub fn new(ty: KvType, kv_heads: usize, head_dim: usize) -> Self {
        Self { ty, kv_heads, head_dim, blocks: Vec::new(), len: 0 }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no position.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn ty(&self) -> KvType {
        self.ty
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(KvBlock::bytes).sum()
    }

    /// Forgets all positions from `len` on, and returns the memory of whole blocks.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(BLOCK));
    }

    /// The memory of block `index`, to be shared. What it holds beyond [`KvLayer::len`] is not to
    /// be used.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block(&self, index: usize) -> KvBlock {
        self.blocks[index].clone()
    }

    /// Appends the first `positions` of a block of a layer of the same shape and type.
    ///
    /// # Panics
    /// If the last block is not full, or the block has another size.
    pub fn share(&mut self, block: KvBlock, positions: usize) {
        assert!(self.len.is_multiple_of(BLOCK) && positions <= BLOCK, "whole blocks before it");
        assert_eq!(block.0.len(), self.lines(), "a block of another shape");
        self.blocks.push(block);
        self.len += positions;
    }

    /// A block of this memory; `None` if a block of this shape and type has another size. Whatever
    /// the bytes are, they are numbers: wrong ones give wrong results and nothing worse.
    pub fn block_from(&self, bytes: &[u8]) -> Option<KvBlock> {
        let lines = bytes.as_chunks().0.iter().map(|line| Line(*line));
        (bytes.len() == self.block_bytes()).then(|| KvBlock(lines.collect()))
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.lines() * size_of::<Line>()
    }

    /// Lines of memory in a block.
    fn lines(&self) -> usize {
        self.scale_at(Side::Values, self.kv_heads, 0).div_ceil(64)
    }

    /// Appends `n` positions; `k` and `v` are row-major `[n][kv_heads * head_dim]`.
    ///
    /// If the pool is stopped, the new positions are counted but may hold anything.
    ///
    /// # Panics
    /// If `k` or `v` has another size.
    pub fn append(&mut self, pool: &Pool, k: &[f32], v: &[f32], n: usize) {
        let width = self.kv_heads * self.head_dim;
        assert_eq!((k.len(), v.len()), (n * width, n * width), "{n} positions of {width}");
        let (lines, start) = (self.lines(), self.len);
        // Only the last block can be both shared and not full.
        self.blocks[start / BLOCK..].iter_mut().for_each(KvBlock::unshare);
        while self.blocks.len() * BLOCK < start + n {
            self.blocks.push(KvBlock::new(lines));
        }
        self.len += n;
        // Lent apart from `self`, which says where in a block things are.
        let mut blocks = std::mem::take(&mut self.blocks);
        let first = start / BLOCK;
        let lent = Disjoint::new(&mut blocks[first..]);
        // Each unit fills one block.
        pool.run_units((start + n).div_ceil(BLOCK) - first, &|unit, _| {
            let base = (first + unit) * BLOCK;
            let positions = base.max(start)..(base + BLOCK).min(start + n);
            let rows = (positions.start - start) * width..(positions.end - start) * width;
            let (k, v, slot) = (&k[rows.clone()], &v[rows], positions.start - base);
            // SAFETY: no two units have the same block.
            let block = unsafe { lent.part(unit..unit + 1)[0].lines_mut() };
            let append = Append { kv: self, block, k, v, slot };
            match self.ty {
                KvType::F32 => pool.cpu().run(Typed::<_, F32>(append, PhantomData)),
                KvType::F16 => pool.cpu().run(Typed::<_, F16>(append, PhantomData)),
                KvType::Bf16 => pool.cpu().run(Typed::<_, Bf16>(append, PhantomData)),
                KvType::Q8 => pool.cpu().run(Typed::<_, I8>(append, PhantomData)),
                KvType::Q4 => pool.cpu().run(Typed::<_, I4>(append, PhantomData)),
            }
        });
        self.blocks = blocks;
    }

    /// Copies what is stored of a position, `[kv_heads * head_dim]` each.
    ///
    /// # Panics
    /// If it is not held, the cache is none of floats, or the sizes differ.
    pub fn read(&self, position: usize, k: &mut [f32], v: &mut [f32]) {
        let width = self.kv_heads * self.head_dim;
        assert!(position < self.len && k.len() == width && v.len() == width, "one position");
        let (block, slot) = (position / BLOCK, position % BLOCK);
        for head in 0..self.kv_heads {
            for d in 0..self.head_dim {
                let at = head * self.head_dim + d;
                k[at] = self.element(block, self.key_at(head) + d * BLOCK + slot);
                v[at] = self.element(block, self.value_at(head, slot) + d);
            }
        }
    }

    /// One element of a block, of floats.
    fn element(&self, block: usize, at: usize) -> f32 {
        let bytes = self.at(block, at, 1);
        // SAFETY: `at` checked that the element lies inside the block.
        unsafe {
            match self.ty {
                KvType::F32 => bytes.cast::<f32>().read_unaligned(),
                KvType::F16 => half::f16::from_bits(bytes.cast::<u16>().read_unaligned()).into(),
                KvType::Bf16 => half::bf16::from_bits(bytes.cast::<u16>().read_unaligned()).into(),
                KvType::Q8 | KvType::Q4 => {
                    panic!("elements of {:?} stand for nothing alone", self.ty)
                }
            }
        }
    }

    pub(super) fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    pub(super) fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Elements between the values of neighbouring positions.
    pub(super) fn dim(&self) -> usize {
        self.head_dim.next_multiple_of(PAD)
    }

    /// Elements in a block before the keys of a head.
    fn key_at(&self, head: usize) -> usize {
        head * self.head_dim * BLOCK
    }

    /// Elements in a block before the value of a head at a slot.
    fn value_at(&self, head: usize, slot: usize) -> usize {
        self.key_at(self.kv_heads) + (head * BLOCK + slot) * self.dim()
    }

    /// The keys of a head in a block: `[head_dim][BLOCK]`.
    pub(super) fn keys(&self, block: usize, head: usize) -> *const u8 {
        self.at(block, self.key_at(head), self.head_dim * BLOCK)
    }

    /// The values of a head in a block: `[BLOCK][dim]`.
    pub(super) fn values(&self, block: usize, head: usize) -> *const u8 {
        self.at(block, self.value_at(head, 0), BLOCK * self.dim())
    }

    /// Bytes in a block before the scales of a group of elements of a head.
    fn scale_at(&self, side: Side, head: usize, group: usize) -> usize {
        let elements = self.ty.bytes(self.value_at(self.kv_heads, 0));
        match self.ty {
            KvType::Q8 | KvType::Q4 => {
                elements + scale::at(side, head, self.kv_heads, group, self.head_dim)
            }
            KvType::F32 | KvType::F16 | KvType::Bf16 => elements,
        }
    }

    /// The scales of a group of elements of a head in a block, one f16 for each position.
    pub(super) fn scales(&self, block: usize, side: Side, head: usize, group: usize) -> *const u16 {
        self.bytes_at(block, self.scale_at(side, head, group), scale::BYTES).cast()
    }

    fn at(&self, block: usize, elements: usize, len: usize) -> *const u8 {
        self.bytes_at(block, self.ty.bytes(elements), self.ty.bytes(len))
    }

    fn bytes_at(&self, block: usize, start: usize, bytes: usize) -> *const u8 {
        let block = &self.blocks[block];
        assert!(start + bytes <= block.bytes(), "a head inside its block");
        // SAFETY: inside the block.
        unsafe { block.0.as_ptr().cast::<u8>().add(start) }
    }
}

impl std::fmt::Debug for KvLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ty, kv_heads, head_dim, len, .. } = self;
        write!(f, "KvLayer({len} positions of {kv_heads} x {head_dim} {ty:?})")
    }
}

/// Writes positions of one block from `slot` on.
struct Append<'a> {
    kv: &'a KvLayer,
    block: &'a mut [Line],
    k: &'a [f32],
    v: &'a [f32],
    slot: usize,
}

impl<E: Stored> Kernel for Typed<Append<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Append { kv, block, k, v, slot } = self.0;
        let width = kv.kv_heads * kv.head_dim;
        let base = block.as_mut_ptr().cast::<u8>();
        for (i, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            for head in 0..kv.kv_heads {
                let own = head * kv.head_dim..(head + 1) * kv.head_dim;
                let (mut k, mut v) = (&k[own.clone()], &v[own]);
                let mut whole = [[0.0; MAX_HEAD_DIM]; 2];
                if let Some(peak) = E::PEAK {
                    let [of_k, of_v] = &mut whole;
                    for (side, x, whole) in
                        [(Side::Keys, &mut k, of_k), (Side::Values, &mut v, of_v)]
                    {
                        let whole = &mut whole[..x.len()];
                        scale::divide(x, peak, whole, |group, bits| {
                            let at = kv.scale_at(side, head, group) + 2 * (slot + i);
                            // SAFETY: the scales lie inside the block, at even places.
                            unsafe { base.add(at).cast::<u16>().write(bits) };
                        });
                        *x = whole;
                    }
                }
                // SAFETY: heads and slots lie inside the block.
                unsafe {
                    let keys = base.add(bytes::<E>(kv.key_at(head)));
                    let values = base.add(bytes::<E>(kv.value_at(head, slot + i)));
                    round::<I, E>(isa, k, |at, vector| {
                        for (j, element) in vector.chunks_exact(E::ALONE).enumerate() {
                            E::put(keys.add(bytes::<E>((at + j) * BLOCK)), slot + i, element);
                        }
                    });
                    round::<I, E>(isa, v, |at, vector| E::put(values, at, vector));
                }
            }
        }
    }
}

/// Calls `put(at, elements)` with the rounded elements of `x` from `at` on, vector by vector.
#[inline(always)]
fn round<I: Isa, E: Stored>(isa: I, x: &[f32], mut put: impl FnMut(usize, &[u8])) {
    for at in (0..x.len()).step_by(I::LANES) {
        let valid = I::LANES.min(x.len() - at);
        let mut lanes = [0.0f32; 16];
        lanes[..valid].copy_from_slice(&x[at..at + valid]);
        let mut rounded = [0u8; 64];
        // SAFETY: a vector fits both buffers.
        unsafe { E::round(isa, rounded.as_mut_ptr(), isa.load(lanes.as_ptr())) };
        put(at, &rounded[..valid * E::ALONE]);
    }
}

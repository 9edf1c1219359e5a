//! The keys and values of one layer, in the layout the attention kernel reads.
//!
//! Memory grows by blocks of [`BLOCK`] positions. In a block, for each kv head, keys lie
//! transposed, `[head_dim][BLOCK]`, so that scores of neighbouring positions fill a vector; values
//! lie `[BLOCK][dim]`, `dim` being `head_dim` rounded up to whole vectors.

use super::Typed;
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::element::{Bf16, Element, F16, F32};
use crate::isa::Isa;
use crate::pool::Pool;
use std::marker::PhantomData;

/// Positions of a block.
pub(super) const BLOCK: usize = 64;

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
}

impl KvType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            KvType::F32 => 4,
            KvType::F16 | KvType::Bf16 => 2,
        }
    }
}

/// Aligned memory; read through pointers only.
#[repr(align(64))]
#[derive(Clone)]
struct Line(#[allow(dead_code)] [u8; 64]);

/// Keys and values of one layer and one sequence.
#[derive(Clone)]
pub struct KvLayer {
    ty: KvType,
    kv_heads: usize,
    head_dim: usize,
    blocks: Vec<Box<[Line]>>,
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
        self.blocks.iter().map(|block| size_of_val(&**block)).sum()
    }

    /// Forgets all positions from `len` on, and returns the memory of whole blocks.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(BLOCK));
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
        let lines = (self.value_at(self.kv_heads, 0) * self.ty.bytes()).div_ceil(64);
        let start = self.len;
        while self.blocks.len() * BLOCK < start + n {
            self.blocks.push(vec![Line([0; 64]); lines].into_boxed_slice());
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
            let block = unsafe { &mut lent.part(unit..unit + 1)[0] };
            let append = Append { kv: self, block, k, v, slot };
            match self.ty {
                KvType::F32 => pool.cpu().run(Typed::<_, F32>(append, PhantomData)),
                KvType::F16 => pool.cpu().run(Typed::<_, F16>(append, PhantomData)),
                KvType::Bf16 => pool.cpu().run(Typed::<_, Bf16>(append, PhantomData)),
            }
        });
        self.blocks = blocks;
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

    fn at(&self, block: usize, elements: usize, len: usize) -> *const u8 {
        let lines = &self.blocks[block];
        let (start, bytes) = (elements * self.ty.bytes(), len * self.ty.bytes());
        assert!(start + bytes <= size_of_val(&**lines), "a head inside its block");
        // SAFETY: inside the block.
        unsafe { lines.as_ptr().cast::<u8>().add(start) }
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

impl<E: Element> Kernel for Typed<Append<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Append { kv, block, k, v, slot } = self.0;
        let width = kv.kv_heads * kv.head_dim;
        let base = block.as_mut_ptr().cast::<u8>();
        for (i, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            for head in 0..kv.kv_heads {
                let own = head * kv.head_dim..(head + 1) * kv.head_dim;
                let (key, value) = (kv.key_at(head) + slot + i, kv.value_at(head, slot + i));
                // SAFETY: heads and slots lie inside the block.
                unsafe {
                    let key = base.add(key * E::BYTES);
                    let value = base.add(value * E::BYTES);
                    write::<I, E>(isa, &k[own.clone()], |at, vector| {
                        for (j, element) in vector.chunks_exact(E::BYTES).enumerate() {
                            let to = key.add((at + j) * BLOCK * E::BYTES);
                            std::ptr::copy_nonoverlapping(element.as_ptr(), to, E::BYTES);
                        }
                    });
                    write::<I, E>(isa, &v[own], |at, vector| {
                        let to = value.add(at * E::BYTES);
                        std::ptr::copy_nonoverlapping(vector.as_ptr(), to, vector.len());
                    });
                }
            }
        }
    }
}

/// Calls `put(at, bytes)` with the stored form of `x` from element `at` on, vector by vector.
#[inline(always)]
fn write<I: Isa, E: Element>(isa: I, x: &[f32], mut put: impl FnMut(usize, &[u8])) {
    for at in (0..x.len()).step_by(I::LANES) {
        let valid = I::LANES.min(x.len() - at);
        let mut lanes = [0.0f32; 16];
        lanes[..valid].copy_from_slice(&x[at..at + valid]);
        let mut bytes = [0u8; 64];
        // SAFETY: a vector fits both buffers.
        unsafe { E::store(isa, bytes.as_mut_ptr(), isa.load(lanes.as_ptr())) };
        put(at, &bytes[..valid * E::BYTES]);
    }
}

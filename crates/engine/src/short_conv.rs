//! Layers that mix the last few tokens by a gated convolution, in the place of attention:
//! `out(c * conv(b * x))`, with `b`, `c` and `x` from one product.
//!
//! What the convolution sees, `b * x`, is kept for every position as keys and values are, in two
//! halves of a row. So sequences are cut, shared and kept like those of other models, to the token.
//! A row is always read back as it is stored: its result is the same bytes however prompts are cut.

use hearth_kernels::attention::{KvLayer, KvType};
use hearth_kernels::matmul::{Acts, linear};
use hearth_kernels::pool::Pool;
use hearth_kernels::rows::for_rows;

use crate::block::Chunk;
use crate::timers::{Op, Timers};
use crate::weights::ShortConv;

/// Elements of a head at most, of those that a half of a row is cut into.
const MAX_HEAD: usize = 64;

/// Buffers, kept between passes.
#[derive(Default)]
pub(crate) struct Buffers {
    bcx: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    seen: Vec<f32>,
    mixed: Vec<f32>,
}

/// An empty store of a layer. Numbers of few bits are not exact enough for sums that no softmax
/// evens out, and their range is that of bfloat16, in which such models are trained.
pub(crate) fn cache(kind: KvType, n_embd: usize) -> KvLayer {
    let half = n_embd / 2;
    let head = (1..=MAX_HEAD).rev().find(|head| half.is_multiple_of(*head) && head % 2 == 0);
    let head = head.unwrap_or(2);
    let kind = if kind == KvType::F32 { KvType::F32 } else { KvType::Bf16 };
    KvLayer::new(kind, half / head, head)
}

/// What a layer works with besides its weights. M rows of the pass, E = n_embd.
pub(crate) struct Pass<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) layer: usize,
    pub(crate) n_embd: usize,
    pub(crate) acts: &'a mut Acts,
    pub(crate) timers: &'a mut Timers,
}

impl Pass<'_> {
    /// Of the rows in `acts`. `[M][E] -> [M][E]`
    pub(crate) fn run(
        &mut self,
        part: &ShortConv,
        buffers: &mut Buffers,
        chunks: &mut [Chunk],
        out: &mut [f32],
    ) {
        let (pool, embd, rows) = (self.pool, self.n_embd, self.acts.rows());
        buffers.bcx.resize(rows * 3 * embd, 0.0);
        buffers.mixed.resize(rows * embd, 0.0);
        linear(pool, self.acts, &mut [(&part.in_proj.weight, &mut buffers.bcx)]); // [M][3 E]
        part.in_proj.finish(pool, &mut buffers.bcx);
        self.timers.lap(Op::Qkv);
        let mut row = 0;
        for chunk in chunks {
            self.convolve(part, buffers, chunk, row);
            row += chunk.tokens.len();
        }
        self.timers.lap(Op::Attention);
        let mixed = &buffers.mixed;
        self.acts.fill(pool, mixed, rows, embd, part.out_proj.weight.reads());
        self.timers.lap(Op::Quantize);
        linear(pool, self.acts, &mut [(&part.out_proj.weight, out)]); // [M][E]
        part.out_proj.finish(pool, out);
        self.timers.lap(Op::AttnOutput);
    }

    /// The rows of one sequence, the first of which is row `row` of the pass.
    fn convolve(&self, part: &ShortConv, s: &mut Buffers, chunk: &mut Chunk, row: usize) {
        let (pool, embd, n) = (self.pool, self.n_embd, chunk.tokens.len());
        let (half, taps) = (embd / 2, part.conv.len() / embd);
        let bcx = &s.bcx[row * 3 * embd..(row + n) * 3 * embd];
        for (buffer, from) in [(&mut s.first, 0), (&mut s.second, half)] {
            buffer.resize(n * half, 0.0);
            for (row, bcx) in buffer.chunks_exact_mut(half).zip(bcx.chunks_exact(3 * embd)) {
                let (b, x) = (&bcx[from..from + half], &bcx[2 * embd + from..][..half]);
                row.iter_mut().zip(b.iter().zip(x)).for_each(|(row, (b, x))| *row = b * x);
            }
        }
        let kv = chunk.kv.layer_mut(self.layer);
        let start = kv.len();
        kv.append(pool, &s.first, &s.second, n);
        let kv = &*kv;
        // What the first row sees comes before the rows, as far as there is something.
        s.seen.clear();
        s.seen.resize((taps - 1 + n) * embd, 0.0);
        for_rows(pool, &mut s.seen, embd, &|at, seen| {
            if let Some(position) = (start + at).checked_sub(taps - 1) {
                let (first, second) = seen.split_at_mut(half);
                kv.read(position, first, second);
            }
        });
        let seen = &s.seen;
        let mixed = &mut s.mixed[row * embd..(row + n) * embd];
        for_rows(pool, mixed, embd, &|at, mixed| {
            let c = &bcx[(3 * at + 1) * embd..][..embd];
            for (e, (mixed, weights)) in
                mixed.iter_mut().zip(part.conv.chunks_exact(taps)).enumerate()
            {
                let rows = seen[at * embd + e..].iter().step_by(embd);
                let sum: f32 = rows.zip(weights).map(|(x, weight)| x * weight).sum();
                *mixed = c[e] * sum;
            }
        });
    }
}

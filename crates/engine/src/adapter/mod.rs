//! LoRA adapters: small differences to some matrices of a model, `W x + s B A x` in the place of
//! `W x` (arXiv 2106.09685). Several lie beside one model; every sequence goes through those that
//! its request names, and all run in the same passes.
//!
//! `read.rs` makes an [`Adapter`] of an adapter's files, `incoming.rs` takes them from the pipe;
//! this file applies them. A row's result does not depend on the adapters of other rows.

mod incoming;
mod read;

use std::ops::Range;
use std::sync::Arc;

use hearth_kernels::matmul::{Acts, Reads, Weight, linear};
use hearth_kernels::pool::Pool;

use crate::block::Chunk;
pub(crate) use incoming::Adapters;
pub(crate) use read::{Matrix, Pair};

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AdapterError(String);

/// The matrices of a layer that an adapter may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Target {
    Q,
    K,
    V,
    Output,
    Gate,
    Up,
    Down,
}

/// How many of them there are.
const TARGETS: usize = 7;

/// One adapter, made for one model.
pub struct Adapter {
    /// Of each layer and target.
    deltas: Vec<[Option<Delta>; TARGETS]>,
    /// Tells it from every other that this process has had.
    serial: u64,
    /// Of all matrices.
    bytes: usize,
}

/// The difference to one matrix.
struct Delta {
    /// `[rank][inputs]`
    a: Weight,
    /// `[outputs][rank]`
    b: Weight,
    /// What the product is multiplied with.
    scale: f32,
}

/// An adapter that a sequence goes through, and how strongly.
#[derive(Clone)]
pub struct Active {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// What its difference is multiplied by.
    pub strength: f32,
}

impl Active {
    /// What decides the numbers: sequences that agree in it, in order, may share them.
    pub(crate) fn key(&self) -> (u64, u32) {
        (self.adapter.serial, self.strength.to_bits())
    }
}

/// Which rows of a pass go through which adapters, and buffers, kept between passes.
#[derive(Default)]
pub(crate) struct Applied {
    spans: Vec<(Active, Range<usize>)>,
    low: Vec<f32>,
    product: Vec<f32>,
    acts: Acts,
}

impl Applied {
    /// Notes what the rows of a pass go through.
    pub(crate) fn begin(&mut self, chunks: &[Chunk]) {
        self.spans.clear();
        let mut first = 0;
        for chunk in chunks {
            let rows = first..first + chunk.tokens.len();
            first = rows.end;
            self.spans.extend(chunk.adapters.iter().map(|active| (active.clone(), rows.clone())));
        }
        // Those of one adapter stand together and share its products; rows keep their order.
        self.spans.sort_by_key(|(active, _)| active.adapter.serial);
    }

    /// The forms of an input that are needed where weights alone would read `reads`.
    pub(crate) fn reads(&self, reads: Reads) -> Reads {
        if self.spans.is_empty() { reads } else { Reads::ALL }
    }

    /// Adds the differences to a matrix's product with the rows in `acts`. `[M][outputs]`
    pub(crate) fn add(
        &mut self,
        pool: &Pool,
        (layer, target): (usize, Target),
        acts: &Acts,
        out: &mut [f32],
    ) {
        let Self { spans, low, product, acts: low_acts } = self;
        for same in spans.chunk_by(|a, b| a.0.adapter.serial == b.0.adapter.serial) {
            let Some(delta) = &same[0].0.adapter.deltas[layer][target as usize] else { continue };
            let (rows, rank, width) = (acts.rows(), delta.a.rows(), delta.b.rows());
            low.resize(rows * rank, 0.0);
            product.resize(rows * width, 0.0);
            linear(pool, acts, &mut [(&delta.a, low)]); // [M][rank]
            low_acts.fill(pool, low, rows, rank, delta.b.reads());
            linear(pool, low_acts, &mut [(&delta.b, product)]); // [M][outputs]
            for (active, rows) in same {
                let (scale, at) =
                    (delta.scale * active.strength, rows.start * width..rows.end * width);
                let sum = out[at.clone()].iter_mut().zip(&product[at]);
                sum.for_each(|(out, product)| *out += scale * product);
            }
        }
    }
}

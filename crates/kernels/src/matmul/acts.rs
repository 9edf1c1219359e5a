//! Activations as the matmul kernels want them: int8 in runs of 32, and the f32 they came from.
//!
//! A run of 32 is quantised by itself (scale = largest magnitude / 127, to nearest even), so a
//! row's bytes never depend on the rows beside it. Rows are grouped in panels of [`PANEL`]; the
//! rest makes one of four and one of one to three. In a panel of `m` rows the words of four quants
//! lie as `[cols / 4][m]`, so that the kernel's broadcasts walk along one line, and each run has
//! `[5][m]` words of [`Meta`].

use super::Weight;
use super::input::{Gate, Gated, Input, Plain, Stream, Streamed};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;
use std::ops::Range;

/// What a run's words of meta hold for each row, in this order.
#[repr(usize)]
pub(super) enum Meta {
    /// f32 scale.
    Scale = 0,
    /// f32 scale times the sum of the quants.
    ScaledSum = 1,
    /// Negated sum of the quants, see [`Isa::half_sums`].
    Sum = 2,
    /// The same for the first 16, times 32: what six-bit weights are off by.
    FirstHalf = 3,
    /// As [`Meta::FirstHalf`] for the last 16.
    SecondHalf = 4,
}

/// Words of meta for a row and run.
pub(super) const META: usize = 5;

/// Rows of a full panel: enough that unpacking weights costs little beside multiplying them.
pub(super) const PANEL: usize = 8;

/// Elements of a unit, about.
const UNIT: usize = 8192;

/// The forms of their input that weights read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Rounded to int8.
    pub(super) quants: bool,
    /// As it was.
    pub(super) floats: bool,
}

impl Reads {
    /// Both.
    pub const ALL: Self = Self { quants: true, floats: true };

    /// What any of the weights reads.
    pub fn of<'a>(weights: impl IntoIterator<Item = &'a Weight>) -> Self {
        weights.into_iter().map(Weight::reads).fold(Self::default(), |all, one| Self {
            quants: all.quants || one.quants,
            floats: all.floats || one.floats,
        })
    }
}

/// Rows of input, kept in the forms that weights are multiplied with.
#[derive(Debug, Default)]
pub struct Acts {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) reads: Reads,
    /// Lanes of the instructions that made it.
    pub(super) lanes: usize,
    pub(super) quants: Vec<i32>,
    pub(super) meta: Vec<u32>,
    pub(super) x: Vec<f32>,
}

/// The quantised rows `first..first + rows`.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) quants: *const i32,
    pub(super) meta: *const u32,
}

impl Acts {
    /// No rows yet; [`Acts::fill`] sizes it, and later fills of no larger size allocate nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Takes `x`, row-major `[rows][cols]`, in the forms that `reads` names. Rows whose length is
    /// no multiple of 32 are kept as f32 only: no quantised weight has such rows.
    ///
    /// A value that is not finite makes every output that depends on its run NaN.
    ///
    /// # Panics
    /// If `x` does not hold `rows * cols` values.
    pub fn fill(&mut self, pool: &Pool, x: &[f32], rows: usize, cols: usize, reads: Reads) {
        assert_eq!(x.len(), rows * cols, "activations of {rows} x {cols}");
        self.take(pool, &Plain { x, cols }, rows, cols, reads);
    }

    /// As [`Acts::fill`], of `gate(x) * up`, element by element.
    ///
    /// # Panics
    /// If `x` or `up` does not hold `rows * cols` values.
    pub fn fill_gated(
        &mut self,
        pool: &Pool,
        gate: Gate,
        (x, up): (&[f32], &[f32]),
        (rows, cols): (usize, usize),
        reads: Reads,
    ) {
        assert_eq!((x.len(), up.len()), (rows * cols, rows * cols), "{rows} x {cols} to gate");
        self.take(pool, &Gated { gate, x, up, cols }, rows, cols, reads);
    }

    /// As [`Acts::fill`], of the rows of `stream`, which what is added to it changes first.
    ///
    /// # Panics
    /// If the stream does not hold `rows * cols` values, or what is added to it as many.
    pub fn fill_stream(
        &mut self,
        pool: &Pool,
        stream: Stream,
        rows: usize,
        cols: usize,
        reads: Reads,
    ) {
        assert_eq!(stream.x.len(), rows * cols, "a stream of {rows} x {cols}");
        self.take(pool, &Streamed::new(stream, cols), rows, cols, reads);
    }

    /// Rows of `input`, a panel or a part of one in each unit.
    fn take<S: Input>(&mut self, pool: &Pool, input: &S, rows: usize, cols: usize, reads: Reads) {
        (self.rows, self.cols, self.reads) = (rows, cols, reads);
        self.lanes = pool.cpu().lanes();
        self.x.resize(if reads.floats { rows * cols } else { 0 }, 0.0);
        let runs = if reads.quants && cols.is_multiple_of(32) { cols / 32 } else { 0 };
        self.quants.resize(rows * runs * 8, 0);
        self.meta.resize(rows * runs * META, 0);
        let kept = Disjoint::new(&mut self.x);
        let (quants, meta) = (Disjoint::new(&mut self.quants), Disjoint::new(&mut self.meta));
        let part =
            if S::SPLITS { (UNIT / rows.clamp(1, PANEL)).next_multiple_of(32) } else { cols };
        let parts = cols.div_ceil(part.max(1));
        pool.run_units(panels(rows) * parts, &|unit, _| {
            let Range { start: first, end } = panel_rows(unit / parts, rows);
            let m = end - first;
            let cols = unit % parts * part..cols.min((unit % parts + 1) * part);
            let held = if runs > 0 { cols.start / 32..cols.end / 32 } else { 0..0 };
            // SAFETY: a panel's parts are its own, and each unit is another part.
            let (quants, meta) = unsafe {
                let words = |of: usize| {
                    (first * runs + held.start * m) * of..(first * runs + held.end * m) * of
                };
                (quants.part(words(8)), meta.part(words(META)))
            };
            let kept = reads.floats.then_some(&kept);
            pool.cpu().run(Quantize {
                input,
                first,
                m,
                cols,
                width: self.cols,
                kept,
                quants,
                meta,
            });
        });
    }

    /// Writes the values that integer kernels multiply with in place of row `row`.
    ///
    /// # Panics
    /// If there is no such row in that form, or `out` is not a row long.
    pub(super) fn seen(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {}", self.rows);
        let panel = (0..).find(|&index| panel_rows(index, self.rows).contains(&row));
        let rows = panel_rows(panel.expect("panels hold every row"), self.rows);
        let (m, r, runs) = (rows.len(), row - rows.start, self.cols / 32);
        let (quants, meta) = (rows.start * runs * 8 + r, rows.start * runs * META + r);
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = f32::from_bits(self.meta[meta + run * META * m]);
            for (group, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let word = self.quants[quants + (run * 8 + group) * m].to_le_bytes();
                *out = word.map(|q| f32::from(q as i8) * scale);
            }
        }
    }

    /// Panel number `index`.
    pub(super) fn panel(&self, index: usize) -> Panel {
        let Range { start: first, end } = panel_rows(index, self.rows);
        let runs = first * self.cols / 32;
        let quants = self.quants[runs * 8..].as_ptr();
        Panel { first, rows: end - first, quants, meta: self.meta[runs * META..].as_ptr() }
    }
}

/// Panels that `rows` make.
pub(super) fn panels(rows: usize) -> usize {
    rows / PANEL + rows % PANEL / 4 + usize::from(!rows.is_multiple_of(4))
}

/// The rows of panel `index`.
pub(super) fn panel_rows(index: usize, rows: usize) -> Range<usize> {
    let full = rows / PANEL;
    if index < full {
        return index * PANEL..(index + 1) * PANEL;
    }
    let (first, four) = (full * PANEL, full * PANEL + rows % PANEL / 4 * 4);
    if index == full && four > first { first..four } else { four..rows }
}

/// Brings columns `cols` of the `m` rows from `first` on into a panel.
struct Quantize<'a, S> {
    input: &'a S,
    first: usize,
    m: usize,
    cols: Range<usize>,
    /// Elements of a row.
    width: usize,
    /// Where f32 are kept, if they are.
    kept: Option<&'a Disjoint<'a, f32>>,
    /// Empty if quants are not.
    quants: &'a mut [i32],
    meta: &'a mut [u32],
}

impl<S: Input> Kernel for Quantize<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { input, first, m, cols, width, kept, quants, meta } = self;
        for row in 0..m {
            // SAFETY: each row is in one unit, or splits.
            let opened = unsafe { input.open(isa, first + row) };
            let mut room = [0.0f32; 32];
            for (r, at) in cols.clone().step_by(32).enumerate() {
                let room = &mut room[..(cols.end - at).min(32)];
                // SAFETY: the row is open, and these are columns of it.
                let run = unsafe { input.read(isa, first + row, opened, at, room) };
                if let Some(kept) = kept {
                    let start = (first + row) * width + at;
                    // SAFETY: no other unit has these columns of this row.
                    unsafe { kept.part(start..start + run.len()) }.copy_from_slice(run);
                }
                if !quants.is_empty()
                    && let Some(run) = run.as_array()
                {
                    let words = &mut quants[r * 8 * m..(r + 1) * 8 * m];
                    let metas = &mut meta[r * META * m..(r + 1) * META * m];
                    quantize_into(isa, run, (m, row), words, metas);
                }
            }
        }
    }
}

/// Writes one run of row `row` of a panel of `m` rows.
#[inline(always)]
fn quantize_into<I: Isa>(
    isa: I,
    run: &[f32; 32],
    (m, row): (usize, usize),
    quants: &mut [i32],
    meta: &mut [u32],
) {
    let (scale, bytes) = quantize_run(isa, run);
    for (group, four) in bytes.as_chunks::<4>().0.iter().enumerate() {
        quants[group * m + row] = i32::from_le_bytes(four.map(|q| q as u8));
    }
    // SAFETY: 32 quants.
    let [a, b] = unsafe { isa.half_sums(bytes.as_ptr()) };
    let sum = if I::WIDE_DOT {
        a + b
    } else {
        // Both places in one word, neither of which can overflow.
        ((a as u32 & 0xffff).wrapping_add(b as u32) & 0xffff
            | ((a as u32 & 0xffff_0000).wrapping_add(b as u32 & 0xffff_0000))) as i32
    };
    let total = if I::WIDE_DOT { sum } else { i32::from(sum as i16) + (sum >> 16) };
    meta[Meta::Scale as usize * m + row] = scale.to_bits();
    meta[Meta::ScaledSum as usize * m + row] = (scale * -total as f32).to_bits();
    meta[Meta::Sum as usize * m + row] = sum as u32;
    meta[Meta::FirstHalf as usize * m + row] = thirty_two::<I>(a);
    meta[Meta::SecondHalf as usize * m + row] = thirty_two::<I>(b);
}

/// A word of sums times 32; sums of eight quants, so 16 bits hold it.
#[inline(always)]
fn thirty_two<I: Isa>(sums: i32) -> u32 {
    if I::WIDE_DOT { (sums << 5) as u32 } else { (sums as u32 & 0x07ff_07ff) << 5 }
}

/// Scale and quants of one run.
#[inline(always)]
pub(super) fn quantize_run<I: Isa>(isa: I, run: &[f32; 32]) -> (f32, [i8; 32]) {
    let (mut peak, mut taint) = (isa.splat(0.0), isa.splat(0.0));
    let mut bytes = [0i8; 32];
    let p = run.as_ptr();
    // SAFETY: 32 values are a whole number of vectors, read and written inside the arrays.
    unsafe {
        for at in (0..32).step_by(I::LANES) {
            let x = isa.load(p.add(at));
            peak = isa.max(peak, isa.abs(x));
            // Zero for finite values and NaN for all others, which `max` may lose.
            taint = isa.fma(x, isa.splat(0.0), taint);
        }
        let peak = isa.max_lane(peak);
        let inverse = isa.splat(if peak > 0.0 { 127.0 / peak } else { 0.0 });
        for at in (0..32).step_by(I::LANES) {
            let x = isa.mul(isa.load(p.add(at)), inverse);
            isa.store_i8(bytes.as_mut_ptr().add(at), x);
        }
        (peak / 127.0 + isa.sum(taint), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;

    /// The rule in plain words.
    fn twin(run: &[f32]) -> (f32, Vec<i32>) {
        let peak = run.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        let inverse = if peak > 0.0 { 127.0 / peak } else { 0.0 };
        (peak / 127.0, run.iter().map(|x| (x * inverse).round_ties_even() as i32).collect())
    }

    #[test]
    fn panels_cover_all_rows_once() {
        for rows in 0..40 {
            let all: Vec<usize> =
                (0..panels(rows)).flat_map(|index| panel_rows(index, rows)).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
            let sizes = (0..panels(rows)).map(|index| panel_rows(index, rows).len());
            assert!(sizes.clone().all(|size| size == 8 || (1..=4).contains(&size)), "{rows}");
        }
    }

    #[test]
    fn panels_hold_the_quants_sums_and_rows() {
        let mut cpus = Cpu::all();
        cpus.push(Cpu::portable16());
        for cpu in cpus {
            let pool = Pool::with_cpu(2, cpu);
            let mut acts = Acts::new();
            for (rows, cols) in [(1, 32), (3, 64), (13, 96)] {
                let x: Vec<f32> = (0..rows * cols)
                    .map(|i| if i / 32 == 1 { 0.0 } else { ((i * 37 % 101) as f32 - 50.0) * 0.3 })
                    .collect();
                acts.fill(&pool, &x, rows, cols, Reads::ALL);
                assert_eq!((acts.rows(), acts.cols(), &acts.x), (rows, cols, &x));
                for row in 0..rows {
                    let panel = (0..panels(rows))
                        .map(|index| acts.panel(index))
                        .find(|panel| row < panel.first + panel.rows)
                        .unwrap();
                    let (m, r) = (panel.rows, row - panel.first);
                    for run in 0..cols / 32 {
                        let (scale, quants) = twin(&x[row * cols + run * 32..][..32]);
                        // SAFETY: the offsets are inside the panel.
                        let word = |i: usize| unsafe { *panel.quants.add((run * 8 + i) * m + r) };
                        let got: Vec<i32> = (0..32)
                            .map(|k| i32::from(word(k / 4).to_le_bytes()[k % 4] as i8))
                            .collect();
                        assert_eq!(got, quants, "{cpu:?} row {row} run {run}");
                        // SAFETY: as above.
                        let meta = |i: usize| unsafe { *panel.meta.add((run * META + i) * m + r) };
                        let total: i32 = quants.iter().sum();
                        assert_eq!(f32::from_bits(meta(0)), scale);
                        assert_eq!(f32::from_bits(meta(1)), scale * total as f32);
                        let unpacked = |word: u32| {
                            if cpu.lanes() == 8 && cpu.level() != crate::cpu::Level::Portable {
                                (word as i32 >> 16) + i32::from(word as i16)
                            } else {
                                word as i32
                            }
                        };
                        assert_eq!(unpacked(meta(2)), -total);
                        assert_eq!(unpacked(meta(3)) + unpacked(meta(4)), -32 * total);
                        assert_eq!(unpacked(meta(3)), -32 * quants[..16].iter().sum::<i32>());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_taints_the_scale() {
        for cpu in Cpu::all() {
            let pool = Pool::with_cpu(1, cpu);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = vec![1.0f32; 64];
                x[37] = bad;
                let mut acts = Acts::new();
                acts.fill(&pool, &x, 1, 64, Reads::ALL);
                assert!(
                    f32::from_bits(acts.meta[META]).is_nan() && acts.meta[0] != acts.meta[META]
                );
            }
        }
    }
}

//! A stored weight matrix in the form its kernel reads.

use super::Acts;
use super::acts::{Reads, panel_rows};
use super::float::{FloatTile, Output, WIDE};
use super::int::IntTiles;
use super::pack;
use super::planes::{PlaneTiles, Planes};
use super::rows::{self, Rows};
use crate::bytes::Bytes;
use crate::cpu::Cpu;
use crate::element::{Bf16, F16, F32};
use crate::mem::Pages;
use crate::pool::Pool;
use crate::quant::codebook::tile::CodebookTile;
use crate::quant::tile::{Source, Tile};
use crate::quant::{TensorType, dequantize};
use crate::quant::{iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};
use crate::quant::{
    iq4_nl, iq4_xs, mxfp4, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0,
};
use crate::quant::{tq1_0, tq2_0};
use std::marker::PhantomData;
use std::ops::Range;

/// What makes a tensor unfit as a weight.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    /// The row length is no whole number of blocks, or sizes overflow.
    #[error("a {ty} weight of {rows} x {cols}: rows must be whole blocks of {}", ty.block_len())]
    Shape {
        /// Its type.
        ty: TensorType,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// The data has another size than the shape says.
    #[error("a {ty} weight of {rows} x {cols} has {found} bytes, expected {expected}")]
    Length {
        /// Its type.
        ty: TensorType,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// Bytes given.
        found: usize,
        /// Bytes the shape needs.
        expected: usize,
    },
    /// The pool was stopped while the weight was packed.
    #[error("stopped while packing a weight")]
    Stopped,
    /// No memory for the packed form.
    #[error("no memory to pack a weight of {bytes} bytes")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A matrix `[rows][cols]`, to be multiplied with activations of `cols`.
#[derive(Debug)]
pub struct Weight {
    ty: TensorType,
    rows: usize,
    cols: usize,
    cpu: Cpu,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Tiles of as many rows as lanes.
    Int(Pages),
    /// The same in two planes.
    Planes(Planes),
    /// Tiles of `WIDE` vectors of rows.
    Float(Pages),
    /// The file's bytes.
    Rows(Bytes),
}

/// Does something for the tile format of a type; gives `$none` for a type without one.
macro_rules! with_tile {
    ($ty:expr, $tile:ident => $body:expr, $none:expr) => {
        with_tile!(@ $ty, $tile => $body, $none,
            Q4_0 q4_0::tile::Q4_0Tile,
            Q4_1 q4_1::tile::Q4_1Tile,
            Q5_0 q5_0::tile::Q5_0Tile,
            Q5_1 q5_1::tile::Q5_1Tile,
            Q8_0 q8_0::tile::Q8_0Tile,
            Q2_K q2_k::tile::Q2KTile,
            Q3_K q3_k::tile::Q3KTile,
            Q4_K q4_k::tile::Q4KTile,
            Q5_K q5_k::tile::Q5KTile,
            Q6_K q6_k::tile::Q6KTile,
            IQ1_S iq1_s::tile::Iq1STile,
            IQ1_M CodebookTile<iq1_m::IQ1_M, 3, 56>,
            IQ2_XXS CodebookTile<iq2_xxs::IQ2_XXS, 3, 66>,
            IQ2_XS CodebookTile<iq2_xs::IQ2_XS, 3, 74>,
            IQ2_S CodebookTile<iq2_s::IQ2_S, 3, 82>,
            IQ3_XXS CodebookTile<iq3_xxs::IQ3_XXS, 4, 98>,
            IQ3_S CodebookTile<iq3_s::IQ3_S, 4, 110>,
            IQ4_NL iq4_nl::tile::Iq4NlTile,
            IQ4_XS iq4_xs::tile::Iq4XsTile,
            TQ1_0 tq1_0::tile::Tq1_0Tile,
            TQ2_0 tq2_0::tile::Tq2_0Tile,
            MXFP4 mxfp4::tile::Mxfp4Tile,
        )
    };
    (@ $ty:expr, $tile:ident => $body:expr, $none:expr, $($name:ident $path:ty,)*) => {
        match $ty {
            $(TensorType::$name => {
                type $tile = $path;
                $body
            })*
            _ => $none,
        }
    };
}

/// Does something for the float type of a weight.
macro_rules! with_element {
    ($ty:expr, $element:ident => $body:expr) => {
        match $ty {
            TensorType::F32 => {
                type $element = F32;
                $body
            }
            TensorType::F16 => {
                type $element = F16;
                $body
            }
            _ => {
                type $element = Bf16;
                $body
            }
        }
    };
}

/// Bytes of a row, if there are `found` in all as the shape says.
fn row_bytes(ty: TensorType, rows: usize, cols: usize, found: usize) -> Result<usize, WeightError> {
    let shape = WeightError::Shape { ty, rows, cols };
    let Some(row_bytes) = ty.row_bytes(cols) else { return Err(shape) };
    match rows.checked_mul(row_bytes) {
        None => Err(shape),
        Some(expected) if expected != found => {
            Err(WeightError::Length { ty, rows, cols, found, expected })
        }
        Some(_) => Ok(row_bytes),
    }
}

impl Weight {
    /// Takes `data`, row after row of `ty`, and packs it if the type has a packed form.
    ///
    /// # Errors
    /// [`WeightError`]: the sizes disagree, there is no memory, or the pool was stopped.
    pub fn new(
        ty: TensorType,
        rows: usize,
        cols: usize,
        data: Bytes,
        pool: &Pool,
    ) -> Result<Self, WeightError> {
        let row_bytes = row_bytes(ty, rows, cols, data.len())?;
        let form = with_tile!(ty, T => Form::Int(pack::int::<T>(&data, rows, row_bytes, pool)?),
        match ty {
            TensorType::F32 | TensorType::F16 | TensorType::BF16 => {
                Form::Float(pack::float(ty, &data, rows, cols, pool)?)
            }
            _ => Form::Rows(data),
        });
        Self::packed(ty, rows, cols, form, pool)
    }

    /// As [`Weight::new`], for a matrix of whose product mostly the largest outputs are wanted: a
    /// type that has planes is laid out in them, so that [`super::Screen`] can tell the others by
    /// half of the bytes. Whole products stay the same, bit for bit.
    ///
    /// # Errors
    /// As [`Weight::new`].
    pub fn in_planes(
        ty: TensorType,
        rows: usize,
        cols: usize,
        data: Bytes,
        pool: &Pool,
    ) -> Result<Self, WeightError> {
        if ty != TensorType::Q8_0 {
            return Self::new(ty, rows, cols, data, pool);
        }
        row_bytes(ty, rows, cols, data.len())?;
        let form = Form::Planes(Planes::pack(&data, rows, pool)?);
        Self::packed(ty, rows, cols, form, pool)
    }

    /// A weight in a form that the pool has made, unless it was stopped meanwhile.
    fn packed(
        ty: TensorType,
        rows: usize,
        cols: usize,
        form: Form,
        pool: &Pool,
    ) -> Result<Self, WeightError> {
        if pool.stopped() {
            return Err(WeightError::Stopped);
        }
        Ok(Self { ty, rows, cols, cpu: pool.cpu(), form })
    }

    /// Takes `data`, row after row of `ty`, as it is: no memory is needed, and products are slower.
    ///
    /// # Errors
    /// [`WeightError`]: the sizes disagree.
    pub fn unpacked(
        ty: TensorType,
        rows: usize,
        cols: usize,
        data: Bytes,
        pool: &Pool,
    ) -> Result<Self, WeightError> {
        row_bytes(ty, rows, cols, data.len())?;
        Ok(Self { ty, rows, cols, cpu: pool.cpu(), form: Form::Rows(data) })
    }

    /// Whether it is laid out in planes.
    pub fn is_in_planes(&self) -> bool {
        self.planes().is_some()
    }

    /// Its planes, if it is laid out in them.
    pub(super) fn planes(&self) -> Option<&Planes> {
        match &self.form {
            Form::Planes(planes) => Some(planes),
            _ => None,
        }
    }

    /// Rows: the length of an output.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: the length of an input.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Type in the file.
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// Whether it is a copy, laid out for this machine, that no longer needs the file's bytes.
    pub fn is_packed(&self) -> bool {
        !matches!(self.form, Form::Rows(_))
    }

    /// The form of its input that it reads.
    pub fn reads(&self) -> Reads {
        let quants = matches!(self.form, Form::Int(_) | Form::Planes(_));
        Reads { quants, floats: !quants }
    }

    /// Bytes read to multiply it once.
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Int(pages) | Form::Float(pages) => pages.len(),
            Form::Planes(planes) => planes.len(),
            Form::Rows(bytes) => bytes.len(),
        }
    }

    /// Dequantises row `r` to `out`; the same values as [`dequantize`] of the file's bytes.
    ///
    /// # Panics
    /// If there is no such row or `out` is not a row long.
    pub fn row(&self, r: usize, out: &mut [f32]) {
        assert!(r < self.rows, "row {r} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "length of a row");
        let (block_len, block_bytes) = (self.ty.block_len(), self.ty.block_bytes());
        match &self.form {
            Form::Rows(bytes) => {
                let row_bytes = self.cols / block_len * block_bytes;
                dequantize(self.ty, &bytes[r * row_bytes..(r + 1) * row_bytes], out);
            }
            Form::Int(pages) => {
                let lanes = self.lanes();
                let tile = &pages.as_slice()[r / lanes * self.tile_bytes()..][..self.tile_bytes()];
                let mut block = [0u8; 256];
                let block = &mut block[..block_bytes];
                for (b, out) in out.chunks_exact_mut(block_len).enumerate() {
                    with_tile!(self.ty, T => {
                        let units = <T as Tile>::Read::UNITS;
                        let tile = &tile[b * units * lanes..][..units * lanes];
                        T::restore(tile, lanes, r % lanes, block);
                    }, unreachable!("{} has no tiles", self.ty));
                    dequantize(self.ty, block, out);
                }
            }
            Form::Planes(planes) => {
                let (lanes, mut tile) = (self.lanes(), [0u8; 34 * 16]);
                let mut block = [0u8; 34];
                for (b, out) in out.chunks_exact_mut(block_len).enumerate() {
                    let tile = &mut tile[..34 * lanes];
                    planes.join(self.cpu, r / lanes, b..b + 1, tile);
                    q8_0::tile::Q8_0Tile::restore(tile, lanes, r % lanes, &mut block);
                    dequantize(self.ty, &block, out);
                }
            }
            Form::Float(pages) => {
                let rows = self.tile_rows();
                let tile = &pages.as_slice()[r / rows * self.tile_bytes()..][..self.tile_bytes()];
                for (col, out) in out.iter_mut().enumerate() {
                    let at = (col * rows + r % rows) * block_bytes;
                    dequantize(self.ty, &tile[at..at + block_bytes], std::slice::from_mut(out));
                }
            }
        }
    }

    /// The bytes of an integer tile.
    pub(super) fn int_tile(&self, tile: usize) -> &[u8] {
        match &self.form {
            Form::Int(pages) => &pages.as_slice()[tile * self.tile_bytes()..][..self.tile_bytes()],
            _ => unreachable!("{} in another form than integer tiles", self.ty),
        }
    }

    /// Lanes of the instructions it was packed for.
    pub(super) fn lanes(&self) -> usize {
        self.cpu.lanes()
    }

    /// Rows of a tile; the last tile may have fewer.
    pub(super) fn tile_rows(&self) -> usize {
        match self.form {
            Form::Int(_) | Form::Planes(_) => self.lanes(),
            Form::Float(_) => self.lanes() * WIDE,
            Form::Rows(_) => rows::ROWS,
        }
    }

    /// Tiles, the last one perhaps in part.
    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile_rows())
    }

    /// Bytes of a whole tile.
    pub(super) fn tile_bytes(&self) -> usize {
        match &self.form {
            Form::Int(pages) | Form::Float(pages) => pages.len() / self.tiles().max(1),
            Form::Planes(planes) => planes.tile_bytes(),
            Form::Rows(bytes) => bytes.len() / self.rows.max(1) * self.tile_rows(),
        }
    }

    /// Computes the outputs of `tiles` for the rows of `panels`.
    ///
    /// # Safety
    /// `acts` has this weight's columns (at least one) and was made for its level; `out` points to
    /// `[acts.rows()][rows()]` values, and nobody else touches those computed here.
    pub(super) unsafe fn multiply(
        &self,
        tiles: Range<usize>,
        panels: Range<usize>,
        acts: &Acts,
        out: *mut f32,
    ) {
        match &self.form {
            Form::Int(pages) => with_tile!(self.ty, T => self.cpu.run(IntTiles {
                format: PhantomData::<<T as Tile>::Read>,
                weights: pages.as_slice()[tiles.start * self.tile_bytes()..].as_ptr(),
                blocks: self.cols / self.ty.block_len(),
                first_tile: tiles.start,
                tiles: tiles.len(),
                out,
                width: self.rows,
                panels,
                acts,
            }), unreachable!("{} has no tiles", self.ty)),
            Form::Planes(planes) => {
                self.cpu.run(PlaneTiles { planes, tiles, out, width: self.rows, panels, acts });
            }
            Form::Float(pages) => {
                let rows = self.acts_rows(panels, acts);
                for tile in tiles {
                    let weights = pages.as_slice()[tile * self.tile_bytes()..].as_ptr();
                    let (rows, output) = (rows.clone(), self.output(tile, out));
                    with_element!(self.ty, E => self.cpu.run(FloatTile {
                        element: PhantomData::<E>, weights, rows, output, acts
                    }));
                }
            }
            Form::Rows(bytes) => {
                let rows = self.acts_rows(panels, acts);
                let row_bytes = bytes.len() / self.rows;
                for tile in tiles {
                    let output = self.output(tile, out);
                    let first = output.first * row_bytes;
                    // SAFETY: the tile's outputs begin there.
                    let out = unsafe { out.add(rows.start * self.rows + output.first) };
                    self.cpu.run(Rows {
                        ty: self.ty,
                        bytes: &bytes[first..first + output.valid * row_bytes],
                        row_bytes,
                        acts,
                        acts_rows: rows.clone(),
                        out,
                        width: self.rows,
                    });
                }
            }
        }
    }

    fn acts_rows(&self, panels: Range<usize>, acts: &Acts) -> Range<usize> {
        panel_rows(panels.start, acts.rows).start..panel_rows(panels.end - 1, acts.rows).end
    }

    fn output(&self, tile: usize, out: *mut f32) -> Output {
        let first = tile * self.tile_rows();
        Output { out, width: self.rows, first, valid: self.tile_rows().min(self.rows - first) }
    }
}

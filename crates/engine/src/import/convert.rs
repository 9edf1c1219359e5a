//! A tensor's elements from the folder to the file: piece by piece, so that a tensor of any size
//! takes the memory of a piece.

use half::{bf16, f16};
use hearth_kernels::quant::{TensorType, quantize};
use std::io::Write;

use super::ImportError;
use super::family::Change;
use super::folder::Folder;
use super::plan::{Elements, Origin, Planned};
use super::safetensors::Dtype;
use crate::gguf::write::Body;

/// Elements of a piece; whole blocks of every type.
const PIECE: u64 = 1 << 16;

/// What ends a tensor before its end.
pub(super) enum Broken {
    /// The folder.
    Folder(ImportError),
    /// The other end of the pipe, or the file's plan.
    Output(std::io::Error),
}

impl From<ImportError> for Broken {
    fn from(error: ImportError) -> Self {
        Self::Folder(error)
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes one tensor; `told` hears of every piece and may end it.
pub(super) fn write<W: Write>(
    folder: &Folder,
    planned: &Planned,
    out: &mut Body<W>,
) -> Result<(), Broken> {
    out.tensor()?;
    match &planned.from {
        Origin::Computed(values) => {
            for value in values {
                out.write(&value.to_le_bytes())?;
            }
            Ok(())
        }
        Origin::File(elements) => {
            let mut piece = Piece::new(elements, planned.ty);
            match elements.change {
                Change::Interleave { heads } => {
                    let rows = elements.count / elements.row;
                    let (head, half) = (rows / heads, rows / heads / 2);
                    for row in 0..rows {
                        let (start, within) = (row / head * head, row % head);
                        let from = start + within % 2 * half + within / 2;
                        piece.range(folder, from * elements.row, elements.row, out)?;
                    }
                    Ok(())
                }
                _ => piece.range(folder, 0, elements.count, out),
            }
        }
    }
}

/// Buffers of one piece.
struct Piece<'a> {
    elements: &'a Elements,
    ty: TensorType,
    read: Vec<u8>,
    values: Vec<f32>,
    written: Vec<u8>,
}

impl<'a> Piece<'a> {
    fn new(elements: &'a Elements, ty: TensorType) -> Piece<'a> {
        Piece { elements, ty, read: Vec::new(), values: Vec::new(), written: Vec::new() }
    }

    /// Writes `count` elements from the element `first` on.
    fn range<W: Write>(
        &mut self,
        folder: &Folder,
        first: u64,
        count: u64,
        out: &mut Body<W>,
    ) -> Result<(), Broken> {
        let Elements { file, dtype, at, .. } = self.elements;
        let missing = || ImportError::damaged(file, "nothing", "the file");
        let file = folder.find(file).ok_or_else(missing)?;
        let size = dtype.bytes() as u64;
        let mut done = 0;
        while done < count {
            let now = PIECE.min(count - done);
            self.read.resize((now * size) as usize, 0);
            file.read_at(at + (first + done) * size, &mut self.read)?;
            out.write(self.converted()?)?;
            done += now;
        }
        Ok(())
    }

    /// The bytes of the file for those read.
    fn converted(&mut self) -> Result<&[u8], ImportError> {
        let Elements { dtype, change, .. } = self.elements;
        let same = matches!(
            (dtype, self.ty),
            (Dtype::F32, TensorType::F32) | (Dtype::F16, TensorType::F16)
        );
        if same && *change != Change::AddOne {
            return Ok(&self.read);
        }
        self.values.clear();
        match dtype {
            Dtype::F32 => self.values.extend(numbers(&self.read).map(f32::from_le_bytes)),
            Dtype::F16 => {
                let wide = |bytes| f16::from_le_bytes(bytes).to_f32();
                self.values.extend(numbers(&self.read).map(wide));
            }
            Dtype::Bf16 => {
                let wide = |bytes| bf16::from_le_bytes(bytes).to_f32();
                self.values.extend(numbers(&self.read).map(wide));
            }
            Dtype::Other(_) => {}
        }
        if *change == Change::AddOne {
            self.values.iter_mut().for_each(|value| *value += 1.0);
            if *dtype == Dtype::F16 {
                // The converter adds in the folder's own precision.
                let rounded = |value: &mut f32| *value = f16::from_f32(*value).to_f32();
                self.values.iter_mut().for_each(rounded);
            }
        }
        let bytes = self.ty.row_bytes(self.values.len()).unwrap_or(0);
        self.written.resize(bytes, 0);
        quantize(self.ty, &self.values, &mut self.written).map_err(|error| {
            let Elements { file, tensor, .. } = self.elements;
            ImportError::damaged(file, format!("tensor `{tensor}`: {error}"), "finite numbers")
        })?;
        Ok(&self.written)
    }
}

/// The elements of `N` bytes.
fn numbers<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

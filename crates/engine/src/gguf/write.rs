//! Writes GGUF v3: metadata and a plan of tensors first, then the data as a stream.
//!
//! Used by tests, `xtask synth` and whatever makes models; memory stays at the header's size.
//! What the reader refuses is refused here too, because a plan is read back before it is used.

use std::io::{self, Write};

use hearth_kernels::quant::TensorType;

use super::{GgufError, Value};

const VERSION: u32 = 3;

/// A file's header under construction.
#[derive(Debug)]
pub struct Writer {
    alignment: u64,
    entries: Vec<(String, Value)>,
    tensors: Vec<Plan>,
}

/// A tensor that will be written.
#[derive(Debug)]
struct Plan {
    name: String,
    ty: TensorType,
    dims: Vec<usize>,
    bytes: u64,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { alignment: 32, entries: Vec::new(), tensors: Vec::new() }
    }
}

impl Writer {
    /// A header with no keys and no tensors, alignment 32.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Adds a key. `general.alignment` also moves the tensors; no check against a second use.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Writer {
        let value = value.into();
        if let ("general.alignment", &Value::U32(alignment @ 1..)) = (key, &value) {
            self.alignment = alignment.into();
        }
        self.entries.push((key.to_owned(), value));
        self
    }

    /// Plans a tensor of shape `dims` (the row's length first), after those planned before.
    ///
    /// # Errors
    /// If a row is not whole blocks of the type, or the size overflows.
    pub fn tensor(
        &mut self,
        name: &str,
        ty: TensorType,
        dims: &[usize],
    ) -> Result<&mut Writer, GgufError> {
        let shape = || dims.iter().map(|&n| n as u64).collect::<Vec<_>>();
        let too_large = || GgufError::TooLarge { tensor: name.to_owned(), shape: shape() };
        let (&cols, others) = dims
            .split_first()
            .ok_or_else(|| GgufError::DimensionCount { tensor: name.to_owned(), found: 0 })?;
        let block = ty.block_len();
        if cols % block != 0 {
            let (tensor, cols) = (name.to_owned(), cols as u64);
            return Err(GgufError::RowLength { tensor, ty: ty.name(), cols, block });
        }
        let row = ty.row_bytes(cols).ok_or_else(too_large)?;
        let bytes = others.iter().try_fold(row, |n, &dim| n.checked_mul(dim));
        let bytes = bytes.ok_or_else(too_large)? as u64;
        self.tensors.push(Plan { name: name.to_owned(), ty, dims: dims.to_vec(), bytes });
        Ok(self)
    }

    /// Bytes of the whole file; `None` if they overflow.
    pub fn total_bytes(&self) -> Option<u64> {
        let padded = |bytes: u64| bytes.checked_next_multiple_of(self.alignment);
        let sum = |sum: u64, tensor: &Plan| sum.checked_add(padded(tensor.bytes)?);
        self.tensors.iter().try_fold(self.header().len() as u64, sum)
    }

    /// The header's bytes, padded to where the data begins.
    fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        for (key, value) in &self.entries {
            text(&mut out, key);
            out.extend((value.kind() as u32).to_le_bytes());
            value.encode(&mut out);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|&n| out.extend((n as u64).to_le_bytes()));
            out.extend(tensor.ty.id().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += tensor.bytes.next_multiple_of(self.alignment);
        }
        let padded = out.len().next_multiple_of(self.alignment as usize);
        out.resize(padded, 0);
        out
    }

    /// Writes the header; the result takes the data of the tensors in the order planned.
    ///
    /// # Errors
    /// If writing fails.
    pub fn start<W: Write>(self, mut out: W) -> io::Result<Body<W>> {
        out.write_all(&self.header())?;
        let sizes = self.tensors.iter().map(|tensor| tensor.bytes).collect::<Vec<_>>();
        Ok(Body { out, sizes: sizes.into_iter(), left: 0, pad: 0, alignment: self.alignment })
    }

    /// The whole file in memory; `data` holds each tensor's bytes in the order planned.
    ///
    /// # Errors
    /// If `data` is not what was planned.
    pub fn to_vec(self, data: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut body = self.start(Vec::new())?;
        for bytes in data {
            body.tensor()?;
            body.write(bytes)?;
        }
        body.finish()
    }
}

/// A file whose header is written, taking tensor data.
#[derive(Debug)]
pub struct Body<W> {
    out: W,
    sizes: std::vec::IntoIter<u64>,
    /// Bytes of the current tensor still to come, and of the padding after it.
    left: u64,
    pad: u64,
    alignment: u64,
}

impl<W: Write> Body<W> {
    /// Ends the tensor before and begins the next.
    ///
    /// # Errors
    /// If data of the tensor before is missing, or no tensor is left.
    pub fn tensor(&mut self) -> io::Result<()> {
        self.end()?;
        let size = self.sizes.next().ok_or_else(|| mismatch("no tensor is left in the plan"))?;
        self.left = size;
        self.pad = size.next_multiple_of(self.alignment) - size;
        Ok(())
    }

    /// Writes the next bytes of the current tensor.
    ///
    /// # Errors
    /// If they are more than planned, or writing fails.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| mismatch("more data than the tensor's shape has"))?;
        self.out.write_all(bytes)
    }

    /// Ends the file and returns the output.
    ///
    /// # Errors
    /// If any planned data is missing, or writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        if self.sizes.len() > 0 {
            return Err(mismatch("the data of a planned tensor is missing"));
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(mismatch("less data than the tensor's shape has"));
        }
        let zeros = vec![0; self.pad as usize];
        self.pad = 0;
        self.out.write_all(&zeros)
    }
}

fn mismatch(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

//! The list of tensors: name, shape, type, and where the data lies, each checked.
//!
//! Whether a model's tensors have the shapes it needs is the architecture's matter.

use hearth_kernels::bytes::Bytes;
use hearth_kernels::quant::TensorType;

use super::GgufError;
use super::header::Cursor;

/// Longest tensor name in bytes.
const NAME_MOST: u64 = 64;
/// Name, dimension count, one dimension, type and offset of the shortest tensor, in bytes.
const LEAST: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// A tensor: its name, shape and type, and a view of its data.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    name: String,
    ty: TensorType,
    dims: Vec<usize>,
    data: Bytes,
}

impl TensorInfo {
    /// The name, as `blk.0.attn_q.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type.
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// One to four lengths, none zero, in the file's order: the first is the length of a row.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Elements in a row.
    pub fn cols(&self) -> usize {
        self.dims[0]
    }

    /// Rows: the product of all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Elements in all rows.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The data: `rows()` rows of `ty().row_bytes(cols())` bytes, in the map.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }
}

/// A tensor whose data is not yet located.
struct Claim {
    name: String,
    ty: TensorType,
    dims: Vec<usize>,
    offset: u64,
    len: u64,
}

/// Reads `count` tensors and locates their data, which begins at the next multiple of `alignment`.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    count: u64,
    alignment: u32,
) -> Result<Vec<TensorInfo>, GgufError> {
    cursor.check_count("tensors", count, LEAST)?;
    let claims = (0..count).map(|_| claim(cursor)).collect::<Result<Vec<_>, _>>()?;
    refuse_overlap(&claims)?;
    let position = cursor.position() as u64;
    let start = position.next_multiple_of(u64::from(alignment));
    let file = cursor.file();
    claims.into_iter().map(|claim| locate(claim, file, start, alignment)).collect()
}

fn claim(cursor: &mut Cursor<'_>) -> Result<Claim, GgufError> {
    let name = cursor.name("a tensor name", NAME_MOST)?.to_owned();
    let found = cursor.u32("a tensor's dimension count")?;
    if !(1..=4).contains(&found) {
        return Err(GgufError::DimensionCount { tensor: name, found });
    }
    let mut shape = Vec::with_capacity(found as usize);
    for _ in 0..found {
        shape.push(cursor.u64("a tensor's shape")?);
    }
    let id = cursor.u32("a tensor's type")?;
    let offset = cursor.u64("a tensor's offset")?;
    if shape.contains(&0) {
        return Err(GgufError::ZeroDimension { tensor: name, shape });
    }
    let ty = TensorType::from_id(id).ok_or_else(|| GgufError::TensorType {
        tensor: name.clone(),
        id,
        name: foreign_type(id),
        supported: TensorType::all().map(TensorType::name).collect::<Vec<_>>().join(" "),
    })?;
    let too_large = || GgufError::TooLarge { tensor: name.clone(), shape: shape.clone() };
    let dims = dims(&shape).ok_or_else(too_large)?;
    let (cols, block) = (dims[0], ty.block_len());
    if cols % block != 0 {
        let (ty, cols) = (ty.name(), cols as u64);
        return Err(GgufError::RowLength { tensor: name, ty, cols, block });
    }
    let rows = dims[1..].iter().product::<usize>();
    let len = ty.row_bytes(cols).and_then(|row| row.checked_mul(rows)).ok_or_else(too_large)?;
    Ok(Claim { name, ty, dims, offset, len: len as u64 })
}

/// The shape in the machine's integers, if the number of elements fits in 63 bits.
fn dims(shape: &[u64]) -> Option<Vec<usize>> {
    let elements = shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n))?;
    isize::try_from(elements).ok()?;
    shape.iter().map(|&n| usize::try_from(n).ok()).collect()
}

/// No byte may belong to two tensors: it would be a file made to deceive a tool, never a model.
fn refuse_overlap(claims: &[Claim]) -> Result<(), GgufError> {
    let mut order: Vec<&Claim> = claims.iter().collect();
    order.sort_by_key(|claim| claim.offset);
    for pair in order.windows(2) {
        // An end beyond 64 bits is outside the file, which `locate` says better.
        let end = pair[0].offset.saturating_add(pair[0].len);
        if end > pair[1].offset && end != u64::MAX {
            let (first, second) = (pair[0].name.clone(), pair[1].name.clone());
            return Err(GgufError::Overlap { first, second });
        }
    }
    Ok(())
}

fn locate(claim: Claim, file: &Bytes, start: u64, alignment: u32) -> Result<TensorInfo, GgufError> {
    let Claim { name, ty, dims, offset, len } = claim;
    if offset % u64::from(alignment) != 0 {
        return Err(GgufError::Misaligned { tensor: name, offset, alignment });
    }
    let view = || {
        let first = start.checked_add(offset)?;
        let end = first.checked_add(len)?;
        file.slice(usize::try_from(first).ok()?..usize::try_from(end).ok()?)
    };
    match view() {
        Some(data) => Ok(TensorInfo { name, ty, dims, data }),
        None => {
            let have = (file.len() as u64).saturating_sub(start);
            Err(GgufError::OutsideFile { tensor: name, offset, len, have })
        }
    }
}

/// The name of a type that other programs know and this one does not, for the message.
fn foreign_type(id: u32) -> &'static str {
    match id {
        4 => " (Q4_2, removed from the format)",
        5 => " (Q4_3, removed from the format)",
        9 => " (Q8_1)",
        15 => " (Q8_K)",
        24 => " (I8)",
        25 => " (I16)",
        26 => " (I32)",
        27 => " (I64)",
        28 => " (F64)",
        31..=33 | 36..=38 => " (an interleaved layout, removed from the format)",
        40 => " (NVFP4)",
        41 => " (Q1_0)",
        42 => " (Q2_0)",
        _ => "",
    }
}

//! Tensor element types of GGUF: the one list, with ids, block sizes and code.
//!
//! A format's layout, decoder and encoder are in the folder of its name (`F32` is in `fp32`,
//! because a module called `f32` would hide the primitive). What the folders share is in
//! `block.rs`; the rule by which K-quants are written is in `k_rule.rs`; what IQ1, IQ2 and IQ3 have
//! in common, their tables of groups above all, in `codebook`. Vector kernels are not here: see
//! `matmul`.

mod bf16;
mod block;
pub(crate) mod codebook;
mod f16;
mod fp32;
pub(crate) mod iq1_m;
pub(crate) mod iq1_s;
pub(crate) mod iq2_s;
pub(crate) mod iq2_xs;
pub(crate) mod iq2_xxs;
pub(crate) mod iq3_s;
pub(crate) mod iq3_xxs;
pub(crate) mod iq4_nl;
pub(crate) mod iq4_xs;
mod k_rule;
pub(crate) mod mxfp4;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
pub(crate) mod q4_0;
pub(crate) mod q4_1;
pub(crate) mod q4_k;
pub(crate) mod q5_0;
pub(crate) mod q5_1;
pub(crate) mod q5_k;
pub(crate) mod q6_k;
pub(crate) mod q8_0;
pub(crate) mod tile;
pub(crate) mod tq1_0;
pub(crate) mod tq2_0;

use block::{Block, Encode, decode_row, encode_row};

/// Element type of a tensor, with GGUF's numeric ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, non_camel_case_types)]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

/// Writes values to whole blocks.
type EncodeRow = fn(&[f32], &mut [u8]);

/// What the list says about one type.
struct Format {
    ty: TensorType,
    id: u32,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    decode: fn(&[u8], &mut [f32]),
    /// None if the format has no rule by which it is written.
    encode: Option<EncodeRow>,
}

impl Format {
    /// An entry of the list; `N` elements and `B` bytes to a block, which the compiler checks
    /// against `F`.
    const fn of<F: Encode<N, B>, const N: usize, const B: usize>(
        ty: TensorType,
        id: u32,
        name: &'static str,
    ) -> Self {
        Self { encode: Some(encode_row::<F, N, B>), ..Self::read_only::<F, N, B>(ty, id, name) }
    }

    /// As [`Format::of`], for a format that is only read.
    const fn read_only<F: Block<N, B>, const N: usize, const B: usize>(
        ty: TensorType,
        id: u32,
        name: &'static str,
    ) -> Self {
        let decode = decode_row::<F, N, B>;
        Self { ty, id, name, block_len: N, block_bytes: B, decode, encode: None }
    }
}

/// The one list of supported types: code, elements and bytes in a block, GGUF's id and name.
static FORMATS: [Format; 25] = [
    Format::of::<fp32::F32, 1, 4>(TensorType::F32, 0, "F32"),
    Format::of::<f16::F16, 1, 2>(TensorType::F16, 1, "F16"),
    Format::of::<q4_0::Q4_0, 32, 18>(TensorType::Q4_0, 2, "Q4_0"),
    Format::of::<q4_1::Q4_1, 32, 20>(TensorType::Q4_1, 3, "Q4_1"),
    Format::of::<q5_0::Q5_0, 32, 22>(TensorType::Q5_0, 6, "Q5_0"),
    Format::of::<q5_1::Q5_1, 32, 24>(TensorType::Q5_1, 7, "Q5_1"),
    Format::of::<q8_0::Q8_0, 32, 34>(TensorType::Q8_0, 8, "Q8_0"),
    Format::of::<q2_k::Q2_K, 256, 84>(TensorType::Q2_K, 10, "Q2_K"),
    Format::of::<q3_k::Q3_K, 256, 110>(TensorType::Q3_K, 11, "Q3_K"),
    Format::of::<q4_k::Q4_K, 256, 144>(TensorType::Q4_K, 12, "Q4_K"),
    Format::of::<q5_k::Q5_K, 256, 176>(TensorType::Q5_K, 13, "Q5_K"),
    Format::of::<q6_k::Q6_K, 256, 210>(TensorType::Q6_K, 14, "Q6_K"),
    Format::read_only::<iq2_xxs::IQ2_XXS, 256, 66>(TensorType::IQ2_XXS, 16, "IQ2_XXS"),
    Format::read_only::<iq2_xs::IQ2_XS, 256, 74>(TensorType::IQ2_XS, 17, "IQ2_XS"),
    Format::read_only::<iq3_xxs::IQ3_XXS, 256, 98>(TensorType::IQ3_XXS, 18, "IQ3_XXS"),
    Format::read_only::<iq1_s::IQ1_S, 256, 50>(TensorType::IQ1_S, 19, "IQ1_S"),
    Format::of::<iq4_nl::IQ4_NL, 32, 18>(TensorType::IQ4_NL, 20, "IQ4_NL"),
    Format::read_only::<iq3_s::IQ3_S, 256, 110>(TensorType::IQ3_S, 21, "IQ3_S"),
    Format::read_only::<iq2_s::IQ2_S, 256, 82>(TensorType::IQ2_S, 22, "IQ2_S"),
    Format::of::<iq4_xs::IQ4_XS, 256, 136>(TensorType::IQ4_XS, 23, "IQ4_XS"),
    Format::read_only::<iq1_m::IQ1_M, 256, 56>(TensorType::IQ1_M, 29, "IQ1_M"),
    Format::of::<bf16::BF16, 1, 2>(TensorType::BF16, 30, "BF16"),
    Format::of::<tq1_0::TQ1_0, 256, 54>(TensorType::TQ1_0, 34, "TQ1_0"),
    Format::of::<tq2_0::TQ2_0, 256, 66>(TensorType::TQ2_0, 35, "TQ2_0"),
    Format::of::<mxfp4::MXFP4, 32, 17>(TensorType::MXFP4, 39, "MXFP4"),
];

impl TensorType {
    fn format(self) -> &'static Format {
        FORMATS.iter().find(|format| format.ty == self).expect("every type is in the list")
    }

    /// Every supported type.
    pub fn all() -> impl Iterator<Item = TensorType> {
        FORMATS.iter().map(|format| format.ty)
    }

    /// The type with this GGUF id, if supported.
    pub fn from_id(id: u32) -> Option<TensorType> {
        FORMATS.iter().find(|format| format.id == id).map(|format| format.ty)
    }

    /// The type with this name (as `Q4_K`), if supported.
    pub fn from_name(name: &str) -> Option<TensorType> {
        FORMATS.iter().find(|format| format.name.eq_ignore_ascii_case(name)).map(|f| f.ty)
    }

    /// GGUF's numeric id.
    pub fn id(self) -> u32 {
        self.format().id
    }

    /// The field's name for it.
    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// Whether [`quantize`] has a rule for it.
    pub fn is_written(self) -> bool {
        self.format().encode.is_some()
    }

    /// Elements in a block; a row's length must be a multiple of it.
    pub fn block_len(self) -> usize {
        self.format().block_len
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.format().block_bytes
    }

    /// Bytes of a row of `cols` elements; `None` if `cols` is no multiple of the block or the
    /// product overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Stops on a length that no caller who asked [`Self::row_bytes`] can have.
    fn assert_lengths(self, bytes: usize, cols: usize) {
        let expected = self.row_bytes(cols);
        assert!(expected == Some(bytes), "{self}: {bytes} bytes for {cols} values ({expected:?})");
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why values are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// A value that a block format cannot hold.
    #[error(
        "value {index} is not finite; {ty} holds finite numbers only (F32, F16 and BF16 hold all)"
    )]
    NotFinite {
        /// The type asked for.
        ty: TensorType,
        /// Place of the first such value.
        index: usize,
    },
    /// A format whose groups of weights are chosen by what they do in a model.
    #[error("{ty} is read but not written here; llama-quantize writes it")]
    ReadOnly {
        /// The type asked for.
        ty: TensorType,
    },
}

/// Writes the values of `bytes`, whole blocks of `ty`, to `out`; bit-exact to the `gguf` package.
///
/// # Panics
/// If `bytes.len()` is not `ty.row_bytes(out.len())`.
pub fn dequantize(ty: TensorType, bytes: &[u8], out: &mut [f32]) {
    ty.assert_lengths(bytes.len(), out.len());
    (ty.format().decode)(bytes, out);
}

/// Writes `x` as whole blocks of `ty`; the same bytes as the `gguf` package where it has a rule
/// (all but the K-quants and IQ4, whose plain rule is our own; IQ1 to IQ3 have none).
///
/// # Errors
/// [`QuantizeError`]: a block format is given a NaN or an infinity, or the type is only read;
/// `bytes` is unchanged then.
///
/// # Panics
/// If `bytes.len()` is not `ty.row_bytes(x.len())`.
pub fn quantize(ty: TensorType, x: &[f32], bytes: &mut [u8]) -> Result<(), QuantizeError> {
    ty.assert_lengths(bytes.len(), x.len());
    let Some(encode) = ty.format().encode else { return Err(QuantizeError::ReadOnly { ty }) };
    if ty.block_len() > 1
        && let Some(index) = x.iter().position(|value| !value.is_finite())
    {
        return Err(QuantizeError::NotFinite { ty, index });
    }
    encode(x, bytes);
    Ok(())
}

/// Dot product of a row of `ty` with `x`, in f32: the scalar twin of every vector kernel.
///
/// Sixteen running sums, element `i` in sum `i % 16`, added up in ascending order at the end.
///
/// # Panics
/// If `bytes.len()` is not `ty.row_bytes(x.len())`.
pub fn dot(ty: TensorType, bytes: &[u8], x: &[f32]) -> f32 {
    /// A multiple of every block length and of the number of sums.
    const STEP: usize = 256;
    ty.assert_lengths(bytes.len(), x.len());
    let format = ty.format();
    let (mut values, mut sums) = ([0.0; STEP], [0.0; 16]);
    let step_bytes = STEP / format.block_len * format.block_bytes;
    for (bytes, x) in bytes.chunks(step_bytes).zip(x.chunks(STEP)) {
        let values = &mut values[..x.len()];
        (format.decode)(bytes, values);
        for (values, x) in values.chunks(sums.len()).zip(x.chunks(sums.len())) {
            for ((sum, value), x) in sums.iter_mut().zip(values).zip(x) {
                *sum += value * x;
            }
        }
    }
    sums.iter().sum()
}

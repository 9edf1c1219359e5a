//! Tensor element types of GGUF: the one list, with block sizes. A format's code is in its folder.

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
    IQ4_NL,
    IQ4_XS,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

/// Type, GGUF id, name, elements in a block, bytes in a block.
type Row = (TensorType, u32, &'static str, usize, usize);

/// The one list of supported types.
const TYPES: &[Row] = &[
    (TensorType::F32, 0, "F32", 1, 4),
    (TensorType::F16, 1, "F16", 1, 2),
    (TensorType::Q4_0, 2, "Q4_0", 32, 18),
    (TensorType::Q4_1, 3, "Q4_1", 32, 20),
    (TensorType::Q5_0, 6, "Q5_0", 32, 22),
    (TensorType::Q5_1, 7, "Q5_1", 32, 24),
    (TensorType::Q8_0, 8, "Q8_0", 32, 34),
    (TensorType::Q2_K, 10, "Q2_K", 256, 84),
    (TensorType::Q3_K, 11, "Q3_K", 256, 110),
    (TensorType::Q4_K, 12, "Q4_K", 256, 144),
    (TensorType::Q5_K, 13, "Q5_K", 256, 176),
    (TensorType::Q6_K, 14, "Q6_K", 256, 210),
    (TensorType::IQ4_NL, 20, "IQ4_NL", 32, 18),
    (TensorType::IQ4_XS, 23, "IQ4_XS", 256, 136),
    (TensorType::BF16, 30, "BF16", 1, 2),
    (TensorType::TQ1_0, 34, "TQ1_0", 256, 54),
    (TensorType::TQ2_0, 35, "TQ2_0", 256, 66),
    (TensorType::MXFP4, 39, "MXFP4", 32, 17),
];

impl TensorType {
    fn row(self) -> &'static Row {
        TYPES.iter().find(|row| row.0 == self).expect("every type is in the list")
    }

    /// Every supported type.
    pub fn all() -> impl Iterator<Item = TensorType> {
        TYPES.iter().map(|row| row.0)
    }

    /// The type with this GGUF id, if supported.
    pub fn from_id(id: u32) -> Option<TensorType> {
        TYPES.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    /// The type with this name (as `Q4_K`), if supported.
    pub fn from_name(name: &str) -> Option<TensorType> {
        TYPES.iter().find(|row| row.2.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// GGUF's numeric id.
    pub fn id(self) -> u32 {
        self.row().1
    }

    /// The field's name for it.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Elements in a block; a row's length must be a multiple of it.
    pub fn block_len(self) -> usize {
        self.row().3
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Bytes of a row of `cols` elements; `None` if `cols` is no multiple of the block or overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if cols % self.block_len() != 0 {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

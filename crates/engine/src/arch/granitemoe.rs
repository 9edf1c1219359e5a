//! Granite 3, mixtures of experts: what files of Granite with experts are called.
//! Source: the model cards of Granite 3.0 1B-A400M and 3B-A800M (IBM, 2024).

use super::{Arch, granite};

/// Everything this program knows about Granite's mixtures.
pub(crate) const ARCH: Arch = Arch { gguf: "granitemoe", config: granite::config };

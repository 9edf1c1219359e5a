//! SIMD kernels, quant formats and the thread pool: the home of `unsafe`.
//!
//! Knows no models, files or requests.

pub mod bytes;
pub mod quant;

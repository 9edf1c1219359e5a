//! SIMD kernels, quant formats and the thread pool: the home of `unsafe`.
//!
//! Knows no models, files or requests. Where to look: `cpu` is the door to vector code and `isa`
//! the operations it is written in; `quant` holds the formats; `matmul`, `attention` and `ops` are
//! what a forward pass is made of; `pool` runs them on threads.

#![allow(unsafe_code)]

pub mod attention;
pub mod bytes;
pub mod cpu;
mod disjoint;
mod element;
mod isa;
pub mod matmul;
pub mod mem;
pub mod ops;
pub mod pool;
pub mod probe;
pub mod quant;
pub mod rows;

#[cfg(test)]
mod testing;

//! Row and element operations between the matrix products.
//!
//! Each is written over `Isa` and cut into units by element ranges that depend on the lengths
//! alone, so results have the same bits for any number of threads and any company of rows.

mod elementwise;
mod layernorm;
mod math;
mod norm;
mod rope;
mod rotate;

pub(crate) use elementwise::{GeluMul, Map, SiluMul};
pub use elementwise::{add, gelu, scale, softcap};
pub use layernorm::add_layernorm;
pub(crate) use math::{exp, tanh};
pub(crate) use norm::norm_factor;
pub use norm::{rmsnorm, rmsnorm_in_place};
pub use rope::{RopeStyle, rope, rope_angles};
pub use rotate::rotate;

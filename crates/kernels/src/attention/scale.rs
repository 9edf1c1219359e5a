//! Scales of a cache of whole numbers: one f16 for 32 elements of a head at a position.
//!
//! In a block they lie `[side][kv_head][group][BLOCK]`, so that those of neighbouring positions
//! fill a vector: they multiply keys as they are loaded, and the weights of values.

use super::kv::BLOCK;

/// Elements that share a scale.
pub(super) const GROUP: usize = 32;

/// Bytes of the scales of a group in a block.
pub(super) const BYTES: usize = 2 * BLOCK;

/// What the scales are of.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Keys,
    Values,
}

/// Bytes before the scales of a group, from the first scale on.
pub(super) fn at(side: Side, head: usize, heads: usize, group: usize, head_dim: usize) -> usize {
    let before = match side {
        Side::Keys => 0,
        Side::Values => heads,
    };
    ((before + head) * head_dim.div_ceil(GROUP) + group) * BYTES
}

/// Divides each group by its scale, so that the largest becomes `peak`, and hands the scales to
/// `put`.
/// A value that is no finite number makes its group's scale NaN, so that it is not hidden.
#[inline(always)]
pub(super) fn divide(x: &[f32], peak: f32, whole: &mut [f32], mut put: impl FnMut(usize, u16)) {
    for (group, (x, whole)) in x.chunks(GROUP).zip(whole.chunks_mut(GROUP)).enumerate() {
        let largest = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let finite = x.iter().all(|x| x.is_finite());
        let scale = if finite { (largest / peak).min(65504.0) } else { f32::NAN };
        let scale = half::f16::from_f32(scale);
        put(group, scale.to_bits());
        let scale = scale.to_f32();
        let factor = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        whole.iter_mut().zip(x).for_each(|(whole, x)| *whole = x * factor);
    }
}

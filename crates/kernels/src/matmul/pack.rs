//! From rows of a file to the tiles of a weight, piece by piece: what has been packed of a mapped
//! file is given back before the next piece is read, so that no matrix lies in memory twice.

use super::float::WIDE;
use super::weight::WeightError;
use crate::bytes::Bytes;
use crate::disjoint::Disjoint;
use crate::mem::Pages;
use crate::pool::Pool;
use crate::quant::TensorType;
use crate::quant::tile::{Source, Tile};

/// Bytes of the file in a piece: small beside any model, and milliseconds of work for all threads.
const PIECE: usize = 16 << 20;

/// Room for `rows` rows of `row_bytes` in tiles of `tile_rows`.
pub(super) fn room(rows: usize, row_bytes: usize, tile_rows: usize) -> Result<Pages, WeightError> {
    let bytes =
        rows.div_ceil(tile_rows).checked_mul(tile_rows).and_then(|r| r.checked_mul(row_bytes));
    let bytes = bytes.unwrap_or(usize::MAX);
    Pages::zeroed(bytes).map_err(|source| WeightError::Memory { bytes, source })
}

/// Calls `pack` for each tile of `tile_rows` of the `rows` in `data`, one tile to a unit.
pub(super) fn tiles(
    pool: &Pool,
    data: &Bytes,
    (rows, tile_rows): (usize, usize),
    pack: &(dyn Fn(usize) + Sync),
) {
    let tile_bytes = data.len() / rows.max(1) * tile_rows;
    let (count, piece) = (rows.div_ceil(tile_rows), (PIECE / tile_bytes.max(1)).max(1));
    for first in (0..count).step_by(piece) {
        let end = count.min(first + piece);
        pool.run_units(end - first, &|unit, _| pack(first + unit));
        let packed = first * tile_bytes..data.len().min(end * tile_bytes);
        if let Some(packed) = data.slice(packed) {
            packed.release();
        }
    }
}

/// The blocks `b` of the rows of a tile, one for each lane; those of absent rows are `absent`.
pub(super) fn blocks<'a>(
    data: &'a [u8],
    (rows, row_bytes): (usize, usize),
    (first_row, b): (usize, usize),
    absent: &'a [u8],
    out: &mut [&'a [u8]],
) {
    for (lane, block) in out.iter_mut().enumerate() {
        let row = first_row + lane;
        *block = match row < rows {
            true => &data[row * row_bytes + b * absent.len()..][..absent.len()],
            false => absent,
        };
    }
}

/// Packs integer tiles; absent rows of the last are zero, scales too.
pub(super) fn int<T: Tile>(
    data: &Bytes,
    rows: usize,
    row_bytes: usize,
    pool: &Pool,
) -> Result<Pages, WeightError> {
    let lanes = pool.cpu().lanes();
    let block_bytes = T::TYPE.block_bytes();
    let count = row_bytes / block_bytes;
    let units = T::Read::UNITS;
    let mut pages = room(rows, count * units, lanes)?;
    let tile_bytes = lanes * count * units;
    let out = Disjoint::new(pages.as_mut_slice());
    let bytes: &[u8] = data;
    tiles(pool, data, (rows, lanes), &|tile| {
        // SAFETY: each unit writes its own tile.
        let out = unsafe { out.part(tile * tile_bytes..(tile + 1) * tile_bytes) };
        let absent = [0u8; 256];
        let absent = &absent[..block_bytes];
        let mut row_blocks: [&[u8]; 16] = [absent; 16];
        for (b, out) in out.chunks_exact_mut(lanes * units).enumerate() {
            let row_blocks = &mut row_blocks[..lanes];
            blocks(bytes, (rows, row_bytes), (tile * lanes, b), absent, row_blocks);
            T::pack(row_blocks, out);
        }
    });
    Ok(pages)
}

/// Packs float tiles `[cols][tile rows]`; absent rows of the last are zero.
pub(super) fn float(
    ty: TensorType,
    data: &Bytes,
    rows: usize,
    cols: usize,
    pool: &Pool,
) -> Result<Pages, WeightError> {
    let tile_rows = pool.cpu().lanes() * WIDE;
    let size = ty.block_bytes();
    let mut pages = room(rows, cols * size, tile_rows)?;
    let tile_bytes = tile_rows * cols * size;
    let out = Disjoint::new(pages.as_mut_slice());
    let bytes: &[u8] = data;
    tiles(pool, data, (rows, tile_rows), &|tile| {
        // SAFETY: each unit writes its own tile.
        let out = unsafe { out.part(tile * tile_bytes..(tile + 1) * tile_bytes) };
        let first = tile * tile_rows;
        for row in first..rows.min(first + tile_rows) {
            let values = bytes[row * cols * size..(row + 1) * cols * size].chunks_exact(size);
            for (col, value) in values.enumerate() {
                out[(col * tile_rows + row - first) * size..][..size].copy_from_slice(value);
            }
        }
    });
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Owner;
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// Bytes that note what is given back.
    struct Noted(Vec<u8>, Mutex<Vec<Range<usize>>>);

    impl Owner for Noted {
        fn bytes(&self) -> &[u8] {
            &self.0
        }

        fn release(&self, range: Range<usize>) {
            self.1.lock().unwrap().push(range);
        }
    }

    #[test]
    fn each_piece_is_given_back_after_its_tiles() {
        let row_bytes = PIECE / 10;
        for rows in [1, 7, 48, 53] {
            let owner = Arc::new(Noted(vec![0; rows * row_bytes], Mutex::new(Vec::new())));
            let data = Bytes::new(owner.clone());
            let packed: Vec<AtomicUsize> = (0..rows).map(|_| AtomicUsize::new(0)).collect();
            let late = AtomicBool::new(false);
            tiles(&Pool::new(2), &data, (rows, 4), &|tile| {
                let given = owner.1.lock().unwrap().last().map_or(0, |range| range.end);
                late.fetch_or(given > tile * 4 * row_bytes, Ordering::Relaxed);
                for row in &packed[tile * 4..rows.min(tile * 4 + 4)] {
                    row.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(packed.iter().all(|row| row.load(Ordering::Relaxed) == 1));
            assert!(!late.into_inner(), "given back before it was packed");
            let given = owner.1.lock().unwrap();
            assert!(given.iter().all(|range| range.len() <= PIECE));
            assert_eq!(given.iter().map(Range::len).sum::<usize>(), data.len());
            assert!(given.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}

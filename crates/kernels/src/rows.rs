//! Row-wise work on the pool: every row of a matrix is handed to a function exactly once, in no
//! particular order. Which row is computed by which thread never changes a result.

use crate::disjoint::Disjoint;
use crate::pool::Pool;

/// Elements of a unit of work: enough to outweigh a dispatch, few enough to share between threads.
const UNIT_ELEMENTS: usize = 4096;

/// Calls `run(row, data)` for every row of `data`, which has rows of `cols` elements.
///
/// # Panics
/// If `data` is not made of whole rows.
pub fn for_rows(
    pool: &Pool,
    data: &mut [f32],
    cols: usize,
    run: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    assert!(
        cols > 0 && data.len().is_multiple_of(cols),
        "{} is not made of rows of {cols}",
        data.len()
    );
    let rows = data.len() / cols;
    let per_unit = (UNIT_ELEMENTS / cols).max(1);
    let data = Disjoint::new(data);
    pool.run_units(rows.div_ceil(per_unit), &|unit, _| {
        for row in unit * per_unit..((unit + 1) * per_unit).min(rows) {
            // SAFETY: rows do not overlap, and each belongs to one unit.
            run(row, unsafe { data.part(row * cols..(row + 1) * cols) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_handed_out_once() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            for rows in [0, 1, 2, 1000] {
                let mut data = vec![0.0; rows * 7];
                for_rows(&pool, &mut data, 7, &|row, data| {
                    data.iter_mut().for_each(|x| *x += row as f32);
                });
                assert!(data.iter().enumerate().all(|(i, x)| *x == (i / 7) as f32));
            }
        }
    }
}

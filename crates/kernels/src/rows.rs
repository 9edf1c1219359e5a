//! Row-wise work on the pool: every row of a matrix, or of two matrices side by side, is handed to
//! a function exactly once, in no particular order. Which row is computed by which thread never
//! changes a result.

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
    assert!(cols > 0 && data.len() % cols == 0, "{} is not made of rows of {cols}", data.len());
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

/// Calls `run(row, a, b)` for every row of two matrices with as many rows.
///
/// # Panics
/// If one is not made of whole rows, or they have different numbers of rows.
pub fn for_rows2(
    pool: &Pool,
    a: &mut [f32],
    a_cols: usize,
    b: &mut [f32],
    b_cols: usize,
    run: &(dyn Fn(usize, &mut [f32], &mut [f32]) + Sync),
) {
    assert!(b_cols > 0 && b.len() % b_cols == 0, "{} is not made of rows of {b_cols}", b.len());
    assert_eq!(a.len() * b_cols, b.len() * a_cols, "two matrices with different numbers of rows");
    let b = Disjoint::new(b);
    for_rows(pool, a, a_cols, &|row, a| {
        // SAFETY: rows do not overlap, and `for_rows` hands out each row once.
        run(row, a, unsafe { b.part(row * b_cols..(row + 1) * b_cols) });
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
                let (mut a, mut b) = (vec![0.0; rows * 7], vec![0.0; rows * 5]);
                for_rows2(&pool, &mut a, 7, &mut b, 5, &|row, a, b| {
                    a.iter_mut().for_each(|x| *x += row as f32);
                    b.iter_mut().for_each(|x| *x += 1.0);
                });
                assert!(a.iter().enumerate().all(|(i, x)| *x == (i / 7) as f32));
                assert!(b.iter().all(|x| *x == 1.0));
            }
        }
    }
}

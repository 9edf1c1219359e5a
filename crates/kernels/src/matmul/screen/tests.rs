//! Screened products against whole ones, on every level of the machine.

use super::*;
use crate::cpu::Cpu;
use crate::quant::{TensorType, quantize};
use crate::testing::{Rng, all_cpus, weights};

const NEEDS: [Need; 5] = [
    Need::BEST,
    Need { top: 40, within: f32::INFINITY },
    Need { top: 0, within: 3.0 },
    Need { top: 7, within: 0.5 },
    Need { top: 5000, within: f32::INFINITY },
];

fn pack(pool: &Pool, rows: usize, cols: usize, bytes: Vec<u8>) -> Weight {
    Weight::in_planes(TensorType::Q8_0, rows, cols, bytes.into(), pool).unwrap()
}

/// Ordinary weights: rows of some length in random directions.
fn ordinary(rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; rows * cols / 32 * 34];
    quantize(TensorType::Q8_0, &Rng::new(seed).floats(rows * cols), &mut bytes).unwrap();
    bytes
}

/// Inputs that share three directions, each with something of its own.
fn inputs(count: usize, cols: usize, own: f32, seed: u64) -> Vec<f32> {
    let shared = Rng::new(77).floats(3 * cols);
    let mut rng = Rng::new(seed);
    let row = |rng: &mut Rng| {
        let parts = rng.floats(3);
        let mix = |c: usize| (0..3).map(|k| parts[k] * shared[k * cols + c]).sum::<f32>();
        (0..cols).map(|c| mix(c) + own * rng.float()).collect::<Vec<_>>()
    };
    (0..count).flat_map(|_| row(&mut rng)).collect()
}

fn whole(pool: &Pool, weight: &Weight, x: &[f32]) -> (Acts, Vec<f32>) {
    let (mut acts, mut out) = (Acts::new(), vec![f32::NAN; weight.rows()]);
    acts.fill(pool, x, 1, weight.cols(), weight.reads());
    linear(pool, &acts, &mut [(weight, &mut out)]);
    (acts, out)
}

/// Checks that what is needed has the bits of the whole product; the share of rows scored.
fn check(pool: &Pool, screen: &Screen, weight: &Weight, x: &[f32], need: Need) -> f32 {
    let (acts, exact) = whole(pool, weight, x);
    let (mut work, mut out) = (Work::default(), vec![f32::NAN; weight.rows()]);
    let screened = screen.run(pool, weight, &acts, need, &mut work, &mut out);
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
    let mut sorted = exact.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let rank = if need.top == 0 { sorted.len() } else { need.top.min(sorted.len()) };
    let least = sorted[rank - 1].max(sorted[0] - need.within);
    for (row, pair) in exact.iter().zip(&out).enumerate() {
        let left_out = *pair.1 == f32::NEG_INFINITY && *pair.0 < least;
        assert!(same(pair) || left_out, "{need:?}: row {row} is {pair:?}, least {least}");
    }
    screened.scored as f32 / screened.rows as f32
}

/// No score is above its tile's bound.
fn check_bounds(pool: &Pool, screen: &Screen, weight: &Weight, x: &[f32]) {
    let (acts, exact) = whole(pool, weight, x);
    let (mut work, mut out) = (Work::default(), exact.clone());
    let factor = screen.factor(pool, &acts, &mut work);
    let planes = weight.planes().unwrap();
    let pass = Coarse { screen, weight, planes, acts: &acts, p: &work.p, factor };
    pass.run(pool, &mut work.upper, &mut out);
    for (tile, scores) in exact.chunks(weight.tile_rows()).enumerate() {
        for score in scores.iter().filter(|score| score.is_finite()) {
            let upper = work.upper[tile];
            assert!(*score <= upper, "{:?}: {score} in tile {tile} of {upper}", pool.cpu());
        }
    }
}

#[test]
fn what_is_needed_has_the_bits_of_the_whole_product() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        for (rows, cols) in [(1, 32), (7, 64), (200, 96), (1003, 640)] {
            let weight = pack(&pool, rows, cols, ordinary(rows, cols, 3));
            let states = inputs(40, cols, 0.05, 1);
            let screen = Screen::learn(&pool, &weight, &states).unwrap();
            for need in NEEDS {
                for own in [0.0, 0.05, 1.0] {
                    check(&pool, &screen, &weight, &inputs(1, cols, own, 5), need);
                    check_bounds(&pool, &screen, &weight, &inputs(1, cols, own, 6));
                }
            }
        }
    }
}

#[test]
fn bounds_hold_for_weights_and_inputs_of_every_size() {
    let (rows, cols) = (300, 256);
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        for seed in 0..6 {
            let weight = pack(&pool, rows, cols, weights(TensorType::Q8_0, rows, cols, seed));
            let states = inputs(20, cols, 0.3, seed);
            let screen = Screen::learn(&pool, &weight, &states).unwrap();
            for size in [1.0, 1e-30, 1e-42, 3e4, 1e28, 1e38, 0.0] {
                let mut x = inputs(1, cols, 0.3, seed + 9);
                x.iter_mut().for_each(|x| *x *= size);
                check_bounds(&pool, &screen, &weight, &x);
                check(&pool, &screen, &weight, &x, Need::BEST);
            }
            let mut lone = vec![0.0; cols];
            lone[seed as usize * 7] = 5.0;
            check_bounds(&pool, &screen, &weight, &lone);
            check(&pool, &screen, &weight, &lone, NEEDS[1]);
        }
    }
}

/// The inputs for which the bound is as tight as it can be: a row's own residual, and its opposite.
#[test]
fn bounds_hold_where_the_residual_is_all_there_is() {
    let (rows, cols) = (64, 640);
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        let bytes = ordinary(rows, cols, 11);
        let weight = pack(&pool, rows, cols, bytes.clone());
        let far = Screen::learn(&pool, &weight, &inputs(40, cols, 0.0, 1)).unwrap();
        for (row, bytes) in bytes.chunks_exact(cols / 32 * 34).enumerate() {
            let residual: Vec<f32> = bytes
                .chunks_exact(34)
                .flat_map(|block| block[2..].iter().map(|q| f32::from(q & 15) - 7.5))
                .collect();
            let opposite: Vec<f32> = residual.iter().map(|x| -x).collect();
            let near = Screen::learn(&pool, &weight, &residual).unwrap();
            for screen in [&far, &near] {
                check_bounds(&pool, screen, &weight, &residual);
                check_bounds(&pool, screen, &weight, &opposite);
                check(&pool, screen, &weight, &residual, NEEDS[row % NEEDS.len()]);
            }
        }
    }
}

#[test]
fn few_rows_are_scored_where_one_stands_out() {
    let (rows, cols) = (4000, 512);
    let pool = Pool::with_cpu(2, Cpu::detect());
    let mut bytes = ordinary(rows, cols, 8);
    let x = inputs(1, cols, 0.05, 4);
    quantize(TensorType::Q8_0, &x, &mut bytes[1234 * cols / 32 * 34..][..cols / 32 * 34]).unwrap();
    let weight = pack(&pool, rows, cols, bytes);
    let screen = Screen::learn(&pool, &weight, &inputs(60, cols, 0.05, 1)).unwrap();
    let share = check(&pool, &screen, &weight, &x, Need::BEST);
    assert!(share < 0.1, "{share}");
}

#[test]
fn what_is_not_finite_shows() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        let weight = pack(&pool, 50, 64, ordinary(50, 64, 2));
        let screen = Screen::learn(&pool, &weight, &inputs(9, 64, 0.1, 1)).unwrap();
        let mut x = inputs(1, 64, 0.1, 2);
        x[40] = f32::NAN;
        let mut acts = Acts::new();
        acts.fill(&pool, &x, 1, 64, weight.reads());
        let mut out = vec![0.0; 50];
        screen.run(&pool, &weight, &acts, Need::BEST, &mut Work::default(), &mut out);
        assert!(out.iter().all(|x| x.is_nan()), "{cpu:?}");
    }
}

#[test]
fn other_weights_have_no_screen() {
    let pool = Pool::new(1);
    let states = inputs(3, 256, 0.1, 1);
    let bytes = weights(TensorType::Q4_0, 9, 256, 1);
    let weight = Weight::in_planes(TensorType::Q4_0, 9, 256, bytes.into(), &pool).unwrap();
    assert!(Screen::learn(&pool, &weight, &states).is_none());
    let weight = pack(&pool, 9, 256, ordinary(9, 256, 1));
    assert!(Screen::learn(&pool, &weight, &states[..100]).is_none());
    assert!(Screen::learn(&pool, &weight, &states).is_some_and(|screen| screen.bytes() > 0));
}

//! Every kernel on every level of the machine against a scalar twin in f64.

use super::*;
use crate::cpu::Cpu;
use crate::quant::{TensorType, dequantize};
use crate::testing::{Rng, all_cpus, weights};

/// Row lengths, where they fit the type.
const COLS: [usize; 8] = [32, 64, 96, 256, 512, 576, 640, 2048];

/// Inputs with rows of every kind: ordinary, zero, one value everywhere, large, tiny.
fn inputs(rows: usize, cols: usize) -> Vec<f32> {
    let mut rng = Rng::new((rows * cols) as u64);
    let mut x = rng.floats(rows * cols);
    for (row, x) in x.chunks_exact_mut(cols).enumerate() {
        match row % 8 {
            3 => x.fill(0.0),
            4 => x.fill(1.0),
            5 => x.iter_mut().for_each(|x| *x = x.signum() * 3e4),
            6 => x.iter_mut().for_each(|x| *x *= 1e-20),
            7 => x.iter_mut().step_by(32).for_each(|x| *x *= 50.0),
            _ => {}
        }
    }
    x
}

/// What a kernel multiplies with: the int8 form where the type has integer tiles.
fn seen(ty: TensorType, x: &[f32]) -> Vec<f64> {
    let integer = ty.block_len() > 1;
    if !integer {
        return x.iter().map(|&x| f64::from(x)).collect();
    }
    let quantized = x.as_chunks::<32>().0.iter().flat_map(|run| {
        let peak = run.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        let inverse = if peak > 0.0 { 127.0 / peak } else { 0.0 };
        let scale = f64::from(peak / 127.0);
        run.map(|x| f64::from((x * inverse).round_ties_even()) * scale)
    });
    quantized.collect()
}

fn product(pool: &Pool, weight: &Weight, x: &[f32], rows: usize) -> Vec<f32> {
    let mut acts = Acts::new();
    acts.fill(pool, x, rows, weight.cols(), weight.reads());
    let mut out = vec![f32::NAN; rows * weight.rows()];
    linear(pool, &acts, &mut [(weight, &mut out)]);
    out
}

fn pack(pool: &Pool, ty: TensorType, rows: usize, cols: usize, bytes: Vec<u8>) -> Weight {
    Weight::new(ty, rows, cols, bytes.into(), pool).unwrap()
}

/// Compares with the twin; errors are measured against the sum of magnitudes of a run's terms.
fn check(cpu: Cpu, ty: TensorType, rows: usize, cols: usize, m: usize) {
    let pool = Pool::with_cpu(1, cpu);
    let bytes = weights(ty, rows, cols, (rows * 31 + cols) as u64);
    let mut w = vec![0.0f32; rows * cols];
    dequantize(ty, &bytes, &mut w);
    let weight = pack(&pool, ty, rows, cols, bytes);
    let x = inputs(m, cols);
    let out = product(&pool, &weight, &x, m);
    let x = seen(ty, &x);
    for (row, x) in x.chunks_exact(cols).enumerate() {
        for (r, w) in w.chunks_exact(cols).enumerate() {
            let (mut want, mut size) = (0.0f64, 0.0f64);
            for (x, w) in x.chunks(32).zip(w.chunks(32)) {
                let peak = w.iter().fold(0.0f32, |peak, w| peak.max(w.abs()));
                want += x.iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum::<f64>();
                size += x.iter().map(|x| x.abs()).sum::<f64>() * f64::from(peak);
            }
            let got = f64::from(out[row * rows + r]);
            let bound = 4e-6 * size + 1e-30;
            assert!(
                (got - want).abs() <= bound,
                "{cpu:?} {ty} {rows}x{cols}, {m} rows: [{row}][{r}] is {got}, not {want} ± {bound}"
            );
        }
    }
}

#[test]
fn every_type_matches_its_twin() {
    for cpu in all_cpus() {
        for ty in TensorType::all() {
            for (i, cols) in COLS.into_iter().enumerate() {
                if cols % ty.block_len() == 0 {
                    check(cpu, ty, 1 + (i * 13 + 26) % 40, cols, 1 + (i * 5 + 11) % 17);
                }
            }
        }
    }
}

#[test]
fn every_number_of_rows_and_outputs() {
    for cpu in all_cpus() {
        for ty in TensorType::all() {
            for rows in 1..=40 {
                check(cpu, ty, rows, 256, 1 + rows % 9);
            }
            for m in 1..=17 {
                check(cpu, ty, 9, 256, m);
            }
        }
    }
}

#[test]
fn float_rows_need_not_be_whole_runs() {
    for cpu in all_cpus() {
        for ty in [TensorType::F32, TensorType::F16, TensorType::BF16] {
            for cols in [1, 5, 33, 257] {
                check(cpu, ty, 35, cols, 4);
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_company_or_threads() {
    let (rows, cols) = (75, 512);
    for cpu in all_cpus() {
        for ty in TensorType::all() {
            let bytes = weights(ty, rows, cols, 5);
            let x = inputs(17, cols);
            let pool = Pool::with_cpu(1, cpu);
            let all = product(&pool, &pack(&pool, ty, rows, cols, bytes.clone()), &x, 17);
            for threads in 1..=4 {
                let pool = Pool::with_cpu(threads, cpu);
                let weight = pack(&pool, ty, rows, cols, bytes.clone());
                for m in 1..=17 {
                    let first = 17 - m;
                    let some = product(&pool, &weight, &x[first * cols..], m);
                    let same = some
                        .iter()
                        .zip(&all[first * rows..])
                        .all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{cpu:?} {ty}: {m} rows on {threads} threads");
                }
            }
        }
    }
}

#[test]
fn weights_that_share_an_input_share_a_dispatch() {
    let types = [TensorType::Q4_K, TensorType::Q6_K, TensorType::F16, TensorType::Q2_K];
    let pool = Pool::new(3);
    let weights: Vec<Weight> = (1..)
        .zip(types)
        .map(|(i, ty)| pack(&pool, ty, 20 * i, 768, weights(ty, 20 * i, 768, 9)))
        .collect();
    let x = inputs(6, 768);
    let mut acts = Acts::new();
    acts.fill(&pool, &x, 6, 768, Reads::of(&weights));
    let mut outs: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; 6 * w.rows()]).collect();
    let mut products: Vec<_> =
        weights.iter().zip(&mut outs).map(|(w, out)| (w, out.as_mut_slice())).collect();
    linear(&pool, &acts, &mut products);
    for (weight, out) in weights.iter().zip(&outs) {
        assert_eq!(*out, product(&pool, weight, &x, 6), "{}", weight.ty());
    }
}

#[test]
fn a_packed_weight_gives_back_its_rows() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        for ty in TensorType::all() {
            let (rows, cols) = (21, 512);
            let bytes = weights(ty, rows, cols, 77);
            let mut want = vec![0.0f32; rows * cols];
            dequantize(ty, &bytes, &mut want);
            let weight = pack(&pool, ty, rows, cols, bytes.clone());
            assert!(weight.bytes() >= bytes.len(), "{ty}");
            let mut got = vec![0.0f32; cols];
            for (r, want) in want.chunks_exact(cols).enumerate() {
                weight.row(r, &mut got);
                let same = got.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{cpu:?} {ty} row {r}");
            }
        }
    }
}

#[test]
fn planes_change_no_bit() {
    let ty = TensorType::Q8_0;
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        for (rows, cols) in [(1, 32), (8, 64), (21, 640), (75, 2048)] {
            let bytes = weights(ty, rows, cols, 77);
            let whole = pack(&pool, ty, rows, cols, bytes.clone());
            let planes = Weight::in_planes(ty, rows, cols, bytes.into(), &pool).unwrap();
            assert!(planes.is_packed() && planes.bytes() == whole.bytes());
            for m in [1, 2, 3, 4, 8, 17, 40] {
                let x = inputs(m, cols);
                let (a, b) = (product(&pool, &whole, &x, m), product(&pool, &planes, &x, m));
                let same = a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{cpu:?} {rows}x{cols}, {m} rows");
            }
            let (mut a, mut b) = (vec![0.0f32; cols], vec![0.0f32; cols]);
            for r in 0..rows {
                whole.row(r, &mut a);
                planes.row(r, &mut b);
                assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "row {r}");
            }
        }
    }
}

#[test]
fn wrong_sizes_are_named() {
    let pool = Pool::new(1);
    let error = |rows, cols, len| {
        let data = vec![0u8; len];
        Weight::new(TensorType::Q4_K, rows, cols, data.into(), &pool).unwrap_err().to_string()
    };
    assert_eq!(error(2, 100, 0), "a Q4_K weight of 2 x 100: rows must be whole blocks of 256");
    assert_eq!(error(2, 256, 3), "a Q4_K weight of 2 x 256 has 3 bytes, expected 288");
    assert!(error(usize::MAX, 512, 3).contains("whole blocks"));
}

#[test]
#[should_panic(expected = "reads")]
fn activations_without_the_form_a_weight_reads_are_refused() {
    let pool = Pool::new(1);
    let floats = pack(&pool, TensorType::F32, 4, 64, weights(TensorType::F32, 4, 64, 1));
    let quants = pack(&pool, TensorType::Q4_0, 4, 64, weights(TensorType::Q4_0, 4, 64, 1));
    let mut acts = Acts::new();
    acts.fill(&pool, &inputs(1, 64), 1, 64, floats.reads());
    linear(&pool, &acts, &mut [(&quants, &mut [0.0; 4])]);
}

#[test]
fn nothing_times_nothing() {
    let pool = Pool::new(2);
    let none = pack(&pool, TensorType::Q4_0, 0, 64, vec![]);
    assert!(product(&pool, &none, &inputs(2, 64), 2).is_empty());
    let some = pack(&pool, TensorType::Q4_0, 8, 64, weights(TensorType::Q4_0, 8, 64, 1));
    assert!(product(&pool, &some, &[], 0).is_empty());
    let empty = pack(&pool, TensorType::F32, 3, 0, vec![]);
    assert_eq!(product(&pool, &empty, &[], 2), [0.0; 6]);
}

#[test]
fn what_is_not_finite_shows() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        for ty in TensorType::all() {
            let weight = pack(&pool, ty, 5, 256, weights(ty, 5, 256, 3));
            let mut x = inputs(2, 256);
            x[100] = f32::NAN;
            let out = product(&pool, &weight, &x, 2);
            assert!(out[..5].iter().all(|x| x.is_nan()), "{cpu:?} {ty}");
            assert!(out[5..].iter().all(|x| !x.is_nan()), "{cpu:?} {ty}");
        }
    }
}

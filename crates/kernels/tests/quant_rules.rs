//! Our own rule for writing K-quants and IQ4: bounded error; and what `quantize` refuses.

use hearth_kernels::quant::{QuantizeError, TensorType, dequantize, quantize};
use proptest::prelude::*;

/// Types written by our own rule, the largest error of a value as a share of the block's largest
/// magnitude, and the largest mean square error of normal numbers as a share of their variance.
///
/// The first column adds half a step of the coarsest sub-block (a whole one where the far end of
/// the range has no level) to what the rounding of its scale and minimum moves.
const RULES: &[(TensorType, f32, f64)] = &[
    (TensorType::Q2_K, 0.45, 0.12),
    (TensorType::Q3_K, 0.285, 0.04),
    (TensorType::Q4_K, 0.093, 0.009),
    (TensorType::Q5_K, 0.058, 0.0022),
    (TensorType::Q6_K, 0.04, 0.0007),
    (TensorType::IQ4_NL, 0.115, 0.0085),
    (TensorType::IQ4_XS, 0.145, 0.009),
];

fn round_trip(ty: TensorType, x: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0xa5; ty.row_bytes(x.len()).expect("whole blocks")];
    quantize(ty, x, &mut bytes).expect("finite values");
    let mut out = vec![0.0; x.len()];
    dequantize(ty, &bytes, &mut out);
    out
}

/// Numbers of mean 0 and variance 1, the same for the same count (sums of 12 uniform ones).
fn normal(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let mut uniform = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

#[test]
fn normal_weights_keep_their_shape() {
    let x = normal(1 << 15);
    for &(ty, _, bound) in RULES {
        let square = |x: f32| f64::from(x) * f64::from(x);
        let error: f64 = x.iter().zip(round_trip(ty, &x)).map(|(&x, y)| square(x - y)).sum();
        let share = error / x.iter().map(|&x| square(x)).sum::<f64>();
        assert!(share < bound, "{ty}: mean square error {share}");
    }
}

#[test]
fn zeros_stay_zeros() {
    for ty in TensorType::all().filter(|ty| ty.is_written()) {
        assert!(round_trip(ty, &[0.0; 512]).iter().all(|&y| y == 0.0), "{ty}");
    }
}

#[test]
fn values_without_an_end_are_refused_by_name() {
    for ty in TensorType::all().filter(|ty| ty.is_written()) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5; 256];
            x[77] = bad;
            let mut bytes = vec![0xa5; ty.row_bytes(256).unwrap()];
            let result = quantize(ty, &x, &mut bytes);
            if ty.block_len() == 1 {
                result.expect("floating-point types hold every value");
            } else {
                assert_eq!(result, Err(QuantizeError::NotFinite { ty, index: 77 }));
                assert!(bytes.iter().all(|&byte| byte == 0xa5));
            }
        }
    }
}

#[test]
fn types_without_a_rule_are_refused_by_name() {
    let read_only: Vec<_> = TensorType::all().filter(|ty| !ty.is_written()).collect();
    assert_eq!(read_only.len(), 7, "{read_only:?}");
    for ty in read_only {
        let mut bytes = vec![0xa5; ty.row_bytes(256).unwrap()];
        let error = quantize(ty, &[0.5; 256], &mut bytes).unwrap_err();
        assert_eq!(error, QuantizeError::ReadOnly { ty });
        assert!(error.to_string().starts_with(ty.name()), "{error}");
        assert!(bytes.iter().all(|&byte| byte == 0xa5));
    }
}

#[test]
#[should_panic(expected = "Q4_K: 143 bytes for 256 values")]
fn a_short_row_is_stopped() {
    dequantize(TensorType::Q4_K, &[0; 143], &mut [0.0; 256]);
}

proptest! {
    #[test]
    fn the_error_of_a_value_is_bounded(
        x in prop::collection::vec(-1.0f32..1.0, 256),
        // Below, the scales of K-quants are denormal f16 and lose precision.
        exponent in -1i32..10,
        shift in -1.0f32..1.0,
    ) {
        let x: Vec<f32> = x.iter().map(|x| (x + shift) * 2f32.powi(exponent)).collect();
        for &(ty, bound, _) in RULES {
            let y = round_trip(ty, &x);
            for (x, y) in x.chunks(ty.block_len()).zip(y.chunks(ty.block_len())) {
                let peak = x.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
                let error = x.iter().zip(y).fold(0.0f32, |e, (x, y)| e.max((x - y).abs()));
                prop_assert!(error <= bound * peak, "{ty}: {error} of {peak}");
            }
        }
    }

    #[test]
    fn any_bytes_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 1024)) {
        for ty in TensorType::all() {
            let blocks = bytes.len() / ty.block_bytes();
            let mut out = vec![0.0; blocks * ty.block_len()];
            dequantize(ty, &bytes[..blocks * ty.block_bytes()], &mut out);
        }
    }
}

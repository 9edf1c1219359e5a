//! Greedy: the token with the highest logit; and the check that logits are numbers.

use super::SampleError;

/// Largest of `logits` (minus infinity if empty), and whether none is NaN or plus infinity. Sixteen
/// at a time, so that it becomes vector code.
pub(super) fn largest(logits: &[f32]) -> (f32, bool) {
    let (mut max, mut nan) = ([f32::NEG_INFINITY; 16], [0u32; 16]);
    let (whole, rest) = logits.as_chunks::<16>();
    let mut take = |lane: usize, x: f32| {
        max[lane] = if x > max[lane] { x } else { max[lane] };
        nan[lane] |= u32::from(x.is_nan());
    };
    for logits in whole {
        (0..16).for_each(|lane| take(lane, logits[lane]));
    }
    rest.iter().enumerate().for_each(|(lane, &x)| take(lane, x));
    let max = max.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (max, nan == [0; 16] && max < f32::INFINITY)
}

/// Logits of a stretch, of which [`Maxima`] holds the largest.
pub(super) const STRETCH: usize = 64;

/// The largest logit of every stretch: what is looked at again of a vocabulary that was read once.
#[derive(Default)]
pub(super) struct Maxima {
    /// In the order of the stretches.
    pub(super) values: Vec<f32>,
    sorted: Vec<f32>,
}

impl Maxima {
    /// Reads the logits.
    ///
    /// # Errors
    /// As [`best`].
    pub(super) fn read(&mut self, logits: &[f32]) -> Result<(), SampleError> {
        self.values.clear();
        for stretch in logits.chunks(STRETCH) {
            let (max, numbers) = largest(stretch);
            if !numbers {
                return Err(first_wrong(logits));
            }
            self.values.push(max);
        }
        let none = self.values.iter().all(|max| *max == f32::NEG_INFINITY);
        if none { Err(SampleError::NoneLeft) } else { Ok(()) }
    }

    /// What the `k` best logits are not below: the largest of that many stretches are not.
    pub(super) fn floor(&mut self, k: usize) -> f32 {
        if k == 0 || k > self.values.len() {
            return f32::NEG_INFINITY;
        }
        self.sorted.clone_from(&self.values);
        *self.sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    }
}

/// The token with the highest logit, the first of several.
///
/// # Errors
/// A logit that is NaN or plus infinity, or none above minus infinity.
pub(crate) fn best(logits: &[f32]) -> Result<u32, SampleError> {
    const CHUNK: usize = 1024;
    let (mut best, mut start) = (f32::NEG_INFINITY, 0);
    for (i, chunk) in logits.chunks(CHUNK).enumerate() {
        let (max, numbers) = largest(chunk);
        if !numbers {
            return Err(first_wrong(logits));
        }
        if max > best {
            (best, start) = (max, i * CHUNK);
        }
    }
    if best == f32::NEG_INFINITY {
        return Err(SampleError::NoneLeft);
    }
    let at = logits[start..].iter().position(|&x| x == best);
    Ok((start + at.expect("the chunk with the largest logit holds it")) as u32)
}

fn first_wrong(logits: &[f32]) -> SampleError {
    let at = logits.iter().position(|x| x.is_nan() || *x == f32::INFINITY);
    let token = at.expect("a chunk with such a logit was seen");
    SampleError::NotFinite { token: token as u32, value: logits[token] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::logits;

    #[test]
    fn the_first_of_the_largest_is_chosen() {
        for count in [1, 2, 15, 16, 17, 1023, 1024, 1025, 5000] {
            let x = logits(count, count as u64);
            let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let expected = x.iter().position(|x| *x == max).unwrap() as u32;
            assert_eq!(best(&x), Ok(expected), "{count}");
        }
        assert_eq!(best(&[-0.0, 0.0]), Ok(0));
        assert_eq!(best(&[f32::NEG_INFINITY, -3e38]), Ok(1));
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (at, bad) in [(0, f32::NAN), (17, f32::INFINITY), (2047, -f32::NAN)] {
            let mut x = vec![1.0; 2048];
            x[at] = bad;
            let read = Maxima::default().read(&x).map(|()| 0);
            for found in [best(&x), read] {
                let Err(SampleError::NotFinite { token, value }) = found else { panic!("{bad}") };
                assert_eq!((token as usize, value.is_nan()), (at, bad.is_nan()));
            }
        }
        assert_eq!(best(&[f32::NEG_INFINITY; 40]), Err(SampleError::NoneLeft));
        assert_eq!(best(&[]), Err(SampleError::NoneLeft));
    }
}

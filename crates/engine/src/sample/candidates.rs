//! The list of tokens that may still be chosen, and the ways to shorten it without sorting it.

use std::cmp::Ordering;

use super::greedy::Maxima;

/// A token that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Token id.
    pub(super) id: u32,
    /// Its logit, finite.
    pub(super) logit: f32,
    /// Its probability, as of the last [`Candidates::softmax`].
    pub(super) p: f32,
}

impl Candidate {
    /// A candidate whose probability is not known yet.
    pub(super) fn new(id: u32, logit: f32) -> Self {
        Self { id, logit, p: 0.0 }
    }

    /// Best first: by logit, then by lowest id.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        descending(self.logit, other.logit).then(self.id.cmp(&other.id))
    }
}

/// Larger first; for numbers that are not NaN.
pub(super) fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// Candidates in ascending order of id; never empty once gathered.
#[derive(Default)]
pub(super) struct Candidates {
    /// The candidates.
    pub(super) list: Vec<Candidate>,
    /// Reordered copies, kept for their memory.
    pub(super) scratch: Vec<Candidate>,
    /// Where among the logits the best ones are.
    pub(super) maxima: Maxima,
}

impl Candidates {
    /// The best candidate.
    pub(super) fn best(&self) -> Candidate {
        let best = self.list.iter().copied().reduce(|a, b| if b.logit > a.logit { b } else { a });
        best.expect("at least one candidate is kept")
    }

    /// Computes the probabilities from the logits. Returns the logarithm of the sum of
    /// exponentials: a probability is the exponential of the logit less this.
    pub(super) fn softmax(&mut self) -> f64 {
        let max = self.best().logit;
        let mut sum = 0.0;
        for candidate in &mut self.list {
            candidate.p = (candidate.logit - max).exp();
            sum += f64::from(candidate.p);
        }
        for candidate in &mut self.list {
            candidate.p = (f64::from(candidate.p) / sum) as f32;
        }
        f64::from(max) + sum.ln()
    }

    /// Keeps the candidates of smallest `distance` (not negative; ties to the best candidate), as
    /// few as make `enough` true of the sum of their probabilities; all if the whole sum is not
    /// enough, and at least one.
    ///
    /// Linear time: sums by coarse bins of the distance show the bin of the last one kept, and
    /// halving finds it there.
    pub(super) fn keep_mass(
        &mut self,
        distance: impl Fn(&Candidate) -> f32,
        enough: impl Fn(f64) -> bool,
    ) {
        /// Bins, and how many of them to a distance of one.
        const BINS: (usize, f32) = (1024, 32.0);
        let bin = |c: &Candidate| ((distance(c) * BINS.1) as usize).min(BINS.0 - 1);
        let (mut sums, mut filled) = ([0.0; BINS.0], 0);
        for candidate in &self.list {
            let bin = bin(candidate);
            sums[bin] += f64::from(candidate.p);
            filled = filled.max(bin);
        }
        let (mut edge, mut before) = (0, 0.0);
        while edge < filled && !enough(before + sums[edge]) {
            before += sums[edge];
            edge += 1;
        }

        let order = |a: &Candidate, b: &Candidate| {
            descending(distance(b), distance(a)).then_with(|| a.rank(b))
        };
        self.scratch.clear();
        self.scratch.extend(self.list.iter().filter(|c| bin(c) == edge));
        let mut stretch = self.scratch.as_mut_slice();
        while stretch.len() > 1 {
            let half = stretch.len() / 2;
            stretch.select_nth_unstable_by(half, order);
            let (first, second) = stretch.split_at_mut(half);
            let sum = before + first.iter().map(|c| f64::from(c.p)).sum::<f64>();
            if enough(sum) {
                stretch = first;
            } else {
                (stretch, before) = (second, sum);
            }
        }
        if let [last] = stretch {
            self.list.retain(|candidate| order(candidate, last).is_le());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Candidates whose logits are the logarithms of `probabilities`; zeros are left out.
    pub(in super::super) fn of(probabilities: &[f32]) -> Candidates {
        let all = probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0);
        let list = all.map(|(id, p)| Candidate::new(id as u32, p.ln())).collect();
        Candidates { list, ..Default::default() }
    }

    /// Compares the probabilities with `expected`, where zero means dropped.
    pub(in super::super) fn check(kept: Candidates, expected: &[f32]) {
        assert_eq!(kept.list.len(), expected.iter().filter(|p| **p > 0.0).count());
        check_shares(kept, expected);
    }

    /// Compares the probabilities with `expected`.
    pub(in super::super) fn check_shares(mut kept: Candidates, expected: &[f32]) {
        kept.softmax();
        let mut found = vec![0.0; expected.len()];
        kept.list.iter().for_each(|c| found[c.id as usize] = c.p);
        for (share, wanted) in found.iter().zip(expected) {
            assert!((share - wanted).abs() < 1e-5, "{found:?} for {expected:?}");
        }
    }

    /// `count` logits of a plausible shape, some of them equal.
    pub(in super::super) fn logits(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = super::super::rng::Rng::new(seed);
        let mut draw = || (0..4).map(|_| rng.uniform() as f32).sum::<f32>() * 8.0 - 16.0;
        (0..count).map(|i| if i % 7 == 0 { draw().round() } else { draw() }).collect()
    }
}

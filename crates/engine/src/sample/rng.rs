//! The random numbers of one request: SplitMix64, whose whole state is the seed.

/// A stream of random numbers.
pub(super) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of `seed`; every seed is good.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, evenly spread over 0 (included) to 1 (excluded).
    pub(super) fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The first output of the published generator for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        let expected = (6_457_827_717_110_365_317_u64 >> 11) as f64 / (1u64 << 53) as f64;
        assert_eq!(rng.uniform(), expected);
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let mut rng = Rng::new(0);
        let mut counts = [0; 10];
        (0..100_000).for_each(|_| counts[(rng.uniform() * 10.0) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}

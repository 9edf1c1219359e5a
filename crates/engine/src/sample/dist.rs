//! The final draw: one candidate by its probability.

use super::Rng;
use super::candidates::{Candidate, Candidates};

/// Draws a candidate; takes one random number, however many candidates there are.
pub(super) fn draw(kept: &mut Candidates, rng: &mut Rng) -> Candidate {
    kept.softmax();
    let sum: f64 = kept.list.iter().map(|c| f64::from(c.p)).sum();
    let target = rng.uniform() * sum;
    let mut running = 0.0;
    let drawn = kept.list.iter().find(|c| {
        running += f64::from(c.p);
        running > target
    });
    *drawn.expect("the running sum ends above the target")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::of;

    #[test]
    fn candidates_come_as_often_as_they_are_likely() {
        let probabilities = [0.05, 0.0, 0.6, 0.25, 0.1];
        let mut rng = Rng::new(11);
        let mut counts = [0u32; 5];
        for _ in 0..20_000 {
            counts[draw(&mut of(&probabilities), &mut rng).id as usize] += 1;
        }
        for (count, p) in counts.iter().zip(probabilities) {
            assert!((*count as f32 / 20_000.0 - p).abs() < 0.012, "{counts:?}");
        }
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn every_draw_takes_one_number() {
        let (mut alone, mut beside) = (Rng::new(5), Rng::new(5));
        draw(&mut of(&[1.0]), &mut alone);
        draw(&mut of(&[0.5, 0.5]), &mut beside);
        assert_eq!(alone.uniform(), beside.uniform());
    }
}

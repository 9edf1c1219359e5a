//! DRY ("don't repeat yourself"): the longer the stretch that a token would repeat, the larger the
//! penalty, growing exponentially beyond an allowed length. Breakers, such as a line break, end a
//! stretch.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use super::Adjust;
use super::penalties::look_back;
use crate::protocol::Sampling;

/// Longest breaker in bytes, and in tokens after the first; the rest is ignored, as in llama.cpp.
const BREAKER_LIMITS: (usize, usize) = (40, 20);

struct Dry {
    multiplier: f32,
    base: f32,
    allowed_length: usize,
    /// Most tokens looked back at.
    last_n: usize,
    window: VecDeque<u32>,
    /// First token of a breaker: the rests that make it whole.
    breakers: HashMap<u32, Vec<Vec<u32>>>,
}

/// The sampler, unless it has no effect. `breakers` are token sequences; empty ones are ignored.
pub(super) fn stage(s: &Sampling, breakers: Vec<Vec<u32>>, ctx: usize) -> Option<Box<dyn Adjust>> {
    let last_n = look_back(s.dry_penalty_last_n, ctx);
    if s.dry_multiplier == 0.0 || last_n == 0 {
        return None;
    }
    let mut heads: HashMap<u32, Vec<Vec<u32>>> = HashMap::new();
    for breaker in &breakers {
        if let [head, tail @ ..] = breaker.as_slice() {
            heads.entry(*head).or_default().push(tail.to_vec());
        }
    }
    Some(Box::new(Dry {
        multiplier: s.dry_multiplier,
        base: s.dry_base,
        allowed_length: usize::try_from(s.dry_allowed_length).unwrap_or(0),
        last_n,
        window: VecDeque::new(),
        breakers: heads,
    }))
}

impl Adjust for Dry {
    fn adjust(&mut self, logits: &mut [f32]) {
        let latest_first: Vec<u32> = self.window.iter().rev().copied().collect();
        let limit = self.tokens_since_breaker(&latest_first);
        if latest_first.len() <= self.allowed_length || limit < self.allowed_length {
            return;
        }
        for (token, repeated) in longest_repeats(&latest_first, limit, self.allowed_length) {
            let breaks = self.breakers.get(&token).is_some_and(|tails| tails.contains(&Vec::new()));
            let Some(logit) = logits.get_mut(token as usize).filter(|_| !breaks) else { continue };
            let beyond = (repeated - self.allowed_length).min(1 << 20) as i32;
            let penalty = self.multiplier * self.base.powi(beyond);
            *logit -= penalty.min(f32::MAX);
        }
    }

    fn accept(&mut self, token: u32) {
        if self.window.len() == self.last_n {
            self.window.pop_front();
        }
        self.window.push_back(token);
    }
}

impl Dry {
    /// Tokens after the last whole breaker in the window; all if there is none.
    fn tokens_since_breaker(&self, latest_first: &[u32]) -> usize {
        for (i, token) in latest_first.iter().enumerate() {
            let Some(tails) = self.breakers.get(token) else { continue };
            let whole = |tail: &&Vec<u32>| {
                tail.len() <= i && tail.iter().eq(latest_first[i - tail.len()..i].iter().rev())
            };
            if let Some(longest) = tails.iter().filter(whole).map(Vec::len).max() {
                return i - longest;
            }
        }
        latest_first.len()
    }
}

/// For each token that would continue a repeat of the end of the context: the longest such repeat
/// of at least `least` tokens, counted up to `limit`.
///
/// `latest_first[k..]` repeats as many tokens of `latest_first` as the Z-algorithm finds, in linear
/// time; the token that followed it then is `latest_first[k - 1]`.
fn longest_repeats(latest_first: &[u32], limit: usize, least: usize) -> HashMap<u32, usize> {
    let mut repeats = HashMap::new();
    let mut lengths = vec![0; latest_first.len()];
    // The stretch start..end is the known repeat that reaches furthest.
    let (mut start, mut end) = (0, 0);
    for k in 1..latest_first.len() {
        let known = if k < end { lengths[k - start].min(end - k) } else { 0 };
        let further = latest_first[k + known..].iter().zip(&latest_first[known..]);
        lengths[k] = known + further.take_while(|(a, b)| a == b).count();
        if k + lengths[k] > end {
            (start, end) = (k, k + lengths[k]);
        }
        let length = lengths[k].min(limit);
        if length >= least {
            let longest = repeats.entry(latest_first[k - 1]).or_insert(length);
            *longest = length.max(*longest);
        }
    }
    repeats
}

/// The token sequences in which each of `strings` can occur: for each token that holds the string,
/// that token; for each that ends in the string's beginning, that token and the rest encoded.
///
/// `token_bytes` gives the text of a token, `encode` the tokens of a text without special ones.
pub fn breakers<'a>(
    strings: &[String],
    vocab_size: usize,
    token_bytes: impl Fn(u32) -> Cow<'a, [u8]>,
    encode: impl Fn(&[u8]) -> Vec<u32>,
) -> Vec<Vec<u32>> {
    let (max_bytes, max_tail) = BREAKER_LIMITS;
    let mut sequences = Vec::new();
    let strings = strings.iter().map(|s| &s.as_bytes()[..s.len().min(max_bytes)]);
    for string in strings.filter(|string| !string.is_empty()) {
        // A string of n bytes has n - 1 rests.
        let rest = |from: usize| encode(&string[from..]).into_iter().take(max_tail).collect();
        let rests: Vec<Vec<u32>> = (1..string.len()).map(rest).collect();
        for token in 0..vocab_size as u32 {
            let text = token_bytes(token);
            if text.windows(string.len()).any(|window| window == string) {
                sequences.push(vec![token]);
                continue;
            }
            let begun = |n: &usize| text.ends_with(&string[..*n]);
            for n in (1..string.len()).filter(begun) {
                sequences.push([&[token], rests[n - 1].as_slice()].concat());
            }
        }
    }
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::{Candidate, Candidates, tests::check_shares};

    fn settings(multiplier: f32, base: f32, allowed_length: i32) -> Sampling {
        Sampling {
            dry_multiplier: multiplier,
            dry_base: base,
            dry_allowed_length: allowed_length,
            ..Sampling::default()
        }
    }

    /// What llama.cpp's test-sampling.cpp expects of equally likely tokens.
    #[test]
    fn cases_of_llama_cpp() {
        type Case<'a> = (&'a [u32], &'a [f32], f32, i32, &'a [u32]);
        let cases: [Case<'_>; 5] = [
            (&[0, 1], &[0.25; 4], 1.0, 2, &[]),
            (&[0, 1, 2, 0, 1], &[0.296923, 0.296923, 0.109232, 0.296923], 1.0, 2, &[]),
            (&[0, 1, 3, 4, 0, 1], &[0.2; 5], 1.0, 2, &[3]),
            (&[0, 1, 2, 0, 1], &[0.241818, 0.241818, 0.032727, 0.241818, 0.241818], 2.0, 2, &[]),
            (&[0, 1, 2, 3, 4, 0, 1], &[0.2; 5], 1.0, 4, &[]),
        ];
        for (history, expected, multiplier, allowed_length, breaker) in cases {
            let settings = settings(multiplier, 1.1, allowed_length);
            let mut stage = stage(&settings, vec![breaker.to_vec()], history.len()).unwrap();
            history.iter().for_each(|&token| stage.accept(token));
            let mut logits = vec![0.0; expected.len()];
            stage.adjust(&mut logits);
            let list = (0..).zip(logits).map(|(id, logit)| Candidate::new(id, logit)).collect();
            check_shares(Candidates { list, ..Default::default() }, expected);
        }
    }

    /// The penalty of every token by comparing all pairs of positions, in random texts.
    #[test]
    fn penalties_follow_the_longest_repeat() {
        let mut rng = super::super::rng::Rng::new(9);
        for round in 0..300 {
            let alphabet = [2.0, 3.0, 6.0][round % 3];
            let history: Vec<u32> = (0..60).map(|_| (rng.uniform() * alphabet) as u32).collect();
            // Token 5 breaks a repeat, and so does 2 followed by 4.
            let breakers = vec![vec![5], vec![2, 4], vec![]];
            let (allowed, last_n) = (round % 4, 40);
            let settings = settings(0.5, 1.5, allowed as i32);
            let mut stage = stage(&settings, breakers, last_n).unwrap();
            history.iter().for_each(|&token| stage.accept(token));
            let mut logits = [0.0; 8];
            stage.adjust(&mut logits);

            let seen = &history[history.len() - last_n..];
            let breaks_at = |i: usize| seen[i] == 5 || seen[i..].starts_with(&[2, 4]);
            let broken = (0..seen.len()).rev().find(|&i| breaks_at(i));
            let since =
                broken.map_or(seen.len(), |i| seen.len() - i - if seen[i] == 5 { 1 } else { 2 });
            for token in 0..8 {
                let repeat = |end: usize| {
                    let back = (0..end).take_while(|&n| seen[end - 1 - n] == seen[last_n - 1 - n]);
                    back.count().min(since)
                };
                let ends = (1..seen.len()).filter(|&end| seen[end] == token);
                let longest = ends.map(repeat).filter(|&n| n >= allowed && since >= allowed).max();
                let beyond = longest.filter(|_| token != 5).map(|n| (n - allowed) as i32);
                let expected = beyond.map_or(0.0, |n| -0.5 * 1.5f32.powi(n));
                assert_eq!(logits[token as usize], expected, "token {token} after {seen:?}");
            }
        }
    }

    #[test]
    fn a_penalty_without_end_leaves_a_number() {
        let mut stage = stage(&settings(3e38, 3e38, 1), Vec::new(), 5000).unwrap();
        (0..5000).for_each(|_| stage.accept(1));
        let mut logits = [0.0, -1.0];
        stage.adjust(&mut logits);
        assert_eq!(logits, [0.0, f32::MIN]);
    }

    #[test]
    fn a_breaker_is_found_in_every_division_into_tokens() {
        let tokens: [&[u8]; 6] = [b"a", b"x\ny", b"\n", b"x\r", b"\r\n", b"\nb"];
        let bytes = |id: u32| Cow::Borrowed(tokens[id as usize]);
        let encode = |text: &[u8]| vec![tokens.iter().position(|t| *t == text).unwrap() as u32];
        let found = breakers(&["\r\n".into(), "".into(), "a".into()], 6, bytes, encode);
        assert_eq!(found, [vec![3, 2], vec![4], vec![0]]);
    }
}

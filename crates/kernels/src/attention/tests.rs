//! Attention on every level of the machine against a scalar twin in f64, and bit by bit against
//! itself under every way of cutting the work.

use super::*;
use crate::testing::{Rng, all_cpus};

struct Case {
    shape: AttnShape,
    ty: KvType,
    len: usize,
    k: Vec<f32>,
    v: Vec<f32>,
    q: Vec<f32>,
}

impl Case {
    fn new(heads: usize, kv_heads: usize, head_dim: usize, len: usize, ty: KvType) -> Self {
        let mut rng = Rng::new((heads * head_dim + len) as u64);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (window, both_ways, softcap) = (None, false, None);
        let shape = AttnShape { heads, kv_heads, head_dim, scale, window, both_ways, softcap };
        let kv = len * kv_heads * head_dim;
        let mut q = rng.floats(len * heads * head_dim);
        q.iter_mut().for_each(|q| *q *= 4.0);
        Self { shape, ty, len, k: rng.floats(kv), v: rng.floats(kv), q }
    }

    fn with(mut self, window: Option<Window>, softcap: Option<f32>) -> Self {
        (self.shape.window, self.shape.softcap) = (window, softcap);
        self
    }

    fn both_ways(mut self) -> Self {
        self.shape.both_ways = true;
        self
    }

    fn cache(&self, pool: &Pool) -> KvLayer {
        let mut kv = KvLayer::new(self.ty, self.shape.kv_heads, self.shape.head_dim);
        kv.append(pool, &self.k, &self.v, self.len);
        kv
    }

    /// All rows in calls of `chunk` rows, the cache growing as in a session.
    fn run(&self, pool: &Pool, chunk: usize) -> Vec<f32> {
        let shape = &self.shape;
        let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let mut kv = KvLayer::new(self.ty, shape.kv_heads, shape.head_dim);
        let mut out = vec![f32::NAN; self.q.len()];
        for start in (0..self.len).step_by(chunk) {
            let end = self.len.min(start + chunk);
            let rows = start * kv_width..end * kv_width;
            kv.append(pool, &self.k[rows.clone()], &self.v[rows], end - start);
            let job = AttnJob { first_row: 0, rows: end - start, pos0: start, kv: &kv };
            let rows = start * width..end * width;
            attention(pool, shape, &self.q[rows.clone()], &[job], &mut out[rows]);
        }
        out
    }

    /// Keys or values as the cache gives them back.
    fn stored(&self, x: &[f32]) -> Vec<f64> {
        let each = |round: fn(f32) -> f64| x.iter().map(|&x| round(x)).collect();
        match self.ty {
            KvType::F32 => each(f64::from),
            KvType::F16 => each(|x| half::f16::from_f32(x).to_f64()),
            KvType::Bf16 => each(|x| half::bf16::from_f32(x).to_f64()),
            KvType::Q8 | KvType::Q4 => {
                let peak = if self.ty == KvType::Q8 { 127.0 } else { 7.0 };
                let groups = x.chunks(self.shape.head_dim).flat_map(|head| head.chunks(32));
                let whole = |group: &[f32]| {
                    let largest = group.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                    let scale = half::f16::from_f32(largest / peak).to_f32();
                    let whole = |x: f32| (x * (1.0 / scale)).round_ties_even().clamp(-peak, peak);
                    let back = |&x: &f32| f64::from(whole(x)) * f64::from(scale);
                    group.iter().map(back).collect::<Vec<_>>()
                };
                groups.flat_map(whole).collect()
            }
        }
    }

    fn twin(&self, k: &[f64], v: &[f64], row: usize, head: usize) -> Vec<f64> {
        let AttnShape { heads, kv_heads, head_dim, scale, window, both_ways, softcap } = self.shape;
        let kv_head = head / (heads / kv_heads);
        let at = |position: usize| (position * kv_heads + kv_head) * head_dim;
        let q = &self.q[(row * heads + head) * head_dim..][..head_dim];
        let first = match window {
            None => 0,
            Some(Window::Last(count)) => (row + 1).saturating_sub(count),
            Some(Window::Chunk(length)) => row - row % length,
        };
        let last = if both_ways { self.len - 1 } else { row };
        let scores: Vec<f64> = (first..=last)
            .map(|p| {
                let k = &k[at(p)..at(p) + head_dim];
                let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * k).sum();
                let score = dot * f64::from(scale);
                softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            })
            .collect();
        let max = scores.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x));
        let sum: f64 = scores.iter().map(|x| (x - max).exp()).sum();
        (0..head_dim)
            .map(|d| {
                let terms =
                    scores.iter().zip(first..).map(|(x, p)| (x - max).exp() / sum * v[at(p) + d]);
                terms.sum()
            })
            .collect()
    }

    fn check(&self, pool: &Pool) {
        // What is seen both ways has to be there from the first row on.
        let out = self.run(pool, if self.shape.both_ways { self.len } else { 50 });
        let AttnShape { heads, head_dim, .. } = self.shape;
        let (k, v) = (self.stored(&self.k), self.stored(&self.v));
        for row in (0..self.len).step_by(7).chain([self.len - 1]) {
            for head in 0..heads {
                let got = &out[(row * heads + head) * head_dim..][..head_dim];
                for (d, want) in self.twin(&k, &v, row, head).into_iter().enumerate() {
                    let error = (f64::from(got[d]) - want).abs();
                    assert!(
                        error < 2e-6,
                        "{:?} {:?} {:?}: row {row} head {head} [{d}] is {}, not {want}",
                        pool.cpu(),
                        self.shape,
                        self.ty,
                        got[d]
                    );
                }
            }
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn positions_are_read_back_as_they_are_stored() {
    for ty in [KvType::F32, KvType::F16, KvType::Bf16] {
        let case = Case::new(3, 3, 24, 150, ty);
        let kv = case.cache(&Pool::new(2));
        let (k, v, width) = (case.stored(&case.k), case.stored(&case.v), 72);
        for position in 0..150 {
            let mut found = [vec![0.0f32; width], vec![0.0f32; width]];
            let [found_k, found_v] = &mut found;
            kv.read(position, found_k, found_v);
            let own = position * width..(position + 1) * width;
            for (found, want) in found.iter().zip([&k[own.clone()], &v[own]]) {
                assert!(found.iter().zip(want).all(|(a, b)| f64::from(*a) == *b), "{ty:?}");
            }
        }
    }
}

#[test]
fn shapes_and_types_match_the_twin() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        for (heads, kv_heads, head_dim, len) in [
            (1, 1, 16, 1),
            (4, 2, 64, 150),
            (9, 3, 64, 70),
            (4, 1, 256, 65),
            (5, 1, 40, 300),
            (2, 2, 7, 33),
        ] {
            for ty in [KvType::F32, KvType::F16, KvType::Bf16, KvType::Q8, KvType::Q4] {
                Case::new(heads, kv_heads, head_dim, len, ty).check(&pool);
            }
        }
    }
}

#[test]
fn windows_and_caps_match_the_twin() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        let last = [1, 3, 64, 128, 200, 1000].map(|count| Some(Window::Last(count)));
        let chunks = [1, 5, 100, 128, 1000].map(|length| Some(Window::Chunk(length)));
        for window in [None].into_iter().chain(last).chain(chunks) {
            for softcap in [None, Some(2.0)] {
                for ty in [KvType::F32, KvType::Q8, KvType::Q4] {
                    Case::new(4, 2, 32, 390, ty).with(window, softcap).check(&pool);
                }
            }
        }
    }
}

#[test]
fn what_is_seen_both_ways_matches_the_twin() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(2, cpu);
        for (heads, head_dim, len) in [(1, 16, 1), (3, 32, 20), (2, 64, 129), (1, 40, 400)] {
            for ty in [KvType::F32, KvType::F16] {
                Case::new(heads, heads, head_dim, len, ty).both_ways().check(&pool);
            }
        }
    }
}

/// A text's rows together, one by one, and beside another text's.
#[test]
fn bits_seen_both_ways_do_not_depend_on_company_or_threads() {
    for cpu in all_cpus() {
        let case = Case::new(3, 3, 32, 300, KvType::F32).both_ways();
        let (width, other) = (96, Case::new(3, 3, 32, 40, KvType::F32).both_ways());
        let want = bits(&case.run(&Pool::with_cpu(1, cpu), 300));
        for threads in 1..=3 {
            let pool = Pool::with_cpu(threads, cpu);
            assert_eq!(bits(&case.run(&pool, 300)), want);
            let (first, second) = (other.cache(&pool), case.cache(&pool));
            let jobs = [
                AttnJob { first_row: 0, rows: 40, pos0: 0, kv: &first },
                AttnJob { first_row: 40, rows: 300, pos0: 0, kv: &second },
            ];
            let q = [other.q.as_slice(), &case.q].concat();
            let mut out = vec![f32::NAN; q.len()];
            attention(&pool, &case.shape, &q, &jobs, &mut out);
            assert_eq!(bits(&out[40 * width..]), want);
            for row in 0..300 {
                let job = AttnJob { first_row: 0, rows: 1, pos0: row, kv: &second };
                let rows = row * width..(row + 1) * width;
                attention(&pool, &case.shape, &case.q[rows.clone()], &[job], &mut out[rows]);
            }
            assert_eq!(bits(&out[..300 * width]), want);
        }
    }
}

#[test]
fn bits_do_not_depend_on_chunks_or_threads() {
    for cpu in all_cpus() {
        for window in [None, Some(Window::Last(100)), Some(Window::Chunk(100))] {
            let case = Case::new(6, 2, 32, 400, KvType::F16).with(window, None);
            let want = bits(&case.run(&Pool::with_cpu(1, cpu), 400));
            for threads in 1..=4 {
                let pool = Pool::with_cpu(threads, cpu);
                for chunk in [1, 2, 3, 5, 17, 64, 100, 399, 400] {
                    let same = bits(&case.run(&pool, chunk)) == want;
                    assert!(
                        same,
                        "{cpu:?} window {window:?}, chunks of {chunk}, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_company() {
    let pool = Pool::new(3);
    let cases: Vec<Case> = [(40, 3), (300, 1), (130, 30), (700, 2)]
        .map(|(len, _)| Case::new(4, 2, 32, len, KvType::F32))
        .into();
    let rows = [3, 1, 30, 2];
    let caches: Vec<KvLayer> = cases.iter().map(|case| case.cache(&pool)).collect();
    let width = 4 * 32;
    let (mut q, mut jobs, mut want) = (vec![], vec![], vec![]);
    for ((case, kv), rows) in cases.iter().zip(&caches).zip(rows) {
        let own = &case.q[(case.len - rows) * width..];
        let pos0 = case.len - rows;
        let mut out = vec![0.0; rows * width];
        attention(&pool, &case.shape, own, &[AttnJob { first_row: 0, rows, pos0, kv }], &mut out);
        jobs.push(AttnJob { first_row: q.len() / width, rows, pos0, kv });
        q.extend_from_slice(own);
        want.extend(out);
    }
    let mut out = vec![f32::NAN; q.len()];
    attention(&pool, &cases[0].shape, &q, &jobs, &mut out);
    assert_eq!(bits(&out), bits(&want));
    // A few rows of several sequences, which go span by span.
    jobs.remove(2);
    let mut out = vec![f32::NAN; q.len()];
    attention(&pool, &cases[0].shape, &q, &jobs, &mut out);
    for job in &jobs {
        let rows = job.first_row * width..(job.first_row + job.rows) * width;
        assert_eq!(bits(&out[rows.clone()]), bits(&want[rows]));
    }
}

#[test]
fn what_a_row_does_not_see_cannot_touch_it() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        let mut case = Case::new(4, 2, 32, 140, KvType::F32).with(Some(Window::Last(60)), None);
        let want = case.run(&pool, 140);
        // Not finite from position 137 on, and before what row 130 sees.
        let width = 2 * 32;
        for position in (0..71).chain(137..140) {
            case.v[position * width..(position + 1) * width].fill(f32::NAN);
            case.k[position * width..(position + 1) * width].fill(f32::INFINITY);
        }
        let got = case.run(&pool, 140);
        let rows = 130 * 128..137 * 128;
        assert_eq!(bits(&got[rows.clone()]), bits(&want[rows]), "{cpu:?}");
    }
}

/// What is no number stays seen, where a row sees it.
#[test]
fn a_cache_of_whole_numbers_hides_nothing() {
    for cpu in all_cpus() {
        let pool = Pool::with_cpu(1, cpu);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut case = Case::new(2, 1, 64, 80, KvType::Q8);
            case.v[70 * 64 + 40] = bad;
            let out = case.run(&pool, 80);
            let row = |row: usize| &out[row * 128..(row + 1) * 128];
            assert!(row(69).iter().all(|x| x.is_finite()));
            assert!(row(70)[32..64].iter().all(|x| x.is_nan()));
            assert!(row(70)[..32].iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn a_cache_grows_by_blocks_and_shrinks() {
    let pool = Pool::new(1);
    let case = Case::new(2, 1, 20, 200, KvType::Bf16);
    let mut kv = case.cache(&pool);
    let block = (20 + 32) * 64 * 2;
    assert_eq!((kv.len(), kv.bytes()), (200, 4 * block));
    kv.truncate(300);
    assert_eq!(kv.len(), 200);
    kv.truncate(65);
    assert_eq!((kv.len(), kv.bytes()), (65, 2 * block));
    // Appending again gives what a fresh cache gives.
    kv.append(&pool, &case.k[65 * 20..], &case.v[65 * 20..], 135);
    let run = |kv: &KvLayer| {
        let mut out = vec![0.0; 40];
        let job = AttnJob { first_row: 0, rows: 1, pos0: 199, kv };
        attention(&pool, &case.shape, &case.q[199 * 40..], &[job], &mut out);
        bits(&out)
    };
    assert_eq!(run(&kv), run(&case.cache(&pool)));
    kv.truncate(0);
    assert_eq!((kv.is_empty(), kv.bytes()), (true, 0));
}

#[test]
fn a_stopped_pool_returns() {
    let pool = Pool::new(2);
    let case = Case::new(2, 1, 16, 200, KvType::F32);
    let kv = case.cache(&pool);
    pool.stop_flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let mut out = vec![7.0; case.q.len()];
    let job = AttnJob { first_row: 0, rows: 200, pos0: 0, kv: &kv };
    attention(&pool, &case.shape, &case.q, &[job], &mut out);
    assert!(out.iter().all(|&x| x == 7.0));
}

//! One pool of persistent threads; work is cut into units, of which each thread has a run of its
//! own, so that it reads memory in one stream; who is done helps the others.
//!
//! The caller is worker 0. A dispatch allocates nothing: it publishes a pointer to the closure and
//! opens a round. Workers that are awake join it; one that the system has put aside is not waited
//! for unless it joined. Idle workers spin for a moment and then park. Results never depend on who
//! ran a unit: that is the business of the kernels, which give each unit its own output.

use crate::cpu::Cpu;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an idle worker spins before it parks. Longer than the gaps between the operations of
/// one token, so that parking happens between requests.
const SPIN: Duration = Duration::from_micros(50);

/// The round word: round number in the high bits, then "open", then the count of joined workers.
const JOINED: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const ROUND: u64 = 1 << 17;
const SHUTDOWN: u64 = u64::MAX;

/// Keeps a value on cache lines of its own.
#[repr(align(128))]
struct Line<T>(T);

/// What a round runs. The lifetime is erased: the caller does not return before the round is closed
/// and every worker that joined has left.
#[derive(Clone, Copy)]
struct Job {
    run: *const (dyn Fn(usize, usize) + Sync + 'static),
    units: usize,
}

struct Shared {
    round: Line<AtomicU64>,
    /// Units taken of each thread's run.
    taken: Box<[Line<AtomicUsize>]>,
    job: UnsafeCell<Option<Job>>,
    stop: Arc<AtomicBool>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    panicked: AtomicBool,
    parked: AtomicUsize,
    park: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is written by the caller while the round is closed and nobody is joined, and read
// by workers only after they joined an open round; `round` orders the two.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is to a `Sync` closure.
unsafe impl Send for Shared {}

thread_local! {
    /// Set while this thread runs a unit, to catch a dispatch from inside one.
    static IN_UNIT: Cell<bool> = const { Cell::new(false) };
}

/// The threads and what they run on.
pub struct Pool {
    shared: Arc<Shared>,
    dispatch: Mutex<()>,
    scratch: Mutex<Vec<f32>>,
    workers: Vec<JoinHandle<()>>,
    cpu: Cpu,
}

impl Pool {
    /// A pool of `threads` (at least 1), the caller counted, on the best instructions of the
    /// machine.
    pub fn new(threads: usize) -> Self {
        Self::with_cpu(threads, Cpu::detect())
    }

    /// A pool whose kernels use `cpu`.
    pub fn with_cpu(threads: usize, cpu: Cpu) -> Self {
        // Fewer threads than asked for are no error: every count gives the same results.
        let threads = threads.clamp(1, JOINED as usize);
        let shared = Arc::new(Shared {
            round: Line(AtomicU64::new(0)),
            taken: (0..threads).map(|_| Line(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(None),
            stop: Arc::new(AtomicBool::new(false)),
            panic: Mutex::new(None),
            panicked: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            park: Mutex::new(()),
            wake: Condvar::new(),
        });
        let workers = (1..threads)
            .map_while(|index| {
                let shared = shared.clone();
                let name = format!("kernel-{index}");
                std::thread::Builder::new().name(name).spawn(move || shared.work(index)).ok()
            })
            .collect();
        let (dispatch, scratch) = (Mutex::new(()), Mutex::new(Vec::new()));
        Self { shared, dispatch, scratch, workers, cpu }
    }

    /// Threads, the caller counted.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The instructions its kernels use.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Set it and the units that have not begun are skipped; the owner of the request clears it.
    /// What a stopped call wrote is not to be used.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.shared.stop.clone()
    }

    /// Whether the stop flag is set.
    pub fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Memory between the dispatches of one operation, kept from call to call; contents are stale.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Vec<f32>> {
        lock(&self.scratch)
    }

    /// Calls `run(unit, worker)` once for each unit in `0..units`, `worker < threads()`, unless the
    /// stop flag is set; returns when all are done. No two calls at one time have the same worker.
    ///
    /// # Panics
    /// If a unit panics (the others are then skipped), or if called from inside a unit.
    pub fn run_units(&self, units: usize, run: &(dyn Fn(usize, usize) + Sync)) {
        assert!(!IN_UNIT.get(), "run_units was called from inside a unit");
        let shared = &*self.shared;
        let _dispatch = lock(&self.dispatch);
        if units <= 1 || self.workers.is_empty() {
            shared.lay_out();
            shared.take_units(&run, units, 0);
        } else {
            self.round(units, run);
        }
        if shared.panicked.swap(false, Ordering::AcqRel) {
            let payload = lock(&shared.panic).take();
            resume_unwind(payload.unwrap_or_else(|| Box::new("a unit panicked")));
        }
    }

    /// Opens a round for the workers, takes part in it, and closes it.
    fn round(&self, units: usize, run: &(dyn Fn(usize, usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; the pointer is not used after this call, see below.
        let erased = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize, usize) + Sync + '_),
                *const (dyn Fn(usize, usize) + Sync + 'static),
            >(run)
        };
        // SAFETY: no round is open and nobody is joined, so no worker reads it.
        unsafe { *shared.job.get() = Some(Job { run: erased, units }) };
        shared.lay_out();
        let before = shared.round.0.load(Ordering::Relaxed);
        // Ordered against `parked`, as a worker orders its count against its last look at the
        // round.
        shared.round.0.store(((before & !(ROUND - 1)) + ROUND) | OPEN, Ordering::SeqCst);
        if shared.parked.load(Ordering::SeqCst) > 0 {
            let _park = lock(&shared.park);
            shared.wake.notify_all();
        }
        shared.take_units(&run, units, 0);
        // Nobody joins after this; those who have may still use `run`, so wait for them to leave.
        let mut joined = shared.round.0.fetch_and(!OPEN, Ordering::AcqRel) & JOINED;
        let mut turns = 0u32;
        while joined > 0 {
            pause(&mut turns);
            joined = shared.round.0.load(Ordering::Acquire) & JOINED;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.round.0.store(SHUTDOWN, Ordering::SeqCst);
        {
            let _park = lock(&self.shared.park);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches the panics of units, so it ends well.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} threads, {:?})", self.threads(), self.cpu)
    }
}

/// Spins, and now and then lets another thread have the core.
fn pause(turns: &mut u32) {
    *turns += 1;
    if turns.is_multiple_of(2048) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// A lock here guards no state that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Makes all units free to be taken.
    fn lay_out(&self) {
        self.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
    }

    /// Takes units until none is left, the stop flag is set, or one panicked: those of the worker's
    /// own run, then of the others', the next worker's first.
    fn take_units(&self, run: &(dyn Fn(usize, usize) + Sync), units: usize, worker: usize) {
        IN_UNIT.set(true);
        let runs = self.taken.len();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            for owner in (worker..runs).chain(0..worker) {
                let (first, end) = (units * owner / runs, units * (owner + 1) / runs);
                let taken = &self.taken[owner].0;
                // Looked at first: a run that is done is not to be written to by everybody.
                while taken.load(Ordering::Relaxed) < end - first {
                    if self.stop.load(Ordering::Relaxed) || self.panicked.load(Ordering::Relaxed) {
                        return;
                    }
                    let unit = first + taken.fetch_add(1, Ordering::Relaxed);
                    if unit >= end {
                        break;
                    }
                    run(unit, worker);
                }
            }
        }));
        IN_UNIT.set(false);
        if let Err(payload) = caught {
            *lock(&self.panic) = Some(payload);
            self.panicked.store(true, Ordering::Release);
        }
    }

    /// A worker's life.
    fn work(&self, index: usize) {
        let mut done = 0;
        loop {
            let round = self.wait(done);
            if round == SHUTDOWN {
                return;
            }
            done = round & !(ROUND - 1);
            if self.join(done) {
                // SAFETY: joined an open round, so the caller has published the job and waits for
                // us to leave before it writes another or lets the closure go.
                let job = unsafe { *self.job.get() };
                if let Some(Job { run, units }) = job {
                    // SAFETY: as above, the closure is alive.
                    self.take_units(unsafe { &*run }, units, index);
                }
                self.round.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Counts this worker into the round `number`, unless it is closed.
    fn join(&self, number: u64) -> bool {
        let joins = |round: u64| {
            let open = round != SHUTDOWN && round & !(ROUND - 1) == number && round & OPEN != 0;
            open.then_some(round + 1)
        };
        self.round.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, joins).is_ok()
    }

    /// Waits for an open round other than `done`: spins, then parks.
    fn wait(&self, done: u64) -> u64 {
        let fresh =
            |round: u64| round == SHUTDOWN || (round & OPEN != 0 && round & !(ROUND - 1) != done);
        let start = Instant::now();
        let mut turns = 0u32;
        loop {
            let round = self.round.0.load(Ordering::Acquire);
            if fresh(round) {
                return round;
            }
            pause(&mut turns);
            if turns.is_multiple_of(64) && start.elapsed() > SPIN {
                break;
            }
        }
        let mut guard = lock(&self.park);
        self.parked.fetch_add(1, Ordering::SeqCst);
        loop {
            let round = self.round.0.load(Ordering::SeqCst);
            if fresh(round) {
                self.parked.fetch_sub(1, Ordering::SeqCst);
                return round;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, units: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..units).map(|_| AtomicUsize::new(0)).collect();
        pool.run_units(units, &|unit, worker| {
            assert!(worker < pool.threads());
            counts[unit].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_unit_runs_once_for_any_number_of_threads() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for round in 0..300 {
                let units = round % 37;
                assert_eq!(counts(&pool, units), vec![1; units]);
            }
        }
    }

    #[test]
    fn parked_workers_wake() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            while pool.shared.parked.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            // Each unit waits for another thread to take one, so a sleeper would hang the test.
            let workers = Mutex::new(std::collections::BTreeSet::new());
            pool.run_units(3, &|_, worker| {
                lock(&workers).insert(worker);
                while lock(&workers).len() < 3 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            for victim in [0, 5, 63] {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    pool.run_units(64, &|unit, _| assert_ne!(unit, victim, "the unit's own words"));
                }));
                let payload = caught.unwrap_err();
                assert!(payload.downcast_ref::<String>().unwrap().contains("the unit's own words"));
                assert_eq!(counts(&pool, 64), vec![1; 64]);
            }
        }
    }

    #[test]
    fn the_stop_flag_skips_what_has_not_begun() {
        for threads in [1, 2] {
            let pool = Pool::new(threads);
            let begun = AtomicUsize::new(0);
            let stop = pool.stop_flag();
            pool.run_units(10_000, &|_, _| {
                begun.fetch_add(1, Ordering::Relaxed);
                stop.store(true, Ordering::Relaxed);
            });
            assert!(pool.stopped());
            assert!((1..=threads).contains(&begun.load(Ordering::Relaxed)));
            stop.store(false, Ordering::Relaxed);
            assert_eq!(counts(&pool, 9), vec![1; 9]);
        }
    }

    #[test]
    fn callers_take_turns_and_units_may_not_dispatch() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..100).for_each(|_| assert_eq!(counts(&pool, 8), vec![1; 8])));
            }
        });
        let nested = catch_unwind(AssertUnwindSafe(|| {
            pool.run_units(2, &|_, _| pool.run_units(1, &|_, _| ()));
        }));
        assert!(nested.is_err());
    }
}

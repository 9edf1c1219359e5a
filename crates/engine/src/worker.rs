//! The engine's request loop: a queue fed by a reader thread, cancellation, and panics held to the
//! request that caused them.
//!
//! The loop knows neither frames nor pipes: it takes a source of requests and a sink of events
//! (`hearth-cell` joins them to the pipes of the sealed child; tests use channels). What a request
//! means stands behind [`Host`]. The reader is a thread of its own, so that a `Cancel` raises the
//! running request's stop flag at once, while the loop is still inside that request.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::protocol::{Event, Failure, FailureKind, Finish, Job, Request, Stats};

/// A loaded engine, as the loop sees it.
pub trait Host {
    /// The flag that `Cancel` raises. Long work polls it once per work unit; the loop lowers it
    /// before each request.
    fn stop_flag(&self) -> Arc<AtomicBool>;

    /// Does one job, sending its events to `out`. The loop sends the final `Done` or `Failed` from
    /// the result. A job that sees the stop flag returns soon with [`Finish::Cancelled`].
    ///
    /// # Errors
    /// Whatever the requester should read; the engine goes on with the next request.
    fn handle(&mut self, id: u64, job: Job, out: &mut dyn FnMut(Event)) -> Result<Stats, Failure>;

    /// Drops every cached sequence: called after a panic, when a cache may be half-written.
    fn reset(&mut self);
}

/// Serves requests until the source ends or the sink fails.
///
/// `next` blocks for the next request and returns `None` at the end; `send` returns `false` when
/// nobody listens any more. `load` makes the host while requests already queue up; its failure is
/// sent as [`Event::LoadFailed`] and ends the loop.
pub fn serve<H: Host>(
    next: impl FnMut() -> Option<Request> + Send + 'static,
    mut send: impl FnMut(Event) -> bool,
    load: impl FnOnce(&mut dyn FnMut(Event)) -> Result<H, Failure>,
) {
    let last_panic = watch_panics();
    let queue = Arc::new(Queue::default());
    let started = Instant::now();
    let reader = Arc::clone(&queue);
    std::thread::spawn(move || reader.fill(next));

    let mut out = |event| {
        if !send(event) {
            queue.close();
        }
    };
    let loaded = contain(&last_panic, || load(&mut out));
    let mut host = match loaded {
        Ok(host) => host,
        Err(failure) => return out(Event::LoadFailed(failure)),
    };
    out(Event::Ready { load_ms: started.elapsed().as_secs_f64() * 1e3 });

    let stop = host.stop_flag();
    while let Some((request, cancelled)) = queue.take(&stop) {
        let id = request.id;
        let result = if cancelled {
            Ok(CANCELLED_UNSTARTED)
        } else {
            contain(&last_panic, || host.handle(id, request.job, &mut out))
        };
        queue.finish();
        let broken = matches!(&result, Err(f) if f.kind == FailureKind::Internal);
        let mut reset = || {
            host.reset();
            Ok(())
        };
        if broken && contain(&last_panic, &mut reset).is_err() {
            return;
        }
        out(match result {
            Ok(stats) => Event::Done { id, stats },
            Err(failure) => Event::Failed { id, failure },
        });
    }
}

/// What is said of a request that was cancelled while it waited.
const CANCELLED_UNSTARTED: Stats = Stats {
    finish: Finish::Cancelled,
    prompt_tokens: 0,
    cached_tokens: 0,
    output_tokens: 0,
    guessed_tokens: 0,
    accepted_tokens: 0,
    prefill_ms: 0.0,
    decode_ms: 0.0,
    context: (0, 0),
};

/// Requests that wait, and the one that runs.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Request, bool)>,
    running: Option<(u64, Arc<AtomicBool>)>,
    closed: bool,
}

impl Queue {
    /// The reader thread: takes requests from the source until it ends.
    fn fill(&self, mut next: impl FnMut() -> Option<Request>) {
        while let Some(request) = next() {
            let mut state = self.lock();
            match request.job {
                Job::Cancel { target } => state.cancel(target),
                _ => state.waiting.push_back((request, false)),
            }
            self.arrived.notify_all();
        }
        self.close();
    }

    /// Ends the loop: what runs is stopped, what waits is dropped.
    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some((_, stop)) = &state.running {
            stop.store(true, Ordering::Release);
        }
        self.arrived.notify_all();
    }

    /// Waits for a request and marks it as running, with its flag lowered. `true` beside it says
    /// that it was cancelled while it waited.
    fn take(&self, stop: &Arc<AtomicBool>) -> Option<(Request, bool)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some((request, cancelled)) = state.waiting.pop_front() {
                stop.store(false, Ordering::Release);
                state.running = Some((request.id, Arc::clone(stop)));
                return Some((request, cancelled));
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing runs now; a late `Cancel` finds nothing to stop.
    fn finish(&self) {
        self.lock().running = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cancel(&mut self, target: u64) {
        match &self.running {
            Some((id, stop)) if *id == target => stop.store(true, Ordering::Release),
            _ => {
                for (request, cancelled) in &mut self.waiting {
                    *cancelled |= request.id == target;
                }
            }
        }
    }
}

/// Runs `work`; a panic becomes an internal failure that says where it happened.
fn contain<T>(
    last_panic: &Mutex<String>,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let place = last_panic.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Failure {
            kind: FailureKind::Internal,
            message: format!(
                "a defect of the engine ended this request ({place}); please report it"
            ),
        })
    })
}

/// Replaces the panic hook by one that prints a single line, reads no file for a backtrace (the
/// seal would kill the process for it), and keeps the line for [`contain`].
fn watch_panics() -> Arc<Mutex<String>> {
    let last = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&last);
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let message = info.payload_as_str().unwrap_or("panic").replace('\n', " ");
        let line = format!("{place}: {message}");
        eprintln!("engine: {line}");
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }));
    last
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::JoinHandle;

    use super::*;
    use crate::protocol::BenchPlan;
    use crate::protocol::Job::{Bench, Cancel, Clear, Describe, Detokenize};

    /// Answers `Detokenize` with its ids, panics on `Describe`, fails on `Clear`, and on `Bench`
    /// reports that it started and runs until the flag is raised.
    struct Fake {
        stop: Arc<AtomicBool>,
        resets: u32,
    }

    impl Host for Fake {
        fn stop_flag(&self) -> Arc<AtomicBool> {
            Arc::clone(&self.stop)
        }

        fn handle(
            &mut self,
            id: u64,
            job: Job,
            out: &mut dyn FnMut(Event),
        ) -> Result<Stats, Failure> {
            let done = Stats { finish: Finish::Stop, ..CANCELLED_UNSTARTED };
            match job {
                Detokenize { tokens } => {
                    out(Event::Tokens { id, tokens });
                    Ok(Stats { cached_tokens: u64::from(self.resets), ..done })
                }
                Bench { .. } => {
                    out(Event::Tokens { id, tokens: vec![] });
                    while !self.stop.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    Ok(CANCELLED_UNSTARTED)
                }
                Describe => panic!("fake defect"),
                _ => Err(Failure { kind: FailureKind::Request, message: "no".into() }),
            }
        }

        fn reset(&mut self) {
            self.resets += 1;
        }
    }

    struct Loop {
        requests: Option<Sender<Request>>,
        events: Receiver<Event>,
        thread: JoinHandle<()>,
    }

    fn start(load: impl FnOnce() -> Result<Fake, Failure> + Send + 'static) -> Loop {
        let (requests, incoming) = channel::<Request>();
        let (outgoing, events) = channel();
        let thread = std::thread::spawn(move || {
            serve(move || incoming.recv().ok(), |e| outgoing.send(e).is_ok(), |_| load());
        });
        Loop { requests: Some(requests), events, thread }
    }

    fn fake() -> Result<Fake, Failure> {
        Ok(Fake { stop: Arc::default(), resets: 0 })
    }

    impl Loop {
        fn ask(&self, id: u64, job: Job) {
            self.requests.as_ref().unwrap().send(Request { id, job }).unwrap();
        }

        fn event(&self) -> Event {
            self.events.recv().expect("the loop is alive")
        }

        fn end(mut self) {
            self.requests = None;
            self.thread.join().expect("the loop ends quietly");
        }
    }

    fn bench() -> Job {
        Bench(BenchPlan {
            depth: 0,
            prompt: 1,
            generate: 1,
            sequences: 1,
            runs: 1,
            probe: false,
            ops: false,
        })
    }

    #[test]
    fn answers_in_order_and_ends_with_the_source() {
        let l = start(fake);
        assert!(matches!(l.event(), Event::Ready { load_ms } if load_ms >= 0.0));
        l.ask(1, Detokenize { tokens: vec![5, 6] });
        l.ask(2, Clear);
        assert!(matches!(l.event(), Event::Tokens { id: 1, tokens } if tokens == [5, 6]));
        assert!(matches!(l.event(), Event::Done { id: 1, .. }));
        assert!(matches!(l.event(), Event::Failed { id: 2, failure } if failure.message == "no"));
        l.end();
    }

    #[test]
    fn cancel_stops_the_running_request_only() {
        let l = start(fake);
        l.event();
        l.ask(1, bench());
        assert!(matches!(l.event(), Event::Tokens { id: 1, .. }));
        l.ask(2, bench());
        l.ask(3, Detokenize { tokens: vec![1] });
        l.ask(9, Cancel { target: 77 });
        l.ask(9, Cancel { target: 2 });
        l.ask(9, Cancel { target: 1 });
        for expected in [1, 2] {
            assert!(matches!(l.event(), Event::Done { id, stats }
                if id == expected && stats.finish == Finish::Cancelled));
        }
        assert!(matches!(l.event(), Event::Tokens { id: 3, .. }));
        assert!(matches!(l.event(), Event::Done { id: 3, stats } if stats.finish == Finish::Stop));
        l.end();
    }

    #[test]
    fn a_panic_ends_its_request_and_drops_the_caches() {
        let l = start(fake);
        l.event();
        l.ask(1, Describe);
        l.ask(2, Detokenize { tokens: vec![] });
        let Event::Failed { id: 1, failure } = l.event() else { panic!("expected a failure") };
        assert_eq!(failure.kind, FailureKind::Internal);
        assert!(failure.message.contains("fake defect"), "{}", failure.message);
        assert!(failure.message.contains("worker.rs"), "{}", failure.message);
        l.event();
        assert!(matches!(l.event(), Event::Done { id: 2, stats } if stats.cached_tokens == 1));
        l.end();
    }

    #[test]
    fn a_failed_load_is_said_and_ends_the_loop() {
        let l = start(|| Err(Failure { kind: FailureKind::Model, message: "bad".into() }));
        assert!(matches!(l.event(), Event::LoadFailed(f) if f.kind == FailureKind::Model));
        l.end();
        let l = start(|| panic!("while loading"));
        assert!(matches!(l.event(), Event::LoadFailed(f) if f.kind == FailureKind::Internal));
        l.end();
    }

    #[test]
    fn a_closed_source_stops_what_runs() {
        let l = start(fake);
        l.event();
        l.ask(1, bench());
        l.event();
        l.end();
    }
}

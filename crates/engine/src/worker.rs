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
    /// before each request, and once it has told the host what was cancelled.
    fn stop_flag(&self) -> Arc<AtomicBool>;

    /// Does one job, sending its events to `out`; the loop sends the final `Done` or `Failed` from
    /// the result. `None` means that the job goes on in turns, and its last event comes there. A
    /// job that sees the stop flag returns soon with [`Finish::Cancelled`].
    ///
    /// # Errors
    /// Whatever the requester should read; the engine goes on with the next request.
    fn handle(
        &mut self,
        id: u64,
        job: Job,
        out: &mut dyn FnMut(Event),
    ) -> Result<Option<Stats>, Failure>;

    /// Requests that go on in turns.
    fn running(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Whether further requests have to wait until something ends.
    fn is_full(&self) -> bool {
        false
    }

    /// A little work for everything that goes on; sends the last event of what ends. Returns soon
    /// and without effect if it sees the stop flag.
    fn turn(&mut self, _out: &mut dyn FnMut(Event)) {}

    /// Ends one of the requests that go on, with its last event.
    fn cancel(&mut self, _id: u64, _out: &mut dyn FnMut(Event)) {}

    /// Drops everything that goes on and every cached sequence: called after a panic, when a cache
    /// may be half-written.
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
    loop {
        let result = match queue.take(&stop, host.running(), host.is_full()) {
            Work::End => return,
            Work::Cancelled(id) => {
                out(Event::Done { id, stats: Stats::ended(Finish::Cancelled) });
                continue;
            }
            Work::Request(Request { id, job }) => {
                let result = contain(&last_panic, || host.handle(id, job, &mut out));
                queue.finish(matches!(result, Ok(None)));
                result.map(|stats| stats.map(|stats| (id, stats))).map_err(|f| (Some(id), f))
            }
            Work::Turn(cancelled) => contain(&last_panic, || {
                cancelled.iter().for_each(|&id| host.cancel(id, &mut out));
                host.turn(&mut out);
                Ok(None)
            })
            .map_err(|failure| (None, failure)),
        };
        match result {
            Ok(None) => {}
            Ok(Some((id, stats))) => out(Event::Done { id, stats }),
            Err((id, failure)) => {
                let mut ended: Vec<u64> = id.into_iter().collect();
                if failure.kind == FailureKind::Internal {
                    ended.extend(host.running());
                    let mut reset = || {
                        host.reset();
                        Ok(())
                    };
                    if contain(&last_panic, &mut reset).is_err() {
                        return;
                    }
                }
                for id in ended {
                    out(Event::Failed { id, failure: failure.clone() });
                }
            }
        }
    }
}

/// What the loop does next.
enum Work {
    Request(Request),
    /// This request was cancelled while it waited.
    Cancelled(u64),
    /// A turn for what goes on, but for these.
    Turn(Vec<u64>),
    End,
}

/// Requests that wait, and what runs.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Request, bool)>,
    /// The request that is being handled.
    handled: Option<u64>,
    /// Requests that go on in turns.
    running: Vec<u64>,
    /// Requests that were cancelled while they ran.
    cancelled: Vec<u64>,
    stop: Option<Arc<AtomicBool>>,
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
        state.raise();
        self.arrived.notify_all();
    }

    /// Waits for something to do. What is cancelled comes first, then requests while there is room
    /// for them, then a turn for what goes on. The flag is lowered: all it told is in the answer.
    fn take(&self, stop: &Arc<AtomicBool>, running: Vec<u64>, full: bool) -> Work {
        let mut state = self.lock();
        state.stop.get_or_insert_with(|| Arc::clone(stop));
        state.running = running;
        loop {
            if state.closed {
                return Work::End;
            }
            stop.store(false, Ordering::Release);
            if !state.cancelled.is_empty() {
                return Work::Turn(std::mem::take(&mut state.cancelled));
            }
            if !full && let Some((request, cancelled)) = state.waiting.pop_front() {
                if cancelled {
                    return Work::Cancelled(request.id);
                }
                state.handled = Some(request.id);
                return Work::Request(request);
            }
            if !state.running.is_empty() {
                return Work::Turn(Vec::new());
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The request was handled; unless it goes on, nothing of it is left to be stopped.
    fn finish(&self, goes_on: bool) {
        let mut state = self.lock();
        let id = state.handled.take();
        state.cancelled.retain(|cancelled| Some(*cancelled) != id || goes_on);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cancel(&mut self, target: u64) {
        let waiting = self.waiting.iter_mut().find(|(request, _)| request.id == target);
        match waiting {
            Some((_, cancelled)) => *cancelled = true,
            None if self.handled == Some(target) || self.running.contains(&target) => {
                self.cancelled.push(target);
                self.raise();
            }
            // It has ended already.
            None => {}
        }
    }

    fn raise(&self) {
        if let Some(stop) = &self.stop {
            stop.store(true, Ordering::Release);
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
    use crate::protocol::Job::{Bench, Cancel, Clear, Describe, Detokenize, Logits};

    /// Answers `Detokenize` with its ids, panics on `Describe`, fails on `Clear`, and on `Bench`
    /// reports that it started and runs until the flag is raised. `Logits` go on: a token for each
    /// turn, the last one ends it, and token 13 is a defect.
    struct Fake {
        stop: Arc<AtomicBool>,
        resets: u32,
        running: Vec<(u64, Vec<u32>)>,
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
        ) -> Result<Option<Stats>, Failure> {
            let done = Stats::ended(Finish::Stop);
            match job {
                Logits { tokens, .. } => {
                    self.running.push((id, tokens));
                    Ok(None)
                }
                Detokenize { tokens } => {
                    out(Event::Tokens { id, tokens });
                    Ok(Some(Stats { cached_tokens: u64::from(self.resets), ..done }))
                }
                Bench { .. } => {
                    out(Event::Tokens { id, tokens: vec![] });
                    while !self.stop.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    Ok(Some(Stats::ended(Finish::Cancelled)))
                }
                Describe => panic!("fake defect"),
                _ => Err(Failure { kind: FailureKind::Request, message: "no".into() }),
            }
        }

        fn running(&self) -> Vec<u64> {
            self.running.iter().map(|run| run.0).collect()
        }

        fn is_full(&self) -> bool {
            self.running.len() == 2
        }

        fn turn(&mut self, out: &mut dyn FnMut(Event)) {
            for (id, tokens) in &mut self.running {
                let id = *id;
                let token = tokens.remove(0);
                assert_ne!(token, 13, "fake defect");
                out(Event::Tokens { id, tokens: vec![token] });
                if tokens.is_empty() {
                    let stats = Stats::ended(Finish::Stop);
                    out(Event::Done { id, stats });
                }
            }
            self.running.retain(|(_, tokens)| !tokens.is_empty());
        }

        fn cancel(&mut self, id: u64, out: &mut dyn FnMut(Event)) {
            self.running.retain(|run| run.0 != id);
            out(Event::Done { id, stats: Stats::ended(Finish::Cancelled) });
        }

        fn reset(&mut self) {
            self.resets += 1;
            self.running.clear();
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
        Ok(Fake { stop: Arc::default(), resets: 0, running: Vec::new() })
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
    fn what_goes_on_takes_turns_with_what_comes() {
        let l = start(fake);
        l.event();
        l.ask(1, Logits { tokens: (100..1_000_000).collect(), adapters: Vec::new() });
        assert!(matches!(l.event(), Event::Tokens { id: 1, .. }));
        l.ask(2, Logits { tokens: vec![1, 2, 3], adapters: Vec::new() });
        let mut of_second = Vec::new();
        loop {
            match l.event() {
                Event::Tokens { id: 2, tokens } => of_second.extend(tokens),
                Event::Done { id: 2, .. } => break,
                event => assert!(matches!(event, Event::Tokens { id: 1, .. }), "{event:?}"),
            }
        }
        assert_eq!(of_second, [1, 2, 3]);
        l.ask(3, Cancel { target: 1 });
        let stats = loop {
            match l.event() {
                Event::Done { id: 1, stats } => break stats,
                event => assert!(matches!(event, Event::Tokens { id: 1, .. }), "{event:?}"),
            }
        };
        assert_eq!(stats.finish, Finish::Cancelled);
        // The flag is down again for what follows.
        l.ask(4, Detokenize { tokens: vec![7] });
        assert!(matches!(l.event(), Event::Tokens { id: 4, .. }));
        assert!(matches!(l.event(), Event::Done { id: 4, .. }));
        l.end();
    }

    #[test]
    fn a_defect_in_a_turn_ends_all_that_goes_on() {
        let l = start(fake);
        l.event();
        l.ask(1, Logits { tokens: (100..1_000_000).collect(), adapters: Vec::new() });
        assert!(matches!(l.event(), Event::Tokens { id: 1, .. }));
        l.ask(2, Logits { tokens: vec![13], adapters: Vec::new() });
        let mut failed = Vec::new();
        while failed.len() < 2 {
            match l.event() {
                Event::Failed { id, failure } => {
                    assert_eq!(failure.kind, FailureKind::Internal);
                    failed.push(id);
                }
                event => assert!(matches!(event, Event::Tokens { id: 1, .. }), "{event:?}"),
            }
        }
        failed.sort_unstable();
        assert_eq!(failed, [1, 2]);
        l.ask(3, Detokenize { tokens: vec![] });
        l.event();
        assert!(matches!(l.event(), Event::Done { id: 3, stats } if stats.cached_tokens == 1));
        l.end();
    }

    #[test]
    fn requests_wait_while_there_is_no_room() {
        let l = start(fake);
        l.event();
        l.ask(1, Logits { tokens: (100..1_000_000).collect(), adapters: Vec::new() });
        l.ask(2, Logits { tokens: (100..1_000_000).collect(), adapters: Vec::new() });
        l.ask(3, Detokenize { tokens: vec![5] });
        l.ask(4, Cancel { target: 2 });
        let mut ended = Vec::new();
        while ended.len() < 2 {
            match l.event() {
                Event::Done { id, .. } => ended.push(id),
                event => assert!(matches!(event, Event::Tokens { .. }), "{event:?}"),
            }
        }
        assert_eq!(ended, [2, 3]);
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

//! The child of these tests: does in the seal what the text of a `Tokenize` job says.
//!
//! Commands are words separated by spaces. The answer is a list of numbers, or a failure.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_cell::child::Sealed;
use hearth_engine::protocol::{Event, Failure, FailureKind, Finish, Job, Stats};
use hearth_engine::worker::{self, Host};

pub(crate) fn serve(sealed: Sealed) {
    let Sealed { parts, hello, mut requests, mut events } = sealed;
    let load = |_: &mut dyn FnMut(Event)| match hello.date.as_str() {
        "bad model" => Err(refusal("this is no model")),
        _ => Ok(Fake { parts, stop: Arc::default() }),
    };
    worker::serve(move || requests.receive(), move |event| events.send(event), load);
}

struct Fake {
    parts: Vec<File>,
    stop: Arc<AtomicBool>,
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
        let Job::Tokenize { text, .. } = job else { return Err(refusal("unknown job")) };
        let text = String::from_utf8(text).map_err(|e| refusal(&e.to_string()))?;
        let mut finish = Finish::Stop;
        let tokens = match text.split(' ').collect::<Vec<_>>()[..] {
            ["call", ref numbers @ ..] => vec![call(numbers)],
            ["work"] => normal_work(),
            ["part", number] => read_part(&self.parts[number.parse::<usize>().unwrap()]),
            ["descriptors"] => (0..200).filter(|&fd| is_open(fd)).collect(),
            ["print"] => {
                println!("stray output of some library");
                vec![]
            }
            ["flood"] => {
                (0..100_000).for_each(|n| out(Event::Tokens { id, tokens: vec![n; 10] }));
                vec![]
            }
            ["spin"] => {
                out(Event::Tokens { id, tokens: vec![] });
                while !self.stop.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                finish = Finish::Cancelled;
                vec![]
            }
            ["panic"] => panic!("as asked"),
            ["starve"] => vec![black_box(vec![1u8; black_box(1 << 62)]).len() as u32],
            ["overflow"] => vec![endless(1)],
            _ => return Err(refusal("unknown command")),
        };
        out(Event::Tokens { id, tokens });
        Ok(Some(Stats::ended(finish)))
    }

    fn reset(&mut self) {}
}

fn refusal(message: &str) -> Failure {
    Failure { kind: FailureKind::Request, message: message.to_owned() }
}

/// Makes a system call with these numbers; the error number, or 0.
fn call(numbers: &[&str]) -> u32 {
    let number = |at: usize| numbers.get(at).map_or(0, |word| word.parse::<i64>().unwrap());
    let [call, a, b, c, d, e, f] = std::array::from_fn(number);
    // SAFETY: the callers in `attacks.rs` pass null or invalid pointers only, so the kernel writes
    // nothing into this process whatever the call does.
    let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
    let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    if result == -1 { error.cast_unsigned() } else { 0 }
}

/// What an engine does all day: threads, memory that grows and shrinks in them, time, randomness.
fn normal_work() -> Vec<u32> {
    let started = std::time::Instant::now();
    let threads: Vec<_> = (0..4usize)
        .map(|n| {
            let work = move || {
                let mut blocks = Vec::new();
                for round in 0..64 {
                    blocks.push(vec![n as u8; 40_000 * (round + n)]);
                }
                blocks.truncate(3);
                let small: Vec<_> = (0..10_000).map(Box::new).collect();
                std::thread::yield_now();
                black_box(blocks.len() + small.len())
            };
            std::thread::Builder::new().name(format!("worker-{n}")).spawn(work).unwrap()
        })
        .collect();
    let sums: Vec<u32> = threads.into_iter().map(|t| t.join().unwrap() as u32).collect();
    let map: std::collections::HashMap<u32, u32> = sums.iter().map(|&s| (s, s)).collect();
    let big = black_box(vec![1u8; 64 << 20]);
    assert!(map.len() == 1 && big.len() == 64 << 20 && started.elapsed().as_nanos() > 0);
    let caught = std::panic::catch_unwind(|| panic!("caught inside the seal"));
    assert!(caught.is_err());
    sums
}

fn read_part(mut part: &File) -> Vec<u32> {
    let length = part.seek(SeekFrom::End(0)).expect("length") as usize;
    let mut bytes = vec![0; length];
    part.read_exact_at(&mut bytes, 0).expect("read");
    bytes.into_iter().map(u32::from).collect()
}

fn is_open(fd: u32) -> bool {
    // SAFETY: F_GETFD only looks the number up.
    unsafe { libc::fcntl(fd.cast_signed(), libc::F_GETFD) >= 0 }
}

#[expect(unconditional_recursion, reason = "the stack must run out")]
fn endless(depth: u32) -> u32 {
    black_box([depth; 64])[0] + endless(depth + 1)
}

//! What must work inside the seal, and helpers that start a child and ask it.

use std::fs::File;
use std::io::Write;

use hearth_cell::{Cell, CellError, Isolation, SpawnOptions};
use hearth_engine::protocol::{Event, Failure, Finish, Hello, Job, LoadOptions};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("normal_work_is_not_refused", normal_work),
    ("parts_are_read_only_and_nothing_else_is_open", parts),
    ("a_writable_part_is_refused", writable_part),
    ("a_stray_print_does_not_break_the_pipe", stray_print),
    ("a_panic_fails_its_request_only", panic_in_request),
    ("a_refused_model_is_said", bad_model),
    ("cancel_reaches_a_busy_child", cancel),
    ("dropping_a_reply_cancels_it", dropped_reply),
    ("the_probe_reports_every_layer", probe),
];

pub(crate) fn options(parts: Vec<File>) -> SpawnOptions {
    let load = LoadOptions { vocab_only: true, ..LoadOptions::default() };
    let hello = Hello { threads: 1, date: String::new(), parts: 0, load, folder: None };
    SpawnOptions::this_program(hello, parts, Isolation::Syscall).expect("options")
}

pub(crate) fn child() -> Cell {
    let cell = Cell::spawn(&options(vec![])).expect("a sealed child");
    cell.wait_ready(&mut |_, _, _| {}).expect("ready");
    cell
}

pub(crate) fn command(words: &str) -> Job {
    Job::Tokenize { text: words.into(), add_special: false, parse_special: false }
}

/// What a child answered: its numbers, or how it failed.
pub(crate) type Answer = Result<Result<(Vec<u32>, Finish), Failure>, CellError>;

pub(crate) fn ask(cell: &Cell, words: &str) -> Answer {
    collect(cell.submit(command(words))?)
}

pub(crate) fn collect(reply: impl Iterator<Item = Result<Event, CellError>>) -> Answer {
    let mut numbers = Vec::new();
    for event in reply {
        match event? {
            Event::Tokens { tokens, .. } => numbers.extend(tokens),
            Event::Done { stats, .. } => return Ok(Ok((numbers, stats.finish))),
            Event::Failed { failure, .. } => return Ok(Err(failure)),
            other => panic!("unexpected {other:?}"),
        }
    }
    panic!("a reply ended without a last event")
}

fn numbers(cell: &Cell, words: &str) -> Vec<u32> {
    ask(cell, words).expect("alive").expect("done").0
}

fn normal_work() {
    let cell = child();
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
    assert_eq!(cell.refused_calls(), 0);
    assert!(hearth_cell::peak_rss_bytes(cell.pid()).expect("VmHWM") > 64 << 20);
}

fn parts() {
    let mut first = tempfile::NamedTempFile::new().unwrap();
    first.write_all(&[1, 2, 3]).unwrap();
    let mut second = tempfile::NamedTempFile::new().unwrap();
    second.write_all(&[9; 5000]).unwrap();
    let open = |file: &tempfile::NamedTempFile| File::open(file.path()).unwrap();
    // A descriptor without CLOEXEC, as a careless library leaves it behind in the parent.
    let leaked = std::os::fd::AsFd::as_fd(&first).try_clone_to_owned().unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();

    let cell = Cell::spawn(&options(vec![open(&first), open(&second)])).expect("a child");
    assert_eq!(numbers(&cell, "part 0"), [1, 2, 3]);
    assert_eq!(numbers(&cell, "part 1"), [9; 5000]);
    // The three standard ones, two parts, and the pipe of events.
    assert_eq!(numbers(&cell, "descriptors"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(cell.refused_calls(), 0);
}

fn writable_part() {
    let part = tempfile::tempfile().unwrap();
    let error = Cell::spawn(&options(vec![part])).err().expect("refused").to_string();
    assert!(error.contains("model part 1") && error.contains("read-only"), "{error}");
}

fn stray_print() {
    let cell = child();
    assert!(numbers(&cell, "print").is_empty());
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
}

fn panic_in_request() {
    let cell = child();
    let failure = ask(&cell, "panic").expect("alive").expect_err("a failure");
    assert!(failure.message.contains("as asked"), "{}", failure.message);
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
    assert_eq!(cell.refused_calls(), 0);
}

fn bad_model() {
    let mut options = options(vec![]);
    options.hello.date = "bad model".to_owned();
    let cell = Cell::spawn(&options).expect("sealed");
    let error = cell.wait_ready(&mut |_, _, _| {}).expect_err("refused");
    assert!(matches!(&error, CellError::Load(f) if f.message == "this is no model"), "{error}");
}

fn cancel() {
    let cell = child();
    let mut reply = cell.submit(command("spin")).unwrap();
    let waiting = cell.submit(command("spin")).unwrap();
    assert!(matches!(reply.next(), Some(Ok(Event::Tokens { .. }))), "it runs");
    waiting.canceller().cancel();
    reply.canceller().cancel();
    assert_eq!(collect(reply).unwrap().unwrap().1, Finish::Cancelled);
    assert_eq!(collect(waiting).unwrap().unwrap().1, Finish::Cancelled);
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
}

fn dropped_reply() {
    let cell = child();
    let mut spin = cell.submit(command("spin")).unwrap();
    spin.next().unwrap().unwrap();
    drop(spin);
    // Far more than the pipe and the queue hold: the child has to wait for a listener that leaves.
    let mut flood = cell.submit(command("flood")).unwrap();
    flood.next().unwrap().unwrap();
    drop(flood);
    assert_eq!(numbers(&cell, "work"), [10_003; 4]);
}

fn probe() {
    let report = hearth_cell::probe().expect("a probe");
    assert_eq!(report.layers.len(), 4);
    assert!(report.level >= Isolation::Syscall, "{report:?}");
    println!("  {report:?}");
}

//! How children end: killed, starved, orphaned, or never rightly started; and what comes after.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearth_cell::{Cell, CellError, Death, Engine};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::work::{ask, child, collect, command, options};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_killed_child_is_noticed_and_replaced", killed),
    ("an_idle_dead_child_is_told_of_and_replaced", killed_while_idle),
    ("a_starved_child_says_so", starved),
    ("a_stack_overflow_ends_the_child_only", stack_overflow),
    ("the_child_ends_with_its_parent", orphan),
    ("dropping_the_cell_ends_the_child", dropped),
    ("a_program_that_is_no_child_is_an_error", wrong_program),
    ("the_role_without_a_parent_refuses", role_by_hand),
];

fn kill(pid: u32) {
    rustix::process::kill_process(pid_of(pid), Signal::KILL).expect("kill");
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a pid")
}

/// Waits for the end of any process, at most five seconds.
fn ends(pidfd: impl AsFd) -> bool {
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).expect("poll") == 1
}

fn engine() -> Engine {
    Engine::start(options(vec![]), &mut |_, _, _| {}).expect("an engine")
}

fn killed() {
    let engine = engine();
    let first = engine.cell().pid();
    let submit = |words| engine.submit(command(words), &mut |death| panic!("told twice: {death}"));
    let mut reply = submit("spin").unwrap();
    reply.next().unwrap().unwrap();
    let waiting = submit("work").unwrap();
    let since = Instant::now();
    kill(first);
    let error = collect(reply).expect_err("the child is dead").to_string();
    assert!(since.elapsed() < Duration::from_secs(1));
    assert!(error.contains("killed from outside"), "{error}");
    assert!(collect(waiting).is_err());
    let (answer, _) = collect(submit("work").unwrap()).unwrap().unwrap();
    assert_eq!(answer, [10_003; 4]);
    assert_ne!(engine.cell().pid(), first);
}

fn killed_while_idle() {
    let engine = engine();
    let cell = engine.cell();
    kill(cell.pid());
    while cell.death().is_none() {
        std::thread::yield_now();
    }
    assert!(matches!(cell.submit(command("work")), Err(CellError::Died(_))));
    let mut told = Vec::new();
    let mut on_death = |death: &Death| told.push(death.to_string());
    for _ in 0..2 {
        let reply = engine.submit(command("work"), &mut on_death).unwrap();
        assert!(collect(reply).unwrap().is_ok());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("killed from outside"), "{told:?}");
}

fn starved() {
    let error = match ask(&child(), "starve") {
        Err(CellError::Died(death)) => death,
        // The allocator's own refusal of an absurd size is a panic, which the loop contains.
        Ok(Err(failure)) => panic!("contained: {}", failure.message),
        other => panic!("{other:?}"),
    };
    assert!(error.out_of_memory, "{error}");
    assert!(error.reason.contains("--ctx"), "{error}");
}

fn stack_overflow() {
    let error = ask(&child(), "overflow").expect_err("dead").to_string();
    assert!(error.contains("stack"), "{error}");
}

/// The parent of [`orphan`]'s child: names it, then waits until it is killed itself.
pub(crate) fn middle() {
    let cell = child();
    let mut busy = cell.submit(command("spin")).unwrap();
    busy.next().unwrap().unwrap();
    println!("{}", cell.pid());
    let _ = std::io::stdin().read(&mut [0]);
}

fn orphan() {
    let program = std::env::current_exe().unwrap();
    let mut middle = Command::new(program)
        .arg("--middle")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(middle.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child = pid_of(line.trim().parse().unwrap());
    let child = rustix::process::pidfd_open(child, PidfdFlags::empty()).unwrap();
    middle.kill().unwrap();
    middle.wait().unwrap();
    assert!(ends(child), "the busy child outlived its parent");
}

fn dropped() {
    let cell = child();
    let pidfd = rustix::process::pidfd_open(pid_of(cell.pid()), PidfdFlags::empty()).unwrap();
    let mut busy = cell.submit(command("spin")).unwrap();
    busy.next().unwrap().unwrap();
    drop(cell);
    assert!(ends(pidfd));
    assert!(matches!(busy.next(), Some(Err(CellError::Died(_)))));
    assert!(busy.next().is_none());
}

fn wrong_program() {
    let start = |program: &str| {
        let mut options = options(vec![]);
        options.program = program.into();
        Cell::spawn(&options).err().expect("an error").to_string()
    };
    // Prints its arguments, whose first four bytes are no length.
    let error = start("/bin/echo");
    assert!(error.contains("damaged data"), "{error}");
    let error = start("/bin/false");
    assert!(error.contains("exit code 1"), "{error}");
    let error = start("/nowhere/hearth");
    assert!(error.contains("could not be started"), "{error}");
}

fn role_by_hand() {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    let output = command.args(hearth_cell::ROLE).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("for hearth's own use"), "{said}");
}

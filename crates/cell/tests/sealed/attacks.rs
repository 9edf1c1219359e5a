//! Attempts to get out: each must end the child or be refused, as `seal/seccomp.rs` says, and the
//! other layers must hold on their own.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use hearth_cell::CellError;
use hearth_cell::seal::{linux, seccomp};

use crate::work::{ask, child};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("every_listed_escape_kills", every_escape_kills),
    ("harmful_arguments_kill", harmful_arguments_kill),
    ("other_calls_are_refused_and_counted", others_are_refused),
    ("absent_calls_are_not_counted", absent_calls),
    ("the_network_namespace_holds_alone", network_alone),
    ("landlock_holds_alone", files_alone),
];

/// The child is killed by this call, and the parent learns why.
fn kills(call: &str) {
    let cell = child();
    match ask(&cell, &format!("call {call}")) {
        Err(CellError::Died(death)) => {
            assert!(death.reason.contains("forbidden system call"), "{call}: {death}");
        }
        other => panic!("call {call} survived: {other:?}"),
    }
}

fn every_escape_kills() {
    for call in seccomp::ESCAPES {
        kills(&call.to_string());
    }
}

fn harmful_arguments_kill() {
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    for call in [
        format!("{} 0 4096 {executable} {anonymous} -1 0", libc::SYS_mmap),
        format!("{} 0 4096 {executable}", libc::SYS_mprotect),
        format!("{} {}", libc::SYS_clone, libc::SIGCHLD),
        format!("{} {} 0 0 0 0", libc::SYS_clone, libc::CLONE_VM | libc::CLONE_VFORK),
        format!("{} 1 0", libc::SYS_kill),
        format!("{} {} 0", libc::SYS_kill, std::process::id()),
        format!("{} -1 0", libc::SYS_kill),
        format!("{} 1 1 0", libc::SYS_tgkill),
    ] {
        kills(&call);
    }
}

fn others_are_refused() {
    let cell = child();
    let calls = [
        format!("{} -1 0", libc::SYS_ioctl),
        format!("{} 0", libc::SYS_pipe2),
        format!("{}", libc::SYS_getuid),
        format!("{} -100 0 511", libc::SYS_mkdirat),
        format!("{} -100 0 0", libc::SYS_unlinkat),
        format!("{} 0 8 0", libc::SYS_sched_setaffinity),
        format!("{} {} 1 0 0 0", libc::SYS_prctl, libc::PR_SET_DUMPABLE),
        format!("{} 1 {} 0", libc::SYS_fcntl, libc::F_SETFL),
        format!("{} 1 {} 1", libc::SYS_fcntl, libc::F_SETOWN),
        format!("{} 0 0 0", libc::SYS_shmget),
        format!("{} 0 0", libc::SYS_seccomp),
        "100000".to_owned(),
        // The x32 numbers of an x86-64 kernel; just another unknown call elsewhere.
        format!("{}", 0x4000_0000 + libc::SYS_getpid),
    ];
    for (before, call) in calls.iter().enumerate() {
        let (answer, _) = ask(&cell, &format!("call {call}")).expect(call).expect(call);
        assert_eq!(answer, [libc::EPERM.cast_unsigned()], "{call}");
        assert_eq!(cell.refused_calls(), before as u64 + 1, "{call}");
    }
}

fn absent_calls() {
    let cell = child();
    for call in seccomp::ABSENT {
        let (answer, _) = ask(&cell, &format!("call {call}")).unwrap().unwrap();
        assert_eq!(answer, [libc::ENOSYS.cast_unsigned()], "{call}");
    }
    assert_eq!(cell.refused_calls(), 0);
}

/// Runs one layer in a process of its own; what that process printed.
fn layer(name: &str, target: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--layer", name, target]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The process of [`layer`]: tries before and after the layer closes.
pub(crate) fn alone(name: &str, target: &str) {
    let attempt = || match name {
        "network" => TcpStream::connect(target).map(drop),
        _ => std::fs::File::open(target).map(drop),
    };
    let before = attempt().is_ok();
    let closed = match name {
        "network" => linux::leave_network(),
        _ => linux::restrict_files(),
    };
    match closed {
        Ok(_) => println!("before: {before}; after: {}", attempt().is_ok()),
        Err(reason) => println!("unavailable: {reason}"),
    }
}

/// Holds, or this system lacks the layer and the seal's own report says the same.
fn holds(name: &str, target: &str, in_report: &str) {
    let said = layer(name, target);
    let report = hearth_cell::probe().expect("a probe");
    let reported = report.layers.iter().find(|l| l.name == in_report).expect("in the report");
    if reported.active {
        assert_eq!(said, "before: true; after: false\n");
    } else {
        assert!(said.contains(&reported.note), "{said} against {reported:?}");
    }
}

fn network_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    holds("network", &address, "user and network namespace");
}

fn files_alone() {
    let own = std::env::current_exe().unwrap();
    holds("files", own.to_str().unwrap(), "Landlock");
}

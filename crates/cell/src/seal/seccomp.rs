//! The system calls: which are answered, which are refused and counted, which end the process.
//!
//! Three filters are stacked; where they disagree the kernel takes the hardest answer. One kills on
//! [`ESCAPES`] and on harmful arguments, one answers [`ABSENT`] with `ENOSYS` so that libraries
//! fall back, and one traps everything that is not in [`ALLOWED`]: the handler in `sys.rs` counts
//! the call and returns `EPERM`. A foreign architecture's calls kill as well.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls of normal work: memory, threads, time, and the descriptors that are already open. Not even
/// the metadata of files: those calls take paths (a file's length is found by seeking).
pub const ALLOWED: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls answered as if this kernel did not have them: glibc starts threads by `clone` then, whose
/// flags a filter can read (those of `clone3` lie in memory).
pub const ABSENT: &[c_long] = &[libc::SYS_clone3];

/// Ways out of the process: sockets, files, other programs and processes, kernel interfaces that
/// carry calls past a filter. Normal work makes none of them, so one attempt ends the process.
pub const ESCAPES: &[c_long] = &[
    // network
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
    // files and programs
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_name_to_handle_at,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_open_by_handle_at,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pkey_mprotect,
    // processes
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // kernel interfaces
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Compiles and installs the filters; they hold for every later thread. Also sets
/// no-new-privileges.
///
/// # Errors
/// The kernel's, where it has no such filters.
pub fn install() -> Result<(), Error> {
    let programs = [escapes()?, absent()?, allowed()?];
    programs.iter().try_for_each(|program| seccompiler::apply_filter(program))
}

/// Names an anonymous mapping (glibc does so); not in the libc crate for this system.
const PR_SET_VMA: libc::c_int = 0x5356_4d41;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Kills on a listed escape, on code in writable memory, on a new process, on a foreign signal.
fn escapes() -> Result<BpfProgram, BackendError> {
    let exec = libc::PROT_EXEC as u64;
    let thread = libc::CLONE_THREAD as u64;
    let own = u64::from(std::process::id());
    let mut rules: Rules = always(ESCAPES);
    rules.insert(libc::SYS_mmap, vec![when(2, MaskedEq(exec), exec)?]);
    rules.insert(libc::SYS_mprotect, vec![when(2, MaskedEq(exec), exec)?]);
    rules.insert(libc::SYS_clone, vec![when(0, MaskedEq(thread), 0)?]);
    rules.insert(libc::SYS_kill, vec![when(0, Ne, own)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, Ne, own)?]);
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// Answers `ENOSYS`.
fn absent() -> Result<BpfProgram, BackendError> {
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    compile(always(ABSENT), SeccompAction::Allow, missing)
}

/// Traps all but the allow-list; the calls of `escapes` that depend on arguments are let through
/// here, as are those of `absent`.
fn allowed() -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = always(ALLOWED);
    rules.extend(always(ABSENT));
    let by_arguments = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_clone, libc::SYS_tgkill];
    rules.extend(always(&by_arguments));
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, PR_SET_VMA];
    rules.insert(libc::SYS_prctl, one_of(0, &names)?);
    let flags = [libc::F_GETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];
    rules.insert(libc::SYS_fcntl, one_of(1, &flags)?);
    compile(rules, SeccompAction::Trap, SeccompAction::Allow)
}

fn always(calls: &[c_long]) -> Rules {
    calls.iter().map(|&call| (call, Vec::new())).collect()
}

fn when(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, compare, value)?])
}

fn one_of(argument: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|&value| when(argument, Eq, value.cast_unsigned().into())).collect()
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_do_not_overlap_and_compile() {
        for call in ESCAPES {
            assert!(!ALLOWED.contains(call) && !ABSENT.contains(call), "{call} is on two lists");
        }
        for program in [escapes(), absent(), allowed()] {
            assert!(program.expect("compiles").len() > 4);
        }
    }
}

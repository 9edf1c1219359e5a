//! The crate's only unsafe code: the system calls of the seal that have no safe wrapper.
//!
//! All of it runs in the child, before or during sealing; `child.rs` and `seal/linux.rs` say in
//! which order.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

#[cfg(target_os = "linux")]
pub(crate) use linux::*;

/// Takes over a descriptor that the parent left open under a fixed number.
///
/// # Errors
/// When the number is not open.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only looks the number up; it touches no memory.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, and the parent reserved it for this call: `child::main` takes
    // each number once, before anything else in this process opens a descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Leaves Ctrl-C to the parent, which turns it into a `Cancel`.
pub(crate) fn ignore_interrupts() {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
}

/// Leaves stray descriptors open: the seal is open here anyway, and says so.
#[cfg(not(target_os = "linux"))]
pub(crate) fn close_from(_first: RawFd) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::RawFd;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

    /// Calls refused so far, and the last one. Global because a signal handler can reach nothing
    /// else; written by [`on_refused_call`] alone.
    static REFUSED_CALLS: AtomicU64 = AtomicU64::new(0);
    static LAST_REFUSED: AtomicI64 = AtomicI64::new(-1);

    /// How many system calls the filter refused so far, and the number of the last one.
    pub(crate) fn refused_calls() -> (u64, i64) {
        (REFUSED_CALLS.load(Ordering::Acquire), LAST_REFUSED.load(Ordering::Acquire))
    }

    /// Closes every descriptor from `first` on.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
        // SAFETY: the caller owns no descriptor from `first` on; those that exist were leaked into
        // this process by its parent, and no Rust value stands for them.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) };
        outcome(result == 0)
    }

    /// Keeps the C allocator from opening files under /proc and /sys, which the seal would kill
    /// for: glibc does so to count processors for its arenas and before it shrinks one.
    pub(crate) fn keep_allocator_off_files() {
        // SAFETY: mallopt changes settings of the allocator; no other thread runs yet.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }

    /// Moves this process, which has one thread, into a user and a network namespace of its own.
    ///
    /// # Errors
    /// The kernel's, where such namespaces are not allowed.
    pub(crate) fn leave_network() -> io::Result<()> {
        // SAFETY: without CLONE_FILES or CLONE_FS nothing that Rust relies on changes.
        let result = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) };
        outcome(result == 0)
    }

    /// Installs the handler that turns a trapped system call into a counted `EPERM`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn count_refused_calls() -> io::Result<()> {
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_refused_call;
        // SAFETY: all zeros is a valid value of this C struct (no handler, empty mask).
        let mut action: sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: `action` is initialised, and the handler is async-signal-safe: it touches two
        // atomics and the saved registers.
        let result = unsafe { sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
        outcome(result == 0)
    }

    fn outcome(well: bool) -> io::Result<()> {
        if well { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Runs when the filter traps a call: counts it and makes the call return `-EPERM`.
    extern "C" fn on_refused_call(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: for a handler installed with SA_SIGINFO the kernel passes a valid, exclusive
        // pointer to the interrupted thread's context.
        let context = unsafe { &mut *context.cast::<ucontext_t>() };
        LAST_REFUSED.store(answer(context, -libc::EPERM), Ordering::Release);
        REFUSED_CALLS.fetch_add(1, Ordering::AcqRel);
    }

    /// Sets what the interrupted call returns; its number.
    #[cfg(target_arch = "x86_64")]
    fn answer(context: &mut ucontext_t, result: c_int) -> i64 {
        let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
        std::mem::replace(register, result.into())
    }

    /// Sets what the interrupted call returns; its number.
    #[cfg(target_arch = "aarch64")]
    fn answer(context: &mut ucontext_t, result: c_int) -> i64 {
        context.uc_mcontext.regs[0] = i64::from(result).cast_unsigned();
        context.uc_mcontext.regs[8].cast_signed()
    }

    /// No filter is built for this architecture, so nothing traps.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn answer(_context: &mut ucontext_t, _result: c_int) -> i64 {
        -1
    }
}

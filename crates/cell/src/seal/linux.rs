//! The layers of the seal on Linux, in the order in which they close.
//!
//! Each layer is tried on its own, and the report says which are in force; whether that is enough
//! is decided by the caller. The call filter comes last, because it forbids what the others need.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::isolation::{Layer, SealReport, level_of};
use crate::seal::seccomp;
use crate::sys;

/// System calls that the filter refused so far, and the number of the last one (-1 for none).
#[must_use]
pub fn refused_calls() -> (u64, i64) {
    sys::refused_calls()
}

/// Seals this process, which must have only one thread. Never undone.
#[must_use]
pub fn close() -> SealReport {
    sys::keep_allocator_off_files();
    let namespaces = leave_network();
    let hardening = harden();
    let landlock = restrict_files();
    let seccomp = sys::count_refused_calls().map_err(|e| e.to_string());
    let seccomp = seccomp.and_then(|()| seccomp::install().map_err(|e| e.to_string()));
    let seccomp = seccomp.map(|()| "allow-list; listed escapes kill the process".to_owned());
    SealReport {
        level: level_of(namespaces.is_ok(), seccomp.is_ok(), landlock.is_ok()),
        layers: vec![
            layer("user and network namespace", namespaces),
            layer("process limits", hardening),
            layer("Landlock", landlock),
            layer("system call filter", seccomp),
        ],
    }
}

fn layer(name: &str, result: Result<String, String>) -> Layer {
    let active = result.is_ok();
    let note = result.unwrap_or_else(|reason| reason);
    Layer { name: name.to_owned(), active, note }
}

/// Moves into a network namespace without any interface up, and drops every capability even inside
/// it. One layer alone; [`close`] is the seal.
///
/// # Errors
/// Why this system does not allow it.
pub fn leave_network() -> Result<String, String> {
    let refused = |e: io::Error| format!("the kernel refused new namespaces: {e}");
    sys::leave_network().map_err(refused)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(|e| refused(e.into()))?;
    Ok("no interface, no capability".to_owned())
}

/// No memory image on disk, no debugger, no life after the parent, no new privileges.
fn harden() -> Result<String, String> {
    let steps = || -> rustix::io::Result<()> {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(Resource::Core, none)?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        rustix::thread::set_no_new_privs(true)
    };
    steps().map_err(|e| e.to_string())?;
    Ok("no core image, no tracing, ends with its parent, no new privileges".to_owned())
}

/// Enters a Landlock domain that allows no file, no TCP port, and no signal or abstract socket
/// outside. One layer alone; [`close`] is the seal.
///
/// # Errors
/// Why this system does not have it.
pub fn restrict_files() -> Result<String, String> {
    let closed = || -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .restrict_self()
    };
    let status = closed().map_err(|e| e.to_string())?;
    let version = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => format!("ABI {}", effective_abi as i32),
        LandlockStatus::NotEnabled => "built into the kernel but not enabled".to_owned(),
        LandlockStatus::NotImplemented => "not in this kernel".to_owned(),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(format!("no file may be opened ({version})")),
        RulesetStatus::PartiallyEnforced => Ok(format!(
            "no file may be opened ({version}, an older kernel: some rights not covered)"
        )),
        RulesetStatus::NotEnforced => Err(version),
    }
}

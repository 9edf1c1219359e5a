//! What Linux tells of a started program and of all processes that it started: memory and
//! processor time.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders in /proc of a process and of those below it, at any depth; ended ones are left out.
fn family(pid: u32) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(format!("/proc/{pid}"))];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children = lists.collect::<Vec<_>>().join(" ");
        found.extend(children.split_whitespace().map(|pid| Path::new("/proc").join(pid)));
        next += 1;
    }
    found
}

/// Bytes of memory of a process and those below it; pages that several share count once.
pub(super) fn memory(pid: u32) -> f64 {
    family(pid).iter().filter_map(|process| pss(process)).sum()
}

/// Processor time in ticks (of 10 ms, everywhere) that a process and those below it have used.
pub(super) fn ticks(pid: u32) -> u64 {
    let stats = family(pid).into_iter().map(|process| fs::read_to_string(process.join("stat")));
    stats.filter_map(|stat| used(&stat.ok()?)).sum()
}

/// `Pss:` of a process; `None` once it has ended.
fn pss(process: &Path) -> Option<f64> {
    let text = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Ticks in user and system mode, from a process's line `stat`.
fn used(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(memory(std::process::id()) > 1e5);
        assert!(pss(Path::new("/proc/none")).is_none());
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 12 30 5 6 20 0 3 0 99 8 9";
        assert_eq!(used(stat), Some(42));
        assert_eq!(used("7 (short) S 1"), None);
    }
}

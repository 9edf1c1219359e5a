//! How many compute threads to use when nobody says: one per physical core that this process may
//! use, and no more than its share of processor time.

use std::collections::BTreeSet;

/// Physical cores within the affinity of this process, bounded by its quota; at least 1.
pub(crate) fn usable() -> usize {
    // The standard library counts affinity and cgroup quota, but knows no cores.
    let share = std::thread::available_parallelism().map_or(1, usize::from);
    match physical_cores() {
        0 => share,
        cores => cores.min(share),
    }
}

/// Cores with at least one processor in the affinity of this process; 0 where unknown.
#[cfg(target_os = "linux")]
fn physical_cores() -> usize {
    let Ok(affinity) = rustix::thread::sched_getaffinity(None) else { return 0 };
    let usable = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| affinity.is_set(cpu));
    count_cores(usable.map(|cpu| {
        let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        std::fs::read_to_string(format!("{topology}/thread_siblings_list")).ok()
    }))
}

#[cfg(not(target_os = "linux"))]
fn physical_cores() -> usize {
    count_cores(std::iter::empty())
}

/// Distinct lists of sibling threads: one list is one core. 0 if one of them is unknown.
fn count_cores(siblings: impl Iterator<Item = Option<String>>) -> usize {
    siblings.collect::<Option<BTreeSet<String>>>().map_or(0, |lists| lists.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_one_core() {
        let count =
            |lists: &[Option<&str>]| count_cores(lists.iter().map(|list| list.map(str::to_owned)));
        assert_eq!(count(&[Some("0,2"), Some("1,3"), Some("0,2"), Some("1,3")]), 2);
        assert_eq!(count(&[Some("0"), Some("1")]), 2);
        assert_eq!(count(&[Some("0"), None]), 0);
        assert!(usable() >= 1);
    }
}

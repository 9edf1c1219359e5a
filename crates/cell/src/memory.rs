//! What a process has held of the machine's memory, as Linux tells it.

/// Most memory that a process has held so far in bytes; `None` where the system does not tell.
#[must_use]
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Processes that the system has killed for memory since it started; 0 where it does not tell.
pub(crate) fn oom_kills() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_follows_what_is_touched() {
        let own = std::process::id();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(peak_rss_bytes(own).expect("linux tells") > block.len() as u64);
        assert_eq!(peak_rss_bytes(u32::MAX), None);
    }
}

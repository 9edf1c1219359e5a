//! Free disk space, asked before bytes are written.

use crate::HubError;
use std::path::Path;

/// Refuses if the file system of `folder` has less than `needed` bytes free for this user.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<(), HubError> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|error| HubError::io("ask the free space of", folder)(error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let path = folder.to_owned();
    Err(HubError::NoSpace { path, free: readable(free), needed: readable(needed) })
}

/// A size as people read it: decimal units, as disks are sold.
pub fn readable(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            let digits = usize::from(unit != "bytes" && value < 99.95);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (98_362_432, "98.4 MB"),
            (253_113_024, "253 MB"),
            (999_950_000, "1.0 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(readable(bytes), text);
        }
    }

    #[test]
    fn too_little_space_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), 1).is_ok());
        let error = check(folder.path(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("18446.7 PB are needed"), "{error}");
    }
}

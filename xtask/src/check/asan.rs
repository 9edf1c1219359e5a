//! The kernel tests under AddressSanitizer: reads and writes past a buffer, which no assertion
//! sees.
//!
//! The sanitizer's runtime is part of the usual Linux toolchain, but its flag is not yet stable,
//! hence `RUSTC_BOOTSTRAP`. A machine without the runtime says so and checks nothing.

use super::runner::counted;
use super::{Report, Verdict};
use crate::cargo::{cargo, output, program};
use anyhow::{Context, Result};
use std::path::Path;

/// Runs the tests of `hearth-kernels`, built in a folder of their own.
pub(crate) fn run(report: &mut Report) -> Result<Verdict> {
    let version = output(&mut program("rustc", &["-vV"]))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    let sysroot = output(&mut program("rustc", &["--print", "sysroot"]))?;
    if !has_runtime(Path::new(sysroot.trim()), host) {
        return Ok(Verdict::NotChecked(format!("this toolchain has no sanitizer for {host}")));
    }
    let mut test = cargo(&["test", "--package", "hearth-kernels", "--lib", "--tests"]);
    test.args(["--profile", "bench", "--locked", "--offline", "--no-fail-fast"])
        .args(["--target", host, "--target-dir", "target/asan"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address");
    counted(&mut test, report).map(|()| Verdict::Passed)
}

fn has_runtime(sysroot: &Path, host: &str) -> bool {
    let folder = sysroot.join("lib/rustlib").join(host).join("lib");
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
}

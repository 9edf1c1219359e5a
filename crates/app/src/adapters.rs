//! `--lora`: adapters from files, handed to the sealed engine, which alone reads what is in them.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Weak};

use anyhow::Context;
use clap::Args;
use hearth_cell::Cell;
use hearth_engine::protocol::{AdapterFile, AdapterPart, AdapterUse, Job};

use crate::context::App;
use crate::engine::Running;
use crate::exit::{Code, Failure};

/// Bytes of a piece: far fewer than a frame holds.
const PIECE_BYTES: usize = 1 << 20;

/// The files of a folder of the PEFT library.
const PEFT: [(AdapterFile, &str); 2] = [
    (AdapterFile::PeftConfig, "adapter_config.json"),
    (AdapterFile::PeftWeights, "adapter_model.safetensors"),
];

/// Adapters for one command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AdapterArgs {
    /// Answer through this LoRA adapter, a GGUF file or a folder of the PEFT library, at full
    /// strength or at that given (1 is full); may be given several times
    #[arg(long, value_name = "PATH[=STRENGTH]")]
    lora: Vec<Lora>,
}

/// An adapter and how strongly it is applied.
#[derive(Clone, Debug, PartialEq)]
struct Lora {
    path: PathBuf,
    strength: f32,
}

impl FromStr for Lora {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may hold an equals sign: only a number after the last one is a strength.
        let strength = text.rsplit_once('=').and_then(|(path, strength)| {
            strength.parse::<f32>().ok().map(|strength| (path, strength))
        });
        let (path, strength) = strength.unwrap_or((text, 1.0));
        if path.is_empty() || !strength.is_finite() {
            return Err("expected PATH or PATH=STRENGTH, as style.gguf=0.5".to_owned());
        }
        Ok(Self { path: path.into(), strength })
    }
}

/// What the engine has to be given, now and after each new start of it.
#[derive(Default)]
pub(crate) struct Adapters {
    lora: Vec<Lora>,
    /// The child that has them.
    given_to: RefCell<Weak<Cell>>,
}

impl AdapterArgs {
    /// Checks that the files are there, before a model is loaded.
    pub(crate) fn open(&self) -> anyhow::Result<Adapters> {
        for lora in &self.lora {
            files(&lora.path)?;
        }
        Ok(Adapters { lora: self.lora.clone(), given_to: RefCell::default() })
    }
}

impl Adapters {
    /// What a request names them by.
    pub(crate) fn uses(&self) -> Vec<AdapterUse> {
        let uses = self.lora.iter().enumerate();
        uses.map(|(at, lora)| AdapterUse { name: at.to_string(), strength: lora.strength })
            .collect()
    }

    /// Hands them to the engine, unless the child that lives has them.
    pub(crate) fn give(&self, app: &App, running: &Running) -> anyhow::Result<()> {
        let cell = running.engine.cell();
        let has = Weak::ptr_eq(&self.given_to.borrow(), &Arc::downgrade(&cell));
        if self.lora.is_empty() || has && cell.death().is_none() {
            return Ok(());
        }
        for (at, lora) in self.lora.iter().enumerate() {
            let give = |part| running.finish(app, Job::Adapter(part), |_| Ok(())).map(|_| ());
            hand_over(&lora.path, at.to_string(), &give)
                .with_context(|| format!("--lora {}", lora.path.display()))?;
        }
        *self.given_to.borrow_mut() = Arc::downgrade(&running.engine.cell());
        Ok(())
    }
}

/// The files of an adapter, open, with their lengths.
fn files(path: &Path) -> anyhow::Result<Vec<(AdapterFile, File, u64)>> {
    let parts: Vec<(AdapterFile, PathBuf)> = if path.is_dir() {
        PEFT.iter().map(|(file, name)| (*file, path.join(name))).collect()
    } else {
        vec![(AdapterFile::Gguf, path.to_owned())]
    };
    let open = |(file, path): (AdapterFile, PathBuf)| {
        let unreadable = |error: std::io::Error| {
            let text = format!(
                "--lora: cannot open {}: {error}; expected a GGUF adapter, or a folder with {} \
                 and {}",
                path.display(),
                PEFT[0].1,
                PEFT[1].1
            );
            Failure::new(Code::Usage, text)
        };
        // Before it is opened: a pipe would be waited for.
        let meta = path.metadata().map_err(unreadable)?;
        if !meta.is_file() {
            return Err(unreadable(std::io::ErrorKind::InvalidInput.into()));
        }
        Ok((file, File::open(&path).map_err(unreadable)?, meta.len()))
    };
    parts.into_iter().map(open).collect()
}

/// Sends an adapter's files, piece by piece.
fn hand_over(
    path: &Path,
    name: String,
    give: &dyn Fn(AdapterPart) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let files = files(path)?;
    let lengths = files.iter().map(|(file, _, length)| (*file, *length)).collect();
    give(AdapterPart::Begin { name, files: lengths })?;
    for (_, file, length) in files {
        let (mut left, mut file) = (length, file);
        while left > 0 {
            let mut bytes = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
            file.read_exact(&mut bytes).context("the file became shorter while it was read")?;
            left -= bytes.len() as u64;
            give(AdapterPart::Piece { bytes })?;
        }
    }
    give(AdapterPart::End)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strength_is_a_number_after_the_last_equals_sign() {
        let lora = |path: &str, strength| Ok(Lora { path: path.into(), strength });
        assert_eq!("a.gguf".parse(), lora("a.gguf", 1.0));
        assert_eq!("a.gguf=0.5".parse(), lora("a.gguf", 0.5));
        assert_eq!("a=b.gguf".parse(), lora("a=b.gguf", 1.0));
        assert_eq!("a=b=-2".parse(), lora("a=b", -2.0));
        for wrong in ["", "=1", "a=inf", "a=nan"] {
            assert!(wrong.parse::<Lora>().is_err(), "{wrong}");
        }
    }
}

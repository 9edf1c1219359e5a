//! `hearth import PATH`: makes a file known to the store, where it is: no copy, bytes untouched.
//! A folder of safetensors becomes a file of the store: see `import/folder.rs`.

mod folder;

use super::show;
use crate::context::App;
use crate::exit::{Code, Failure, code_of};
use crate::progress::PullProgress;
use clap::{Args, ValueEnum};
use hearth_cell::CellError;
use hearth_engine::protocol::{FailureKind, MatrixType, ModelCard};
use hearth_hub::source::FileSource;
use hearth_hub::{Desk, Facts, Installed, ModelName, model_stem, open_path, readable};
use std::io::Write;
use std::path::PathBuf;

/// Give a GGUF file a name in the store, without copying it; make one of a folder of safetensors
#[derive(Args)]
pub(crate) struct Import {
    /// A GGUF file (of a split model, any part), or a model's folder with config.json, tokenizer
    /// files and *.safetensors
    #[arg(value_name = "PATH")]
    file: PathBuf,
    /// Name to give it; made from the file's name if absent
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Element type of a folder's matrices; auto takes the folder's own 16 bits [default: auto]
    #[arg(long = "type", value_name = "TYPE")]
    matrices: Option<Matrices>,
    /// Print what is now in the store as JSON
    #[arg(long)]
    json: bool,
}

/// Element types of matrices, as the flag names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Matrices {
    /// 32-bit floats
    F32,
    /// IEEE half precision
    F16,
    /// bfloat16
    Bf16,
    /// 8 bits with a scale for 32 of them: half the size of f16, a little less exact
    #[value(name = "q8_0")]
    Q8,
    /// bf16 if the folder has it, else f16
    Auto,
}

impl Matrices {
    /// As the flag names it.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl From<Matrices> for MatrixType {
    fn from(matrices: Matrices) -> Self {
        match matrices {
            Matrices::F32 => Self::F32,
            Matrices::F16 => Self::F16,
            Matrices::Bf16 => Self::Bf16,
            Matrices::Q8 => Self::Q8,
            Matrices::Auto => Self::Auto,
        }
    }
}

impl Import {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let is_folder = self.file.is_dir();
        // Absolute, so that a name can be made of `.` and the manifest's source means the same
        // from any folder.
        let path = match is_folder {
            true => self.file.canonicalize()?,
            false => std::path::absolute(&self.file)?,
        };
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = if is_folder { &*file_name } else { model_stem(&file_name) };
        let name: ModelName = match &self.name {
            Some(name) => name.parse()?,
            None => ModelName::from_file_name(stem)?,
        };
        if is_folder {
            let matrices = self.matrices.unwrap_or(Matrices::Auto);
            let installed = folder::import(app, &path, &name, matrices)?;
            return self.report(app, &installed);
        }
        if self.matrices.is_some() {
            let text = "`--type` is for folders; a GGUF file is taken as it is";
            return Err(Failure::new(Code::Usage, text));
        }
        let facts = self.facts(app, &name)?;
        let store = app.store()?;
        let observer = PullProgress::new(app, name.as_str())?;
        let ledger = app.ledger();
        let desk = Desk { observer: &observer, ledger: &ledger, command: "import" };
        let source = FileSource::new(path, &name, &app.catalogue);
        let installed = store.install(&facts, &source, desk)?;
        // The bar must be gone before a line is written.
        drop(observer);
        self.report(app, &installed)
    }

    /// What is now in the store.
    fn report(&self, app: &App, installed: &Installed) -> anyhow::Result<()> {
        let manifest = &installed.manifest;
        if self.json {
            return show::print_json(&show::json_of(manifest, &app.store()?));
        }
        let (name, size) = (&manifest.facts.name, readable(manifest.bytes()));
        let place = if manifest.in_place() { ", in place" } else { "" };
        let state = if installed.fresh { "is now" } else { "was already" };
        writeln!(std::io::stdout(), "{name} ({size}{place}) {state} in the store")?;
        Ok(())
    }

    /// What the file says about itself. A file that this engine cannot run may be for a later one:
    /// it gets its name all the same, and the user is told. A damaged one is refused.
    fn facts(&self, app: &App, name: &ModelName) -> anyhow::Result<Facts> {
        let card = match show::describe(app, open_path(&self.file)?, None) {
            Ok(card) => Some(card),
            Err(error) if is_damage(&error) => {
                let text = format!("{error:#}; it was not imported");
                return Err(Failure::new(Code::Integrity, text));
            }
            Err(error) => {
                app.note(format_args!("note: the engine cannot use this file: {error:#}"));
                None
            }
        };
        let file_name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let title = card.as_ref().and_then(|card| card.name.clone());
        Ok(Facts {
            name: name.clone(),
            about: title.map_or_else(|| format!("imported from {file_name}"), short),
            family: card.as_ref().map(|card| short(card.architecture.clone())),
            parameters: card.as_ref().map(|card| count(card.parameters)),
            quant: quant(card.as_ref(), model_stem(&file_name)),
            instruct: card.as_ref().map(|card| card.chat_template.is_some()),
            licence: card.and_then(|card| card.license).map(short),
        })
    }
}

/// Is the file damaged, by the words of the sealed engine? Not so if that only does not know its
/// kind, or could not be started.
fn is_damage(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<CellError>() {
        Some(CellError::Load(failure)) => {
            matches!(failure.kind, FailureKind::Model | FailureKind::Part(_))
        }
        Some(_) => false,
        None => code_of(error) == Code::Integrity,
    }
}

/// What `general.file_type` stands for, by ggml's numbers; what is not here is not given any more.
const FILE_TYPES: [(u64, &str); 33] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
];

/// Set in `general.file_type` where the converter guessed it.
const GUESSED: u64 = 1024;

/// The quantisation: as the file states it, else as its name does, else the type that most bytes
/// have.
fn quant(card: Option<&ModelCard>, stem: &str) -> Option<String> {
    let number = card.and_then(|card| card.file_type).map(|number| number & !GUESSED);
    let stated = FILE_TYPES.iter().find(|(known, _)| Some(*known) == number);
    let named = || {
        let words = stem.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut words = words.map(str::to_ascii_uppercase);
        words.find_map(|word| FILE_TYPES.iter().find(|(_, name)| *name == word))
    };
    match stated.or_else(named) {
        Some((_, name)) => Some((*name).to_owned()),
        None => Some(short(card?.tensor_types.first()?.0.clone())),
    }
}

/// A text of the file as the manifest keeps it: bounded, whatever the file says.
fn short(text: String) -> String {
    text.chars().take(200).collect()
}

/// A number of weights as people say it: `135M`, `1.2B`.
fn count(weights: u64) -> String {
    match weights {
        0..1_000_000 => weights.to_string(),
        1_000_000..1_000_000_000 => format!("{}M", (weights + 500_000) / 1_000_000),
        _ => format!("{:.1}B", weights as f64 / 1e9),
    }
}

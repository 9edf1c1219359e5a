//! A folder of safetensors becomes a GGUF file of the store: its files are opened here and handed
//! to the sealed child that reads them (`converter.rs`).

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use hearth_hub::source::{Source, Supplied};
use hearth_hub::{Desk, Facts, HubError, Installed, Intake, ModelName, Sha256};

use super::{FILE_TYPES, Matrices, count, short};
use crate::context::App;
use crate::converter::Converter;
use crate::exit::{Code, Failure};
use crate::progress::PullProgress;

/// Files that are read where they are there, beside the weights.
const FILES: [&str; 12] = [
    "1_Pooling/config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "modules.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.txt",
];

/// Ends of files that hold weights as a program that makes them.
const PICKLES: [&str; 4] = [".bin", ".pt", ".pth", ".ckpt"];

/// Makes a file of the store out of the folder at `path`, which is absolute.
pub(super) fn import(
    app: &App,
    path: &Path,
    name: &ModelName,
    matrices: Matrices,
) -> anyhow::Result<Installed> {
    if let Some(entry) = app.catalogue.owner(name) {
        return Err(HubError::CatalogueName {
            name: name.to_string(),
            entry: entry.name.to_string(),
            path: path.to_owned(),
            found: "a folder".to_owned(),
            expected: "the catalogue's file".to_owned(),
        }
        .into());
    }
    let store = app.store()?;
    let folder_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = open_files(path)?;
    let label = format!("folder {} as {}, {}", path.display(), matrices.word(), state(&files)?);
    let from = path.display().to_string();
    let converter = Converter::start(app, from, files, &folder_name, matrices.into())?;
    let plan = &converter.plan;
    let quant = FILE_TYPES.iter().find(|(number, _)| *number == plan.file_type);
    let facts = Facts {
        name: name.clone(),
        about: short(format!("made from the folder {folder_name}")),
        family: Some(short(plan.architecture.clone())),
        parameters: Some(count(plan.parameters)),
        quant: quant.map(|(_, name)| (*name).to_owned()),
        instruct: Some(plan.chats),
        licence: None,
    };
    let observer = PullProgress::new(app, name.as_str())?;
    let ledger = app.ledger();
    let desk = Desk { observer: &observer, ledger: &ledger, command: "import" };
    let source = FolderSource { label, converter: &converter, name };
    store.install(&facts, &source, desk).map_err(|error| match error {
        HubError::Stopped => {
            Failure::new(Code::Interrupted, "stopped; nothing of the import was kept")
        }
        other => other.into(),
    })
}

/// The files to read, with their names, in alphabetical order.
fn open_files(path: &Path) -> anyhow::Result<Vec<(String, File)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| unread(path))? {
        // What is no text is none of the names looked for.
        names.extend(entry.with_context(|| unread(path))?.file_name().into_string());
    }
    names.sort();
    let is_weights = |name: &str| name.starts_with("model") && name.ends_with(".safetensors");
    let pickle = names.iter().find(|name| PICKLES.iter().any(|end| name.ends_with(end)));
    if let Some(pickle) = pickle.filter(|_| !names.iter().any(|name| is_weights(name))) {
        let text = format!(
            "{}: the weights are in {pickle:?}, a pickle: to read one is to run the program in it. \
             Expected *.safetensors: get those from where the model is from",
            path.display()
        );
        return Err(Failure::new(Code::Integrity, text));
    }
    names.retain(|name| is_weights(name));
    // A link that leads nowhere is there, and an error below.
    let is_there = |name: &&str| path.join(name).symlink_metadata().is_ok();
    names.extend(FILES.into_iter().filter(is_there).map(str::to_owned));
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let file = path.join(&name);
        // Asked before opening: opening a FIFO would wait for a writer.
        let meta = std::fs::metadata(&file).with_context(|| unread(&file))?;
        if !meta.is_file() {
            let text = format!("{} is no regular file", file.display());
            return Err(Failure::new(Code::Integrity, text));
        }
        files.push((name, File::open(&file).with_context(|| unread(&file))?));
    }
    Ok(files)
}

fn unread(path: &Path) -> String {
    format!("{} cannot be read", path.display())
}

/// A word that changes when a file of the folder does.
fn state(files: &[(String, File)]) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, file) in files {
        let meta = file.metadata()?;
        text.push_str(&format!("{name} {} {:?}\n", meta.len(), meta.modified()?));
    }
    Ok(Sha256::of(text.as_bytes()).to_string().chars().take(8).collect())
}

/// The file that the child makes of the folder.
struct FolderSource<'a> {
    /// Says from which state of which folder: half a file of another is of no use.
    label: String,
    converter: &'a Converter,
    name: &'a ModelName,
}

impl Source for FolderSource<'_> {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let file_name = format!("{}.gguf", self.name.folder()).try_into()?;
        let file = self.converter.make(intake, file_name)?;
        Ok(Supplied { files: vec![file], verified: false })
    }
}

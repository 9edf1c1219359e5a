//! What the file will be: every key, every tensor, and where each tensor's elements come from.

use std::collections::BTreeMap;

use hearth_kernels::quant::TensorType;
use serde_json::{Map, Value as Json};

use super::ImportError;
use super::config::Config;
use super::family::{Change, Family};
use super::folder::{Folder, NamedFile};
use super::metadata::Metadata;
use super::safetensors::{self, Dtype, Tensor};
use super::{family, pooling, vocabulary};
use crate::gguf::write::Writer;
use crate::protocol::{self, ImportPlan, MatrixType};

/// The list of files and their tensors, in folders of more than one file.
const INDEX: &str = "model.safetensors.index.json";

/// The name of what holds the tensors, without its end.
const SHARD: &str = "model";
const SAFETENSORS: &str = ".safetensors";

/// Tables of rows that are added to rows: small, and never rounded.
const WHOLE: [&str; 2] = ["position_embd.weight", "token_types.weight"];

/// Most dimensions of a tensor in the file.
const MOST_DIMS: usize = 4;

/// Everything that is to be written.
pub(super) struct Plan {
    pub(super) writer: Writer,
    pub(super) tensors: Vec<Planned>,
    pub(super) facts: ImportPlan,
}

/// A tensor of the file to be.
pub(super) struct Planned {
    pub(super) ty: TensorType,
    pub(super) from: Origin,
}

/// Where a tensor's elements come from.
pub(super) enum Origin {
    /// From the configuration.
    Computed(Vec<f32>),
    /// From a file of the folder.
    File(Elements),
}

/// Elements of a tensor of the folder.
pub(super) struct Elements {
    pub(super) file: String,
    pub(super) tensor: String,
    pub(super) dtype: Dtype,
    /// Where they begin.
    pub(super) at: u64,
    /// How many there are.
    pub(super) count: u64,
    /// Those of a row.
    pub(super) row: u64,
    pub(super) change: Change,
}

/// Reads everything but the tensors' data.
pub(super) fn plan(folder: &Folder, job: &protocol::Folder) -> Result<Plan, ImportError> {
    let config = Config::read(folder)?;
    let family = family::find(config.class()?)?;
    let config = config.complete(family.defaults);
    family.check(&config)?;
    let tensors = tensors(folder)?;
    let matrices = matrix_type(&tensors, job.matrices);

    let mut keys = Metadata::new(family.arch);
    keys.set("general.architecture", family.arch);
    keys.set("general.type", "model");
    sampling(folder, &mut keys)?;
    keys.set("general.name", job.name.as_str());
    (family.keys)(&config, &mut keys)?;
    if family.pooled {
        pooling::keys(folder, &mut keys)?;
    }
    let file_type = file_type(matrices);
    keys.set("general.file_type", file_type);
    keys.set("general.quantization_version", 2u32);
    let computed = (family.computed)(&config, &mut keys)?;
    let shapes = tensors.iter().map(|(_, tensor)| (&*tensor.name, &*tensor.shape));
    let rows = family.embedding_rows(shapes)?;
    let tokens = vocabulary::keys(folder, &config, family.vocabulary, rows, &mut keys)?;

    let mut out = Tensors { writer: Writer::new(), planned: Vec::new(), names: Vec::new() };
    let mut parameters = 0;
    for (name, values) in computed {
        out.plan(name, TensorType::F32, vec![values.len()], Origin::Computed(values))?;
    }
    for (file, tensor) in &tensors {
        parameters += out.add(family, &config, file, tensor, matrices, tokens)?;
    }
    family.check_names(&out.names)?;
    out.check(family.depth(&config)?)?;
    let chats = keys.has("tokenizer.chat_template");
    let Tensors { mut writer, planned, .. } = out;
    keys.write(&mut writer);
    let bytes = writer.total_bytes().ok_or_else(|| too_large("the file"))?;
    let architecture = family.arch.to_owned();
    let file_type = file_type.into();
    let facts = ImportPlan { bytes, architecture, file_type, parameters, chats };
    Ok(Plan { writer, tensors: planned, facts })
}

/// How its makers sample from it, which only informs.
fn sampling(folder: &Folder, keys: &mut Metadata) -> Result<(), ImportError> {
    let settings: Map<String, Json> = folder.json("generation_config.json")?.unwrap_or_default();
    let number = |name: &str| settings.get(name).and_then(Json::as_f64);
    if let Some(top_k) = settings.get("top_k").and_then(Json::as_i64) {
        keys.set("general.sampling.top_k", i32::try_from(top_k).unwrap_or(i32::MAX));
    }
    let numbers = [
        ("general.sampling.top_p", number("top_p")),
        ("general.sampling.min_p", number("min_p")),
        ("general.sampling.temp", number("temperature")),
        ("general.sampling.penalty_repeat", number("repetition_penalty")),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            keys.set(key, value as f32);
        }
    }
    Ok(())
}

/// The tensors of all files with the files' names: file by file, each by name.
fn tensors(folder: &Folder) -> Result<Vec<(String, Tensor)>, ImportError> {
    let index: Option<Map<String, Json>> = folder.json(INDEX)?;
    let Some(index) = index else {
        let is_shard =
            |file: &&NamedFile| file.name.starts_with(SHARD) && file.name.ends_with(SAFETENSORS);
        let mut files: Vec<&NamedFile> = folder.files().iter().filter(is_shard).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() {
            return Err(ImportError::Missing {
                file: format!("{SHARD}{SAFETENSORS}"),
                next: "expected the weights in files of that form, in one or with an index"
                    .to_owned(),
            });
        }
        return all_of(files);
    };
    let wrong =
        |found: &str| ImportError::damaged(INDEX, found, "`weight_map` from names to files");
    let Some(Json::Object(places)) = index.get("weight_map") else {
        return Err(wrong("no `weight_map`"));
    };
    let mut by_file: BTreeMap<&str, usize> = BTreeMap::new();
    for file in places.values() {
        *by_file
            .entry(file.as_str().ok_or_else(|| wrong("a place that is no name"))?)
            .or_default() += 1;
    }
    let find = |name: &&str| {
        folder.find(name).ok_or_else(|| ImportError::Missing {
            file: name.escape_debug().to_string(),
            next: format!(
                "{INDEX} has {} tensors in it: get it from where the model is from",
                by_file.get(name).copied().unwrap_or(0)
            ),
        })
    };
    let files = by_file.keys().map(find).collect::<Result<Vec<_>, _>>()?;
    let tensors = all_of(files)?;
    for (file, tensor) in &tensors {
        if places.get(&tensor.name).and_then(Json::as_str) != Some(file) {
            let found = format!("tensor `{}`, which {INDEX} does not have there", tensor.name);
            return Err(ImportError::damaged(file, found, "the tensors of the index"));
        }
    }
    let known: std::collections::HashSet<&str> = tensors.iter().map(|(_, t)| &*t.name).collect();
    match places.iter().find(|(name, _)| !known.contains(name.as_str())) {
        Some((name, file)) => {
            let file = file.as_str().unwrap_or_default();
            Err(ImportError::damaged(
                file,
                format!("no tensor `{name}`"),
                format!("what {INDEX} has"),
            ))
        }
        None => Ok(tensors),
    }
}

fn all_of(files: Vec<&NamedFile>) -> Result<Vec<(String, Tensor)>, ImportError> {
    let mut all: Vec<(String, Tensor)> = Vec::new();
    for file in files {
        all.extend(safetensors::read(file)?.into_iter().map(|tensor| (file.name.clone(), tensor)));
    }
    match super::folder::twice(all.iter().map(|(_, tensor)| &*tensor.name)) {
        Some(name) => {
            let found = format!("tensor `{}` in more than one file", name.escape_debug());
            Err(ImportError::damaged("*.safetensors", found, "each tensor once"))
        }
        None => Ok(all),
    }
}

/// The element type of matrices. What is found is not what `config.json` says, because some of
/// those are wrong.
fn matrix_type(tensors: &[(String, Tensor)], asked: MatrixType) -> TensorType {
    match asked {
        MatrixType::F32 => TensorType::F32,
        MatrixType::F16 => TensorType::F16,
        MatrixType::Bf16 => TensorType::BF16,
        MatrixType::Q8 => TensorType::Q8_0,
        MatrixType::Auto => {
            let mut matrices = tensors.iter().filter(|(_, tensor)| tensor.shape.len() >= 2);
            let half = |(_, tensor): &(String, Tensor)| match tensor.dtype {
                Dtype::Bf16 => Some(TensorType::BF16),
                Dtype::F16 => Some(TensorType::F16),
                _ => None,
            };
            matrices.find_map(half).unwrap_or(TensorType::F16)
        }
    }
}

/// ggml's number for a file whose matrices have this type.
fn file_type(matrices: TensorType) -> u32 {
    match matrices {
        TensorType::F16 => 1,
        TensorType::Q8_0 => 7,
        TensorType::BF16 => 32,
        _ => 0,
    }
}

fn too_large(what: &str) -> ImportError {
    ImportError::Unsupported(format!("{what} is larger than a file can be"))
}

/// Tensors as they are planned.
struct Tensors {
    writer: Writer,
    planned: Vec<Planned>,
    names: Vec<String>,
}

impl Tensors {
    /// Plans a tensor of the folder; gives its number of elements.
    fn add(
        &mut self,
        family: &Family,
        config: &Config,
        file: &str,
        tensor: &Tensor,
        matrices: TensorType,
        tokens: u64,
    ) -> Result<u64, ImportError> {
        let Some(source) = (family.text_name)(&tensor.name) else { return Ok(0) };
        let change = (family.change)(config, &source)?;
        let Some(name) = family.name_of(&source)?.filter(|_| change != Change::Drop) else {
            return Ok(0);
        };
        let wrong = |found: String, expected: &str| {
            ImportError::damaged(file, format!("tensor `{}` {found}", tensor.name), expected)
        };
        if let Dtype::Other(dtype) = tensor.dtype {
            return Err(ImportError::Unsupported(format!(
                "{file}: tensor `{}` is of type {dtype}; expected F32, F16 or BF16: import the \
                 weights as their makers published them",
                tensor.name
            )));
        }
        let mut shape = tensor.shape.clone();
        if shape.is_empty() || shape.len() > MOST_DIMS || shape.contains(&0) {
            return Err(wrong(format!("of shape {shape:?}"), "1 to 4 dimensions, none of them 0"));
        }
        let outer = shape.first_mut().ok_or_else(|| too_large(&name))?;
        match change {
            Change::CutToVocabulary => *outer = (*outer).min(tokens),
            Change::Interleave { heads } if *outer % heads != 0 || (*outer / heads) % 2 != 0 => {
                let found = format!("of {outer} rows for {heads} heads");
                return Err(wrong(found, "an even number of rows for each head"));
            }
            _ => {}
        }
        let count = shape.iter().product();
        let row = if shape.len() > 1 { shape.last().copied().unwrap_or(1) } else { 1 };
        let ty = element_type(&name, &shape, matrices);
        let elements = Elements {
            file: file.to_owned(),
            tensor: tensor.name.clone(),
            dtype: tensor.dtype,
            at: tensor.at,
            count,
            row,
            change,
        };
        let dims = shape.iter().rev().map(|&dim| usize::try_from(dim));
        let dims = dims.collect::<Result<Vec<_>, _>>().map_err(|_| too_large(&name))?;
        self.plan(&name, ty, dims, Origin::File(elements))?;
        Ok(count)
    }

    fn plan(
        &mut self,
        name: &str,
        ty: TensorType,
        dims: Vec<usize>,
        from: Origin,
    ) -> Result<(), ImportError> {
        self.writer.tensor(name, ty, &dims).map_err(|error| {
            ImportError::Unsupported(format!("a tensor cannot be written: {error}"))
        })?;
        self.planned.push(Planned { ty, from });
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Every one of these layers is there and has the same tensors, no tensor comes twice.
    fn check(&self, layers: u64) -> Result<(), ImportError> {
        if let Some(name) = super::folder::twice(self.names.iter().map(String::as_str)) {
            let found = format!("two tensors that become `{name}`");
            return Err(ImportError::damaged("*.safetensors", found, "one"));
        }
        let mut of_layer: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for name in &self.names {
            let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            if let Some((number, part)) = layer {
                let number = number.parse().unwrap_or(u64::MAX);
                of_layer.entry(number).or_default().push(part);
            }
        }
        let found = of_layer.len() as u64;
        let last = of_layer.keys().next_back().map_or(0, |number| number.saturating_add(1));
        if found != layers || last != layers {
            let found = format!("tensors of {found} layers, the last of them number {last}");
            let expected = format!("{layers} layers, as config.json has it");
            return Err(ImportError::damaged("*.safetensors", found, expected));
        }
        let mut all = of_layer.into_iter().map(|(number, mut parts)| {
            parts.sort_unstable();
            (number, parts)
        });
        let (_, first) = all.next().unwrap_or_default();
        match all.find(|(_, parts)| *parts != first) {
            Some((number, parts)) => {
                let found = format!("{} tensors of layer {number}", parts.len());
                let expected = format!("the same {} as of layer 0", first.len());
                Err(ImportError::damaged("*.safetensors", found, expected))
            }
            None => Ok(()),
        }
    }
}

/// The type of a tensor: matrices get the one asked for if a row of them is whole blocks of it,
/// all else stays as exact as it can be.
fn element_type(name: &str, shape: &[u64], matrices: TensorType) -> TensorType {
    let row = shape.last().copied().unwrap_or(0);
    match matrices {
        _ if shape.len() < 2 || name.ends_with("_norm.weight") || !name.ends_with(".weight") => {
            TensorType::F32
        }
        _ if WHOLE.contains(&name) => TensorType::F32,
        blocks if row % blocks.block_len() as u64 != 0 => TensorType::F16,
        matrices => matrices,
    }
}

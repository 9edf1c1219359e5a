//! LoRA adapters as the PEFT library keeps them: `adapter_config.json` and
//! `adapter_model.safetensors`, with the names that the model's makers gave its tensors.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::ImportError;
use super::family;
use super::safetensors::{self, Dtype, MOST_HEADER_BYTES, Tensor, shown};
use crate::adapter::{Matrix, Pair};
use hearth_kernels::quant::{TensorType, dequantize};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What of the configuration decides the numbers, or whether they can be computed here.
#[derive(Deserialize)]
struct Config {
    peft_type: String,
    r: u64,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    alpha_pattern: Option<HashMap<String, f64>>,
    // What follows changes what the matrices mean.
    #[serde(default)]
    alora_invocation_tokens: Json,
    #[serde(default)]
    layer_replication: Json,
    #[serde(default)]
    use_qalora: Json,
    #[serde(default)]
    init_lora_weights: Json,
}

/// The differences of an adapter to a model of the architecture `arch`.
///
/// # Errors
/// The files are damaged, or are of something else than LoRA for a known family.
pub(crate) fn read(config: &[u8], weights: &[u8], arch: &str) -> Result<Vec<Pair>, ImportError> {
    let config: Config = serde_json::from_slice(config)
        .map_err(|wrong| ImportError::damaged(CONFIG, wrong.to_string(), "a LoRA configuration"))?;
    check(&config)?;
    let family = family::of_arch(arch).ok_or_else(|| {
        ImportError::Unsupported(format!(
            "{CONFIG}: adapters of this form are not known for the architecture {arch}; expected \
             a GGUF adapter, as llama.cpp's convert_lora_to_gguf.py makes it"
        ))
    })?;
    let mut halves: HashMap<String, [Option<Matrix>; 2]> = HashMap::new();
    for tensor in tensors(weights)? {
        let (module, half) = part(&tensor.name)?;
        let matrix = matrix(&tensor, weights)?;
        if halves.entry(module.to_owned()).or_default()[half].replace(matrix).is_some() {
            let found = format!("two parts for `{}`", shown(module));
            return Err(ImportError::damaged(WEIGHTS, found, "one"));
        }
    }
    let pair = |(module, halves): (String, [Option<Matrix>; 2])| {
        let [Some(a), Some(b)] = halves else {
            let found = format!("one part for `{}`", shown(&module));
            return Err(ImportError::damaged(WEIGHTS, found, "lora_A and lora_B"));
        };
        let own = (family.text_name)(&format!("{module}.weight"));
        let named = own.map(|name| family.name_of(&name)).transpose()?.flatten();
        let name = named.as_deref().and_then(|name| name.strip_suffix(".weight"));
        let name = name.unwrap_or(&module).to_owned();
        Ok(Pair { scale: config.scale(&module, a.rows)?, name, a, b })
    };
    halves.into_iter().map(pair).collect()
}

impl Config {
    /// What the product of a module's matrices is multiplied with.
    fn scale(&self, module: &str, rank: usize) -> Result<f32, ImportError> {
        let mut own = self.alpha_pattern.iter().flatten().filter(|(pattern, _)| {
            module
                .strip_suffix(pattern.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        let alpha = own.next().map_or(self.lora_alpha, |(_, alpha)| *alpha);
        // The library takes the first in the file's order, which is not an object's own.
        if own.any(|(_, other)| *other != alpha) {
            let found = format!("several values of alpha_pattern for `{}`", shown(module));
            return Err(ImportError::damaged(CONFIG, found, "one"));
        }
        let rank = rank.max(1) as f64;
        Ok((alpha / if self.use_rslora { rank.sqrt() } else { rank }) as f32)
    }
}

/// Refuses what would be computed in another way.
fn check(config: &Config) -> Result<(), ImportError> {
    let plain = |pattern: &String| {
        pattern.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let odd = config.alpha_pattern.iter().flatten().any(|(pattern, _)| !plain(pattern));
    let found = match config {
        _ if config.peft_type != "LORA" => {
            format!("peft_type \"{}\"", shown(&config.peft_type))
        }
        _ if config.use_dora => "use_dora".to_owned(),
        _ if config.fan_in_fan_out => "fan_in_fan_out".to_owned(),
        _ if config.bias.as_deref().is_some_and(|bias| bias != "none") => "bias".to_owned(),
        _ if config.modules_to_save.as_ref().is_some_and(|all| !all.is_empty()) => {
            "modules_to_save".to_owned()
        }
        _ if is_set(&config.alora_invocation_tokens) => "alora_invocation_tokens".to_owned(),
        _ if is_set(&config.layer_replication) => "layer_replication".to_owned(),
        _ if is_set(&config.use_qalora) => "use_qalora".to_owned(),
        _ if !plain_start(&config.init_lora_weights) => {
            "init_lora_weights other than true, false or \"gaussian\"".to_owned()
        }
        _ if odd => "alpha_pattern with a regular expression".to_owned(),
        _ if config.r == 0 => "a rank of 0".to_owned(),
        _ => return Ok(()),
    };
    Err(ImportError::Unsupported(format!(
        "{CONFIG}: found {found}; expected a plain LoRA adapter. Merged into its model by the \
         library that made it, it can be imported as a model"
    )))
}

/// Whether a setting says anything but no.
fn is_set(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Array(values) => !values.is_empty(),
        _ => true,
    }
}

/// Whether training began at the model itself: other ways to begin change the model too.
fn plain_start(value: &Json) -> bool {
    matches!(value, Json::Null | Json::Bool(_)) || value == "gaussian"
}

/// The tensors of the file.
fn tensors(weights: &[u8]) -> Result<Vec<Tensor>, ImportError> {
    let damaged = |found: String| ImportError::damaged(WEIGHTS, found, "a safetensors file");
    let short = || damaged(format!("{} bytes", weights.len()));
    let (length, rest) = weights.split_first_chunk::<8>().ok_or_else(short)?;
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().filter(|_| length <= MOST_HEADER_BYTES);
    let header = header.and_then(|length| rest.get(..length));
    let header = header.ok_or_else(|| damaged(format!("a header of {length} bytes")))?;
    safetensors::parse_header(WEIGHTS, header, 8 + length, (rest.len() - header.len()) as u64)
}

/// The module that a tensor belongs to, by the name that the model's makers gave it, and which of
/// the two matrices it is.
fn part(name: &str) -> Result<(&str, usize), ImportError> {
    let inner = name.strip_prefix("base_model.model.").unwrap_or(name);
    let ends = [".lora_A.weight", ".lora_B.weight"];
    let long = [".lora_A.default.weight", ".lora_B.default.weight"];
    let find = |ends: [&str; 2]| {
        ends.iter().enumerate().find_map(|(half, end)| Some((inner.strip_suffix(end)?, half)))
    };
    find(ends).or_else(|| find(long)).ok_or_else(|| {
        let found = format!("tensor `{}`", shown(name));
        ImportError::damaged(WEIGHTS, found, "parts named lora_A and lora_B")
    })
}

/// A tensor's values.
fn matrix(tensor: &Tensor, weights: &[u8]) -> Result<Matrix, ImportError> {
    let wrong = |found: String| {
        let found = format!("tensor `{}` {found}", shown(&tensor.name));
        ImportError::damaged(WEIGHTS, found, "a matrix in F32, F16 or BF16")
    };
    let ty = match tensor.dtype {
        Dtype::F32 => TensorType::F32,
        Dtype::F16 => TensorType::F16,
        Dtype::Bf16 => TensorType::BF16,
        Dtype::Other(name) => return Err(wrong(format!("of type {name}"))),
    };
    let &[rows, cols] = &tensor.shape[..] else {
        return Err(wrong(format!("of shape {:?}", tensor.shape)));
    };
    // The header's check says that the data is there and as long as its shape asks.
    let (at, bytes) = (tensor.at as usize, tensor.bytes as usize);
    let data = weights.get(at..at + bytes).ok_or_else(|| wrong("beyond the end".to_owned()))?;
    let (rows, cols) = (rows as usize, cols as usize);
    let mut values = vec![0.0; rows * cols];
    dequantize(ty, data, &mut values);
    Ok(Matrix { rows, cols, values })
}

//! How the tensors of a kind of models are called: in the folder, and in the file.

use super::super::ImportError;

/// The names of a kind of models.
pub(super) struct Layout {
    /// Tensors outside the layers: the folder's name and the file's.
    pub(super) outside: &'static [(&'static str, &'static str)],
    /// The file's names of those that every model has.
    pub(super) needed: &'static [&'static str],
    /// What stands before the number of a layer.
    pub(super) layers: &'static str,
    /// Tensors of a layer: the folder's name after that number, and the file's after `blk.N.`.
    pub(super) parts: &'static [(&'static str, &'static str)],
    /// The key of `config.json` for the number of layers.
    pub(super) depth: &'static str,
}

/// Tensors that older folders hold and that follow from the configuration.
const DERIVED: [&str; 3] = [".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq"];

impl Layout {
    /// The file's name for a tensor of the folder: `Some(None)` for one that is left out, `None`
    /// for one that has no place. The parts in `own` come before the layout's.
    pub(super) fn name_of(&self, name: &str, own: &[(&str, &str)]) -> Option<Option<String>> {
        if DERIVED.iter().any(|end| name.ends_with(end)) {
            return Some(None);
        }
        let (part, kind) =
            name.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
        if let Some((_, name)) = self.outside.iter().find(|(known, _)| *known == part) {
            return Some(Some(format!("{name}.{kind}")));
        }
        let (layer, part) = part.strip_prefix(self.layers)?.split_once('.')?;
        // Written as a number is written: `01` would be another name for layer 1.
        let number: u32 = layer.parse().ok().filter(|number: &u32| number.to_string() == layer)?;
        let known = own.iter().chain(self.parts).find(|(known, _)| *known == part);
        known.map(|(_, name)| Some(format!("blk.{number}.{name}.{kind}")))
    }

    /// That there is no tensor of this name of the file, by the folder's name for it.
    pub(super) fn missing(&self, name: &str) -> ImportError {
        let of_folder = self.outside.iter().find(|(_, file)| *file == name);
        let found = format!("no tensor `{}.weight`", of_folder.map_or(name, |(folder, _)| folder));
        ImportError::damaged("*.safetensors", found, "all tensors of the architecture")
    }
}

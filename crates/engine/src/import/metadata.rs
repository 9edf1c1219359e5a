//! The keys of the file to be: typed setters with the architecture's name before the key.

use crate::gguf::Value;
use crate::gguf::write::Writer;

/// Keys and values in the order of their first setting.
pub(super) struct Metadata {
    arch: &'static str,
    entries: Vec<(String, Value)>,
}

impl Metadata {
    /// No keys yet; those of the model will begin with `arch`.
    pub(super) fn new(arch: &'static str) -> Metadata {
        Metadata { arch, entries: Vec::new() }
    }

    /// Sets a key; a value that it had before is replaced.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Whether the key is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == key)
    }

    /// Sets a count of the model.
    pub(super) fn count(&mut self, key: &str, value: u64) {
        // Counts are bounded where they are read.
        self.set(&format!("{}.{key}", self.arch), value as u32);
    }

    /// Sets a number of the model.
    pub(super) fn number(&mut self, key: &str, value: f64) {
        self.set(&format!("{}.{key}", self.arch), value as f32);
    }

    /// Sets a yes or no of the model.
    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.set(&format!("{}.{key}", self.arch), value);
    }

    /// Sets a word of the model.
    pub(super) fn word(&mut self, key: &str, value: &str) {
        self.set(&format!("{}.{key}", self.arch), value);
    }

    /// Hands the keys to the writer of the file.
    pub(super) fn write(self, writer: &mut Writer) {
        for (key, value) in self.entries {
            writer.set(&key, value);
        }
    }
}

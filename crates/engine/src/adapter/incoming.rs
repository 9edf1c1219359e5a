//! Adapters as they come through the pipe, and those that are ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::{assemble, from_gguf, from_peft};
use super::{Active, Adapter, AdapterError};
use crate::gguf::Gguf;
use crate::host::request;
use crate::model::Model;
use crate::protocol::{AdapterFile, AdapterPart, AdapterUse, Failure};

/// Adapters that lie beside a model at most.
const MOST: usize = 64;
/// Bytes of an adapter's files at most: rank 64 on every matrix of a 14B model takes less.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes of the matrices of all adapters at most.
const MOST_HELD: usize = 4 << 30;
/// Adapters that one request goes through at most.
const MOST_USED: usize = 8;

/// What there is, and what is on its way in.
#[derive(Default)]
pub(crate) struct Adapters {
    ready: BTreeMap<String, Arc<Adapter>>,
    incoming: Option<Incoming>,
    made: u64,
}

struct Incoming {
    name: String,
    files: Vec<(AdapterFile, usize)>,
    bytes: Vec<u8>,
}

impl Adapters {
    /// Takes the next part in. `base` is the model's file.
    pub(crate) fn take(
        &mut self,
        model: &Model,
        base: &Gguf,
        part: AdapterPart,
    ) -> Result<(), Failure> {
        // Put back only if all is well.
        match (part, self.incoming.take()) {
            (AdapterPart::Begin { name, files }, _) => {
                let full = self.ready.len() >= MOST && !self.ready.contains_key(&name);
                let total = files.iter().try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
                if full || name.is_empty() {
                    return Err(request(&format!("at most {MOST} adapters, each with a name")));
                }
                if total.is_none_or(|total| total > MOST_BYTES) {
                    return Err(request(&format!(
                        "the adapter {name:?} has more than {MOST_BYTES} bytes"
                    )));
                }
                let files = files.into_iter().map(|(file, bytes)| (file, bytes as usize)).collect();
                self.incoming = Some(Incoming { name, files, bytes: Vec::new() });
            }
            (_, None) => return Err(request("a part of an adapter without its beginning")),
            (AdapterPart::Piece { bytes }, Some(mut incoming)) => {
                let left = incoming.total() - incoming.bytes.len();
                if bytes.is_empty() || bytes.len() > left {
                    let found = bytes.len();
                    return Err(request(&format!(
                        "a piece of {found} bytes of an adapter that lacks {left}"
                    )));
                }
                incoming.bytes.extend_from_slice(&bytes);
                self.incoming = Some(incoming);
            }
            (AdapterPart::End, Some(incoming)) => {
                if incoming.bytes.len() != incoming.total() {
                    return Err(request(&format!(
                        "an adapter ended after {} of {} bytes",
                        incoming.bytes.len(),
                        incoming.total()
                    )));
                }
                let name = incoming.name.clone();
                let adapter = incoming.read(model, base, self.made);
                let adapter = adapter.map_err(|error| {
                    request(&format!("the adapter {name:?} is refused: {error}"))
                })?;
                let others = self.ready.iter().filter(|(other, _)| **other != name);
                let held: usize = others.map(|(_, adapter)| adapter.bytes).sum();
                if held + adapter.bytes > MOST_HELD {
                    return Err(request(&format!(
                        "the adapter {name:?} is refused: with it, adapters would take more than \
                         {MOST_HELD} bytes"
                    )));
                }
                self.made += 1;
                self.ready.insert(name, adapter.into());
            }
        }
        Ok(())
    }

    /// The adapters of a request. One of strength 0 is none.
    pub(crate) fn find(&self, uses: &[AdapterUse]) -> Result<Vec<Active>, Failure> {
        if uses.len() > MOST_USED {
            return Err(request(&format!("a request goes through at most {MOST_USED} adapters")));
        }
        let one = |wanted: &AdapterUse| {
            if !wanted.strength.is_finite() {
                return Err(request("an adapter's strength is a finite number"));
            }
            let Some(adapter) = self.ready.get(&wanted.name) else {
                return Err(request(&format!("there is no adapter {:?} here", wanted.name)));
            };
            Ok(Active { adapter: Arc::clone(adapter), strength: wanted.strength })
        };
        uses.iter().filter(|wanted| wanted.strength != 0.0).map(one).collect()
    }
}

impl Incoming {
    fn total(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    fn read(mut self, model: &Model, base: &Gguf, serial: u64) -> Result<Adapter, AdapterError> {
        let arch = base.meta().str("general.architecture").ok().flatten().unwrap_or_default();
        let pairs = match self.files[..] {
            [(AdapterFile::Gguf, _)] => {
                let gguf = Gguf::from_vec(std::mem::take(&mut self.bytes));
                from_gguf(&gguf.map_err(|wrong| AdapterError(wrong.to_string()))?, arch)?
            }
            [(AdapterFile::PeftConfig, bytes), (AdapterFile::PeftWeights, _)] => {
                let (config, weights) = self.bytes.split_at(bytes);
                from_peft(config, weights, model, arch)?
            }
            _ => {
                return Err(AdapterError("it consists of other files than adapters do".to_owned()));
            }
        };
        assemble(model, base, pairs, serial)
    }
}

//! SmolLM3: Llama's tensors and keys, and layers in which positions do not turn.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Family, llama};

/// Everything that importing SmolLM3 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["SmolLM3ForCausalLM"],
    arch: "smollm3",
    defaults: &[
        ("max_position_embeddings", Default::Count(32_768)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(2_000_000.0)),
    ],
    keys,
    ..llama::FAMILY
};

/// The file has no key for it: every fourth layer.
const NO_ROPE_INTERVAL: u64 = 4;

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    let every_fourth = |(layer, turns): (u64, bool)| turns != ((layer + 1) % NO_ROPE_INTERVAL == 0);
    if let Some(turns) = config.flags("no_rope_layers")
        && !(0..).zip(turns).all(every_fourth)
    {
        let found = "another choice than every fourth layer";
        return Err(wrong("no_rope_layers", found, "0 in every fourth layer and 1 in all others"));
    }
    if let Some(interval) = config.count_if("no_rope_layer_interval")?
        && interval != NO_ROPE_INTERVAL
    {
        return Err(wrong("no_rope_layer_interval", interval, NO_ROPE_INTERVAL));
    }
    llama::turned_keys(config, out)
}

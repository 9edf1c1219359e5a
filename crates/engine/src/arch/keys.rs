//! Typed, bounded access to one architecture's metadata keys, and the part of [`Config`] that all
//! decoder architectures read alike.

use super::{Config, Experts, Gate, Gating, Heads, QkNorm};
use crate::error::ModelError;
use crate::gguf::Meta;
use crate::rope::{Rope, RopeStyle};

/// No real model is wider, deeper or longer; larger values are refused before any arithmetic.
const LIMIT: usize = 1 << 24;
const MAX_LAYERS: usize = 1024;
const MAX_HEAD_DIM: usize = 512;
const MAX_EXPERTS: usize = 1024;

/// The metadata of one architecture: keys are given without the `NAME.` prefix.
pub struct Keys<'a> {
    meta: &'a Meta,
    prefix: &'static str,
    /// Lists with a value for each layer may hold 0 where a layer lacks the thing.
    gaps: bool,
}

impl<'a> Keys<'a> {
    /// Keys that begin with `prefix.`.
    pub fn new(meta: &'a Meta, prefix: &'static str) -> Self {
        Self { meta, prefix, gaps: false }
    }

    /// The same, for architectures whose layers are not all alike: of a list with a value for each
    /// layer, the one value that is not 0 counts.
    pub fn with_gaps(&self) -> Self {
        Self { gaps: true, ..*self }
    }

    /// In which layers a count is not 0.
    pub fn layers_with(&self, name: &str, layers: usize) -> Result<Vec<bool>, ModelError> {
        let key = self.key(name);
        match self.meta.u32s(&key) {
            Ok(Some(values)) if values.len() < layers => {
                let expected = format!("at least {layers} values");
                Err(ModelError::range(&key, format!("{} values", values.len()), expected))
            }
            Ok(Some(values)) => Ok(values[..layers].iter().map(|&value| value != 0).collect()),
            _ => Ok(vec![true; layers]),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A count that must be there and in `1..=LIMIT`.
    pub fn count(&self, name: &str) -> Result<usize, ModelError> {
        let key = self.key(name);
        self.count_or(name, 0).and_then(|value| match value {
            0 if self.meta.get(&key).is_some() => {
                Err(ModelError::range(&key, 0, format!("1 to {LIMIT}")))
            }
            0 => Err(ModelError::missing(&key)),
            value => Ok(value),
        })
    }

    /// A count; 0 and absent both mean `default`.
    pub fn count_or(&self, name: &str, default: usize) -> Result<usize, ModelError> {
        let key = self.key(name);
        let value = match self.meta.u64(&key) {
            Ok(value) => value.unwrap_or(0),
            // Some files give one value for each layer; only a constant one is supported.
            Err(wrong_type) => match self.meta.u32s(&key) {
                Ok(Some(values)) => constant(&key, &values, self.gaps)?,
                _ => return Err(wrong_type.into()),
            },
        };
        match usize::try_from(value) {
            Ok(0) => Ok(default),
            Ok(value) if value <= LIMIT => Ok(value),
            _ => Err(ModelError::range(&key, value, format!("1 to {LIMIT}"))),
        }
    }

    /// A count for each layer, from a list or from one number for all.
    pub fn counts(&self, name: &str, layers: usize) -> Result<Vec<usize>, ModelError> {
        let key = self.key(name);
        let Ok(Some(values)) = self.meta.u32s(&key) else {
            return Ok(vec![self.count(name)?; layers]);
        };
        if values.len() < layers {
            let expected = format!("at least {layers} values");
            return Err(ModelError::range(&key, format!("{} values", values.len()), expected));
        }
        let count = |value: &u32| match *value as usize {
            value if (1..=LIMIT).contains(&value) => Ok(value),
            value => Err(ModelError::range(&key, value, format!("1 to {LIMIT}"))),
        };
        values[..layers].iter().map(count).collect()
    }

    /// A number that must be there, finite and not negative.
    pub(super) fn number(&self, name: &str) -> Result<f32, ModelError> {
        let key = self.key(name);
        match self.meta.f32(&key)? {
            None => Err(ModelError::missing(&key)),
            Some(value) if value.is_finite() && value >= 0.0 => Ok(value),
            Some(value) => Err(ModelError::range(&key, value, "a finite number from 0")),
        }
    }

    /// A finite number; 0 and absent both mean `default`.
    pub fn number_or(&self, name: &str, default: f32) -> Result<f32, ModelError> {
        let key = self.key(name);
        match self.meta.f32(&key)? {
            None => Ok(default),
            Some(0.0) => Ok(default),
            Some(value) if value.is_finite() => Ok(value),
            Some(value) => Err(ModelError::range(&key, value, "a finite number")),
        }
    }

    /// A string, if there.
    pub fn text(&self, name: &str) -> Result<Option<String>, ModelError> {
        Ok(self.meta.str(&self.key(name))?.map(str::to_owned))
    }

    /// Which layers have a sliding window: a list of flags, or a period whose last layer has none.
    pub fn window_pattern(
        &self,
        name: &str,
        layers: usize,
        period: usize,
    ) -> Result<Vec<bool>, ModelError> {
        let key = self.key(name);
        let numbers = || Some(self.meta.u32s(&key).ok()??.iter().map(|&flag| flag != 0).collect());
        let flags: Option<Vec<bool>> = self.meta.bools(&key).ok().flatten().or_else(numbers);
        if let Some(mut flags) = flags {
            if flags.len() < layers {
                let expected = format!("at least {layers} flags");
                return Err(ModelError::range(&key, format!("{} flags", flags.len()), expected));
            }
            flags.truncate(layers);
            return Ok(flags);
        }
        let period = self.count_or(name, period)?;
        Ok((0..layers).map(|layer| layer % period < period - 1).collect())
    }

    /// How many layers have keys and values of their own, if the file states how many share and
    /// `usual` ones have otherwise. Those that share find a layer of their kind before them.
    pub fn kv_layers(&self, windowed: &[bool], usual: usize) -> Result<usize, ModelError> {
        let (name, layers) = ("attention.shared_kv_layers", windowed.len());
        let shared = self.count_or(name, layers.saturating_sub(usual))?;
        let own = layers.saturating_sub(shared);
        // What llama.cpp defines: the last two layers before those that share are one of each kind.
        let last = own.checked_sub(2).map(|from| &windowed[from..own]);
        let fits = shared == 0 || last == Some(&[true, false]);
        self.check(
            name,
            shared,
            fits,
            "so many that a layer with a window and one without precede",
        )?;
        Ok(own)
    }

    /// A window's length, if there is one; 0 means none.
    pub fn window(&self, name: &str) -> Result<Option<usize>, ModelError> {
        Ok(Some(self.count_or(name, 0)?).filter(|&window| window > 0))
    }

    /// A cap, if there is one; 0 means none.
    pub fn cap(&self, name: &str) -> Result<Option<f32>, ModelError> {
        Ok(Some(self.number_or(name, 0.0)?).filter(|&cap| cap > 0.0))
    }

    /// Yes or no.
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.meta.bool(&self.key(name))?.unwrap_or(default))
    }

    /// Whether the key is there at all.
    pub fn states(&self, name: &str) -> bool {
        self.meta.get(&self.key(name)).is_some()
    }

    /// The mixture of experts in the place of every feed-forward part of width `n_ff`, if the file
    /// has one: softmax, weights that sum to 1, no expert for all tokens.
    pub fn experts(&self, n_layer: usize, n_ff: usize) -> Result<Option<Experts>, ModelError> {
        let count = self.count_or("expert_count", 0)?;
        if count == 0 {
            return Ok(None);
        }
        self.check("expert_count", count, count <= MAX_EXPERTS, "at most 1024")?;
        let used = self.count("expert_used_count")?;
        self.check("expert_used_count", used, used <= count, "at most expert_count")?;
        Ok(Some(Experts {
            count,
            used,
            n_ff,
            n_ff_shared: 0,
            shared_gate: false,
            gating: Gating::Softmax,
            normalise: true,
            scale: self.number_or("expert_weights_scale", 1.0)?,
            weigh_input: false,
            beside_dense: false,
            layers: vec![true; n_layer],
        }))
    }

    /// As [`Keys::experts`], for architectures that have nothing else: experts of a width of their
    /// own, or the used ones together as wide as `n_ff`.
    pub fn needed_experts(&self, n_layer: usize, n_ff: usize) -> Result<Experts, ModelError> {
        let found = self.experts(n_layer, n_ff)?;
        let experts = found.ok_or_else(|| ModelError::missing(&self.key("expert_count")))?;
        let n_ff = self.count_or("expert_feed_forward_length", n_ff / experts.used)?;
        Ok(Experts { n_ff, ..experts })
    }

    /// An error if the file has experts that `config`, made from it, does not.
    pub fn check_experts(&self, config: &Config) -> Result<(), ModelError> {
        let count = self.count_or("expert_count", 0)?;
        if count == 0 || config.experts.is_some() {
            return Ok(());
        }
        Err(ModelError::Unsupported(format!(
            "`{}` has {count} experts; this version knows the architecture without experts",
            self.key("expert_count")
        )))
    }

    /// How many layers there are.
    pub(super) fn layers(&self) -> Result<usize, ModelError> {
        let n_layer = self.count("block_count")?;
        self.check("block_count", n_layer, n_layer <= MAX_LAYERS, "at most 1024")?;
        Ok(n_layer)
    }

    /// A whole number as it is, if there.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, ModelError> {
        Ok(self.meta.u64(&self.key(name))?)
    }

    /// What every decoder architecture has; an architecture's file changes what differs.
    pub fn decoder(&self, style: RopeStyle) -> Result<Config, ModelError> {
        let kv = self.count_or("attention.head_count_kv", self.count("attention.head_count")?)?;
        self.decoder_with(
            style,
            self.heads(kv, ["attention.key_length", "attention.value_length"])?,
        )
    }

    /// Heads, `kv` of them of keys and values, whose widths these keys state.
    pub fn heads(&self, kv: usize, [keys, values]: [&str; 2]) -> Result<Heads, ModelError> {
        let (n_embd, count) =
            (self.count("embedding_length")?, self.count("attention.head_count")?);
        let at_most = "at most the embedding length";
        self.check("attention.head_count", count, count <= n_embd, at_most)?;
        let divides = count % kv == 0;
        self.check("attention.head_count_kv", kv, divides, "a divisor of head_count")?;
        let dim = self.count_or(keys, n_embd / count)?;
        let even = dim % 2 == 0 && dim <= MAX_HEAD_DIM;
        self.check(keys, dim, even, "even and at most 512")?;
        let v_dim = self.count_or(values, dim)?;
        self.check(values, v_dim, v_dim == dim, "as wide as keys")?;
        Ok(Heads { count, kv, dim })
    }

    /// As [`Keys::decoder`], with heads that the caller has read.
    pub fn decoder_with(&self, style: RopeStyle, heads: Heads) -> Result<Config, ModelError> {
        let (n_layer, n_embd) = (self.layers()?, self.count("embedding_length")?);
        let n_ctx_train = self.count("context_length")?;
        let rope = Rope::read(self, style, heads.dim, n_ctx_train)?;
        Ok(Config {
            n_layer,
            n_embd,
            n_ff: self.counts("feed_forward_length", n_layer)?,
            heads,
            heads_windowed: heads,
            kv_layers: n_layer,
            value_norm: false,
            keys_as_values: false,
            n_ctx_train,
            norm_eps: self.number("attention.layer_norm_rms_epsilon")?,
            gate: Gate::Silu,
            embed_scale: 1.0,
            attn_scale: (heads.dim as f32).sqrt().recip(),
            qk_norm: QkNorm::None,
            pre_norm: true,
            post_norm: false,
            rope_windowed: rope.clone(),
            rope,
            rotary: vec![true; n_layer],
            window: None,
            windowed: vec![false; n_layer],
            temperature: None,
            attn_softcap: None,
            residual_scale: 1.0,
            experts: None,
            ffn_scale: false,
            logit_scale: 1.0,
            final_softcap: None,
            cutoff: None,
            per_layer: None,
            streams: None,
            short_conv: None,
            output_norm: "output_norm.weight",
        })
    }

    /// An error that names the key unless `ok`.
    pub(super) fn check(
        &self,
        name: &str,
        found: usize,
        ok: bool,
        expected: &str,
    ) -> Result<(), ModelError> {
        if ok { Ok(()) } else { Err(ModelError::range(&self.key(name), found, expected)) }
    }
}

/// The one value of a per-layer list whose values are all equal, but for zeros if these are `gaps`.
fn constant(key: &str, values: &[u32], gaps: bool) -> Result<u64, ModelError> {
    let mut counting = values.iter().filter(|&&value| !(gaps && value == 0));
    match counting.next() {
        Some(first) if counting.all(|value| value == first) => Ok(u64::from(*first)),
        _ => Err(ModelError::Unsupported(format!(
            "`{key}` differs from layer to layer; only one value for all layers is supported"
        ))),
    }
}

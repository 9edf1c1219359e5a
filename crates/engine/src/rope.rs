//! Rotary position embedding: which angle each pair of a head turns by at a position, for every
//! scaling that files use (none, linear, yarn, longrope, llama3). Applying the rotation to a row
//! is a kernel (`hearth_kernels::ops::rope`).
//!
//! Sources: RoFormer (arXiv 2104.09864), YaRN (arXiv 2309.00071), LongRoPE (arXiv 2402.13753).

pub use hearth_kernels::ops::RopeStyle;

use crate::arch::Keys;
use crate::error::ModelError;

/// One rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Layout of the pairs.
    pub style: RopeStyle,
    /// Elements of a head that turn (the first ones); the rest pass.
    pub dims: usize,
    base: f32,
    scaling: Scaling,
    /// Cosines and sines are multiplied by this.
    magnitude: f32,
    /// Context length the model was trained at before it was stretched.
    original_ctx: usize,
    /// Whether the file's divisors are meant for other layers.
    bare: bool,
    /// Angle divisors from the file (`rope_freqs`, or LongRoPE's), one for each pair.
    factors: Option<Vec<f32>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Scaling {
    None,
    Linear {
        factor: f32,
    },
    Yarn {
        factor: f32,
        beta_fast: f32,
        beta_slow: f32,
        /// Weakens the growth of the magnitude; 0 leaves it.
        log_mul: f32,
    },
    /// The factors come as tensors, see [`Rope::factor_tensors`].
    Long,
    Llama3 {
        factor: f32,
        low: f32,
        high: f32,
    },
}

impl Rope {
    /// Reads the rotary keys of an architecture; `0` in a key means unset.
    ///
    /// # Errors
    /// An unknown scaling kind, or numbers out of range.
    pub fn read(
        keys: &Keys,
        style: RopeStyle,
        head_dim: usize,
        n_ctx: usize,
    ) -> Result<Rope, ModelError> {
        let dims = keys.count_or("rope.dimension_count", head_dim)?;
        if dims > head_dim || dims % 2 != 0 {
            let expected = format!("an even number up to the head width {head_dim}");
            return Err(ModelError::range("rope.dimension_count", dims, expected));
        }
        let linear = keys.number_or("rope.scale_linear", 1.0)?;
        let factor = keys.number_or("rope.scaling.factor", linear)?;
        if factor <= 0.0 {
            return Err(ModelError::range("rope.scaling.factor", factor, "more than 0"));
        }
        let kind = keys.text("rope.scaling.type")?.unwrap_or_else(|| "linear".to_owned());
        let scaling = match kind.as_str() {
            "none" => Scaling::None,
            "linear" if factor == 1.0 => Scaling::None,
            "linear" => Scaling::Linear { factor },
            "yarn" => Scaling::Yarn {
                factor,
                beta_fast: keys.number_or("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: keys.number_or("rope.scaling.yarn_beta_slow", 1.0)?,
                log_mul: keys.number_or("rope.scaling.yarn_log_multiplier", 0.0)?,
            },
            "longrope" => Scaling::Long,
            "llama3" => Scaling::Llama3 {
                factor,
                low: keys.number_or("rope.scaling.low_freq_factor", 1.0)?,
                high: keys.number_or("rope.scaling.high_freq_factor", 4.0)?,
            },
            other => {
                return Err(ModelError::Unsupported(format!(
                    "rope scaling `{other}` is unknown; known: none, linear, yarn, longrope, llama3"
                )));
            }
        };
        let base = keys.number_or("rope.freq_base", 10_000.0)?;
        if base <= 1.0 {
            return Err(ModelError::range("rope.freq_base", base, "more than 1"));
        }
        Ok(Rope {
            style,
            dims,
            base,
            magnitude: keys.number_or("rope.scaling.attn_factor", 1.0)?,
            original_ctx: keys.count_or("rope.scaling.original_context_length", n_ctx)?,
            scaling,
            bare: false,
            factors: None,
        })
    }

    /// The same layout with no scaling and none of the file's divisors, and another base if one is
    /// given (the windowed layers of some models).
    pub fn unscaled(&self, base: Option<f32>) -> Rope {
        let base = base.unwrap_or(self.base);
        Rope {
            base,
            scaling: Scaling::None,
            magnitude: 1.0,
            bare: true,
            factors: None,
            ..self.clone()
        }
    }

    /// The same with another number of elements that turn.
    pub fn with_dims(self, dims: usize) -> Rope {
        Rope { dims, ..self }
    }

    /// Angle divisors from a tensor, one for each pair.
    pub fn with_factors(self, factors: Vec<f32>) -> Rope {
        Rope { factors: Some(factors), ..self }
    }

    /// Context length the model was trained at before it was stretched.
    pub fn original_ctx(&self) -> usize {
        self.original_ctx
    }

    /// Names of the tensors that hold the factors, if the file has any, for a context of `ctx`
    /// tokens: the first that is there counts.
    pub fn factor_tensors(&self, ctx: usize) -> [&'static str; 2] {
        let of_length = ["rope_factors_short.weight", "rope_factors_long.weight"];
        ["rope_freqs.weight", of_length[usize::from(self.is_stretched(ctx))]]
    }

    /// Whether `ctx` tokens are more than the model was first trained at.
    pub fn is_stretched(&self, ctx: usize) -> bool {
        ctx > self.original_ctx
    }

    /// Whether the file must have factors.
    pub fn needs_factors(&self) -> bool {
        self.scaling == Scaling::Long
    }

    /// Radians per position of each pair, and what cosine and sine are multiplied by.
    pub fn frequencies(&self) -> (Vec<f64>, f32) {
        let pairs = self.dims / 2;
        let mut freqs: Vec<f64> = (0..pairs)
            .map(|pair| f64::from(self.base).powf(-((2 * pair) as f64) / self.dims as f64))
            .collect();
        if let Some(factors) = &self.factors {
            for (freq, factor) in freqs.iter_mut().zip(factors) {
                *freq /= f64::from(*factor);
            }
        }
        let mut magnitude = self.magnitude;
        match self.scaling {
            Scaling::None | Scaling::Long => {}
            Scaling::Linear { factor } => {
                freqs.iter_mut().for_each(|freq| *freq /= f64::from(factor))
            }
            Scaling::Yarn { factor, beta_fast, beta_slow, log_mul } => {
                self.yarn(
                    &mut freqs,
                    f64::from(factor),
                    f64::from(beta_fast),
                    f64::from(beta_slow),
                );
                let growth =
                    |by: f32| if factor > 1.0 { 1.0 + 0.1 * by * factor.ln() } else { 1.0 };
                magnitude *= growth(1.0) / growth(log_mul);
            }
            Scaling::Llama3 { factor, low, high } => {
                self.llama3(&mut freqs, f64::from(factor), f64::from(low), f64::from(high));
            }
        }
        (freqs, magnitude)
    }

    /// YaRN: pairs that turn often keep their angle, slow ones are interpolated, a ramp between.
    fn yarn(&self, freqs: &mut [f64], factor: f64, beta_fast: f64, beta_slow: f64) {
        let (dims, base) = (self.dims as f64, f64::from(self.base));
        let pair_of = |turns: f64| {
            let span = self.original_ctx as f64 / (turns * 2.0 * std::f64::consts::PI);
            dims * span.ln() / (2.0 * base.ln())
        };
        let low = pair_of(beta_fast).floor().max(0.0);
        let high = pair_of(beta_slow).ceil().min(dims - 1.0);
        for (pair, freq) in freqs.iter_mut().enumerate() {
            let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
            *freq = *freq * (1.0 - ramp) + *freq / factor * ramp;
        }
    }

    /// Llama 3.1: as YaRN, with the ramp over wavelengths instead of pairs.
    fn llama3(&self, freqs: &mut [f64], factor: f64, low: f64, high: f64) {
        for freq in freqs {
            let turns = self.original_ctx as f64 * *freq / (2.0 * std::f64::consts::PI);
            let keep = ((turns - low) / (high - low).max(1e-9)).clamp(0.0, 1.0);
            *freq = *freq * keep + *freq / factor * (1.0 - keep);
        }
    }
}

/// Cosines and sines of a run of positions, `[positions][dims / 2]` each.
#[derive(Default)]
pub struct RopeTable {
    /// Cosines, times the magnitude.
    pub cos: Vec<f32>,
    /// Sines, times the magnitude.
    pub sin: Vec<f32>,
}

impl RopeTable {
    /// Fills the table for these positions. Angles are exact to double precision, so that a
    /// position far out is as good as a near one.
    pub fn fill(&mut self, rope: &Rope, positions: impl Iterator<Item = usize>) {
        let (freqs, magnitude) = rope.frequencies();
        self.cos.clear();
        self.sin.clear();
        for position in positions {
            for freq in &freqs {
                let (sin, cos) = (position as f64 * freq).sin_cos();
                self.cos.push(cos as f32 * magnitude);
                self.sin.push(sin as f32 * magnitude);
            }
        }
    }
}

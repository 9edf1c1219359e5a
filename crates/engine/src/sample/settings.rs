//! The ranges of the sampling settings.

use crate::protocol::Sampling;

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} is {found}; it must be {expected}")]
pub struct SettingError {
    /// The setting, as in [`Sampling`].
    pub name: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// Fails with the setting's name unless `good`.
fn require(
    good: bool,
    name: &'static str,
    found: impl ToString,
    expected: &str,
) -> Result<(), SettingError> {
    if good {
        return Ok(());
    }
    Err(SettingError { name, found: found.to_string(), expected: expected.to_owned() })
}

/// Checks every setting; no comparison below is true of NaN.
pub(super) fn check(s: &Sampling, vocab_size: usize) -> Result<(), SettingError> {
    let shares = [
        ("top_p", s.top_p),
        ("min_p", s.min_p),
        ("typical_p", s.typical_p),
        ("xtc_probability", s.xtc_probability),
        ("xtc_threshold", s.xtc_threshold),
    ];
    for (name, share) in shares {
        require((0.0..=1.0).contains(&share), name, share, "between 0 and 1")?;
    }
    let (temperature, repeat) = (s.temperature, s.repeat_penalty);
    let valid = temperature >= 0.0 && temperature.is_finite();
    require(valid, "temperature", temperature, "0 (greedy) or a positive number")?;
    let valid = repeat > 0.0 && repeat.is_finite();
    require(valid, "repeat_penalty", repeat, "a positive number; 1 is off")?;
    for (name, penalty) in
        [("frequency_penalty", s.frequency_penalty), ("presence_penalty", s.presence_penalty)]
    {
        require(penalty.is_finite(), name, penalty, "a number; 0 is off")?;
    }
    for (name, last_n) in
        [("repeat_last_n", s.repeat_last_n), ("dry_penalty_last_n", s.dry_penalty_last_n)]
    {
        require(last_n >= -1, name, last_n, "0 (off), a number of tokens, or -1 (all)")?;
    }
    let valid = s.dry_multiplier >= 0.0 && s.dry_multiplier.is_finite();
    require(valid, "dry_multiplier", s.dry_multiplier, "0 (off) or a positive number")?;
    let valid = s.dry_base >= 1.0 && s.dry_base.is_finite();
    require(valid, "dry_base", s.dry_base, "a number of at least 1")?;
    let length = s.dry_allowed_length;
    require(length >= 0, "dry_allowed_length", length, "a number of tokens")?;
    if let Some((tau, eta)) = s.mirostat {
        let valid = |x: f32| x > 0.0 && x.is_finite();
        require(valid(tau), "mirostat tau", tau, "a positive number of bits")?;
        require(valid(eta), "mirostat eta", eta, "a positive number")?;
    }
    for &(token, bias) in &s.logit_bias {
        let expected = format!("for a token below {vocab_size}");
        require((token as usize) < vocab_size, "logit_bias", format!("for {token}"), &expected)?;
        let found = format!("{bias} for token {token}");
        require(bias < f32::INFINITY, "logit_bias", found, "a number or minus infinity")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = (&'static str, fn(&mut Sampling));

    const WRONG: &[Change] = &[
        ("temperature", |s| s.temperature = -0.1),
        ("temperature", |s| s.temperature = f32::NAN),
        ("temperature", |s| s.temperature = f32::INFINITY),
        ("top_p", |s| s.top_p = 1.5),
        ("top_p", |s| s.top_p = f32::NAN),
        ("min_p", |s| s.min_p = -0.5),
        ("typical_p", |s| s.typical_p = f32::NEG_INFINITY),
        ("xtc_probability", |s| s.xtc_probability = 2.0),
        ("xtc_threshold", |s| s.xtc_threshold = f32::NAN),
        ("repeat_penalty", |s| s.repeat_penalty = 0.0),
        ("repeat_penalty", |s| s.repeat_penalty = f32::NAN),
        ("frequency_penalty", |s| s.frequency_penalty = f32::INFINITY),
        ("presence_penalty", |s| s.presence_penalty = f32::NAN),
        ("repeat_last_n", |s| s.repeat_last_n = -2),
        ("dry_penalty_last_n", |s| s.dry_penalty_last_n = i32::MIN),
        ("dry_multiplier", |s| s.dry_multiplier = -1.0),
        ("dry_base", |s| s.dry_base = 0.5),
        ("dry_base", |s| s.dry_base = f32::NAN),
        ("dry_allowed_length", |s| s.dry_allowed_length = -1),
        ("mirostat tau", |s| s.mirostat = Some((0.0, 0.1))),
        ("mirostat eta", |s| s.mirostat = Some((5.0, f32::NAN))),
        ("logit_bias", |s| s.logit_bias = vec![(100, 1.0)]),
        ("logit_bias", |s| s.logit_bias = vec![(1, f32::NAN)]),
        ("logit_bias", |s| s.logit_bias = vec![(1, f32::INFINITY)]),
    ];

    #[test]
    fn each_wrong_setting_is_named() {
        check(&Sampling::default(), 100).expect("the defaults are valid");
        for (name, change) in WRONG {
            let mut settings = Sampling::default();
            change(&mut settings);
            let error = check(&settings, 100).expect_err(name);
            assert_eq!(error.name, *name, "{error}");
        }
    }

    #[test]
    fn an_error_says_what_was_found_and_expected() {
        let settings = Sampling { top_p: 1.5, ..Sampling::default() };
        let error = check(&settings, 100).unwrap_err();
        assert_eq!(error.to_string(), "top_p is 1.5; it must be between 0 and 1");
    }
}

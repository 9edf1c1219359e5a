//! Which logits a request's samplers can tell apart from minus infinity: what lets the head be
//! screened.

use hearth_kernels::matmul::Need;

use super::{typical, xtc};
use crate::protocol::Sampling;

/// The logits without which every choice would stay the same, random numbers included, are those
/// that this does not ask for; `None` if all are needed. `adjusted` tells that logits are changed
/// before the choice.
///
/// Greedy needs the best, top-k the k best: nothing after it sees another. Min-p needs those near
/// the best, unless typical or top-p stand before it, which look at the whole distribution if
/// top-k has not cut it down. Biases and penalties could raise or sink any token, and Mirostat and
/// the plain draw look at all.
pub(super) fn need(s: &Sampling, adjusted: bool) -> Option<Need> {
    if adjusted {
        return None;
    }
    let keeps_the_best = typical::stage(s).is_none() && xtc::stage(s).is_none();
    if s.temperature == 0.0 && keeps_the_best {
        return Some(Need::BEST);
    }
    if s.mirostat.is_some() {
        return None;
    }
    let near = s.min_p > 0.0 && s.top_p >= 1.0 && typical::stage(s).is_none();
    // As min-p computes its limit, so that both round alike.
    let within = if near { -s.min_p.ln() } else { f32::INFINITY };
    (near || s.top_k > 0).then_some(Need { top: s.top_k, within })
}

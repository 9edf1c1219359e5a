//! A loaded model: configuration, packed weights and the thread pool. Immutable after loading, so
//! that any number of sequences can share it; what changes lives in [`crate::session::Session`].
//! Only what screens the head is learned later, once, from the first inputs that the head sees: it
//! changes speed and no result.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use hearth_kernels::matmul::Screen;
use hearth_kernels::pool::Pool;

use crate::arch::Config;
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::protocol::LoadOptions;
use crate::weights::Weights;

/// Context limit when the user names none: longer ones are a matter of memory and are asked for.
const DEFAULT_CTX: usize = 8192;

/// Configuration, weights and threads.
pub struct Model {
    /// What the file says about itself.
    pub config: Config,
    /// The tensors, packed for this machine.
    pub weights: Weights,
    /// The threads that compute; one pool in a process.
    pub pool: Arc<Pool>,
    /// Most tokens in a sequence.
    pub ctx: usize,
    screen: OnceLock<Option<Screen>>,
}

impl Model {
    /// Loads all tensors. A context limit of `None` takes the trained length, at most 8,192.
    /// `progress` hears bytes done and bytes in all.
    ///
    /// # Errors
    /// An unsupported architecture, missing or misshapen tensors, a context of 0 or beyond what
    /// the model was trained for, or cancellation.
    pub fn load(
        gguf: &Gguf,
        options: &LoadOptions,
        pool: impl Into<Arc<Pool>>,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, ModelError> {
        let (config, pool) = (Config::read(gguf.meta())?, pool.into());
        let ctx = match options.ctx {
            None => config.n_ctx_train.min(DEFAULT_CTX),
            Some(ctx) if (1..=config.n_ctx_train).contains(&ctx) => ctx,
            Some(asked) => {
                return Err(ModelError::Context { asked, trained: config.n_ctx_train });
            }
        };
        let weights = Weights::load(gguf, &config, (ctx, options.repack), &pool, cancel, progress)?;
        Ok(Model { config, weights, pool, ctx, screen: OnceLock::new() })
    }

    /// Whether the head can be screened: its scores are what the matrix gives. A cap could make
    /// different scores equal, and of equal ones the first is chosen.
    pub(crate) fn screens(&self) -> bool {
        let output = &self.weights.output;
        output.weight.is_in_planes() && output.is_plain() && self.config.final_softcap.is_none()
    }

    /// Whether it was learned by now how the head is screened.
    pub(crate) fn learned(&self) -> bool {
        self.screen.get().is_some()
    }

    /// What screens the head, learned now from inputs of it, `states`, if it was not before.
    pub(crate) fn screen(&self, states: Option<&[f32]>) -> Option<&Screen> {
        if let (None, Some(states)) = (self.screen.get(), states) {
            let learned = Screen::learn(&self.pool, &self.weights.output.weight, states);
            if !self.pool.stopped() {
                // Another sequence may have been faster, and serves as well.
                let _ = self.screen.set(learned);
            }
        }
        self.screen.get()?.as_ref()
    }
}

//! A loaded model: configuration, packed weights and the thread pool. Immutable after loading, so
//! that any number of sequences can share it; what changes lives in [`crate::session::Session`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
        Ok(Model { config, weights, pool, ctx })
    }
}

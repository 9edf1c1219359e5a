//! Encoders: a whole text at once, every token seeing all others, and one row for the text. All
//! that differs between architectures comes from `EncoderConfig`.
//!
//! Shapes at line ends: M rows of this pass, of several texts; E = n_embd, F = n_ff. A text's
//! result is the same bytes whatever its company and the threads.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hearth_kernels::attention::{AttnJob, AttnShape, KvLayer, KvType, attention};
use hearth_kernels::matmul::{Acts, Gate, Reads, linear};
use hearth_kernels::ops;
use hearth_kernels::pool::Pool;
use hearth_kernels::rows::for_rows;

use crate::arch::{EncoderArch, EncoderConfig, Keys, Pooling, Positions};
use crate::block::Stopped;
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::rope::RopeTable;
use crate::weights::{EncoderLayer, EncoderWeights, Linear, Norm, RankHead};

/// Tokens of a pass, if no single text has more.
const PASS: usize = 512;

/// Configuration, weights and threads; what [`crate::model::Model`] is to decoders.
pub struct Encoder {
    /// What the file says about itself.
    pub config: EncoderConfig,
    /// The tensors, packed for this machine.
    pub weights: EncoderWeights,
    /// The threads that compute; one pool in a process.
    pub pool: Arc<Pool>,
}

/// Buffers of a pass.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    heads: Vec<f32>,
    y: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    acts: Acts,
    rope: RopeTable,
}

impl Encoder {
    /// The configuration of a file, if it holds an encoder.
    ///
    /// # Errors
    /// Metadata that is missing, of a wrong type or out of range.
    pub fn config(gguf: &Gguf) -> Result<Option<EncoderConfig>, ModelError> {
        let name = gguf.meta().str("general.architecture")?;
        match name.and_then(EncoderArch::find) {
            Some(arch) => (arch.config)(&Keys::new(gguf.meta(), arch.gguf)).map(Some),
            None => Ok(None),
        }
    }

    /// Loads all tensors; without `repack` they stay in the file's map. `progress` hears bytes done
    /// and bytes in all.
    ///
    /// # Errors
    /// Missing or misshapen tensors, or cancellation.
    pub fn load(
        gguf: &Gguf,
        config: EncoderConfig,
        repack: bool,
        pool: impl Into<Arc<Pool>>,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Encoder, ModelError> {
        let pool = pool.into();
        let weights = EncoderWeights::load(gguf, &config, repack, &pool, cancel, progress)?;
        Ok(Encoder { config, weights, pool })
    }

    /// One row for each text: its embedding, or its scores. `progress` hears how many texts are
    /// done.
    ///
    /// # Errors
    /// [`Stopped`] if the pool was told to stop.
    ///
    /// # Panics
    /// If a text is empty or too long, or a token is outside the vocabulary.
    pub fn embed(
        &self,
        texts: &[Vec<u32>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<f32>>, Stopped> {
        let fits = |text: &Vec<u32>| (1..=self.config.n_ctx_train).contains(&text.len());
        assert!(texts.iter().all(fits), "a text of 1 to {} tokens", self.config.n_ctx_train);
        let (mut scratch, mut rows) = (Scratch::default(), Vec::new());
        let mut rest = texts;
        while !rest.is_empty() {
            let mut tokens = 0;
            let more = |text: &&Vec<u32>| {
                tokens += text.len();
                tokens <= PASS
            };
            let count = rest.iter().take_while(more).count().max(1);
            let (now, later) = rest.split_at(count);
            self.forward(&mut scratch, now)?;
            let mut first = 0;
            for text in now {
                let span = first * self.config.n_embd..(first + text.len()) * self.config.n_embd;
                rows.push(self.pool_rows(&scratch.x[span]));
                first += text.len();
            }
            rest = later;
            progress(rows.len());
        }
        Ok(rows)
    }

    /// Runs all layers; every token's last row stays in `s.x`.
    fn forward(&self, s: &mut Scratch, texts: &[Vec<u32>]) -> Result<(), Stopped> {
        let (config, pool, weights) = (&self.config, &*self.pool, &self.weights);
        let embd = config.n_embd;
        let tokens: Vec<(usize, u32)> =
            texts.iter().flat_map(|text| text.iter().copied().enumerate()).collect();
        s.x.resize(tokens.len() * embd, 0.0);
        for_rows(pool, &mut s.x, embd, &|row, x| {
            let (position, token) = tokens[row];
            weights.token_embd.read(token as usize, x);
            x.iter_mut().zip(&weights.token_type).for_each(|(x, add)| *x += add);
            if let Some(rows) = &weights.positions {
                let mut place = vec![0.0; embd];
                rows.read(position, &mut place);
                x.iter_mut().zip(&place).for_each(|(x, add)| *x += add);
            }
        });
        if let Positions::Rotary(rope) = &config.positions {
            s.rope.fill(rope, tokens.iter().map(|(position, _)| *position));
        }
        add_norm(pool, &mut s.x, None, &weights.embd_norm, config.norm_eps);
        let head_dim = config.head_dim();
        let mut kv: Vec<KvLayer> =
            texts.iter().map(|_| KvLayer::new(KvType::F32, config.n_head, head_dim)).collect();
        for layer in &weights.blk {
            self.attend(layer, s, texts, &mut kv);
            add_norm(pool, &mut s.x, Some(&s.y), &layer.attn_norm, config.norm_eps);
            self.feed_forward(layer, s);
            add_norm(pool, &mut s.x, Some(&s.y), &layer.ffn_norm, config.norm_eps);
            if pool.stopped() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// Attention over each text; what it gives stays in `s.y`.
    fn attend(
        &self,
        layer: &EncoderLayer,
        s: &mut Scratch,
        texts: &[Vec<u32>],
        kv: &mut [KvLayer],
    ) {
        let (config, pool, embd) = (&self.config, &*self.pool, self.config.n_embd);
        let (rows, head_dim) = (s.x.len() / embd, config.head_dim());
        let parts = [&layer.attn_q, &layer.attn_k, &layer.attn_v];
        for buffer in [&mut s.q, &mut s.k, &mut s.v, &mut s.heads, &mut s.y] {
            buffer.resize(rows * embd, 0.0);
        }
        s.acts.fill(pool, &s.x, rows, embd, Reads::of(parts.map(|part| &part.weight)));
        let [q, k, v] = parts;
        let outs = &mut [
            (&q.weight, s.q.as_mut_slice()),
            (&k.weight, s.k.as_mut_slice()),
            (&v.weight, s.v.as_mut_slice()),
        ];
        linear(pool, &s.acts, outs); // [M][E] each
        for (part, rows) in parts.into_iter().zip([&mut s.q, &mut s.k, &mut s.v]) {
            part.finish(pool, rows);
        }
        if let Positions::Rotary(rope) = &config.positions {
            for heads in [&mut s.q, &mut s.k] {
                ops::rope(pool, rope.style, heads, head_dim, rows, (&s.rope.cos, &s.rope.sin));
            }
        }
        let mut first_row = 0;
        let mut jobs = Vec::new();
        for (text, kv) in texts.iter().zip(kv) {
            let span = first_row * embd..(first_row + text.len()) * embd;
            kv.truncate(0);
            kv.append(pool, &s.k[span.clone()], &s.v[span], text.len());
            jobs.push(AttnJob { first_row, rows: text.len(), pos0: 0, kv });
            first_row += text.len();
        }
        let shape = AttnShape {
            heads: config.n_head,
            kv_heads: config.n_head,
            head_dim,
            scale: (head_dim as f32).sqrt().recip(),
            window: None,
            both_ways: true,
            softcap: None,
        };
        attention(pool, &shape, &s.q, &jobs, &mut s.heads); // [M][E]
        s.acts.fill(pool, &s.heads, rows, embd, layer.attn_output.weight.reads());
        linear(pool, &s.acts, &mut [(&layer.attn_output.weight, &mut s.y)]); // [M][E]
        layer.attn_output.finish(pool, &mut s.y);
    }

    /// The feed-forward part; what it gives stays in `s.y`.
    fn feed_forward(&self, layer: &EncoderLayer, s: &mut Scratch) {
        let (pool, embd, ff) = (&*self.pool, self.config.n_embd, self.config.n_ff);
        let (rows, up) = (s.x.len() / embd, &layer.ffn_up);
        s.up.resize(rows * ff, 0.0);
        let reads = layer.ffn_down.weight.reads();
        match &layer.ffn_gate {
            Some(gate) => {
                s.gate.resize(rows * ff, 0.0);
                let both = Reads::of([&gate.weight, &up.weight]);
                s.acts.fill(pool, &s.x, rows, embd, both);
                let outs =
                    &mut [(&gate.weight, s.gate.as_mut_slice()), (&up.weight, s.up.as_mut_slice())];
                linear(pool, &s.acts, outs); // [M][F] each
                gate.finish(pool, &mut s.gate);
                up.finish(pool, &mut s.up);
                s.acts.fill_gated(pool, Gate::Silu, (&s.gate, &s.up), (rows, ff), reads);
            }
            None => {
                s.acts.fill(pool, &s.x, rows, embd, up.weight.reads());
                linear(pool, &s.acts, &mut [(&up.weight, &mut s.up)]); // [M][F]
                up.finish(pool, &mut s.up);
                ops::gelu(pool, &mut s.up);
                s.acts.fill(pool, &s.up, rows, ff, reads);
            }
        }
        linear(pool, &s.acts, &mut [(&layer.ffn_down.weight, &mut s.y)]); // [M][E]
        layer.ffn_down.finish(pool, &mut s.y);
    }

    /// One row of a text's rows.
    fn pool_rows(&self, rows: &[f32]) -> Vec<f32> {
        let embd = self.config.n_embd;
        match self.config.pooling {
            Pooling::Mean => {
                let count = (rows.len() / embd) as f64;
                let column = |at: usize| rows[at..].iter().step_by(embd).map(|&x| f64::from(x));
                (0..embd).map(|at| (column(at).sum::<f64>() / count) as f32).collect()
            }
            Pooling::First => rows[..embd].to_vec(),
            Pooling::Last => rows[rows.len() - embd..].to_vec(),
            Pooling::Rank => match &self.weights.rank {
                Some(head) => self.scores(head, &rows[..embd]),
                None => rows[..embd].to_vec(),
            },
        }
    }

    /// What the head says of a row.
    fn scores(&self, head: &RankHead, row: &[f32]) -> Vec<f32> {
        let apply = |part: &Linear, row: &[f32]| {
            let (mut acts, mut out) = (Acts::new(), vec![0.0; part.weight.rows()]);
            acts.fill(&self.pool, row, 1, row.len(), part.weight.reads());
            linear(&self.pool, &acts, &mut [(&part.weight, &mut out)]);
            part.finish(&self.pool, &mut out);
            out
        };
        let mut row = row.to_vec();
        if let Some(dense) = &head.dense {
            row = apply(dense, &row);
            row.iter_mut().for_each(|x| *x = x.tanh());
        }
        head.output.as_ref().map_or_else(|| row.clone(), |output| apply(output, &row))
    }
}

/// x = norm(x + y).
fn add_norm(pool: &Pool, x: &mut [f32], y: Option<&[f32]>, norm: &Norm, eps: f32) {
    ops::add_layernorm(pool, x, y, (&norm.weight, &norm.bias), eps);
}

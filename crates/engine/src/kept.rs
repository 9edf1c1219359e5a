//! What was computed of a sequence, handed out in pieces to be kept elsewhere, and taken in again
//! into the prefix cache, where the next prompt that begins alike finds it.
//!
//! What comes in is not trusted, whoever kept it: its tokens must be of the vocabulary and fit the
//! context, every piece must have its number and exactly its size, and until the last one has come
//! nothing of it can be found. What the numbers themselves are cannot be checked; wrong ones make
//! wrong answers and nothing worse.

use std::sync::atomic::Ordering;

use hearth_kernels::attention::{BLOCK, KvBlock};

use crate::host::{Engine, request};
use crate::kv::KvCache;
use crate::model::Model;
use crate::protocol::{Event, Failure, Finish, Keep, KeptPart, LoadOptions, Prompt, Stats};
use crate::worker::Host;

/// Most bytes of a piece: what a pipe holds. Some dozens may wait in queues, and that is little.
pub const PIECE_BYTES: usize = 64 << 10;

/// Most positions that are handed out: their tokens fit a frame.
const MOST_POSITIONS: usize = 1 << 20;

/// To be raised whenever a kernel's results or the layout of a block change between two versions.
const NUMBERS: u32 = 1;

/// What decides the bits of keys and values besides the model's file, in words: numbers of another
/// make would be close to the right ones, and not the same.
pub(crate) fn make(model: &Model, options: &LoadOptions) -> String {
    let (config, cpu) = (&model.config, model.pool.cpu().name());
    let weights = if options.repack { "packed" } else { "unpacked" };
    let rope = if config.rope.is_stretched(model.ctx) { ", long rope" } else { "" };
    format!(
        "hearth {} (numbers {NUMBERS}), {} {cpu}, {weights} weights, {:?} cache of {} layers of \
         {} x {}{rope}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        options.kv,
        config.kv_layers,
        config.heads.kv,
        config.heads.dim,
    )
}

impl Engine {
    /// Does one job of keeping.
    pub(crate) fn keep(
        &mut self,
        id: u64,
        job: Keep,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        match job {
            Keep::Out { salt, prompt } => self.hand_out(id, salt, &prompt, out),
            Keep::In { salt, part } => self.take_in(salt, part),
        }
    }

    fn hand_out(
        &mut self,
        id: u64,
        salt: u64,
        prompt: &Prompt,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        let (mut tokens, stop) = (self.ids(prompt)?, self.stop_flag());
        tokens.truncate(MOST_POSITIONS);
        let (model, batch) = self.computing()?;
        let kv = batch.known(model, salt, &tokens);
        tokens.truncate(kv.len());
        let stats = Stats { prompt_tokens: kv.len() as u64, ..Stats::ended(Finish::Stop) };
        let mut send = |part| out(Event::Kept { id, part });
        send(KeptPart::Begin { make: self.make.clone(), tokens });
        let mut number = 0;
        for index in 0..kv.len().div_ceil(BLOCK) {
            for block in kv.blocks(index) {
                for bytes in block.to_vec().chunks(PIECE_BYTES) {
                    if stop.load(Ordering::Acquire) {
                        return Ok(Stats::ended(Finish::Cancelled));
                    }
                    send(KeptPart::Piece { number, bytes: bytes.to_vec() });
                    number += 1;
                }
            }
        }
        send(KeptPart::End);
        Ok(stats)
    }

    fn take_in(&mut self, salt: u64, part: KeptPart) -> Result<Stats, Failure> {
        // Put back only if all is well.
        let incoming = self.incoming.take().filter(|incoming| incoming.salt == salt);
        let mut stats = Stats::ended(Finish::Stop);
        match (part, incoming) {
            (KeptPart::Begin { make, tokens }, _) => {
                if make != self.make {
                    return Err(request(&format!("computed by {make}; this is {}", self.make)));
                }
                // What fits the context fits the prefix cache.
                self.check_tokens(&tokens)?;
                let (model, batch) = self.computing()?;
                self.incoming = Some(Incoming::new(salt, tokens, batch.empty(model)));
            }
            (_, None) => return Err(request("a part of a kept sequence without its beginning")),
            (KeptPart::Piece { number, bytes }, Some(mut incoming)) => {
                incoming.take(number, &bytes)?;
                self.incoming = Some(incoming);
            }
            (KeptPart::End, Some(incoming)) => {
                let Incoming { tokens, kv, .. } = incoming;
                if kv.len() != tokens.len() {
                    return Err(request(&format!(
                        "a kept sequence ended after {} of {} positions",
                        kv.len(),
                        tokens.len()
                    )));
                }
                stats.prompt_tokens = tokens.len() as u64;
                self.computing()?.1.learn(salt, &tokens, &kv);
            }
        }
        Ok(stats)
    }
}

/// A sequence on its way in.
pub(crate) struct Incoming {
    salt: u64,
    tokens: Vec<u32>,
    /// What is complete in every layer.
    kv: KvCache,
    /// The next block of the first layers.
    blocks: Vec<KvBlock>,
    /// The beginning of the block of the layer after them.
    bytes: Vec<u8>,
    /// Pieces that came.
    pieces: u64,
}

impl Incoming {
    /// Nothing has come yet for these tokens; `kv` is empty. Memory comes with the pieces.
    fn new(salt: u64, tokens: Vec<u32>, kv: KvCache) -> Self {
        Self { salt, tokens, kv, blocks: Vec::new(), bytes: Vec::new(), pieces: 0 }
    }

    fn take(&mut self, number: u64, bytes: &[u8]) -> Result<(), Failure> {
        let left = self.tokens.len() - self.kv.len();
        // No layer after the last: its blocks were shared, and the first layer's turn comes again.
        let layer = self.kv.layer(self.blocks.len());
        let size = layer.block_bytes();
        let expected = if left == 0 { 0 } else { PIECE_BYTES.min(size - self.bytes.len()) };
        if (number, bytes.len()) != (self.pieces, expected) || left == 0 {
            return Err(request(&format!(
                "piece {number} of {} bytes of a kept sequence; expected piece {} of {expected}",
                bytes.len(),
                self.pieces
            )));
        }
        self.pieces += 1;
        self.bytes.extend_from_slice(bytes);
        if let Some(block) = layer.block_from(&self.bytes) {
            self.blocks.push(block);
            self.bytes.clear();
        }
        if self.blocks.len() == self.kv.layers() {
            self.kv.share(&self.blocks, left.min(BLOCK));
            self.blocks.clear();
        }
        Ok(())
    }
}

//! The KV cache of one sequence: one store for each layer that has keys and values of its own,
//! growing by blocks as tokens come. Layers that convolve keep there what they have seen.

use hearth_kernels::attention::{KvBlock, KvLayer, KvType};

use crate::arch::Config;
use crate::protocol::KvKind;
use crate::short_conv;

/// Keys and values of one sequence.
pub struct KvCache {
    layers: Vec<KvLayer>,
}

impl KvCache {
    /// An empty cache; memory comes with the tokens.
    pub fn new(config: &Config, kind: KvKind) -> Self {
        let kind = match kind {
            KvKind::F32 => KvType::F32,
            KvKind::F16 => KvType::F16,
            KvKind::Bf16 => KvType::Bf16,
            KvKind::Q8 => KvType::Q8,
            KvKind::Q4 => KvType::Q4,
        };
        let layer = |layer| match config.short_conv_of(layer) {
            None => {
                let heads = config.heads_of(layer);
                KvLayer::new(kind, heads.kv, heads.dim)
            }
            Some(_) => short_conv::cache(kind, config.n_embd),
        };
        Self { layers: (0..config.kv_layers).map(layer).collect() }
    }

    /// Tokens held by every layer.
    pub fn len(&self) -> usize {
        self.layers.iter().map(KvLayer::len).min().unwrap_or(0)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything from position `len` on, also what a cancelled pass left in some layers.
    pub fn truncate(&mut self, len: usize) {
        self.layers.iter_mut().for_each(|layer| layer.truncate(len));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(KvLayer::bytes).sum()
    }

    /// The memory of block `index` of every layer, to be shared.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn blocks(&self, index: usize) -> Vec<KvBlock> {
        self.layers.iter().map(|layer| layer.block(index)).collect()
    }

    /// Appends the first `positions` of blocks that another sequence has computed.
    ///
    /// # Panics
    /// If the last block is not full, or the blocks are those of another model.
    pub fn share(&mut self, blocks: &[KvBlock], positions: usize) {
        assert_eq!(blocks.len(), self.layers.len(), "one block for each layer");
        for (layer, block) in self.layers.iter_mut().zip(blocks) {
            layer.share(block.clone(), positions);
        }
    }

    /// Number of stores.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The store of one layer, one of the first `Config::kv_layers`.
    pub fn layer(&self, layer: usize) -> &KvLayer {
        &self.layers[layer]
    }

    /// The same, to append to.
    pub fn layer_mut(&mut self, layer: usize) -> &mut KvLayer {
        &mut self.layers[layer]
    }
}

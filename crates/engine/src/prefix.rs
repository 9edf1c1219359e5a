//! What sequences have computed, kept for those that begin alike: a radix tree over blocks of 64
//! tokens. Memory is shared with the sequences themselves; the least recently used leaf goes first.
//!
//! Tokens are compared, never hashes of them, and every salt has trees of its own, one for each set
//! of adapters: nobody learns from the speed of an answer what somebody else has asked.

use std::collections::HashMap;

use hearth_kernels::attention::{BLOCK, KvBlock};

use crate::adapter::Active;
use crate::kv::KvCache;

/// Who may share what was computed, and what it was computed through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Only requests of the same salt share.
    pub salt: u64,
    /// Adapters and their strengths: through others, keys and values are others.
    adapters: Vec<(u64, u32)>,
}

impl Scope {
    /// What requests of this salt share that go through these adapters.
    pub fn new(salt: u64, adapters: &[Active]) -> Self {
        let mut adapters: Vec<_> = adapters.iter().map(Active::key).collect();
        adapters.sort_unstable();
        Self { salt, adapters }
    }
}

/// A tree for each scope, in one budget.
pub struct PrefixCache {
    /// Nodes in use and, as `None`, places to use again.
    nodes: Vec<Option<Node>>,
    roots: HashMap<Scope, usize>,
    /// Most blocks of tokens.
    budget: usize,
    /// Counts calls, to tell what was used last.
    clock: u64,
}

/// The keys and values of up to one block of tokens; a root has none.
struct Node {
    tokens: Vec<u32>,
    /// One for each layer.
    blocks: Vec<KvBlock>,
    scope: Scope,
    parent: Option<usize>,
    children: Vec<usize>,
    used: u64,
}

impl PrefixCache {
    /// An empty cache that will hold up to `budget` blocks of tokens.
    pub fn new(budget: usize) -> Self {
        Self { nodes: Vec::new(), roots: HashMap::new(), budget, clock: 0 }
    }

    /// Most blocks held.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Blocks held.
    pub fn len(&self) -> usize {
        self.nodes.iter().flatten().filter(|node| node.parent.is_some()).count()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.budget);
    }

    /// Fills an empty `kv` with the longest known beginning of `tokens`; returns its length.
    pub fn restore(&mut self, scope: &Scope, tokens: &[u32], kv: &mut KvCache) -> usize {
        self.clock += 1;
        let Some(&root) = self.roots.get(scope) else { return 0 };
        let (mut at, mut found) = (root, 0);
        while let Some((child, common)) = self.closest(at, &tokens[found..]) {
            let node = self.node_mut(child);
            kv.share(&node.blocks, common);
            found += common;
            at = child;
            if common < BLOCK {
                break;
            }
        }
        self.touch(at);
        found
    }

    /// Keeps what `kv` holds of `tokens`.
    pub fn store(&mut self, scope: &Scope, tokens: &[u32], kv: &KvCache) {
        self.clock += 1;
        let held = &tokens[..tokens.len().min(kv.len())];
        let mut at = self.root(scope);
        for (index, part) in held.chunks(BLOCK).enumerate() {
            at = match self.closest(at, part) {
                // Known to its end, and maybe beyond.
                Some((child, common)) if common == part.len() => child,
                // Known in its beginning only, and nothing else is in that node: it grows.
                Some((child, common)) if common == self.node_mut(child).tokens.len() => {
                    let node = self.node_mut(child);
                    node.tokens = part.to_vec();
                    node.blocks = kv.blocks(index);
                    child
                }
                _ => self.add(at, part, kv.blocks(index)),
            };
        }
        self.touch(at);
        while self.len() > self.budget && self.evict() {}
    }

    /// The child of `at` that has most in common with the beginning of `tokens`, if any has.
    fn closest(&mut self, at: usize, tokens: &[u32]) -> Option<(usize, usize)> {
        let children = &self.nodes.get(at)?.as_ref()?.children;
        let common = |&child: &usize| {
            let node = self.nodes[child].as_ref()?;
            let same = node.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            (same > 0).then_some((child, same))
        };
        children.iter().filter_map(common).max_by_key(|&(_, same)| same)
    }

    fn root(&mut self, scope: &Scope) -> usize {
        if let Some(&root) = self.roots.get(scope) {
            return root;
        }
        let root = self.place(Node {
            tokens: Vec::new(),
            blocks: Vec::new(),
            scope: scope.clone(),
            parent: None,
            children: Vec::new(),
            used: 0,
        });
        self.roots.insert(scope.clone(), root);
        root
    }

    fn add(&mut self, parent: usize, tokens: &[u32], blocks: Vec<KvBlock>) -> usize {
        let scope = self.node_mut(parent).scope.clone();
        let (tokens, children) = (tokens.to_vec(), Vec::new());
        let node = Node { tokens, blocks, scope, parent: Some(parent), children, used: 0 };
        let child = self.place(node);
        self.node_mut(parent).children.push(child);
        child
    }

    fn place(&mut self, node: Node) -> usize {
        match self.nodes.iter().position(Option::is_none) {
            Some(free) => {
                self.nodes[free] = Some(node);
                free
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        }
    }

    /// Marks a node and all before it as just used.
    fn touch(&mut self, mut at: usize) {
        let clock = self.clock;
        loop {
            let node = self.node_mut(at);
            node.used = clock;
            match node.parent {
                Some(parent) => at = parent,
                None => return,
            }
        }
    }

    /// Drops the leaf that was not used for longest; `false` if there is none.
    fn evict(&mut self) -> bool {
        let leaves = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let node = node.as_ref()?;
            let parent = node.parent.filter(|_| node.children.is_empty())?;
            Some((node.used, index, parent))
        });
        let Some((_, leaf, parent)) = leaves.min() else { return false };
        self.nodes[leaf] = None;
        let above = self.node_mut(parent);
        above.children.retain(|&child| child != leaf);
        if above.parent.is_none() && above.children.is_empty() {
            let scope = above.scope.clone();
            self.nodes[parent] = None;
            self.roots.remove(&scope);
        }
        true
    }

    fn node_mut(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("a node in use")
    }
}

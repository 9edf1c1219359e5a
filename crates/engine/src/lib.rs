//! From the bytes of a model to a stream of tokens: no network, no async, no API dialect.
//!
//! Bottom up: `gguf` reads a file, `tokenizer` and `template` turn text into ids, `arch` and
//! `weights` make it a [`model::Model`], `block` is the mathematics, `session` one sequence,
//! `sample` and `grammar` choose tokens, `speculate` guesses them, `answer` ties them together,
//! `batch` runs many answers at once, `kept` hands out what they computed and takes it in again,
//! `import` makes a file of a folder, `worker` takes requests of [`protocol`] from a pipe.
//! `encoder` is what `model` and `block` are, for models that read a whole text and write none.
//! `reference` is the slow twin of `block`, the oracle in tests.

pub mod adapter;
mod altup;
mod answer;
pub mod arch;
mod batch;
pub mod bench;
pub mod block;
pub mod describe;
mod embed;
pub mod encoder;
pub mod error;
mod ffn;
pub mod generate;
pub mod gguf;
pub mod grammar;
pub mod host;
pub mod import;
pub mod kept;
pub mod kv;
pub mod model;
mod per_layer;
pub mod perplexity;
pub mod prefix;
pub mod protocol;
pub mod reference;
pub mod rope;
pub mod sample;
pub mod screening;
pub mod session;
mod short_conv;
pub mod speculate;
pub mod stop;
pub mod template;
pub mod timers;
pub mod tokenizer;
pub mod weights;
pub mod worker;

//! From the bytes of a model to a stream of tokens: no network, no async, no API dialect.

pub mod gguf;
pub mod grammar;
pub mod protocol;
pub mod sample;
pub mod stop;
pub mod template;
pub mod tokenizer;
pub mod worker;

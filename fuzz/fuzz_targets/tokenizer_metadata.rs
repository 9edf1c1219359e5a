//! Any vocabulary over any text: a tokenizer or an error, ids inside the vocabulary, and the same
//! text whether decoded whole or token by token.
//!
//! An input that begins with `GGUF` is a whole model file; its tokenizer meets the fixed text
//! below. Any other is fields separated by byte 0x1e: switches, model, pre-tokenizer, tokens,
//! merges (both lists separated by 0x1f), types, scores, special ids, and the text.
#![no_main]

use hearth_engine::gguf::write::Writer;
use hearth_engine::gguf::{Gguf, Value};
use hearth_engine::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

const TEXT: &[u8] = "Hello,  wörld\n\n 123 <s> ▁ \u{1F525}".as_bytes();

/// Keys that name a token, in the order of the input's special ids.
const SPECIAL: &[&str] = &[
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.padding_token_id",
];

/// Keys of switches, in the order of the input's bits.
const SWITCHES: &[&str] = &[
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.escape_whitespaces",
    "tokenizer.ggml.treat_whitespace_as_suffix",
];

fuzz_target!(|bytes: &[u8]| {
    let (file, text) =
        if bytes.starts_with(b"GGUF") { (bytes.to_vec(), TEXT) } else { build(bytes) };
    let Ok(gguf) = Gguf::from_vec(file) else { return };
    let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) else { return };
    for (add_special, parse_special) in [(false, false), (true, true)] {
        check(&tokenizer, &tokenizer.encode(text, add_special, parse_special));
    }
    let _ = (tokenizer.token_bytes(u32::MAX), tokenizer.is_eog(u32::MAX), tokenizer.kind());
});

fn check(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut decoder = tokenizer.decoder();
    let mut text = String::new();
    for &id in ids {
        assert!((id as usize) < tokenizer.vocab_size(), "{id} is no token");
        text += &decoder.push(id);
    }
    text += &decoder.finish();
    assert_eq!(text, tokenizer.decode(ids));
}

/// The model file that the fields describe, and the text.
fn build(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut fields = bytes.splitn(9, |&byte| byte == 0x1e);
    let mut field = || fields.next().unwrap_or_default();
    let mut writer = Writer::new();
    for (bit, key) in SWITCHES.iter().enumerate() {
        match field_bit(bytes, bit) {
            Some(on) => writer.set(key, on),
            None => &mut writer,
        };
    }
    let _switches = field();
    let string = |bytes: &[u8]| Value::Str(bytes.into());
    let list = |bytes: &[u8]| Value::strings(bytes.split(|&byte| byte == 0x1f));
    writer.set("tokenizer.ggml.model", string(field()));
    writer.set("tokenizer.ggml.pre", string(field()));
    let tokens = field();
    let count = tokens.split(|&byte| byte == 0x1f).count();
    writer.set("tokenizer.ggml.tokens", list(tokens));
    writer.set("tokenizer.ggml.merges", list(field()));
    // The lists are as long as the vocabulary: a wrong length is refused early and finds nothing.
    let padded = |bytes: &[u8], pad: u8| {
        let all = bytes.iter().copied().chain(std::iter::repeat(pad));
        all.take(count).collect::<Vec<u8>>()
    };
    let types = padded(field(), b'1').iter().map(|&byte| i32::from(byte) - 48).collect::<Vec<_>>();
    writer.set("tokenizer.ggml.token_type", types);
    let scores =
        padded(field(), b'0').iter().map(|&byte| 48.0 - f32::from(byte)).collect::<Vec<_>>();
    writer.set("tokenizer.ggml.scores", scores);
    for (key, &byte) in SPECIAL.iter().zip(field()) {
        if byte >= 48 {
            writer.set(key, u32::from(byte) - 48);
        }
    }
    (writer.to_vec(&[]).expect("no tensors are planned"), field())
}

/// Two bits of the first byte or the byte after say of each switch: absent, off or on.
fn field_bit(bytes: &[u8], bit: usize) -> Option<bool> {
    let byte = bytes.get(bit / 3)?;
    match byte >> (2 * (bit % 3)) & 3 {
        0 | 3 => None,
        state => Some(state == 2),
    }
}

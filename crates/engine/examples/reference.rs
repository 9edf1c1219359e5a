//! Logits of the plain forward pass, for comparing with other programs: `reference MODEL IDS OUT`
//! writes row-major little-endian f32 `[tokens, vocab]`, as `hearth logits` does.

use std::error::Error;
use std::fs::File;
use std::io::Write;

use hearth_engine::arch::Config;
use hearth_engine::gguf::Gguf;
use hearth_engine::reference::logits;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, ids, out] = &args[..] else {
        return Err("usage: reference MODEL ID,ID,... OUT".into());
    };
    let gguf = Gguf::open(vec![File::open(model)?])?;
    let ids = ids.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let values = logits(&gguf, &Config::read(gguf.meta())?, &ids)?;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(File::create(out)?.write_all(&bytes)?)
}

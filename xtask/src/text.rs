//! The texts that measurements read, compressed in `testdata/text/`: "Alice's Adventures in
//! Wonderland" by Lewis Carroll for perplexity and tokens, and prompts for speculation.

use crate::cargo::root;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

const PATH: &str = "testdata/text/alice.txt.xz";
const SHA256: &str = "4cbce86540bcef439f901c89de486d295aa3848e8c4cbc911561054479e73960";

/// The whole text, 148,481 bytes of ASCII with plain line breaks.
pub(crate) fn alice() -> Result<String> {
    let text = unpack(PATH)?;
    let digest = Sha256::digest(text.as_bytes());
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == SHA256, "{PATH} unpacks to SHA-256 {found}, expected {SHA256}");
    Ok(text)
}

/// A prompt of the committed set.
#[derive(serde::Deserialize)]
pub(crate) struct Prompt {
    pub(crate) kind: String,
    #[serde(rename = "prompt")]
    pub(crate) text: String,
}

/// The committed prompts, 30 of each kind.
pub(crate) fn prompts() -> Result<Vec<Prompt>> {
    let path = "testdata/text/prompts.jsonl.xz";
    unpack(path)?.lines().map(|line| serde_json::from_str(line).context(path)).collect()
}

fn unpack(path: &'static str) -> Result<String> {
    let packed = std::fs::read(root().join(path)).context(path)?;
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut text).context(path)?;
    String::from_utf8(text).context(path)
}

/// The beginning of the text, cut at a line break after at least `bytes`.
pub(crate) fn beginning(bytes: usize) -> Result<String> {
    let mut text = alice()?;
    let end = text.get(bytes..).and_then(|tail| tail.find('\n')).map(|at| bytes + at + 1);
    text.truncate(end.context("the text is shorter than asked for")?);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_whole_and_cut_at_a_line() {
        assert_eq!(alice().unwrap().len(), 148_481);
        let part = beginning(60_000).unwrap();
        assert!(part.len() >= 60_000 && part.len() < 60_200 && part.ends_with('\n'));
    }
}

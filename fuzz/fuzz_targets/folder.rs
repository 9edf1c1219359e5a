//! Any files as a folder to be imported: an error, or a GGUF file that can be read again.
//!
//! The input is the contents of these files, in this order, separated by byte 0x1e; what comes
//! after the last separator that counts is all of the weights.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};

use hearth_engine::gguf::Gguf;
use hearth_engine::import::{Folder, Importer};
use hearth_engine::protocol::{self, MatrixType};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
];

fuzz_target!(|bytes: &[u8]| {
    let contents = bytes.splitn(FILES.len(), |byte| *byte == 0x1e);
    let present = FILES.iter().zip(contents).filter(|(_, content)| !content.is_empty());
    let files: Vec<(String, File)> =
        present.map(|(name, content)| (name.to_string(), file(content))).collect();
    let names = files.iter().map(|(name, _)| name.clone()).collect();
    let job = protocol::Folder { files: names, name: "fuzz".to_owned(), matrices: MatrixType::Q8 };
    let Ok(folder) = Folder::new(files) else { return };
    let Ok(mut importer) = Importer::new(folder, job) else { return };
    let mut out = Vec::new();
    if importer.write(&mut out).is_ok() {
        assert_eq!(out.len() as u64, importer.facts().bytes);
        Gguf::from_vec(out).expect("a file of our own");
    }
});

/// An open file without a name.
fn file(content: &[u8]) -> File {
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile());
    let mut file = file.expect("a file");
    file.write_all(content).and_then(|()| file.rewind()).expect("written");
    file
}

//! Folders of tiny models, from the goldens of `xtask/oracle/convert.py`.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use hearth_engine::import::{Folder, Importer};
use hearth_engine::protocol::{self, Failure, MatrixType};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder and what is expected of it.
pub(crate) struct Case {
    pub(crate) golden: Json,
    pub(crate) folder: TempDir,
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/import")
}

/// Every golden.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(goldens()).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .unwrap()
            .file_name()
            .into_string()
            .unwrap()
            .strip_suffix(".json.xz")
            .map(str::to_owned)
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

impl Case {
    pub(crate) fn read(name: &str) -> Case {
        let packed = std::fs::read(goldens().join(format!("{name}.json.xz"))).unwrap();
        let mut text = Vec::new();
        lzma_rs::xz_decompress(&mut packed.as_slice(), &mut text).unwrap();
        let golden: Json = serde_json::from_slice(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in golden["files"].as_object().unwrap() {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, from_hex(content.as_str().unwrap())).unwrap();
        }
        for (name, tensors) in golden["weights"].as_object().unwrap() {
            std::fs::write(folder.path().join(name), safetensors(tensors)).unwrap();
        }
        Case { golden, folder }
    }

    /// The files of the folder, open.
    pub(crate) fn open(&self) -> Vec<(String, File)> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap();
                    files.push((name.to_owned(), File::open(&path).unwrap()));
                }
            }
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    /// The file that the folder becomes.
    pub(crate) fn import(&self, matrices: MatrixType) -> Result<Vec<u8>, Failure> {
        let files = self.open();
        let names = files.iter().map(|(name, _)| name.clone()).collect();
        let job = protocol::Folder { files: names, name: "tiny".to_owned(), matrices };
        let mut importer = Importer::new(Folder::new(files)?, job)?;
        let mut bytes = Vec::new();
        importer.write(&mut bytes)?;
        assert_eq!(bytes.len() as u64, importer.facts().bytes);
        Ok(bytes)
    }

    /// Replaces a file's text, all of it.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let path = self.folder.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of tensors, each given by number, name, type and shape.
fn safetensors(tensors: &Json) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for tensor in tensors.as_array().unwrap() {
        let (name, dtype, shape) = (tensor[1].as_str().unwrap(), &tensor[2], &tensor[3]);
        let count: u64 =
            shape.as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap()).product();
        let begin = data.len();
        weights(tensor[0].as_u64().unwrap(), dtype.as_str().unwrap(), count, &mut data);
        let entry = serde_json::json!({
            "dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]
        });
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}

/// The rule of `convert.py` for elements.
fn weights(number: u64, dtype: &str, count: u64, out: &mut Vec<u8>) {
    for i in 1..=count {
        let mut x = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = x.wrapping_add(number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        x ^= x >> 32;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value =
            |bits: u32| ((x >> (64 - bits)) as f32 / (1u32 << (bits - 1)) as f32 - 1.0) / 8.0;
        match dtype {
            "F32" => out.extend(value(24).to_le_bytes()),
            "F16" => out.extend(f16::from_f32(value(11)).to_le_bytes()),
            "BF16" => out.extend(bf16::from_f32(value(8)).to_le_bytes()),
            other => panic!("{other}"),
        }
    }
}

//! Files that are damaged, changed or of an unknown kind: what is shown of them, and how errors name
//! them.

use std::path::PathBuf;

use hearth_engine::gguf::write::Writer;

use super::tiny::Kind;
use super::{Home, said, str_of};

/// A file with these numbers and no tensor.
fn small(home: &Home, name: &str, architecture: &str, numbers: &[(&str, u32)]) -> PathBuf {
    let mut writer = Writer::new();
    writer.set("general.architecture", architecture);
    for (key, value) in numbers {
        writer.set(key, *value);
    }
    home.file(name, &writer.to_vec(&[]).unwrap())
}

#[test]
fn an_error_of_a_file_begins_with_its_name() {
    let home = Home::new(Kind::Base);
    let part = |number: u32| format!("m-{number:05}-of-00002.gguf");
    let first = small(&home, &part(1), "llama", &[("split.no", 0), ("split.count", 2)]);
    let letter = home.file("letter.gguf", b"GGUF\x03\0\0\0");
    let second = home.file(&part(2), b"GGUF\x03\0\0\0");
    for (asked, named) in [(&letter, &letter), (&first, &second)] {
        for line in [&["run", str_of(asked), "--raw", "a"][..], &["show", str_of(asked)]] {
            let output = home.bare(line).output().unwrap();
            assert_eq!(output.status.code(), Some(5), "{}", said(&output));
            let expected = format!("error: {}: ", named.display());
            assert!(said(&output).starts_with(&expected), "{}", said(&output));
        }
    }
    let vocabulary = Home::new(Kind::Vocabulary);
    let error = vocabulary.fails("run", &["--raw", "a"], 5);
    assert!(error.starts_with(&format!("error: {}: ", vocabulary.model.display())), "{error}");
}

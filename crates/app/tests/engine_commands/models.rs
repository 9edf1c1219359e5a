//! Files that are damaged, changed or of an unknown kind: what is shown of them, and how errors name
//! them.

use std::io::Write;
use std::path::PathBuf;

use hearth_engine::gguf::write::Writer;
use serde_json::Value;

use super::tiny::{BROKEN, Kind};
use super::{Home, piped, said, str_of};

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

#[test]
fn an_unknown_architecture_is_shown_as_far_as_the_file_states_it() {
    let home = Home::new(Kind::Base);
    let path = small(&home, "fancy.gguf", "fancy", &[("fancy.block_count", 3)]);
    let show = |more: &[&str]| {
        let output = home.bare(&[&["show", str_of(&path)], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = show(&[]);
    assert!(text.contains("unknown architecture `fancy`: this version cannot run it"), "{text}");
    assert!(!text.contains("context_length") && !text.contains("vocab_size"), "{text}");
    let card: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    assert_eq!((&card["block_count"], &card["supported"]), (&3.into(), &false.into()));
    assert_eq!(card["embedding_length"], Value::Null);
}

#[test]
fn a_template_that_cannot_be_used_gets_a_word() {
    let home = Home::new(Kind::Broken);
    let text = home.ok("show", &[]);
    assert!(text.contains("the chat template cannot be used: "), "{text}");
    assert_eq!(home.ok("show", &["--template"]), format!("{BROKEN}\n"));
    let error = home.fails("run", &["hello"], 9);
    assert!(error.contains("cannot be used") && !error.contains("base model"), "{error}");
    assert_eq!(Home::new(Kind::Chat).json("show", &[])["warnings"], Value::Array(vec![]));
}

#[test]
fn a_stored_model_that_changed_is_shown_with_a_warning() {
    let home = Home::new(Kind::Chat);
    home.ok("import", &["--name", "mine"]);
    let path = home.model.clone();
    let home = Home { model: "mine".into(), ..home };
    let whole = std::fs::read(&path).unwrap();

    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    let card = home.json("show", &[]);
    assert_eq!((&card["name"], &card["file_name"]), (&"mine".into(), &"tiny".into()));
    let size = format!("it has {} bytes and had {}", whole.len() + 4, whole.len());
    assert!(card["warnings"][0].as_str().unwrap().contains(&size), "{card}");

    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let text = home.ok("show", &[]);
    assert!(text.contains("warnings:") && text.contains("not downloaded whole"), "{text}");
    std::fs::remove_file(&path).unwrap();
    assert!(home.ok("show", &[]).contains("the file is gone"));
    home.fails("show", &["--template"], 5);
    home.fails("run", &["hello"], 5);
}

#[test]
fn a_file_needs_no_home() {
    let home = Home::new(Kind::Chat);
    let out = home.folder.path().join("out");
    let lines: [&[&str]; 4] = [
        &["run", "--raw", "a", "--max-tokens", "1"],
        &["tokenize"],
        &["logits", "--tokens", "1", "--out", str_of(&out)],
        &["show"],
    ];
    for line in lines {
        let mut command = home.command(line[0], &line[1..]);
        command.env_remove("HOME");
        piped(command, b"");
    }
    let homeless = |line: &[&str]| {
        let output = home.bare(line).env_remove("HOME").output().unwrap();
        (output.status.code(), said(&output))
    };
    for line in [&["list"][..], &["show", "smollm2:135m"], &["run", "smollm2:135m", "a"]] {
        let (code, error) = homeless(line);
        assert_eq!(code, Some(2), "{line:?}: {error}");
        assert!(error.contains("`--store`, HEARTH_STORE"), "{error}");
    }
    assert_eq!(homeless(&["show", "./none.gguf"]).0, Some(3));
    assert_eq!(homeless(&["list", "--store", str_of(home.folder.path())]).0, Some(0));
    assert_eq!(homeless(&["doctor", "--require-isolation", "none"]).0, Some(0));
    assert_eq!(homeless(&["config", "path"]).0, Some(2));
}

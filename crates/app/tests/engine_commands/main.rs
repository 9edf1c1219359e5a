//! The commands that run a model, as a user runs them: the real program, its real sealed child, a
//! tiny model.
#![cfg(target_os = "linux")]

mod adapters;
mod encoders;
mod models;
mod repl;
mod session;
mod tiny;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tiny::Kind;

struct Home {
    folder: TempDir,
    model: PathBuf,
}

impl Home {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny::write(folder.path(), kind);
        Self { folder, model }
    }

    /// `hearth COMMAND MODEL ARGS`.
    fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut line = self.bare(&[command]);
        line.arg(&self.model).args(args);
        line
    }

    /// With signals as a terminal gives them: whoever starts the tests in the background may have
    /// set them aside, and that is inherited.
    fn bare(&self, args: &[&str]) -> Command {
        let mut line = Command::new("/usr/bin/env");
        line.args(["--default-signal=INT,HUP,TERM", env!("CARGO_BIN_EXE_hearth")]).args(args);
        line.env_clear().env("HOME", self.folder.path()).stdin(Stdio::null());
        line
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Stdout of a run that must succeed.
    fn ok(&self, command: &str, args: &[&str]) -> String {
        let output = self.command(command, args).output().unwrap();
        assert!(output.status.success(), "{command} {args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, command: &str, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(command, &[args, &["--json"]].concat())).unwrap()
    }

    /// Stderr of a run that must end with `code` and print nothing on stdout.
    fn fails(&self, command: &str, args: &[&str], code: i32) -> String {
        let output = self.command(command, args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command} {args:?}: {}", said(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        said(&output)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn str_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs with this on stdin; stdout of a run that must succeed.
fn piped(mut command: Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {}{shown:?}", output.status, said(&output));
    shown.into_owned()
}

/// What the seal reaches on this machine.
fn isolation(home: &Home) -> String {
    let output = home.bare(&["doctor", "--json", "--require-isolation", "none"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(facts["layers"].as_array().unwrap().len(), 4);
    facts["isolation"].as_str().unwrap().to_owned()
}

#[test]
fn doctor_and_verbose_name_the_level_in_force() {
    let home = Home::new(Kind::Base);
    let level = isolation(&home);
    let output =
        home.command("run", &["--raw", "a", "--max-tokens", "2", "--verbose"]).output().unwrap();
    assert!(said(&output).contains(&format!("isolation {level}\n")), "{}", said(&output));
    assert!(!said(&output).contains("refused"), "{}", said(&output));
    let strict = home.command("run", &["--raw", "a", "--require-isolation", "full"]).output();
    let strict = strict.unwrap();
    if level == "full" {
        assert!(strict.status.success(), "{}", said(&strict));
    } else {
        assert_eq!(strict.status.code(), Some(8));
        assert!(said(&strict).contains("--require-isolation"), "{}", said(&strict));
    }
}

#[test]
fn tokenize_takes_stdin_byte_for_byte_and_needs_no_tensors() {
    let home = Home::new(Kind::Vocabulary);
    let input = "aé\n\0".as_bytes();
    let line = piped(home.command("tokenize", &["--no-bos"]), input);
    assert_eq!(line, "97 195 169 10 0\n");
    let line = piped(home.command("tokenize", &["--json"]), input);
    assert_eq!(line, "[256,97,195,169,10,0]\n");
    let text = b"<s>";
    assert_eq!(piped(home.command("tokenize", &["--no-bos"]), text), "60 115 62\n");
    let line = piped(home.command("tokenize", &["--no-bos", "--parse-special"]), text);
    assert_eq!(line, "256\n");
    let error = home.fails("run", &["--raw", "a"], 5);
    assert!(!error.is_empty());
}

#[test]
fn logits_are_rows_and_the_same_for_any_number_of_threads() {
    let home = Home::new(Kind::Base);
    let rows = |threads: &str| {
        let out = home.folder.path().join("logits.f32");
        let args = ["--tokens", "1,2,3", "--out", str_of(&out), "--threads", threads];
        assert_eq!(home.ok("logits", &args), "");
        std::fs::read(out).unwrap()
    };
    let one = rows("1");
    assert_eq!(one.len(), 3 * tiny::VOCAB * 4);
    assert_eq!(one, rows("2"));
    let first = f32::from_le_bytes(*one.first_chunk().unwrap());
    assert!(first.is_finite() && first != 0.0);
    let out = home.folder.path().join("none");
    let error = home.fails("logits", &["--tokens", "1,999", "--out", str_of(&out)], 9);
    assert!(error.contains("999"), "{error}");
}

#[test]
fn logits_replace_a_file_only_when_they_are_complete() {
    let home = Home::new(Kind::Base);
    let folder = home.folder.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let out = folder.join("logits.f32");
    std::fs::write(&out, "precious").unwrap();
    home.fails("logits", &["--tokens", "1,999", "--out", str_of(&out)], 9);
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    home.ok("logits", &["--tokens", "1", "--out", str_of(&out)]);
    assert_eq!(std::fs::read(&out).unwrap().len(), tiny::VOCAB * 4);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    home.ok("logits", &["--tokens", "1", "--out", "/dev/null"]);
}

#[test]
fn inputs_without_an_end_are_refused() {
    let home = Home::new(Kind::Base);
    let endless = || std::fs::File::open("/dev/zero").unwrap();
    for (command, args) in [("tokenize", &[][..]), ("run", &["--raw"])] {
        let output = home.command(command, args).stdin(endless()).output().unwrap();
        assert_eq!(output.status.code(), Some(10), "{command}: {}", said(&output));
        assert!(said(&output).contains("16777216 bytes"), "{}", said(&output));
    }
    // The largest text that is read is a little more than a frame holds.
    let largest = home.file("largest", &vec![b'a'; 16 << 20]);
    let input = std::fs::File::open(largest).unwrap();
    let output = home.command("tokenize", &[]).stdin(input).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert_eq!(said(&output).matches("expected 1 to 16777216").count(), 1, "{}", said(&output));
    home.fails("perplexity", &["--file", "/dev/zero"], 10);
    home.fails("run", &["--raw", "a", "--json-schema", "/dev/zero"], 2);
    home.fails("run", &["--raw", "a", "--config", "/dev/zero"], 2);
}

#[test]
fn numbers_out_of_range_are_refused_before_a_model_is_looked_for() {
    let home = Home { model: "no-such-model".into(), ..Home::new(Kind::Vocabulary) };
    for (option, value) in [
        ("--temp", "-1"),
        ("--top-p", "1.5"),
        ("--seed", "-1"),
        ("--top-k", "-1"),
        ("--threads", "-1"),
        ("--threads", "513"),
        ("--ctx", "-1"),
        ("--logit-bias", "5+inf"),
    ] {
        let error = home.fails("run", &["--raw", "a", option, value], 2);
        assert!(
            error.contains(option) && error.contains(value.trim_start_matches("5+")),
            "{error}"
        );
    }
    home.fails("bench", &["--threads", "513"], 2);
    home.fails("run", &["--raw", "a", "--threads", "512"], 3);
}

#[test]
fn a_run_without_a_model_takes_that_of_the_settings() {
    let home = Home::new(Kind::Base);
    let mut command = home.bare(&["run", "--raw", "--json", "--max-tokens", "1"]);
    command.env("HEARTH_MODEL", &home.model);
    let answer: Value = serde_json::from_str(&piped(command, b"four")).unwrap();
    assert_eq!(answer["prompt_tokens"], 5);
    let none = home.file("none.toml", b"model = \"\"");
    let output = home.bare(&["run", "--config", str_of(&none)]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("setting `model`"), "{}", said(&output));
}

#[test]
fn a_run_is_deterministic_and_bounded() {
    let home = Home::new(Kind::Base);
    let args = ["--raw", "Once upon", "--max-tokens", "20"];
    let first = home.json("run", &args);
    assert_eq!(first["output_tokens"], 20);
    assert_eq!(first["finish"], "length");
    // Nine bytes and `<s>`.
    assert_eq!(first["prompt_tokens"], 10);
    let text = first["text"].as_str().unwrap();
    assert_eq!(home.json("run", &args)["text"].as_str().unwrap(), text);
    let streamed = home.ok("run", &args);
    assert_eq!(streamed.strip_suffix('\n').unwrap_or(&streamed), text.trim_end_matches('\n'));
    let hot = home.json("run", &[&args[..], &["--temp", "3", "--seed", "1"]].concat());
    assert_ne!(hot["text"].as_str().unwrap(), text);
}

#[test]
fn constraints_and_stops_hold() {
    let home = Home::new(Kind::Base);
    let answer = home.ok("run", &["--raw", "x", "--regex", "[ab]{5}c"]);
    let letters: Vec<char> = answer.trim_end().chars().collect();
    assert_eq!(letters.len(), 6, "{answer}");
    assert!(letters[..5].iter().all(|c| "ab".contains(*c)) && letters[5] == 'c', "{answer}");
    let schema =
        home.file("schema.json", br#"{"type":"array","items":{"type":"integer"},"maxItems":2}"#);
    let args = ["--raw", "x", "--json-schema", str_of(&schema), "--max-tokens", "300"];
    let value: Value = serde_json::from_str(&home.ok("run", &args)).expect("JSON as asked");
    assert!(value.is_array());
    let answer = home.ok("run", &["--raw", "x", "--regex", "[ab]{5}c", "--stop", "c"]);
    assert!(!answer.contains('c'), "{answer}");
    let error = home.fails("run", &["--raw", "x", "--regex", "(("], 9);
    assert!(error.len() > 10, "{error}");
}

#[test]
fn a_constraint_gives_the_same_with_guesses_of_what_it_forces() {
    let home = Home::new(Kind::Base);
    let schema = home.file(
        "schema.json",
        br#"{"type":"object","additionalProperties":false,"required":["identifier","description"],
            "properties":{"identifier":{"type":"integer","maximum":99999},
            "description":{"enum":["something quite long","something else"]}}}"#,
    );
    // Whether a guess is worth checking is judged by measured time, which others on the machine can
    // spoil: not every answer needs guesses, but some do.
    let mut accepted = 0;
    for (option, text) in [
        ("--json-schema", str_of(&schema)),
        ("--regex", "(yes, that is so\\. ){2}(no|never)"),
        ("--regex", "a{3}(b|cc)d{40}"),
    ] {
        for temp in ["0", "1.5"] {
            let args = ["--raw", "x", option, text, "--temp", temp];
            let with = home.json("run", &args);
            let without = home.json("run", &[&args[..], &["--no-speculation"]].concat());
            assert_eq!(with["text"], without["text"], "{text}");
            assert_eq!(with["finish"], without["finish"]);
            assert_eq!(with["output_tokens"], without["output_tokens"]);
            assert_eq!(without["guessed_tokens"], 0);
            accepted += with["accepted_tokens"].as_u64().unwrap();
        }
    }
    assert!(accepted > 5, "{accepted} guesses came true in all answers");
}

#[test]
fn a_draft_changes_nothing_but_the_time() {
    let home = Home::new(Kind::Base);
    let args = ["--raw", "Once upon", "--max-tokens", "80", "--no-loop-detector"];
    let plain = home.json("run", &[&args[..], &["--no-speculation"]].concat());
    // Whether guesses are checked is judged by measured time: once in five it is not disturbed.
    let accepts = (0..5).any(|_| {
        let drafted = home.json("run", &[&args[..], &["--draft", str_of(&home.model)]].concat());
        assert_eq!(drafted["text"], plain["text"]);
        drafted["accepted_tokens"].as_u64().unwrap() > 5
    });
    assert!(accepts, "no guess of the draft came true");
    let bad = Home::new(Kind::Vocabulary);
    let error = home.fails("run", &["--raw", "a", "--draft", str_of(&bad.model)], 9);
    assert!(error.contains("the draft model cannot be used"), "{error}");
}

#[test]
fn chat_needs_a_template() {
    let base = Home::new(Kind::Base);
    let error = base.fails("run", &["hello"], 9);
    assert!(error.contains("--raw"), "{error}");
    let chat = Home::new(Kind::Chat);
    let tokens = |args: &[&str]| {
        let args = [args, &["--max-tokens", "1"]].concat();
        chat.json("run", &args)["prompt_tokens"].as_u64().unwrap()
    };
    // `<s>`, then one token for each byte of `[user]hello\n[assistant]`.
    assert_eq!(tokens(&["hello"]), 1 + 23);
    assert_eq!(tokens(&["hello", "--system", "be kind"]), 1 + 23 + 16);
}

#[test]
fn an_error_of_the_model_does_not_steer_the_terminal() {
    let error = Home::new(Kind::Hostile).fails("run", &["hello"], 9);
    assert!(error.contains("]0;owned") && error.ends_with("…\n"), "{error}");
    assert!(!error.trim_end().contains(char::is_control), "{error:?}");
}

#[test]
fn stdin_can_be_the_prompt_or_a_part_of_it() {
    let home = Home::new(Kind::Base);
    let tokens = |args: &[&str], input: &[u8]| {
        let args = [args, &["--raw", "--json", "--max-tokens", "1"]].concat();
        let answer: Value =
            serde_json::from_str(&piped(home.command("run", &args), input)).unwrap();
        answer["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(tokens(&[], b"four\n"), 6);
    assert_eq!(tokens(&["say:", "-"], b"four"), 10);
    // A prompt without `-` leaves stdin alone.
    assert_eq!(tokens(&["say:"], b"four"), 5);
    let error = home.fails("run", &["--raw"], 2);
    assert!(error.contains("empty"), "{error}");
}

#[test]
fn show_and_import_say_what_the_file_says() {
    let home = Home::new(Kind::Chat);
    let card = home.json("show", &["--metadata"]);
    assert_eq!((&card["architecture"], &card["file_name"]), (&"llama".into(), &"tiny".into()));
    assert_eq!(card["vocab_size"], tiny::VOCAB);
    assert_eq!(card["metadata"]["general.name"], "tiny");
    assert_eq!(card["metadata"]["llama.context_length"], tiny::CONTEXT.to_string());
    let template = home.ok("show", &["--template"]);
    assert_eq!(card["chat_template"], template.trim_end_matches('\n'));
    let digest = card["chat_template_sha256"].as_str().unwrap();
    let text = home.ok("show", &[]);
    assert!(text.contains(digest) && !text.contains(template.trim()), "{text}");

    let imported = home.json("import", &["--name", "mine:chat"]);
    assert_eq!((&imported["family"], &imported["instruct"]), (&"llama".into(), &true.into()));
    assert_eq!(
        imported["quant"],
        card["tensor_types"].as_str().unwrap().split(',').next().unwrap()
    );
    let shown = home.bare(&["show", "mine:chat", "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["chat_template_sha256"], digest);

    let base = Home::new(Kind::Base);
    assert_eq!(base.json("show", &[])["chat_template"], Value::Null);
    let error = base.fails("show", &["--template"], 3);
    assert!(error.contains("carries no chat template") && !error.contains("pull"), "{error}");
}

/// A model in use by one process is not removed by another.
#[test]
fn rm_refuses_while_a_model_runs() {
    let home = Home::new(Kind::Base);
    home.ok("import", &["--name", "mine"]);
    let home = Home { model: "mine".into(), ..home };
    let mut busy = busy(&home);
    let rm = home.bare(&["rm", "mine"]).output().unwrap();
    assert_eq!(rm.status.code(), Some(7), "{}", said(&rm));
    busy.kill().unwrap();
    busy.wait().unwrap();
    let rm = home.bare(&["rm", "mine"]).output().unwrap();
    assert!(rm.status.success(), "{}", said(&rm));
}

#[test]
fn errors_have_their_codes() {
    let home = Home::new(Kind::Base);
    let error = home.fails("run", &["--raw", "far too long", "--ctx", "8"], 10);
    assert!(error.contains("13 tokens") && error.contains("keep-end"), "{error}");
    let args = ["--raw", "far too long", "--ctx", "8", "--overflow", "drop-oldest"];
    assert!(!home.fails("run", &args, 10).contains("drop-oldest"));
    home.ok("run", &["--raw", "far too long", "--ctx", "8", "--overflow", "keep-end"]);
    home.fails("run", &["--raw", "a", "--temp", "warm"], 2);
    let not_a_model = home.file("letter.gguf", b"GGUF\x03\0\0\0");
    let output = home.bare(&["run", str_of(&not_a_model), "--raw", "a"]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
}

#[test]
fn an_answer_cut_inside_a_character_ends_before_it() {
    let home = Home::new(Kind::Base);
    // The model is made to write the first byte of a character of two.
    let half = ["--raw", "a", "--max-tokens", "1", "--logit-bias", "195+99"];
    assert_eq!(home.ok("run", &half), "");
}

#[test]
fn perplexity_and_bench_report_their_fields() {
    let home = Home::new(Kind::Base);
    let text = home.file("text", "All work and no play. ".repeat(20).as_bytes());
    let report = home.json("perplexity", &["--file", str_of(&text), "--ctx", "64"]);
    assert!(report["ppl"].as_f64().unwrap() > 1.0);
    assert!(report["tokens"].as_u64().unwrap() > 64);
    let report = home.json("bench", &["--prompt", "16", "--gen", "4", "--runs", "2"]);
    for figure in ["prefill_tok_s", "decode_tok_s", "load_ms", "peak_rss_bytes"] {
        assert!(report[figure].as_f64().unwrap() > 0.0, "{figure}: {report}");
    }
}

/// A run that goes on for long, with its first bytes already written.
fn busy(home: &Home) -> Child {
    let long =
        ["--raw", "a", "--max-tokens", "60000", "--no-loop-detector", "--logit-bias", "257-inf"];
    let mut command = home.command("run", &long);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    child
}

/// Process ids of a process's children.
fn children(pid: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .flat_map(|task| {
            let list = std::fs::read_to_string(task.unwrap().path().join("children"));
            let list = list.unwrap_or_default();
            list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
        })
        .collect()
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn a_killed_engine_is_one_clear_line() {
    let home = Home::new(Kind::Base);
    let run = busy(&home);
    let engine = children(run.id());
    assert_eq!(engine.len(), 1);
    signal(engine[0], rustix::process::Signal::KILL);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let error = said(&output);
    assert!(error.contains("killed from outside"), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
}

#[test]
fn ctrl_c_stops_the_answer() {
    let home = Home::new(Kind::Base);
    let run = busy(&home);
    signal(run.id().cast_signed(), rustix::process::Signal::INT);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(output.stdout.ends_with(b"\n"));
}

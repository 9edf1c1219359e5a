//! A conversation on a pseudo-terminal, which python3 holds.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::tiny::Kind;
use super::{Home, piped, str_of};

/// `hearth run` on a terminal; what to await and to type is read from stdin.
fn terminal(home: &Home, args: &[&str]) -> Command {
    let mut line = Command::new("python3");
    line.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine_commands/repl.py"))
        .arg(env!("CARGO_BIN_EXE_hearth"))
        .args(["run", str_of(&home.model)])
        .args(args)
        .env("HOME", home.folder.path())
        .env("TERM", "xterm");
    for name in ["XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "NO_COLOR"] {
        line.env_remove(name);
    }
    line
}

/// What a terminal showed while these texts were awaited and typed in turn.
pub(super) fn conversation(home: &Home, args: &[&str], steps: &[(&str, &str)]) -> String {
    let script: Vec<String> =
        steps.iter().map(|step| Value::from(vec![step.0, step.1]).to_string()).collect();
    piped(terminal(home, args), (script.join("\n") + "\n").as_bytes())
}

/// Answers of a few tokens that end by themselves.
pub(super) const SHORT: [&str; 6] = ["--temp", "1", "--seed", "7", "--logit-bias", "257+4"];

pub(super) const PROMPT: &str = ">>> ";
const UP: &str = "\x1b[A";
/// Kills the engine, and goes on when that was noticed.
pub(super) const KILL: &str = "\0kill";
const CTRL_C: &str = "\x03";
pub(super) const CTRL_D: &str = "\x04";

#[test]
fn a_person_holds_a_conversation() {
    let home = Home::new(Kind::Chat);
    let limits = SHORT;
    let shown = conversation(
        &home,
        &limits,
        &[
            (PROMPT, "/help\r"),
            ("/help ", ""),
            ("/compact ", ""),
            (PROMPT, "/compact\r"),
            ("nothing to shorten", ""),
            (PROMPT, "\"\"\"one\r"),
            ("... ", "two\"\"\"\r"),
            (PROMPT, "/compact\r"),
            ("stands for the conversation", ""),
            (PROMPT, "/clear\r"),
            ("(the conversation is forgotten)", ""),
            (PROMPT, "/compact\r"),
            ("nothing to shorten", ""),
            (PROMPT, "/nonsense\r"),
            ("/nonsense?", ""),
            (PROMPT, "/bye\r"),
        ],
    );
    assert!(!shown.contains("error:"), "{shown}");
    let steps = [
        (PROMPT, &*format!("{UP}{UP}")),
        ("/nonsense", CTRL_C),
        ("(Ctrl-D or /bye leaves)", ""),
        (PROMPT, CTRL_D),
    ];
    let again = conversation(&home, &limits, &steps);
    assert!(!again.contains("error:"), "{again}");
}

#[test]
fn a_text_of_several_lines_is_recalled_whole() {
    let home = Home::new(Kind::Chat);
    let args = [&SHORT[..], &["--verbose"]].concat();
    let first = [
        (PROMPT, "\"\"\"one\r"),
        ("... ", "two\"\"\"\r"),
        ("context   ", ""),
        (PROMPT, UP),
        ("\"\"\"one", ""),
        ("two\"\"\"", CTRL_C),
        (PROMPT, CTRL_D),
    ];
    let shown = conversation(&home, &args, &first);
    // `<s>`, then one token for each byte of `[user]one\ntwo\n[assistant]`.
    assert!(shown.contains("prompt    26 tokens"), "{shown}");
    let again = [
        (PROMPT, UP),
        ("\"\"\"one", ""),
        ("two\"\"\"", "\r"),
        ("context   ", ""),
        (PROMPT, CTRL_D),
    ];
    let shown = conversation(&home, &args, &again);
    assert!(shown.contains("prompt    26 tokens"), "{shown}");
}

#[test]
fn ctrl_c_ends_the_answer_and_not_the_conversation() {
    let home = Home::new(Kind::Chat);
    let endless =
        ["--ctx", "65536", "--max-tokens", "60000", "--no-loop-detector", "--logit-bias", "101+99"];
    let steps =
        [(PROMPT, "go\r"), ("\n", ""), ("eeee", CTRL_C), ("(stopped)", ""), (PROMPT, CTRL_D)];
    conversation(&home, &endless, &steps);
}

#[test]
fn an_engine_that_died_between_two_answers_gets_one_line() {
    let home = Home::new(Kind::Chat);
    let steps = [
        (PROMPT, "hello\r"),
        (PROMPT, KILL),
        ("", "again\r"),
        ("killed from outside (SIGKILL); starting it again", ""),
        (PROMPT, "and again\r"),
        (PROMPT, CTRL_D),
    ];
    let shown = conversation(&home, &SHORT, &steps);
    assert!(!shown.contains("error:"), "{shown}");
    assert_eq!(shown.matches("the engine process").count(), 1, "{shown}");
}

#[test]
fn a_context_that_fills_gets_a_word() {
    let home = Home::new(Kind::Chat);
    let small = ["--ctx", "64", "--max-tokens", "26", "--logit-bias", "101+99"];
    let steps = [
        (PROMPT, "hello there\r"),
        ("of 64 tokens", ""),
        (PROMPT, "and again\r"),
        ("error:", ""),
        (PROMPT, CTRL_D),
    ];
    let shown = conversation(&home, &small, &steps);
    assert!(shown.contains("/compact shortens"), "{shown}");
    let (_, error) = shown.split_once("error:").unwrap();
    assert!(error.contains("/clear") && !error.contains("--"), "{error}");
}

#[test]
fn a_full_conversation_is_compacted_whatever_answers_must_obey() {
    let home = Home::new(Kind::Chat);
    let limits = [&SHORT[..], &["--ctx", "512", "--max-tokens", "1", "--regex", "e+"]].concat();
    let long = format!("{}\r", "hello ".repeat(60));
    let steps = [
        (PROMPT, &*long),
        (PROMPT, &*long),
        ("error:", ""),
        (PROMPT, "/compact\r"),
        ("newest part", ""),
        ("stands for the conversation", ""),
        (PROMPT, "and now?\r"),
        (PROMPT, CTRL_D),
    ];
    let shown = conversation(&home, &limits, &steps);
    assert_eq!(shown.matches("error:").count(), 1, "{shown}");
}

#[test]
fn a_summary_without_an_end_replaces_nothing() {
    let home = Home::new(Kind::Chat);
    let steps = [
        (PROMPT, "hello\r"),
        (PROMPT, "/compact\r"),
        ("the conversation is as it was", ""),
        (PROMPT, "/compact\r"),
        ("the conversation is as it was", ""),
        (PROMPT, CTRL_D),
    ];
    conversation(&home, &["--max-tokens", "8", "--logit-bias", "101+99"], &steps);
}

#[test]
fn a_base_model_is_refused_before_anything_is_typed() {
    let home = Home::new(Kind::Base);
    let output = terminal(&home, &[]).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(9), "{shown}");
    assert!(shown.contains("--raw") && !shown.contains(PROMPT), "{shown}");
    conversation(&home, &["--raw", "--max-tokens", "1"], &[(PROMPT, CTRL_D)]);
}

#[test]
fn errors_of_the_command_line_have_the_colour_that_was_asked_for() {
    let home = Home::new(Kind::Vocabulary);
    for (when, colour) in [("never", false), ("always", true)] {
        let mut line = terminal(&home, &["--wrong", "--color", when]);
        let output = line.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.stdout.contains(&0x1b), colour, "{when}");
    }
}

//! `hearth run --session`: conversations that outlive the program, and files that are not what it
//! wrote.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::repl::{CTRL_D, KILL, PROMPT, SHORT, conversation};
use super::tiny::Kind;
use super::{Home, said, signal, str_of};

/// Answers of exactly so many tokens.
const LIMITS: [&str; 4] = ["--max-tokens", "9", "--logit-bias", "257-inf"];

impl Home {
    fn session(&self) -> String {
        str_of(&self.folder.path().join("session")).to_owned()
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join(".local/share/hearth/key")
    }

    /// One more turn.
    fn turn(&self, text: &str, more: &[&str]) -> Value {
        let session = self.session();
        self.json("run", &[&["--session", &session, text], &LIMITS[..], more].concat())
    }

    /// Stderr of a turn that must fail and leave the file alone.
    fn fails_to_go_on(&self, more: &[&str], code: i32) -> String {
        let session = self.session();
        let before = std::fs::read(&session).unwrap();
        let args = [&["--session", &session, "and now?"], more].concat();
        let error = self.fails("run", &args, code);
        assert_eq!(std::fs::read(self.session()).unwrap(), before);
        error
    }

    /// Unfinished files.
    fn parts(&self) -> usize {
        let entries = self.folder.path().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".part")).count()
    }

    /// `hearth run` where no file may grow beyond some kilobytes: what follows from the signal for
    /// it is left to the caller.
    fn cramped(&self, prefix: &str, args: &[&str]) -> Command {
        let line = self.command("run", args);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{prefix} ulimit -f 40; exec \"$0\" \"$@\"")]);
        shell.arg(line.get_program()).args(line.get_args());
        shell.env_clear().env("HOME", self.folder.path()).stdin(Stdio::null());
        shell
    }
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap()
}

/// What the template makes of a conversation, for `--raw`.
fn rendered(turns: &[(&str, &str)], last: &str) -> String {
    let said: String =
        turns.iter().map(|(user, model)| format!("[user]{user}\n[assistant]{model}\n")).collect();
    format!("{said}[user]{last}\n[assistant]")
}

#[test]
fn a_second_call_goes_on_and_computes_nothing_twice() {
    let home = Home::new(Kind::Chat);
    for kv in ["f32", "f16", "bf16", "q8"] {
        // Letters are the same tokens in the next prompt; noise might not be.
        let more = ["--kv", kv, "--regex", "[a-z]{9}"];
        let first = home.turn("My name is Bob.", &more);
        assert_eq!(first["cached_tokens"], 0);
        let second = home.turn("What is my name?", &more);
        let turns = [("My name is Bob.", text(&first))];
        let raw = rendered(&turns, "What is my name?");
        let afresh = home.json("run", &[&["--raw", &raw], &LIMITS[..], &more].concat());
        assert_eq!(afresh["cached_tokens"], 0);
        assert_eq!(
            (&second["text"], &second["prompt_tokens"]),
            (&afresh["text"], &afresh["prompt_tokens"])
        );
        // The first prompt and its answer but for the last token, which no pass has taken.
        let known = first["prompt_tokens"].as_u64().unwrap() + 8;
        assert_eq!(second["cached_tokens"], known);
        let third = home.turn("Sure?", &more);
        let turns = [turns[0], ("What is my name?", text(&second))];
        let raw = rendered(&turns, "Sure?");
        let afresh = home.json("run", &[&["--raw", &raw], &LIMITS[..], &more].concat());
        assert_eq!(third["text"], afresh["text"]);
        assert!(third["cached_tokens"].as_u64().unwrap() > known);
        std::fs::remove_file(home.session()).unwrap();
    }
}

#[test]
fn nobody_else_can_read_it() {
    let home = Home::new(Kind::Chat);
    let first = home.turn("My name is Bob.", &["--system", "be kind"]);
    let bytes = std::fs::read(home.session()).unwrap();
    let model = str_of(&home.model).as_bytes();
    for secret in [&b"is Bob."[..], b"be kind", text(&first).as_bytes(), b"assistant", model] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{secret:?}");
    }
    for (path, bytes) in [(home.session().into(), bytes.len()), (home.key(), 32)] {
        let meta = std::fs::metadata(path).unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.len()), (0o600, bytes as u64));
    }
    std::fs::set_permissions(home.key(), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(home.fails_to_go_on(&[], 6).contains("chmod 600"));
    std::fs::remove_file(home.key()).unwrap();
    assert!(home.fails_to_go_on(&[], 5).contains("this installation's key"));
}

#[test]
fn t10_a_file_that_was_changed_or_cut_is_refused() {
    let home = Home::new(Kind::Chat);
    home.turn(&"My name is Bob. ".repeat(8), &[]);
    let good = std::fs::read(home.session()).unwrap();
    // In the beginning, the messages, the tokens, the numbers and the end.
    for at in [0, 9, 20, 40, 80, 400, good.len() / 2, good.len() - 20, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(home.session(), &bad).unwrap();
        let error = home.fails_to_go_on(&[], 5);
        assert!(error.contains("nothing of it is used") && !error.contains("Bob"), "{error}");
        std::fs::write(home.session(), &good[..at]).unwrap();
        home.fails_to_go_on(&[], 5);
    }
    std::fs::write(home.session(), [&good[..], &[0]].concat()).unwrap();
    home.fails_to_go_on(&[], 5);
    std::fs::write(home.session(), &good).unwrap();
    assert!(home.turn("and now?", &[])["cached_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn another_model_is_named_and_changes_nothing() {
    let home = Home::new(Kind::Chat);
    home.turn("My name is Bob.", &[]);
    let other = home.file("other.gguf", &std::fs::read(&home.model).unwrap());
    let first = str_of(&home.model).to_owned();
    let home = Home { model: other.clone(), ..home };
    let error = home.fails_to_go_on(&[], 2);
    assert!(error.contains(&first) && error.contains(str_of(&other)), "{error}");
    assert!(error.contains("--session"), "{error}");

    // In the store the digest tells, wherever the file lies.
    std::fs::remove_file(home.session()).unwrap();
    home.ok("import", &["--name", "mine"]);
    let home = Home { model: "mine".into(), ..home };
    home.turn("My name is Bob.", &[]);
    assert!(home.turn("and now?", &[])["cached_tokens"].as_u64().unwrap() > 0);
    let home = Home { model: other.clone(), ..home };
    assert!(home.fails_to_go_on(&[], 2).contains("`mine`"));

    // A file that was written to is another, under the same name.
    std::fs::remove_file(home.session()).unwrap();
    home.turn("My name is Bob.", &[]);
    let bytes = std::fs::read(&other).unwrap();
    std::fs::write(&other, bytes).unwrap();
    assert!(home.fails_to_go_on(&[], 2).contains("not the same any more"));
}

#[test]
fn numbers_of_another_make_are_computed_again() {
    let home = Home::new(Kind::Chat);
    let session = home.session();
    let first = home.turn("My name is Bob.", &["--kv", "f16"]);
    let raw = rendered(&[("My name is Bob.", text(&first))], "Sure?");
    let args = ["--session", &session, "Sure?", "--kv", "f32", "--json"];
    let output = home.command("run", &[&args[..], &LIMITS].concat()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let note = said(&output);
    assert!(note.contains("1 turn taken up") && note.contains("computed again"), "{note}");
    assert!(note.contains("F16 cache") && note.contains("F32 cache"), "{note}");
    let second: Value = serde_json::from_slice(&output.stdout).unwrap();
    let afresh = home.json("run", &[&["--raw", &raw, "--kv", "f32"], &LIMITS[..]].concat());
    assert_eq!((&second["text"], &second["cached_tokens"]), (&afresh["text"], &0.into()));
    assert!(home.turn("Sure?", &["--kv", "f32"])["cached_tokens"].as_u64().unwrap() > 60);
}

#[test]
fn a_system_message_is_kept_until_there_is_another() {
    let home = Home::new(Kind::Chat);
    let session = home.session();
    let first = home.turn("hello", &["--system", "be kind"]);
    // `<s>`, then one token for each byte of `[system]be kind\n[user]hello\n[assistant]`.
    assert_eq!(first["prompt_tokens"], 1 + 16 + 23);
    let tokens = |system: usize, turns: &[&Value], last: &str| {
        let said: usize = turns.iter().map(|turn| 23 + text(turn).len() + 1).sum();
        1 + system + said + "[user]\n[assistant]".len() + last.len()
    };
    let second = home.turn("hello", &[]);
    assert_eq!(second["prompt_tokens"], tokens(16, &[&first], "hello"));
    let args = ["--session", &session, "hello", "--system", "be", "--json"];
    let output = home.command("run", &[&args[..], &LIMITS].concat()).output().unwrap();
    assert!(said(&output).contains("--system takes the place"), "{}", said(&output));
    let third: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(third["prompt_tokens"], tokens(11, &[&first, &second], "hello"));
    let fourth = home.turn("x", &[]);
    assert_eq!(fourth["prompt_tokens"], tokens(11, &[&first, &second, &third], "x"));
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let home = Home::new(Kind::Chat);
    let error = home.fails("run", &["--session", "s", "--raw", "a"], 2);
    assert!(error.contains("--raw"), "{error}");
    let error = home.fails("run", &["--session", str_of(home.folder.path()), "a"], 5);
    assert!(error.contains("no regular file"), "{error}");
    home.fails("run", &["--session", str_of(&home.folder.path().join("no/such")), "a"], 2);
    let output = home.command("run", &["--session", "s", "a"]).env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("HEARTH_KEY_FILE"), "{}", said(&output));
}

#[test]
fn a_draft_goes_on_too() {
    let home = Home::new(Kind::Chat);
    let draft = ["--draft", str_of(&home.model)];
    let plain = [home.turn("My name is Bob.", &[]), home.turn("Sure?", &[])];
    std::fs::remove_file(home.session()).unwrap();
    let drafted = [home.turn("My name is Bob.", &draft), home.turn("Sure?", &draft)];
    for (plain, drafted) in plain.iter().zip(&drafted) {
        assert_eq!(plain["text"], drafted["text"]);
        assert_eq!(plain["cached_tokens"], drafted["cached_tokens"]);
    }
}

#[test]
fn a_full_disk_or_a_kill_leaves_the_old_file() {
    let home = Home::new(Kind::Chat);
    let session = home.session();
    let first = home.turn("My name is Bob.", &[]);
    let before = std::fs::read(home.session()).unwrap();
    let long = "word ".repeat(300);
    let args = [&["--session", &session, &long], &LIMITS[..]].concat();
    let output = home.cramped("trap '' XFSZ;", &args).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("cannot write"), "{}", said(&output));
    assert_eq!((std::fs::read(home.session()).unwrap(), home.parts()), (before.clone(), 0));

    // Without the trap the signal kills the program in the middle of the file.
    let output = home.cramped("", &args).output().unwrap();
    assert_eq!(output.status.code(), None, "{}", said(&output));
    assert_eq!((std::fs::read(home.session()).unwrap(), home.parts()), (before.clone(), 1));

    // Stopped while it answers, it keeps nothing either.
    let endless = ["--max-tokens", "60000", "--no-loop-detector", "--logit-bias", "257-inf"];
    let args = [&["--session", &session, "a", "--ctx", "65536"], &endless[..]];
    let mut run = home.command("run", &args.concat());
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut byte).unwrap();
    // Nobody else goes on with it meanwhile.
    assert!(home.fails_to_go_on(&[], 7).contains("in use"));
    signal(run.id().cast_signed(), rustix::process::Signal::INT);
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(std::fs::read(home.session()).unwrap(), before);

    let second = home.turn("Sure?", &[]);
    assert!(second["cached_tokens"].as_u64() > first["prompt_tokens"].as_u64());
    assert_eq!(home.parts(), 0, "the next one tidies");
}

#[test]
fn a_conversation_on_a_terminal_goes_on() {
    let home = Home::new(Kind::Chat);
    let session = home.session();
    let args = [&SHORT[..], &["--verbose", "--session", &session]].concat();
    conversation(&home, &args, &[(PROMPT, "My name is Bob.\r"), (PROMPT, CTRL_D)]);
    let steps =
        [("1 turn taken up", ""), (PROMPT, "Sure?\r"), ("context   ", ""), (PROMPT, CTRL_D)];
    let shown = conversation(&home, &args, &steps);
    assert!(shown.contains(" from the cache)") && !shown.contains("(0 from"), "{shown}");
    assert!(home.turn("Sure?", &[])["cached_tokens"].as_u64().unwrap() > 50);

    // Without its engine only the text is kept, and no new one is started for nothing.
    let steps = [("3 turns", ""), (PROMPT, "Really?\r"), (PROMPT, KILL), ("", CTRL_D)];
    let shown = conversation(&home, &args, &steps);
    assert!(!shown.contains("starting it again"), "{shown}");
    assert_eq!(home.turn("Sure?", &[])["cached_tokens"], 0);
    let steps = [
        ("5 turns taken up", ""),
        (PROMPT, "/clear\r"),
        ("(the conversation is forgotten)", ""),
        (PROMPT, CTRL_D),
    ];
    conversation(&home, &args, &steps);
    let first = home.turn("hello", &[]);
    assert_eq!(first["prompt_tokens"], 1 + 23);
}

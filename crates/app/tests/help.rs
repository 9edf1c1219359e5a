//! The help of every command equals its snapshot: scripts and readers rely on these surfaces.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p hearth-app --test help` rewrites the snapshots.

use std::path::Path;
use std::process::Command;

fn help(command: Option<&str>) -> String {
    let mut hearth = Command::new(env!("CARGO_BIN_EXE_hearth"));
    let output = hearth.args(command).arg("--help").env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names in the "Commands:" block of the main help.
fn commands(main: &str) -> Vec<&str> {
    let block = main.split("Commands:\n").nth(1).expect("a list of commands");
    let lines = block.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn help_equals_its_snapshots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let main = help(None);
    let names = commands(&main);
    assert!(names.len() >= 5, "{names:?}");
    let mut expected_files = vec!["help.txt".to_owned()];
    let mut different = Vec::new();
    for command in std::iter::once(None).chain(names.iter().copied().map(Some)) {
        let file = command.map_or("help.txt".to_owned(), |name| format!("help-{name}.txt"));
        let text = help(command);
        let path = folder.join(&file);
        if update {
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            different.push(format!("--- {file} now:\n{text}"));
        }
        expected_files.push(file);
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("help") && !expected_files.contains(&name) {
            match update {
                true => std::fs::remove_file(folder.join(&name)).unwrap(),
                false => different.push(format!("--- {name}: there is no such command")),
            }
        }
    }
    let how = "UPDATE_SNAPSHOTS=1 rewrites them if this is meant";
    assert!(different.is_empty(), "{how}\n{}", different.join("\n"));
}

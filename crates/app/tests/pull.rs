//! Pulls from servers, run as a user runs them, against a server on loopback.

#[allow(dead_code, reason = "the tests of the hub use more of it")]
#[path = "../../hub/tests/support/server.rs"]
mod server;

use server::{Reply, Server};
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.args(args).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.envs(variables.iter().copied()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args, &[]);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args, &[]);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn ledger(&self) -> String {
        std::fs::read_to_string(self.path(".local/state/hearth/egress.log")).unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A whole file with one tensor, of an architecture that is not known.
fn gguf() -> Vec<u8> {
    let mut writer = hearth_engine::gguf::write::Writer::new();
    writer.set("general.architecture", "to-come");
    writer.set("general.name", "a model to come");
    writer.tensor("a", hearth_kernels::quant::TensorType::F32, &[4]).unwrap();
    writer.to_vec(&[&[0; 16]]).unwrap()
}

#[test]
fn an_address_means_the_model_before_and_after() {
    let (home, file) = (Home::new(), gguf());
    let (bytes, sha256) = (file.clone(), hearth_hub::Sha256::of(&file));
    let server = Server::start(move |request| Reply::file(request, &bytes, "\"v1\""));
    let url = server.url("/Tiny.Q4_1.gguf?key=s3cret");
    let error = home.fails(&["show", &url], 3);
    assert!(error.contains("is not pulled yet") && !error.contains("s3cret"), "{error}");
    home.fails(&["rm", &url], 3);

    let said = home.ok(&["pull", &url]);
    assert!(said.contains("tiny.q4_1") && said.contains("no known checksum) is now"), "{said}");
    let asked = server.seen().len();
    assert!(home.ok(&["pull", &url]).contains("was already in the store"));
    let shown: serde_json::Value =
        serde_json::from_str(&home.ok(&["show", &url, "--json"])).unwrap();
    assert_eq!(shown["name"], "tiny.q4_1");
    assert!(shown["source"].as_str().unwrap().ends_with("ETag \"v1\""), "{shown}");
    assert!(home.ok(&["list"]).contains("recorded"));
    assert_eq!(server.seen().len(), asked, "what is there is asked of nobody");
    assert!(home.ok(&["rm", &url]).contains("removed tiny.q4_1"));

    let url = format!("{}#sha256={sha256}", server.url("/Tiny.Q4_1.gguf"));
    let said = home.ok(&["pull", &url, "--name", "mine"]);
    assert!(said.starts_with("mine (") && said.contains("checksum verified"), "{said}");
    assert!(home.ok(&["show", "mine"]).contains("a model to come"));
    assert!(!home.ledger().contains("s3cret"), "{}", home.ledger());
    assert!(home.ledger().contains("\"command\":\"pull http://127.0.0.1"), "{}", home.ledger());
}

/// `run` pulls what is missing; that this file cannot run is found after that.
#[test]
fn run_pulls_what_is_missing() {
    let (home, bytes) = (Home::new(), gguf());
    let server = Server::start(move |request| Reply::file(request, &bytes, "\"v1\""));
    let url = server.url("/tiny.gguf?key=s3cret");
    let error = home.fails(&["run", &url, "hello"], 5);
    assert!(error.contains("pulling tiny") && error.contains("to-come"), "{error}");
    assert!(home.ok(&["list"]).contains("tiny"));
    assert!(home.ledger().contains("\"command\":\"run http://127.0.0.1"), "{}", home.ledger());
    assert!(!home.ledger().contains("s3cret"), "{}", home.ledger());
}

#[test]
fn a_damaged_model_of_a_server_is_fetched_again() {
    let (home, file) = (Home::new(), gguf());
    let bytes = file.clone();
    let server = Server::start(move |request| match request.target.as_str() {
        "/tiny.gguf?key=s3cret" => Reply::file(request, &bytes, "\"v1\""),
        _ => Reply::new(403),
    });
    let url = server.url("/tiny.gguf?key=s3cret");
    home.ok(&["pull", &url]);
    let stored = home.path(".local/share/hearth/models/tiny/tiny.gguf");
    std::fs::write(&stored, "GGUF").unwrap();
    let output = home.run(&["pull", &url], &[]);
    assert!(text(&output.stderr).contains("fetching it again"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(&stored).unwrap(), file);

    std::fs::write(&stored, "GGUF").unwrap();
    let newer = Server::start(move |request| Reply::file(request, &file, "\"v2\""));
    let manifest = home.path(".local/share/hearth/models/tiny/manifest.toml");
    let moved = std::fs::read_to_string(&manifest).unwrap();
    let moved = moved.replace(&server.address.to_string(), &newer.address.to_string());
    std::fs::write(&manifest, moved).unwrap();
    let error = home.fails(&["pull", "tiny"], 5);
    assert!(error.contains("another version now") && error.contains("hearth rm tiny"), "{error}");
}

/// The hub of the settings, with its token, which nothing shows.
#[test]
fn a_hub_of_the_settings_is_asked() {
    let (home, file) = (Home::new(), gguf());
    let sha256 = hearth_hub::Sha256::of(&file);
    let listing = serde_json::json!({ "sha": "0".repeat(40), "siblings": [{
        "rfilename": "Tiny-Q4_0.gguf",
        "size": file.len(),
        "lfs": { "sha256": sha256, "size": file.len() },
    }]});
    let server = Server::start(move |request| match request.target.starts_with("/api/") {
        true => Reply::ok(listing.to_string()),
        false => Reply::file(request, &file, "\"v1\""),
    });
    let hub = server.url("");
    let variables = [("HEARTH_HUB_URL", &*hub), ("HEARTH_HUB_TOKEN", "s3cret")];
    let output = home.run(&["pull", "hf.co/o/Tiny-GGUF:q4_0"], &variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("tiny:q4_0 (192 bytes, checksum verified) is now"));
    let seen = server.seen();
    assert!(seen.iter().all(|r| r.header("authorization") == Some("Bearer s3cret")), "{seen:?}");
    assert!(home.ok(&["show", "hf:o/Tiny-GGUF:Q4_0"]).contains("a model to come"));
    for args in [&["config", "show"][..], &["config", "show", "--json"], &["list", "--json"]] {
        let shown = text(&home.run(args, &variables).stdout);
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let shown = text(&home.run(&["config", "show"], &variables).stdout);
    assert!(shown.contains("# hub_token is set, not shown"), "{shown}");
    assert!(!home.ledger().contains("s3cret"), "{}", home.ledger());
    // T4: the variable of the public hub is for that alone.
    let before = server.seen().len();
    let variables = [("HEARTH_HUB_URL", &*hub), ("HF_TOKEN", "s3cret")];
    home.run(&["pull", "hf.co/o/Other-GGUF:q4_0"], &variables);
    assert!(!format!("{:?}", &server.seen()[before..]).contains("s3cret"));
}

/// What a registry has beside the model's file is left out, and never silently.
#[test]
fn a_registry_of_the_settings_is_asked() {
    let (home, file) = (Home::new(), gguf());
    let digest = format!("sha256:{}", hearth_hub::Sha256::of(&file));
    let layer = |kind: &str, size: usize| {
        let media = format!("application/vnd.ollama.image.{kind}");
        serde_json::json!({ "mediaType": media, "digest": digest, "size": size })
    };
    let layers = [layer("model", file.len()), layer("template", 13), layer("params", 5)];
    let manifest = serde_json::json!({ "schemaVersion": 2, "layers": layers });
    let server = Server::start(move |request| match request.target.contains("/manifests/") {
        true => Reply::ok(manifest.to_string()),
        false => Reply::file(request, &file, "\"v1\""),
    });
    let output = home.run(&["pull", "ollama:tiny:1b"], &[("HEARTH_REGISTRY_URL", &server.url(""))]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("left out: template sha256:") && stderr.contains("params"), "{stderr}");
    assert!(text(&output.stdout).contains("tiny:1b (192 bytes, checksum verified) is now"));
    assert!(home.ok(&["show", "registry.ollama.ai/library/tiny:1b"]).contains("a model to come"));
    assert!(home.ok(&["show", "tiny:1b"]).contains("a model to come"));
}

#[test]
fn names_and_addresses_that_cannot_be_are_refused() {
    let home = Home::new();
    let error = home.fails(&["pull", "https://me:s3cret@example.com/x.gguf"], 2);
    assert!(error.contains("user name or password") && !error.contains("s3cret"), "{error}");
    let error = home.fails(&["pull", "https://example.com/x.bin"], 2);
    assert!(error.contains("the name of a GGUF file"), "{error}");
    let error = home.fails(&["pull", "http://model.example/x.gguf"], 4);
    assert!(error.contains("without TLS") && error.contains("plain_http"), "{error}");
    let taken = ["pull", "https://example.com/x.gguf", "--name", "smollm2:135m"];
    assert!(home.fails(&taken, 2).contains("kept for the catalogue's"));
    let error = home.fails(&["pull", "smollm2:135m", "--name", "x"], 2);
    assert!(error.contains("--name is for a model of a server"), "{error}");
    assert_eq!(home.ledger(), "", "nothing was dialled");
}

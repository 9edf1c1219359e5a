//! Pulls from a registry in the manner of Ollama on loopback, good and hostile.

mod support;

use hearth_hub::{Sha256, Url};
use serde_json::{Value, json};
use support::pulls::{Pulls, TOKEN, model_of};
use support::server::{Body, Reply, Request, Server};

const BYTES: usize = 9000;
const NAME: &str = "ollama:tiny:1b";

fn layer(kind: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": format!("application/vnd.ollama.image.{kind}"),
        "digest": format!("sha256:{}", Sha256::of(bytes)),
        "size": bytes.len(),
    })
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer("config", b"{}"),
        "layers": [
            layer("model", &model_of(BYTES)),
            layer("template", b"{{ .Prompt }}"),
            layer("license", b"MIT"),
        ],
    })
}

/// The blob of the model, or nothing.
fn blob(request: &Request) -> Reply {
    let model = model_of(BYTES);
    let digest = Sha256::of(&model);
    match request.target == format!("/v2/library/tiny/blobs/sha256:{digest}") {
        true => Reply::file(request, &model, "\"blob\""),
        false => Reply::new(404).body(Body::Bytes(br#"{"errors":[{"code":"X"}]}"#.to_vec())),
    }
}

fn registry(manifest: Value) -> Server {
    let text = manifest.to_string();
    Server::start(move |request| match request.target.as_str() {
        "/v2/library/tiny/manifests/1b" => Reply::ok(text.clone()),
        _ => blob(request),
    })
}

fn pulls(server: &Server) -> Pulls {
    let mut pulls = Pulls::new();
    pulls.reach.registries.push(Url::parse(&server.url("/")).unwrap());
    pulls
}

#[test]
fn the_layer_of_the_model_is_pulled_and_the_others_are_named() {
    let server = registry(manifest());
    let pulls = pulls(&server);
    let client = hearth_hub::Client::new(
        pulls.reach.clone(),
        hearth_hub::Ledger::new(pulls.path("egress.log")),
        "pull",
    );
    let remote = <dyn hearth_hub::source::Remote>::parse(NAME).unwrap().unwrap();
    let model = remote.find(&client, &hearth_hub::progress::Silent).unwrap();
    let left_out = model.left_out().join("\n");
    assert!(left_out.contains("template sha256:") && left_out.contains("license sha256:"));
    drop((model, client));

    let manifest = pulls.pull(NAME).unwrap().manifest;
    pulls.assert_model("tiny-1b", "tiny-1b.gguf", &model_of(BYTES));
    assert!(manifest.verified);
    assert_eq!(manifest.reference.as_deref(), Some("registry.ollama.ai/library/tiny:1b"));
    assert!(manifest.source.contains("manifest sha256:"), "{}", manifest.source);
    let accept = server.seen()[0].header("accept").unwrap().to_owned();
    assert!(accept.contains("vnd.docker.distribution.manifest.v2+json"), "{accept}");
}

/// T1: digests that are paths, addresses or other digests.
#[test]
fn t1_a_digest_that_is_none_is_refused() {
    for digest in [
        "../../../../etc/passwd",
        "sha256:../../etc/passwd",
        "sha256-0000",
        "sha512:00",
        "",
        "sha256:",
        "latest",
        "https://example.com/x",
    ] {
        for place in ["model", "template"] {
            let mut hostile = manifest();
            let layers = hostile["layers"].as_array_mut().unwrap();
            let kind = format!("application/vnd.ollama.image.{place}");
            let layer = layers.iter_mut().find(|layer| layer["mediaType"] == *kind).unwrap();
            layer["digest"] = digest.into();
            let server = registry(hostile);
            pulls(&server).refused(NAME, &["cannot be read", "64 hexadecimal digits"]);
            assert_eq!(server.seen().len(), 1, "nothing else was asked for");
        }
    }
}

#[test]
fn a_blob_with_other_bytes_is_refused() {
    let text = manifest().to_string();
    let server = Server::start(move |request| match request.target.contains("/manifests/") {
        true => Reply::ok(text.clone()),
        false => {
            let mut model = model_of(BYTES);
            model[8999] ^= 1;
            Reply::file(request, &model, "\"blob\"")
        }
    });
    pulls(&server).refused(NAME, &["SHA-256", "nothing of it was kept"]);
}

#[test]
fn t11_a_hostile_manifest_is_refused() {
    let with = |change: fn(&mut Value)| {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest
    };
    for (manifest, words) in [
        (with(|m| m["layers"] = json!([])), "has no GGUF file"),
        (with(|m| m["layers"] = Value::Null), "cannot be read"),
        (with(|m| m["layers"][0]["size"] = (-1).into()), "cannot be read"),
        (with(|m| m["layers"][0]["size"] = 8999.into()), "expected 8999"),
        (with(|m| m["layers"][0]["size"] = u64::MAX.into()), "are needed"),
        (with(|m| m["layers"][1] = m["layers"][0].clone()), "more than one GGUF file"),
        (with(|m| m["layers"][1] = layer("adapter", b"x")), "an adapter"),
        (
            with(|m| m["layers"] = vec![layer("template", b"x"); 65].into()),
            "has 65 layers, at most 64",
        ),
        (with(|m| m["layers"][0]["mediaType"] = "\u{1b}[2J.x".into()), "has no GGUF file"),
        (with(|m| *m = json!("x".repeat(2 << 20))), "more than 1048576 bytes"),
    ] {
        let server = registry(manifest);
        pulls(&server).refused(NAME, &[words]);
    }
    let whole = manifest().to_string();
    for length in (0..whole.len()).step_by(whole.len() / 25) {
        let cut = whole[..length].to_owned();
        let server = Server::start(move |_| Reply::ok(cut.clone()));
        pulls(&server).refused(NAME, &["cannot be read"]);
    }
    let deep = "[".repeat(100_000);
    let server = Server::start(move |_| Reply::ok(deep.clone()));
    pulls(&server).refused(NAME, &["cannot be read"]);
    let server = Server::start(|_| Reply::new(200).body(Body::Endless));
    pulls(&server).refused(NAME, &["more than 1048576 bytes"]);
    let server = Server::start(|_| Reply::ok("x").with("Content-Encoding", "gzip"));
    pulls(&server).refused(NAME, &["packed", "not unpacked"]);
}

#[test]
fn what_is_not_there_is_told() {
    let server = registry(manifest());
    pulls(&server).refused("ollama:tiny:2b", &["answered 404", "\"X\"", "check the name"]);
}

/// A registry that wants a token gives it itself, and gets it with every request after that.
#[test]
fn a_token_of_the_registry_itself_is_used() {
    let text = manifest().to_string();
    let server = Server::start(move |request| {
        let allowed = request.header("authorization") == Some("Bearer g1ven");
        match request.target.as_str() {
            "/token?service=reg&scope=repository%3Atiny%3Apull" => {
                Reply::ok(r#"{"token":"g1ven"}"#)
            }
            _ if !allowed => Reply::new(401).with(
                "WWW-Authenticate",
                "Bearer realm=\"/token\",service=\"reg\",scope=\"repository:tiny:pull\"",
            ),
            "/v2/library/tiny/manifests/1b" => Reply::ok(text.clone()),
            _ => blob(request),
        }
    });
    let pulls = pulls(&server);
    pulls.pull(NAME).unwrap();
    pulls.assert_model("tiny-1b", "tiny-1b.gguf", &model_of(BYTES));
    assert!(!pulls.ledger().contains("g1ven"));
}

/// T4: the realm of a challenge is another server: it is asked for nothing and told nothing.
#[test]
fn t4_a_foreign_realm_gets_no_token() {
    let thief = Server::start(|_| Reply::ok(r#"{"token":"x"}"#));
    for realm in [thief.url("/token"), "https://evil.example/token".to_owned()] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let server =
            Server::start(move |_| Reply::new(401).with("WWW-Authenticate", challenge.clone()));
        let mut pulls = pulls(&server).with_token_for(&server);
        pulls.reach.plain_http = true;
        pulls.refused(NAME, &["wants a token of another server", "nothing was sent there"]);
        assert!(thief.seen().is_empty());
        assert!(!pulls.ledger().contains("evil.example"));
    }
}

/// T4: the token that the registry gave stays behind where its blobs lie on another server.
#[test]
fn t4_the_given_token_stays_behind_at_a_redirect() {
    let files = Server::start(|request| Reply::file(request, &model_of(BYTES), "\"x\""));
    let (text, target) = (manifest().to_string(), files.url("/blob"));
    let server = Server::start(move |request| {
        let allowed = request.header("authorization") == Some("Bearer g1ven");
        match request.target.as_str() {
            "/token" => Reply::ok(r#"{"access_token":"g1ven"}"#),
            _ if !allowed => Reply::new(401).with("WWW-Authenticate", "Bearer realm=\"/token\""),
            "/v2/library/tiny/manifests/1b" => Reply::ok(text.clone()),
            _ => Reply::redirect(target.clone()),
        }
    });
    let pulls = pulls(&server).with_token_for(&server);
    pulls.pull(NAME).unwrap();
    assert!(files.seen().len() > 8);
    let seen = format!("{:?}", files.seen());
    assert!(!seen.contains("g1ven") && !seen.contains(TOKEN), "{seen}");
}

/// T4: a token that would be two lines of a request.
#[test]
fn t4_a_token_that_is_none_is_refused() {
    for answer in [r#"{"token":"a\r\nX: y"}"#, r#"{"token":""}"#, "{}", "secret-t0ken", ""] {
        let server = Server::start(move |request| match request.target.as_str() {
            "/token" => Reply::ok(answer),
            _ => Reply::new(401).with("WWW-Authenticate", "Bearer realm=\"/token\""),
        });
        let error = pulls(&server).refused(NAME, &["no token that can be read"]);
        assert!(!error.contains("t0ken"), "{error}");
    }
    let server = Server::start(|_| Reply::new(401).with("WWW-Authenticate", "Basic realm=\"x\""));
    pulls(&server).refused(NAME, &["in a way that is not known"]);
    let again = "Bearer realm=\"/token\"";
    let server = Server::start(move |request| match request.target.as_str() {
        "/token" => Reply::ok(r#"{"token":"g1ven"}"#),
        _ => Reply::new(401).with("WWW-Authenticate", again),
    });
    pulls(&server).refused(NAME, &["answered 401", "not for everyone"]);
}

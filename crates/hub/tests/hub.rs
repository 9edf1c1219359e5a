//! Pulls from a hub in the manner of Hugging Face on loopback, good and hostile.

mod support;

use hearth_hub::source::Remote;
use hearth_hub::{HubError, Sha256, Url};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::pulls::{Pulls, TOKEN, model_of};
use support::server::{Body, Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The list of a repository with these files; their bytes are made from their sizes.
fn listing(files: &[(&str, usize)]) -> Value {
    let siblings: Vec<Value> = files
        .iter()
        .map(|(path, bytes)| {
            let sha256 = Sha256::of(&model_of(*bytes)).to_string();
            let lfs = json!({ "sha256": sha256, "size": bytes, "pointerSize": 134 });
            json!({ "rfilename": path, "size": bytes, "blobId": "x", "lfs": lfs })
        })
        .collect();
    json!({ "id": "o/R-GGUF", "sha": COMMIT, "cardData": { "license": "mit" }, "siblings": siblings })
}

const FILES: [(&str, usize); 7] = [
    (".gitattributes", 10),
    ("README.md", 20),
    ("R-Q4_K_M.gguf", 5000),
    ("R-Q8_0.gguf", 7000),
    ("mmproj-R-Q8_0.gguf", 600),
    ("big/R-BF16-00002-of-00002.gguf", 3500),
    ("big/R-BF16-00001-of-00002.gguf", 4500),
];

/// A hub whose files lie on another server, as large ones do.
struct Hub {
    server: Server,
    files: Server,
}

impl Hub {
    fn new(listing: Value) -> Self {
        let files = Server::start(|request| {
            let bytes = request.target.rsplit('/').next().unwrap().parse().unwrap();
            Reply::file(request, &model_of(bytes), "\"cdn\"")
        });
        let cdn = files.url("/cdn");
        let server = Server::start(move |request| {
            if request.target.starts_with("/api/models/o/R-GGUF/revision/") {
                return Reply::ok(listing.to_string());
            }
            let sizes = listing["siblings"].as_array().into_iter().flatten();
            let mut found = sizes.filter_map(|file| {
                let path = file["rfilename"].as_str()?;
                let target = format!("/o/R-GGUF/resolve/{COMMIT}/{path}");
                (request.target == target).then(|| file["size"].as_u64())?
            });
            match found.next() {
                Some(bytes) => Reply::redirect(format!("{cdn}/{bytes}")),
                None => Reply::new(404).with("X-Error-Message", "Entry not found"),
            }
        });
        Self { server, files }
    }

    fn pulls(&self) -> Pulls {
        let mut pulls = Pulls::new().with_token_for(&self.server);
        pulls.reach.hubs.push(Url::parse(&self.server.url("/")).unwrap());
        pulls
    }
}

#[test]
fn a_quant_of_a_repository_is_pulled_at_its_commit() {
    let hub = Hub::new(listing(&FILES));
    let pulls = hub.pulls();
    let manifest = pulls.pull("hf.co/o/R-GGUF:q4_k_m").unwrap().manifest;
    pulls.assert_model("r-q4_k_m", "R-Q4_K_M.gguf", &model_of(5000));
    assert!(manifest.verified);
    assert_eq!(manifest.facts.name.as_str(), "r:q4_k_m");
    assert_eq!(manifest.facts.quant.as_deref(), Some("Q4_K_M"));
    assert!(manifest.facts.licence.unwrap().starts_with("mit ("));
    assert_eq!(manifest.reference.as_deref(), Some("hf.co/o/R-GGUF:Q4_K_M"));
    assert!(manifest.source.contains(COMMIT), "{}", manifest.source);
    let first = &hub.server.seen()[0];
    assert_eq!(first.target, "/api/models/o/R-GGUF/revision/main?blobs=true");
    for request in &hub.server.seen()[1..] {
        assert!(request.target.contains(COMMIT), "{}", request.target);
    }
}

/// T4: the hub's token goes to the hub for each request, and to the server of the files for none.
#[test]
fn t4_the_hubs_token_stays_at_the_hub() {
    let hub = Hub::new(listing(&FILES));
    let pulls = hub.pulls();
    pulls.pull("hf:o/R-GGUF:Q8_0").unwrap();
    let bearer = format!("Bearer {TOKEN}");
    assert!(hub.server.seen().iter().all(|r| r.header("authorization") == Some(&bearer)));
    assert!(hub.files.seen().len() > 7);
    assert!(!format!("{:?}", hub.files.seen()).contains(TOKEN));
}

#[test]
fn all_parts_of_a_split_model_are_brought() {
    for text in ["hf:o/R-GGUF:BF16", "hf:o/R-GGUF@main:big/R-BF16-00002-of-00002.gguf"] {
        let hub = Hub::new(listing(&FILES));
        let pulls = hub.pulls();
        let manifest = pulls.pull(text).unwrap().manifest;
        let sizes: Vec<u64> = manifest.files.iter().map(|file| file.bytes()).collect();
        assert_eq!(sizes, [4500, 3500], "in the order of their parts");
        let open = pulls.store().open_model(&manifest.facts.name).unwrap();
        let names: Vec<_> = open.paths.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["R-BF16-00001-of-00002.gguf", "R-BF16-00002-of-00002.gguf"]);
        pulls.assert_ledger_closed();
    }
    let missing: Vec<_> =
        FILES.iter().copied().filter(|(path, _)| !path.contains("00001")).collect();
    let hub = Hub::new(listing(&missing));
    hub.pulls().refused("hf:o/R-GGUF:BF16", &["has 2 parts", "has 1 of them"]);
}

#[test]
fn a_pattern_that_means_none_or_several_lists_the_files() {
    let hub = Hub::new(listing(&FILES));
    let pulls = hub.pulls();
    for (text, words) in [
        ("hf:o/R-GGUF", ["more than one model", "R-Q4_K_M.gguf"]),
        ("hf:o/R-GGUF:Q5_K_M", ["no file is meant", "R-Q8_0.gguf"]),
        ("hf:o/R-GGUF:Q4_K", ["no file is meant", "hearth pull hf.co/o/R-GGUF:"]),
        ("hf:o/R-GGUF:other.gguf", ["no file is meant", "big/R-BF16-00001-of-00002.gguf"]),
    ] {
        pulls.refused(text, &words);
    }
    assert!(hub.files.seen().is_empty());
    let one = Hub::new(listing(&FILES[..3]));
    let pulls = one.pulls();
    assert_eq!(pulls.pull("hf:o/R-GGUF").unwrap().manifest.facts.name.as_str(), "r");
    let none = Hub::new(listing(&FILES[..2]));
    none.pulls().refused("hf:o/R-GGUF", &["has no GGUF file", "hearth import"]);
}

/// A branch that moves between two attempts: nothing of the old commit is used.
#[test]
fn a_branch_that_moved_starts_again() {
    let version = Arc::new(AtomicUsize::new(0));
    let state = version.clone();
    let server = Server::start(move |request: &Request| {
        let version = state.load(Ordering::SeqCst);
        let mut model = model_of(9000);
        model[10] = version as u8;
        if request.target.starts_with("/api/") {
            let mut listing = listing(&[("R-Q8_0.gguf", 9000)]);
            listing["sha"] = format!("{version:040x}").into();
            listing["siblings"][0]["lfs"]["sha256"] = Sha256::of(&model).to_string().into();
            return Reply::ok(listing.to_string());
        }
        match request.range() {
            Some((6000.., _)) if version == 0 => Reply::new(503),
            _ => Reply::file(request, &model, "\"x\""),
        }
    });
    let mut pulls = Pulls::new();
    pulls.reach.hubs.push(Url::parse(&server.url("/")).unwrap());
    assert!(pulls.pull("hf:o/R-GGUF:Q8_0").is_err());
    assert_eq!(pulls.store().begun(&"r:q8_0".parse().unwrap()), 4000);
    version.store(7, Ordering::SeqCst);
    let manifest = pulls.pull("hf:o/R-GGUF:Q8_0").unwrap().manifest;
    assert!(manifest.source.contains(&format!("{:040x}", 7)), "{}", manifest.source);
}

/// T1: names in the list that would lead out of a folder.
#[test]
fn t1_a_traversal_name_in_the_list_is_refused() {
    for path in [
        "../../evil-Q8_0.gguf",
        "/etc/evil-Q8_0.gguf",
        "a/../../evil-Q8_0.gguf",
        "..\\evil-Q8_0.gguf",
        "C:\\evil-Q8_0.gguf",
        "a/.hidden/evil-Q8_0.gguf",
        "a//evil-Q8_0.gguf",
        "evil\u{0}-Q8_0.gguf",
        "evil\u{1b}[2J-Q8_0.gguf",
        "evil\n-Q8_0.gguf",
    ] {
        let hub = Hub::new(listing(&[(path, 500), ("good-Q8_0.gguf", 500)]));
        hub.pulls().refused("hf:o/R-GGUF:Q8_0", &["no path of a file"]);
        assert!(hub.files.seen().is_empty());
    }
    for path in ["evil -Q8_0.gguf", "évil-Q8_0.gguf", "-evil-Q8_0.gguf"] {
        let hub = Hub::new(listing(&[(path, 500)]));
        let error = hub.pulls().pull("hf:o/R-GGUF:Q8_0").unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{error}");
    }
}

#[test]
fn t11_a_hostile_list_is_refused() {
    let with = |change: fn(&mut Value)| {
        let mut list = listing(&[("R-Q8_0.gguf", 5000)]);
        change(&mut list);
        list
    };
    for (list, words) in [
        (with(|list| list["sha"] = "../../main".into()), "names no commit"),
        (with(|list| list["sha"] = "0".repeat(39).into()), "names no commit"),
        (with(|list| list["sha"] = Value::Null), "cannot be read"),
        (with(|list| list["siblings"] = "x".into()), "cannot be read"),
        (with(|list| list["siblings"][0]["lfs"]["sha256"] = "../x".into()), "cannot be read"),
        (with(|list| list["siblings"][0]["lfs"]["size"] = (-1).into()), "cannot be read"),
        (with(|list| list["siblings"][0]["lfs"]["size"] = 4999.into()), "expected 4999"),
        (with(|list| list["siblings"][0]["lfs"]["sha256"] = "0".repeat(64).into()), "SHA-256"),
        (
            with(|list| {
                list["siblings"][0]["lfs"] = Value::Null;
                list["siblings"][0]["size"] = Value::Null;
            }),
            "how long",
        ),
        (with(|list| *list = json!([[[["\u{1b}[2J"]]]])), "cannot be read"),
        (with(|list| *list = json!("x".repeat(17 << 20))), "more than 16777216 bytes"),
    ] {
        let hub = Hub::new(list);
        hub.pulls().refused("hf:o/R-GGUF:Q8_0", &[words]);
    }
    let whole = listing(&FILES).to_string();
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        let cut = whole[..length].to_owned();
        let server = Server::start(move |_| Reply::ok(cut.clone()));
        let mut pulls = Pulls::new();
        pulls.reach.hubs.push(Url::parse(&server.url("/")).unwrap());
        pulls.refused("hf:o/R-GGUF:Q8_0", &["cannot be read"]);
    }
    let server = Server::start(|_| Reply::new(200).body(Body::Endless));
    let mut pulls = Pulls::new();
    pulls.reach.hubs.push(Url::parse(&server.url("/")).unwrap());
    pulls.refused("hf:o/R-GGUF:Q8_0", &["more than 16777216 bytes"]);
}

#[test]
fn a_refusal_of_the_hub_is_told_with_the_next_step() {
    for (status, words) in [
        (401, ["answered 401 (Access is restricted)", "set the token"]),
        (403, ["answered 403 (Access is restricted)", "set the token"]),
        (404, ["answered 404 (Access is restricted)", "check the name"]),
        (418, ["answered 418 (Access is restricted)", "try again later"]),
        (503, ["answered 503 (Access is restricted)", "check the network"]),
    ] {
        let server = Server::start(move |_| {
            Reply::new(status).with("X-Error-Message", "Access is restricted")
        });
        let mut pulls = Pulls::new().with_token_for(&server);
        pulls.reach.hubs.push(Url::parse(&server.url("/base")).unwrap());
        pulls.refused("hf:o/R-GGUF@refs/pr/1:Q8_0", &words);
        let target = "/base/api/models/o/R-GGUF/revision/refs%2Fpr%2F1?blobs=true";
        assert_eq!(server.seen()[0].target, target);
    }
}

/// The next hub is asked where one does not answer; the token of the first is not told to it.
#[test]
fn a_mirror_is_asked_where_the_hub_is_silent() {
    let hub = Hub::new(listing(&FILES));
    let down = Server::start(|_| Reply::new(502));
    let mut pulls = Pulls::new().with_token_for(&down);
    for server in [&down, &hub.server] {
        pulls.reach.hubs.push(Url::parse(&server.url("/")).unwrap());
    }
    pulls.pull("hf:o/R-GGUF:Q8_0").unwrap();
    assert!(!down.seen().is_empty());
    assert!(!format!("{:?}", hub.server.seen()).contains(TOKEN));
    // One that says no is believed.
    let no = Server::start(|_| Reply::new(404));
    let mut pulls = Pulls::new();
    for server in [&no, &hub.server] {
        pulls.reach.hubs.push(Url::parse(&server.url("/")).unwrap());
    }
    pulls.refused("hf:o/R-GGUF:Q8_0", &["answered 404"]);
}

/// T1 and T5: what a user may be told to type names a repository and nothing else.
#[test]
fn t5_a_name_holds_no_host_and_no_path() {
    for text in [
        "hf.co/",
        "hf.co/o",
        "hf.co/o/",
        "hf.co/o/r/x",
        "hf.co/../r",
        "hf.co/o/..",
        "hf.co/o@evil.example/r",
        "hf.co/evil.example:80/r",
        "hf.co/o/r@../x:Q8_0",
        "hf.co/o/r@:Q8_0",
        "hf.co/o/r:",
        "hf.co/o/r:../x.gguf",
        "hf.co/o/r:/x.gguf",
        "hf.co/o/r:a b",
        "hf.co/o/r?x",
        "hf.co/o/r#x",
        "hf:o/r\n",
    ] {
        let error = <dyn Remote>::parse(text).unwrap().unwrap_err();
        assert!(matches!(error, HubError::Address { .. }), "{text}: {error}");
        assert!(error.to_string().contains("hf.co/OWNER/REPO:Q4_K_M"), "{error}");
    }
}

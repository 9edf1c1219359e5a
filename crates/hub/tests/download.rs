//! Downloads of plain addresses from good and hostile servers on loopback: what is kept is the
//! right file or nothing, and nothing of a server's reaches places that it should not.

mod support;

use hearth_hub::progress::{Observer, Progress, Stage};
use hearth_hub::source::Remote;
use hearth_hub::{HubError, Sha256};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::pulls::{Pulls, TOKEN, model_of};
use support::server::{Body, Reply, Request, Server};

const BYTES: usize = 30_500;

fn ranges(requests: &[Request]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<_> = requests.iter().filter_map(Request::range).skip(1).collect();
    ranges.sort();
    ranges
}

#[test]
fn a_file_comes_in_parallel_ranges_each_once() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let server = Server::of_file(model.clone());
    let installed = pulls.pull(&server.url("/a/Tiny.Q4_0.gguf")).unwrap();
    assert!(installed.fresh && !installed.manifest.verified);
    assert_eq!(installed.manifest.facts.name.as_str(), "tiny.q4_0");
    pulls.assert_model("tiny.q4_0", "Tiny.Q4_0.gguf", &model);
    let ranges = ranges(&server.seen());
    let expected = (0..BYTES).step_by(1000).map(|at| (at, BYTES.min(at + 1000) - 1));
    assert_eq!(ranges, expected.collect::<Vec<_>>());
    let parts = server.seen();
    assert!(parts[1..].iter().all(|request| request.header("if-range") == Some("\"v1\"")));
    assert!(parts.iter().all(|request| request.header("accept-encoding") == Some("identity")));
    // Connections are kept: one for the question and four for the ranges at most.
    let opened = pulls.ledger().matches("\"event\":\"open\"").count();
    assert!((1..=5).contains(&opened), "{opened} connections");

    let again = pulls.store().by_reference(&server.url("/a/Tiny.Q4_0.gguf")).unwrap().unwrap();
    assert_eq!(again.facts.name, installed.manifest.facts.name);
}

#[test]
fn a_digest_that_the_user_gives_is_checked() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let server = Server::of_file(model.clone());
    let url = server.url("/tiny.gguf");
    let other = Sha256::of(b"other");
    pulls.refused(&format!("{url}#sha256={other}"), &["SHA-256", "nothing of it was kept"]);
    let installed = pulls.pull(&format!("{url}#sha256={}", Sha256::of(&model))).unwrap();
    assert!(installed.manifest.verified);
    pulls.assert_model("tiny", "tiny.gguf", &model);
}

#[test]
fn a_server_without_ranges_sends_one_stream() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let bytes = model.clone();
    let server = Server::start(move |_| Reply::ok(bytes.clone()));
    pulls.pull(&server.url("/tiny.gguf")).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
    assert_eq!(server.seen().len(), 2, "the question and the file");
}

/// Without an ETag and a digest, nobody could tell parts of two versions apart.
#[test]
fn parts_are_not_joined_where_nothing_names_the_version() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let bytes = model.clone();
    let server =
        Server::start(move |request| Reply::file(request, &bytes, "").with("ETag", "W/\"weak\""));
    pulls.pull(&server.url("/tiny.gguf")).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
    let whole = server.seen().iter().filter(|request| request.range().is_none()).count();
    assert_eq!((server.seen().len(), whole), (2, 1));
}

/// Serves ranges of a file until `until`, then fails in its own way.
fn failing_after(
    model: &[u8],
    until: usize,
    fail: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let model = model.to_vec();
    Server::start(move |request| match request.range() {
        Some((first, _)) if first < until => Reply::file(request, &model, "\"v1\""),
        _ => fail(request),
    })
}

#[test]
fn a_pull_goes_on_after_the_last_complete_piece() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let (bytes, broken) = (model.clone(), Arc::new(AtomicUsize::new(1)));
    let state = broken.clone();
    let server = Server::start(move |request| match request.range() {
        Some((9000.., _)) if state.load(Ordering::SeqCst) == 1 => Reply::new(500),
        _ => Reply::file(request, &bytes, "\"v1\""),
    });
    let url = server.url("/tiny.gguf");
    let error = pulls.pull(&url).unwrap_err().to_string();
    assert!(error.contains("answered 500") && error.contains("run the same command"), "{error}");
    assert!(pulls.store().list().unwrap().is_empty());
    assert_eq!(pulls.store().begun(&"tiny".parse().unwrap()), 8000);

    broken.store(0, Ordering::SeqCst);
    let before = server.seen().len();
    pulls.pull(&url).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
    let again = ranges(&server.seen()[before..]);
    assert_eq!(again.first(), Some(&(8000, 8999)), "complete pieces are not fetched again");
}

/// The file is another one now: nothing of the old one is used.
#[test]
fn a_changed_etag_starts_again() {
    let pulls = Pulls::new();
    let (old, mut new) = (model_of(BYTES), model_of(BYTES));
    new[100] ^= 1;
    let version = Arc::new(AtomicUsize::new(1));
    let (state, second) = (version.clone(), new.clone());
    let server =
        Server::start(move |request| match (state.load(Ordering::SeqCst), request.range()) {
            (1, Some((9000.., _))) => Reply::new(503),
            (1, _) => Reply::file(request, &old, "\"v1\""),
            _ => Reply::file(request, &second, "\"v2\""),
        });
    let url = server.url("/tiny.gguf");
    assert!(pulls.pull(&url).is_err());
    assert_eq!(pulls.store().begun(&"tiny".parse().unwrap()), 8000);
    version.store(2, Ordering::SeqCst);
    pulls.pull(&url).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &new);
}

/// The file changes while it is fetched: the server sends the whole new one, as If-Range asks.
#[test]
fn a_file_that_changes_meanwhile_is_not_joined() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let mut new = model.clone();
    new[20_000] ^= 1;
    let server = failing_after(&model, 3000, move |request| Reply::file(request, &new, "\"v2\""));
    let words = ["changed", "run the same command again"];
    pulls.refused(&server.url("/tiny.gguf"), &words);

    // One that pays no heed to If-Range and sends parts of the new one.
    let server = failing_after(&model, 3000, move |request| {
        let (first, last) = request.range().unwrap();
        let part = Body::Bytes(vec![7; last - first + 1]);
        let range = format!("bytes {first}-{last}/{BYTES}");
        Reply::ok("").body(part).with("ETag", "\"v2\"").part(range)
    });
    pulls.refused(&server.url("/tiny.gguf"), &words);
}

#[test]
fn a_wrong_content_range_is_refused() {
    for wrong in [
        "bytes 0-999/30500",
        "bytes 1000-1999/9",
        "bytes 1000-1998/30500",
        "bytes */30500",
        "",
        "bytes 1000-1999/*",
    ] {
        let (pulls, model) = (Pulls::new(), model_of(BYTES));
        let server = failing_after(&model, 1000, move |_| {
            Reply::ok(vec![7; 1000]).with("ETag", "\"v1\"").part(wrong)
        });
        pulls.refused(&server.url("/tiny.gguf"), &["another part than asked for"]);
    }
    let pulls = Pulls::new();
    let server = Server::start(|_| Reply::ok("x").part("bytes 0-0/*"));
    pulls.refused(&server.url("/tiny.gguf"), &["another part than asked for"]);
}

#[test]
fn a_short_body_is_asked_for_again_and_then_refused() {
    let (pulls, model) = (Pulls::new(), model_of(BYTES));
    let cut = |request: &Request, model: &[u8]| {
        let (first, last) = request.range().unwrap();
        let range = format!("bytes {first}-{last}/{BYTES}");
        let half = &model[first..first + (last - first) / 2];
        let length = (last - first + 1).to_string();
        Reply::ok(half).with("ETag", "\"v1\"").with("Content-Length", length).part(range)
    };
    let bytes = model.clone();
    let server = failing_after(&model, 5000, move |request| cut(request, &bytes));
    let error = pulls.pull(&server.url("/tiny.gguf")).unwrap_err().to_string();
    assert!(error.contains("check the network"), "{error}");
    assert!(pulls.store().list().unwrap().is_empty());
    assert_eq!(pulls.store().begun(&"tiny".parse().unwrap()), 4000);

    // One cut goes on in the middle of the range.
    let (bytes, left) = (model.clone(), AtomicUsize::new(1));
    let server = Server::start(move |request| {
        let first = request.range().map_or(0, |range| range.0);
        if first == 7000 && left.fetch_min(0, Ordering::SeqCst) == 1 {
            return cut(request, &bytes);
        }
        Reply::file(request, &bytes, "\"v1\"")
    });
    let other = Pulls::new();
    other.pull(&server.url("/tiny.gguf")).unwrap();
    other.assert_model("tiny", "tiny.gguf", &model);
    assert!(ranges(&server.seen()).contains(&(7499, 7999)));
}

/// T11: bodies without end, or with another than was announced.
#[test]
fn t11_an_endless_body_is_cut_off() {
    let pulls = Pulls::new();
    let server = Server::start(|_| Reply::new(200).body(Body::Endless));
    pulls.refused(&server.url("/tiny.gguf"), &["does not say how long"]);

    let server = Server::start(|request| match request.range() {
        Some(_) => Reply::ok("").with("Content-Length", "5000").body(Body::Silence),
        None => Reply::new(200).body(Body::Endless),
    });
    pulls.refused(&server.url("/tiny.gguf"), &["goes on beyond the 5000 bytes"]);

    let model = model_of(BYTES);
    let server = failing_after(&model, 1000, |request| {
        let (first, last) = request.range().unwrap();
        let range = format!("bytes {first}-{last}/{BYTES}");
        Reply::new(200).body(Body::Endless).with("ETag", "\"v1\"").part(range)
    });
    pulls.refused(&server.url("/tiny.gguf"), &["more bytes"]);
}

/// T11: a size that nothing can hold, found before anything is fetched or allocated.
#[test]
fn t11_a_size_beyond_all_bounds_is_refused() {
    for (size, words) in [
        ("18446744073709551615", "expected 1 byte to 1 TB"),
        ("1000000000000", "are needed"),
        ("0", "expected 1 byte"),
        ("-5", "another part"),
        ("99999999999999999999999", "another part"),
    ] {
        let pulls = Pulls::new();
        let range = format!("bytes 0-0/{size}");
        let server = Server::start(move |_| Reply::ok("G").with("ETag", "\"v1\"").part(&*range));
        pulls.refused(&server.url("/tiny.gguf"), &[words]);
        assert_eq!(server.seen().len(), 1);
    }
}

/// T11: a slow drip holds nobody longer than the patience, and so does silence.
#[test]
fn t11_a_slow_drip_and_silence_are_given_up() {
    let slow = |body: Body| {
        let mut pulls = Pulls::new();
        pulls.reach.limits.patience = Duration::from_millis(150);
        pulls.reach.limits.tries = 2;
        let server = Server::start(move |request| match request.range() {
            Some((0, 0)) => Reply::ok("G").with("ETag", "\"v1\"").part("bytes 0-0/30500"),
            _ => {
                let (first, last) = request.range().unwrap();
                let range = format!("bytes {first}-{last}/{BYTES}");
                let reply = Reply::ok("").body(body.clone()).with("ETag", "\"v1\"");
                reply.with("Content-Length", (last - first + 1).to_string()).part(range)
            }
        });
        let begin = Instant::now();
        pulls.refused(&server.url("/tiny.gguf"), &["sent", "in 0.15 s", "check the network"]);
        assert!(begin.elapsed() < Duration::from_secs(10));
    };
    slow(Body::Drip(vec![7; 1000], Duration::from_millis(5)));

    let mut pulls = Pulls::new();
    pulls.reach.limits.patience = Duration::from_millis(150);
    pulls.reach.limits.tries = 1;
    let server = Server::start(|_| Reply::new(200).body(Body::Silence).with("Content-Length", "9"));
    pulls.refused(&server.url("/tiny.gguf"), &["sent nothing for 0.15 s"]);
    let server = Server::start(|_| Reply::mute());
    pulls.refused(&server.url("/tiny.gguf"), &["no answer in 0.15 s"]);
}

/// T11: what was not asked for is not unpacked.
#[test]
fn t11_a_packed_answer_is_refused() {
    for coding in ["gzip", "br", "deflate, gzip"] {
        let pulls = Pulls::new();
        let server = Server::start(move |_| {
            Reply::ok(vec![0x1f, 0x8b, 8, 0]).with("Content-Encoding", coding)
        });
        pulls.refused(&server.url("/tiny.gguf"), &["packed", "not unpacked"]);
    }
}

#[test]
fn what_is_no_model_is_not_kept() {
    let pulls = Pulls::new();
    let page = b"<!doctype html><p>Please log in".to_vec();
    let server = Server::of_file(page.clone());
    pulls.refused(&server.url("/tiny.gguf"), &["it starts with \"<!do\"", "a GGUF file"]);
    let part = "/tiny-00001-of-00002.gguf";
    pulls.refused(&server.url(part), &["one part of a split model", "hearth import"]);
}

/// T4: a token goes to its own server, and no further.
#[test]
fn t4_a_token_stays_behind_at_a_redirect() {
    let model = model_of(BYTES);
    let elsewhere = Server::of_file(model.clone());
    let target = elsewhere.url("/cdn/tiny.gguf");
    let hub = Server::start(move |request| match request.target.as_str() {
        "/tiny.gguf" => Reply::redirect("/moved/tiny.gguf"),
        _ => Reply::redirect(target.clone()),
    });
    let pulls = Pulls::new().with_token_for(&hub);
    pulls.pull(&hub.url("/tiny.gguf")).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
    let bearer = format!("Bearer {TOKEN}");
    assert!(hub.seen().iter().all(|r| r.header("authorization") == Some(&bearer)));
    assert!(elsewhere.seen().len() > 20);
    for request in elsewhere.seen() {
        assert!(!format!("{request:?}").contains(TOKEN), "{request:?}");
    }
    assert!(
        !std::fs::read_to_string(pulls.path("models/tiny/manifest.toml")).unwrap().contains(TOKEN)
    );
}

/// T4: a server cannot have the token of another by sending the client there and back, nor may one
/// that only leads to the hub use the user's name there.
#[test]
fn t4_a_token_does_not_come_back_after_a_redirect() {
    let hub = Server::of_file(model_of(BYTES));
    let target = hub.url("/private/tiny.gguf");
    let evil = Server::start(move |_| Reply::redirect(target.clone()));
    let pulls = Pulls::new().with_token_for(&hub);
    pulls.pull(&evil.url("/tiny.gguf")).unwrap();
    assert!(hub.seen().iter().all(|request| request.header("authorization").is_none()));
}

/// T4: a server that asks for a name and password is told nothing.
#[test]
fn t4_a_foreign_challenge_gets_no_token() {
    let listener = Server::of_file(model_of(BYTES));
    let realm = listener.url("/token");
    let server = Server::start(move |_| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        Reply::new(401).with("WWW-Authenticate", challenge)
    });
    let pulls = Pulls::new().with_token_for(&listener);
    let words = ["answered 401", "set the token"];
    pulls.refused(&server.url("/tiny.gguf"), &words);
    assert!(listener.seen().is_empty());
    assert!(server.seen().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn redirects_are_bounded() {
    let pulls = Pulls::new();
    let server = Server::start(|request| Reply::redirect(format!("{}x", request.target)));
    pulls.refused(&server.url("/tiny.gguf"), &["more than 8 redirects"]);
    assert_eq!(server.seen().len(), 9);
    let server = Server::start(|request| Reply::redirect(request.target.clone()));
    pulls.refused(&server.url("/tiny.gguf"), &["more than 8 redirects"]);
}

/// T5: where a redirect may lead is asked anew at each.
#[test]
fn t5_a_redirect_is_checked_like_the_first_address() {
    for (target, words) in [
        ("http://example.com/tiny.gguf", "without TLS"),
        (concat!("http:", "//169.254.169.254/latest/meta-data"), "without TLS"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("gopher://127.0.0.1/x", "does not begin with https://"),
        ("https://user:pw@example.com/x.gguf", "user name or password"),
        ("https://exa\\mple.com/x.gguf", "must be written as %XX"),
    ] {
        let pulls = Pulls::new();
        let server = Server::start(move |_| Reply::redirect(target));
        pulls.refused(&server.url("/tiny.gguf"), &["leads elsewhere", words][1..]);
        assert!(!pulls.ledger().contains("example.com"), "nothing was dialled");
        assert!(!pulls.ledger().contains("169.254"), "nothing was dialled");
    }
}

#[test]
fn an_address_without_tls_is_refused_beyond_this_machine() {
    let pulls = Pulls::new();
    let words = ["without TLS", "plain_http"];
    pulls.refused("http://model.example/tiny.gguf", &words);
    assert_eq!(pulls.ledger(), "", "nothing was dialled");
}

/// Every connection has its line before the server sees it: also where a redirect leads.
#[test]
fn the_ledger_has_its_line_before_each_connection() {
    let pulls = Pulls::new();
    let (log, seen) = (pulls.path("egress.log"), Arc::new(Mutex::new(Vec::new())));
    let look = |seen: &Arc<Mutex<Vec<String>>>| {
        let (log, seen) = (log.clone(), seen.clone());
        move || seen.lock().unwrap().push(std::fs::read_to_string(&log).unwrap_or_default())
    };
    let (first, second) = (look(&seen), look(&seen));
    let model = model_of(500);
    let cdn = Server::start(move |request| {
        second();
        Reply::file(request, &model, "\"v1\"")
    });
    let target = cdn.url("/x?sig=s3cret");
    let hub = Server::start(move |_| {
        first();
        Reply::redirect(target.clone())
    });
    pulls.pull(&hub.url("/tiny.gguf?key=s3cret")).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen[0].contains(&hub.address.to_string()), "{}", seen[0]);
    assert!(!seen[0].contains(&cdn.address.to_string()), "{}", seen[0]);
    assert!(seen[1].contains(&cdn.address.to_string()), "{}", seen[1]);
    assert!(!pulls.ledger().contains("s3cret"), "{}", pulls.ledger());
    let manifest = std::fs::read_to_string(pulls.path("models/tiny/manifest.toml")).unwrap();
    assert!(!manifest.contains("s3cret"), "{manifest}");
}

#[test]
fn without_a_ledger_nothing_is_connected() {
    let pulls = Pulls::new();
    let server = Server::of_file(model_of(BYTES));
    std::fs::create_dir(pulls.path("egress.log")).unwrap();
    let error = pulls.pull(&server.url("/tiny.gguf")).unwrap_err();
    assert!(matches!(error, HubError::Ledger { .. }), "{error}");
    assert!(server.seen().is_empty());
}

#[test]
fn a_servers_words_cannot_steer_the_terminal() {
    let pulls = Pulls::new();
    let server =
        Server::start(|_| Reply::new(403).body(Body::Bytes(b"\x1b[2Jno\r\n\x07way".to_vec())));
    let error = pulls.refused(&server.url("/tiny.gguf"), &["answered 403 ([2Jno way)"]);
    assert!(!error.contains('\x1b'));
    let server = Server::start(|_| Reply::new(404).with("X-Error-Message", "Entry\u{9b}31m none"));
    pulls.refused(&server.url("/tiny.gguf"), &["answered 404", "no such thing"]);
}

/// A head of any size or shape is refused or taken, and never more.
#[test]
fn t11_an_endless_head_is_cut_off() {
    let pulls = Pulls::new();
    let server = Server::start(|_| Reply::ok("x").with("X-Long", "x".repeat(1 << 20)));
    pulls.refused(&server.url("/tiny.gguf"), &["cannot be asked"]);
    let server = Server::start(|_| {
        (0..10_000).fold(Reply::ok("x"), |reply, index| reply.with(&format!("X-{index}"), "y"))
    });
    pulls.refused(&server.url("/tiny.gguf"), &["cannot be asked"]);
}

/// Stops when the file has begun to come.
struct StopAt(Stage, u64);

impl Observer for StopAt {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        match progress {
            Progress::Bytes { stage, done, .. } if stage == self.0 && done >= self.1 => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Stops while the server does not answer.
struct StopAsking;

impl Observer for StopAsking {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        match progress {
            Progress::Asking => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[test]
fn a_pull_can_be_stopped_at_any_time() {
    let pulls = Pulls::new();
    let model = model_of(BYTES);
    let server = failing_after(&model, 6000, |request| {
        let (first, last) = request.range().unwrap();
        let range = format!("bytes {first}-{last}/{BYTES}");
        Reply::ok("").body(Body::Silence).with("ETag", "\"v1\"").part(range)
    });
    let begin = Instant::now();
    let stop = StopAt(Stage::Download, 5000);
    let error = pulls.pull_seen_by(&server.url("/tiny.gguf"), &stop).unwrap_err();
    assert!(matches!(error, HubError::Stopped), "{error}");
    let kept = pulls.store().begun(&"tiny".parse().unwrap());
    assert!([0, 4000].contains(&kept), "{kept} bytes kept");
    pulls.assert_ledger_closed();

    let silent = Server::start(|_| Reply::mute());
    let error = pulls.pull_seen_by(&silent.url("/other.gguf"), &StopAsking).unwrap_err();
    assert!(matches!(error, HubError::Stopped), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(4), "it did not wait for the server");
    pulls.assert_ledger_closed();
}

/// T1: whatever stands in an address, what is written has a plain name inside the store.
#[test]
fn t1_an_address_never_becomes_a_path() {
    for path in [
        "/..%2f..%2fevil.gguf",
        "/%2e%2e/evil%2f.gguf",
        "/a/..",
        "/evil.gguf%00",
        "/.evil.gguf",
        "/C:%5cevil.gguf",
        "/%0a.gguf",
    ] {
        let text = format!("https://example.com{path}");
        let error = <dyn Remote>::parse(&text).unwrap().unwrap_err();
        assert!(matches!(error, HubError::Address { .. }), "{error}");
    }
    // A redirect's name counts for nothing.
    let model = model_of(BYTES);
    let bytes = model.clone();
    let server = Server::start(move |request| match request.target.as_str() {
        "/tiny.gguf" => Reply::redirect("/..%2f..%2fevil.gguf"),
        _ => Reply::file(request, &bytes, "\"v1\"")
            .with("Content-Disposition", "attachment; filename=../../evil.gguf"),
    });
    let pulls = Pulls::new();
    pulls.pull(&server.url("/tiny.gguf")).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
}

#[test]
fn a_proxy_of_the_environment_is_used_and_named() {
    let (pulls, model) = (Pulls::new(), model_of(500));
    let proxy = Server::of_file(model.clone());
    let mut pulls = pulls;
    let address = format!("me:{TOKEN}@{}", proxy.address);
    pulls.reach.proxies.0.insert("http_proxy".into(), address);
    pulls.reach.plain_http = true;
    let _ = pulls.pull("http://model.example/tiny.gguf");
    assert!(!proxy.seen().is_empty(), "nothing went through the proxy");
    let ledger = pulls.ledger();
    assert!(ledger.contains("http://model.example"), "{ledger}");
    assert!(ledger.contains(&format!("through http://{}", proxy.address)), "{ledger}");
    assert!(!ledger.contains(TOKEN), "{ledger}");
}

//! Asking: which addresses are allowed, which token goes where, which redirects are followed.

use super::answer::{Answer, Pace, clean};
use super::secret::{Credential, Secret};
use super::trouble::Trouble;
use super::url::{Origin, Url};
use crate::egress::{Ledger, Line, LineError, Reply, Roots, Route};
use crate::progress::{Observer, Progress, report};
use crate::source::Proxies;
use crate::{HubError, egress};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Redirects that are followed.
const REDIRECTS: usize = 8;
/// How often somebody who waits is asked whether to go on.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How other machines are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Hubs in the manner of Hugging Face; each next one is asked where the one before fails.
    pub hubs: Vec<Url>,
    /// Registries in the manner of Ollama, likewise.
    pub registries: Vec<Url>,
    /// Tokens, each for one server.
    pub credentials: Vec<Credential>,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// Are addresses without TLS allowed that lead beyond this machine?
    pub plain_http: bool,
    /// A file of certificates to believe instead of the system's.
    pub certificates: Option<PathBuf>,
    /// What is waited for, and in which pieces files come.
    pub limits: Limits,
}

/// Limits of downloads.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest wait for a connection, for an answer and for its next bytes.
    pub patience: Duration,
    /// Bytes that must come on a connection in each stretch of that time.
    pub least_bytes: u64,
    /// Connections that bring one file, where the server has ranges.
    pub connections: usize,
    /// Bytes of one range.
    pub chunk: u64,
    /// Bytes after which a resume can begin; a multiple of `chunk`.
    pub piece: u64,
    /// How often one range is asked for before giving up.
    pub tries: u32,
    /// Pause before the second time; it doubles.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            least_bytes: 16 << 10,
            connections: 4,
            chunk: 4 << 20,
            piece: 16 << 20,
            tries: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// Asks servers. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    reach: Reach,
    ledger: Ledger,
    command: String,
    stopped: AtomicBool,
    lines: Mutex<HashMap<(Origin, bool), Arc<Line>>>,
    roots: Mutex<Option<Roots>>,
}

/// What is asked for at an address.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    /// What is fetched, for the ledger.
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'a str>,
    /// First and last byte.
    pub(crate) range: Option<(u64, u64)>,
    /// The ETag that the range must be of.
    pub(crate) if_range: Option<&'a str>,
    /// A token that the server itself gave, in place of the configured one.
    pub(crate) bearer: Option<&'a Secret>,
    /// How the address was found, if redirects led there before: what held then holds on.
    pub(crate) led: Led,
}

/// What is to be remembered of redirects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Led {
    /// To another server: tokens stay behind.
    away: bool,
    /// From a public server: none of a private network may follow.
    public: bool,
}

impl Client {
    /// A client; `command` is what the user started, for the ledger.
    pub fn new(reach: Reach, ledger: Ledger, command: &str) -> Self {
        Self(Arc::new(Shared {
            reach,
            ledger,
            command: command.to_owned(),
            stopped: AtomicBool::new(false),
            lines: Mutex::default(),
            roots: Mutex::default(),
        }))
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// Breaks off whatever runs and asks nothing more.
    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        for (_, line) in locked(&self.0.lines).drain() {
            line.shutdown();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Asks, follows redirects and gives a good answer. Every hop is checked anew; the token stays
    /// behind when another server comes, for good.
    pub(crate) fn get(&self, url: &Url, ask: &Ask<'_>) -> Result<Answer, Trouble> {
        let token = ask.bearer.or_else(|| self.credential(url)).map(Secret::authorization);
        let range = ask.range.map(|(first, last)| format!("bytes={first}-{last}"));
        let (mut at, mut led) = (url.clone(), ask.led);
        self.check(&at)?;
        for _ in 0..=REDIRECTS {
            let headers = [
                ("Accept", ask.accept),
                ("Range", range.as_deref()),
                ("If-Range", ask.if_range),
                ("Authorization", token.as_deref().filter(|_| !led.away)),
            ];
            let headers: Vec<(&str, &str)> =
                headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let line = self.line(at.origin(), led.public, ask.what)?;
            let reply =
                line.get(&at.to_request(), &headers).map_err(|error| self.said(&at, error))?;
            let Some(location) = location(&reply) else {
                let limits = &self.0.reach.limits;
                let pace = Pace::new(limits.patience, limits.least_bytes);
                return Answer::new(reply, at, led, pace);
            };
            let next = at.join(&location).and_then(|next| may_follow(&at, next));
            let next = next.map_err(|why| {
                Trouble::lasting(format!("{} leads elsewhere, and {why}", at.origin()))
            })?;
            self.check(&next)?;
            led.public |= self.is_public(&line, at.origin());
            led.away |= next.origin() != at.origin();
            at = next;
        }
        let host = url.origin();
        Err(Trouble::lasting(format!("{host} leads on and on: more than {REDIRECTS} redirects")))
    }

    /// A small answer as a whole, asked for again where that may help.
    pub(crate) fn fetch(&self, url: &Url, ask: &Ask<'_>, cap: usize) -> Result<Vec<u8>, Trouble> {
        self.again(|| self.get(url, ask)?.bytes(cap))
    }

    /// Does `work` until it goes well, goes wrong for good, or was tried often enough.
    pub(super) fn again<T>(
        &self,
        mut work: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let limits = &self.0.reach.limits;
        let mut pause = limits.pause;
        let mut tries = 1;
        loop {
            let trouble = match work() {
                Err(_) if self.is_stopped() => return Err(Trouble::Hub(HubError::Stopped)),
                Err(Trouble::Passing(found)) => Trouble::Passing(found),
                other => return other,
            };
            if tries >= limits.tries {
                return Err(trouble);
            }
            self.wait(pause)?;
            (tries, pause) = (tries + 1, pause.saturating_mul(2));
        }
    }

    /// Waits, unless the work is stopped meanwhile.
    fn wait(&self, mut left: Duration) -> Result<(), Trouble> {
        while !left.is_zero() {
            if self.is_stopped() {
                return Err(Trouble::Hub(HubError::Stopped));
            }
            let step = left.min(TICK);
            std::thread::sleep(step);
            left -= step;
        }
        Ok(())
    }

    fn credential(&self, url: &Url) -> Option<&Secret> {
        Credential::find(&self.0.reach.credentials, url.origin())
    }

    /// Refuses an address without TLS, except of this machine or where the settings allow it.
    fn check(&self, url: &Url) -> Result<(), Trouble> {
        let origin = url.origin();
        if origin.https || origin.is_loopback() || self.0.reach.plain_http {
            return Ok(());
        }
        Err(Trouble::lasting(format!(
            "{origin} is without TLS: anyone on the way could read and change what comes; use \
             https://, or allow it with the setting `plain_http`"
        )))
    }

    /// Is this server known to be on the public network? Behind a proxy nobody knows, and the
    /// proxy decides what may be reached.
    fn is_public(&self, line: &Line, origin: &Origin) -> bool {
        !line.is_private() && self.0.reach.proxies.on_the_way(&origin.to_string()).is_none()
    }

    /// The connections to a server, made when they are first needed.
    fn line(&self, origin: &Origin, public_only: bool, what: &str) -> Result<Arc<Line>, Trouble> {
        let roots = if origin.https { self.roots()? } else { Roots::default() };
        let mut lines = locked(&self.0.lines);
        if self.is_stopped() {
            return Err(Trouble::Hub(HubError::Stopped));
        }
        let key = (origin.clone(), public_only);
        if let Some(line) = lines.get(&key) {
            return Ok(line.clone());
        }
        let address = origin.to_string();
        let proxies = &self.0.reach.proxies;
        let proxy = proxies.on_the_way(&address);
        let mut destination = vec![egress::destination(&address)];
        destination.extend(proxies.towards(&destination));
        let (command, what) = (self.0.command.clone(), what.to_owned());
        let patience = self.0.reach.limits.patience;
        let proxy = proxy.map(spoken_to).transpose().map_err(Trouble::Lasting)?;
        let route = Route { destination, command, what, proxy, public_only, patience, roots };
        let line = Line::new(&self.0.ledger, route).map_err(|error| match error {
            LineError::Refused(error) => Trouble::Hub(error),
            LineError::Failed(found) => Trouble::Lasting(found),
        })?;
        let line = Arc::new(line);
        lines.insert(key, line.clone());
        Ok(line)
    }

    fn roots(&self) -> Result<Roots, Trouble> {
        let mut roots = locked(&self.0.roots);
        if let Some(roots) = &*roots {
            return Ok(roots.clone());
        }
        let loaded = Roots::load(self.0.reach.certificates.as_deref())?;
        *roots = Some(loaded.clone());
        Ok(loaded)
    }

    fn said(&self, url: &Url, error: LineError) -> Trouble {
        match error {
            _ if self.is_stopped() => Trouble::Hub(HubError::Stopped),
            LineError::Refused(error) => Trouble::Hub(error),
            LineError::Failed(found) => {
                let found = clean(&found, 200);
                Trouble::Passing(format!("{} cannot be asked: {found}", url.origin()))
            }
        }
    }
}

/// Where a redirect leads.
fn location(reply: &Reply) -> Option<String> {
    let is_redirect = matches!(reply.status(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| reply.header("location")).flatten().map(str::to_owned)
}

/// A redirect never leads from TLS to none, whatever the settings allow.
fn may_follow(from: &Url, to: Url) -> Result<Url, String> {
    match from.origin().https && !to.origin().https {
        true => Err(format!("{} is without TLS", to.origin())),
        false => Ok(to),
    }
}

/// A proxy as the client takes it; one without a scheme is spoken to over HTTP.
fn spoken_to(proxy: &str) -> Result<String, String> {
    match proxy.split_once("://") {
        None => Ok(format!("{}://{proxy}", "http")),
        Some(("http" | "https", _)) => Ok(proxy.to_owned()),
        Some((scheme, _)) => Err(format!(
            "the proxy of the environment speaks {}; expected one that speaks http or https",
            clean(scheme, 20)
        )),
    }
}

/// A panic elsewhere leaves these tables whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` in a thread of its own, so that the observer can stop it at any time.
pub(crate) fn attended<T: Send>(
    client: &Client,
    observer: &dyn Observer,
    work: impl FnOnce() -> Result<T, Trouble> + Send,
) -> Result<T, Trouble> {
    std::thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        let worker = scope.spawn(move || {
            let _running = running;
            work()
        });
        let mut stopped = Ok(());
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
            if stopped.is_ok() {
                stopped = report(observer, Progress::Asking).inspect_err(|_| client.stop());
            }
        }
        let done = worker.join();
        stopped?;
        done.unwrap_or_else(|_| Err(Trouble::lasting("a defect of hearth: its client failed")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_tls() {
        let url = |text: &str| Url::parse(text).unwrap();
        let from = url("https://example.com/");
        assert!(may_follow(&from, url("https://example.org/")).is_ok());
        for to in ["http://example.com/", "http://127.0.0.1:1/"] {
            assert!(may_follow(&from, url(to)).is_err(), "{to}");
        }
        assert!(may_follow(&url("http://127.0.0.1:1/"), from).is_ok());
    }

    #[test]
    fn a_proxy_must_be_understood() {
        assert_eq!(spoken_to("p.example:1").unwrap(), "http://p.example:1");
        assert!(spoken_to("https://p.example:1").is_ok());
        let error = spoken_to("socks5h://me:pw@p.example:1").unwrap_err();
        assert!(error.contains("socks5h") && !error.contains("pw"), "{error}");
    }
}

//! Connections to one server over HTTP: the only place where a socket of this program is opened.
//!
//! The client is `ureq`, with everything turned off that it would do by itself: redirects, retries
//! by status, decompression, proxies of the environment. What it connects with is made here, so
//! that every connection has its line in the ledger before it is made and the second one when it
//! is closed, kept-alive ones too. Its parts are used outside its semver promise; the workspace
//! names its version exactly.

use super::{Ledger, Roots, Ticket};
use crate::HubError;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Response;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector,
    TcpConnector, Transport,
};

/// Largest head of an answer, in bytes.
const HEAD_CAP: usize = 64 << 10;

/// Whom to connect to, and what for.
pub(crate) struct Route {
    /// The ledger's names of the server and of the proxy on the way.
    pub(crate) destination: Vec<String>,
    /// The command the user started.
    pub(crate) command: String,
    /// What is fetched.
    pub(crate) what: String,
    /// The proxy on the way, with its password if it has one.
    pub(crate) proxy: Option<String>,
    /// Refuse addresses of private networks and of this machine.
    pub(crate) public_only: bool,
    /// Longest wait for a connection, for an answer's head and for its next bytes.
    pub(crate) patience: Duration,
    /// Whose certificates are believed; empty where none is needed.
    pub(crate) roots: Roots,
}

/// Why there is no answer.
pub(crate) enum LineError {
    /// The ledger could not be written, or the address is not allowed.
    Refused(HubError),
    /// The client's own words.
    Failed(String),
}

/// Connections to one server.
pub(crate) struct Line {
    agent: Agent,
    patience: Duration,
    private: Arc<AtomicBool>,
}

/// An answer whose body is not read yet.
pub(crate) struct Reply {
    response: Response<ureq::Body>,
}

impl Line {
    /// Connects nothing yet.
    pub(crate) fn new(ledger: &Ledger, route: Route) -> Result<Self, LineError> {
        let proxy = match &route.proxy {
            None => None,
            // Not quoted: it may hold a password.
            Some(text) => Some(ureq::Proxy::new(text).map_err(|_| {
                LineError::Failed("the address of the proxy cannot be read".to_owned())
            })?),
        };
        let tls = TlsConfig::builder()
            .root_certs(route.roots.to_client())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let wait = route.patience;
        let patience = Some(wait);
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .tls_config(tls)
            .accept_encoding("identity")
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_CAP)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .timeout_per_write(patience)
            .build();
        let private = Arc::new(AtomicBool::new(false));
        let dialler = Dialler {
            tcp: TcpConnector::default(),
            ledger: ledger.clone(),
            route,
            private: private.clone(),
        };
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(dialler)
                .chain(RustlsConnector::default());
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, patience: wait, private })
    }

    /// Asks for `address`.
    pub(crate) fn get(&self, address: &str, headers: &[(&str, &str)]) -> Result<Reply, LineError> {
        let mut request = self.agent.get(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().map(|response| Reply { response }).map_err(|error| self.said(error))
    }

    /// What happened, in words; an error of ours that went through the client comes back as it was.
    fn said(&self, error: ureq::Error) -> LineError {
        LineError::Failed(match error {
            ureq::Error::Other(inner) => match inner.downcast::<HubError>() {
                Ok(ours) => return LineError::Refused(*ours),
                Err(other) => other.to_string(),
            },
            ureq::Error::HostNotFound => "no such host is known".to_owned(),
            ureq::Error::Timeout(_) => format!("no answer in {} s", self.patience.as_secs_f64()),
            other => other.to_string(),
        })
    }

    /// Was a connection made to an address of a private network or of this machine?
    pub(crate) fn is_private(&self) -> bool {
        self.private.load(Ordering::Relaxed)
    }

    /// Breaks off whatever runs, in other threads too, and connects no more.
    pub(crate) fn shutdown(&self) {
        self.agent.clone().shutdown();
    }
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The first header of this name, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as it comes over the line; not bounded here. Waiting too long is `TimedOut`.
    pub(crate) fn into_body(self) -> impl Read + Send {
        BodyReader(self.response.into_body().into_with_config().limit(u64::MAX).reader())
    }
}

/// A body whose errors have the kinds that those of sockets have.
struct BodyReader(ureq::BodyReader<'static>);

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
            match inner {
                Some(ureq::Error::Timeout(_)) => io::ErrorKind::TimedOut.into(),
                _ => error,
            }
        })
    }
}

/// Makes connections, each after its line in the ledger.
#[derive(Debug)]
struct Dialler {
    tcp: TcpConnector,
    ledger: Ledger,
    route: Route,
    private: Arc<AtomicBool>,
}

impl std::fmt::Debug for Route {
    /// Without the proxy, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for Dialler {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(tunnel) = chained {
            // Through a proxy: the connection to that came this way before.
            return Ok(Some(Box::new(tunnel)));
        }
        let is_direct = self.route.proxy.is_none();
        if is_direct && details.addrs.iter().any(|address| is_private(address.ip())) {
            if self.route.public_only {
                return Err(other(self.not_public()));
            }
            self.private.store(true, Ordering::Relaxed);
        }
        let route = &self.route;
        let ticket =
            self.ledger.open(&route.command, &route.destination, &route.what).map_err(other)?;
        match Connector::<()>::connect(&self.tcp, details, None) {
            Ok(Some(transport)) => {
                let ticket = Some(ticket);
                Ok(Some(Box::new(Noted { transport, ticket, bytes: 0, failed: false })))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                ticket.close(0, "failed").map_err(other)?;
                Err(error)
            }
        }
    }
}

impl Dialler {
    fn not_public(&self) -> HubError {
        HubError::Source {
            source_name: self.route.what.clone(),
            found: format!(
                "a public server led to {}, which is this machine or in a private network; \
                 nothing is fetched from there. Pull from that address itself if it is meant",
                self.route.destination.join(" ")
            ),
        }
    }
}

fn other(error: HubError) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

/// A connection with its place in the ledger.
#[derive(Debug)]
struct Noted<T: Transport> {
    transport: T,
    ticket: Option<Ticket>,
    bytes: u64,
    failed: bool,
}

impl<T: Transport> Noted<T> {
    fn noted<R>(&mut self, result: Result<R, ureq::Error>) -> Result<R, ureq::Error> {
        self.failed |= result.is_err();
        result
    }
}

impl<T: Transport> Transport for Noted<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let result = self.transport.transmit_output(amount, timeout);
        self.noted(result)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.transport.buffers().input().len();
        let result = self.transport.await_input(timeout);
        let after = self.transport.buffers().input().len();
        self.bytes = self.bytes.saturating_add(after.saturating_sub(before) as u64);
        self.noted(result)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }
}

impl<T: Transport> Drop for Noted<T> {
    /// The second line: what came over the line, TLS included. Failing to write it must not hide
    /// what else went wrong.
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let _ = ticket.close(self.bytes, if self.failed { "failed" } else { "done" });
        }
    }
}

/// Is this address of this machine or of a private network?
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || a == 0
                || shared
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    /// What a redirect of a public server may not reach, whatever name it is given.
    #[test]
    fn a_public_server_cannot_lead_into_a_private_network() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().join("egress.log"));
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://localhost:{}/x", server.local_addr().unwrap().port());
        let route = Route {
            destination: vec![crate::egress::destination(&address)],
            command: "pull x".into(),
            what: "x".into(),
            proxy: None,
            public_only: true,
            patience: Duration::from_secs(5),
            roots: Roots::default(),
        };
        let line = Line::new(&ledger, route).ok().unwrap();
        let Err(LineError::Refused(error)) = line.get(&address, &[]) else { panic!("connected") };
        assert!(error.to_string().contains("private network"), "{error}");
        server.set_nonblocking(true).unwrap();
        assert!(server.accept().is_err(), "nothing connected");
        assert!(ledger.last_lines(1).unwrap().is_empty());
    }
}

//! A server on loopback that a test makes as good or as hostile as it needs: a handler turns each
//! request into a reply, and a reply may lie.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First and last byte asked for.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

/// What is sent after the head.
#[derive(Clone)]
pub(crate) enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One byte, then a pause, and so on.
    Drip(Vec<u8>, Duration),
    /// Chunks for ever.
    Endless,
    /// Nothing, for ever.
    Silence,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(Vec::new()) }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(Body::Bytes(body.into()))
    }

    /// No answer at all.
    pub(crate) fn mute() -> Self {
        Self::new(0)
    }

    pub(crate) fn redirect(to: impl Into<String>) -> Self {
        Self::new(302).with("Location", to)
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sets a header; Content-Length comes by itself unless it is set here.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The file as a good server sends it: with ranges, under an ETag.
    pub(crate) fn file(request: &Request, bytes: &[u8], etag: &str) -> Self {
        let current = request.header("if-range").is_none_or(|asked| asked == etag);
        let whole = || Self::ok(bytes).with("Accept-Ranges", "bytes").with("ETag", etag);
        match request.range() {
            Some((first, last)) if current && first <= last && last < bytes.len() => {
                let range = format!("bytes {first}-{last}/{}", bytes.len());
                whole().body(Body::Bytes(bytes[first..=last].to_vec())).part(range)
            }
            _ => whole(),
        }
    }

    pub(crate) fn part(mut self, range: impl Into<String>) -> Self {
        self.status = 206;
        self.with("Content-Range", range)
    }

    /// Sends it; true if the connection can be used again.
    fn send(&self, to: &mut TcpStream) -> io::Result<bool> {
        if self.status == 0 {
            closed_within(to, Duration::from_secs(60))?;
            return Ok(false);
        }
        let has_length =
            |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let stated = has_length("Content-Length") || has_length("Transfer-Encoding");
        match &self.body {
            _ if stated => {}
            Body::Bytes(bytes) | Body::Drip(bytes, _) => {
                head.push_str(&format!("Content-Length: {}\r\n", bytes.len()));
            }
            Body::Endless => head.push_str("Transfer-Encoding: chunked\r\n"),
            Body::Silence => head.push_str("Content-Length: 1000000\r\n"),
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())?;
        match &self.body {
            Body::Bytes(bytes) => {
                to.write_all(bytes)?;
                Ok(!stated)
            }
            Body::Drip(bytes, pause) => {
                for byte in bytes {
                    to.write_all(&[*byte])?;
                    if closed_within(to, *pause)? {
                        break;
                    }
                }
                Ok(false)
            }
            Body::Endless => loop {
                to.write_all(b"400\r\n")?;
                to.write_all(&[b'x'; 0x400])?;
                to.write_all(b"\r\n")?;
            },
            Body::Silence => {
                closed_within(to, Duration::from_secs(60))?;
                Ok(false)
            }
        }
    }
}

/// Waits for the other side to close, or for the time to pass.
fn closed_within(stream: &mut TcpStream, wait: Duration) -> io::Result<bool> {
    stream.set_read_timeout(Some(wait))?;
    match stream.read(&mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// A running server. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(handler);
        let shared = (seen.clone(), stop.clone());
        let listener = std::thread::spawn(move || {
            let (seen, stop) = shared;
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (seen, handler) = (seen.clone(), handler.clone());
                // Errors are those of clients that went away, as many tests make them do.
                std::thread::spawn(move || serve(stream, &seen, &*handler));
            }
        });
        Self { address, seen, stop, listener: Some(listener) }
    }

    /// A server that has one file at every address.
    pub(crate) fn of_file(bytes: Vec<u8>) -> Self {
        Self::start(move |request| Reply::file(request, &bytes, "\"v1\""))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener; if that fails, it has ended already.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    handler: &(impl Fn(&Request) -> Reply + ?Sized),
) -> io::Result<()> {
    // Without this, each answer in two writes waits for an acknowledgement that comes late.
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        seen.lock().unwrap().push(request.clone());
        if !handler(&request).send(&mut stream)? {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let target = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Ok(Some(Request { target, headers: headers.collect() }))
}

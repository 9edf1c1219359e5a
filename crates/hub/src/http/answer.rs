//! An answer and its body, which comes fast enough, is not packed, and never fills the memory.

use super::client::Led;
use super::trouble::Trouble;
use super::url::Url;
use crate::egress::Reply;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// Longest body of an error that is read for its words, in bytes.
const WORDS_CAP: u64 = 4 << 10;
/// Longest quotation of a server, in characters.
const QUOTED: usize = 200;

/// A good answer (200 or 206) at the end of the redirects.
pub(crate) struct Answer {
    /// Where it came from in the end.
    pub(crate) url: Url,
    pub(crate) led: Led,
    pub(crate) status: u16,
    /// Content-Length as it was stated.
    pub(crate) length: Option<u64>,
    /// Content-Range as it was stated.
    pub(crate) range: Option<String>,
    /// The strong ETag, if there is a plain one.
    pub(crate) etag: Option<String>,
    body: Body,
}

/// A body with a least rate.
struct Body {
    host: String,
    reader: Box<dyn Read + Send>,
    pace: Pace,
}

impl Answer {
    /// Takes a final answer apart, or says why it is none to use.
    pub(super) fn new(reply: Reply, url: Url, led: Led, pace: Pace) -> Result<Self, Trouble> {
        let status = reply.status();
        let host = url.origin().to_string();
        if let Some(coding) = reply.header("content-encoding")
            && !coding.eq_ignore_ascii_case("identity")
        {
            let coding = clean(coding, 20);
            return Err(Trouble::lasting(format!(
                "{host} sent its answer packed ({coding}), which was not asked for and is not \
                 unpacked"
            )));
        }
        let header = |name: &str| reply.header(name).map(str::to_owned);
        let range = header("content-range");
        let challenge = header("www-authenticate");
        let message = header("x-error-message");
        let etag = reply.header("etag").filter(|etag| is_strong(etag)).map(str::to_owned);
        let length = reply.header("content-length").and_then(|text| text.parse().ok());
        let reader = Box::new(reply.into_body());
        let mut body = Body { host, reader, pace };
        if !matches!(status, 200 | 206) {
            return Err(refusal(status, message, challenge, &mut body));
        }
        Ok(Self { url, led, status, length, range, etag, body })
    }

    /// Reads the next bytes; nothing at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.body.read(buffer)
    }

    /// The whole body, which must have at most `cap` bytes.
    pub(crate) fn bytes(mut self, cap: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = self.read(&mut buffer)?;
            if count == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&buffer[..count]);
            if bytes.len() > cap {
                let text = format!("{} answered with more than {cap} bytes", self.body.host);
                return Err(Trouble::Lasting(text));
            }
        }
    }
}

impl Body {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        let host = &self.host;
        let count = self.reader.read(buffer).map_err(|error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                let seconds = self.pace.patience.as_secs_f64();
                Trouble::Passing(format!("{host} sent nothing for {seconds} s"))
            }
            ErrorKind::UnexpectedEof => {
                Trouble::Passing(format!("{host} closed the connection before the end"))
            }
            _ => Trouble::Passing(format!("{host}: {}", clean(&error.to_string(), QUOTED))),
        })?;
        if !self.pace.keeps(count) {
            let (least, seconds) = (self.pace.least, self.pace.patience.as_secs_f64());
            let text = format!("{host} sent fewer than {least} bytes in {seconds} s");
            return Err(Trouble::Passing(text));
        }
        Ok(count)
    }
}

fn refusal(
    status: u16,
    message: Option<String>,
    challenge: Option<String>,
    body: &mut Body,
) -> Trouble {
    let words = message.unwrap_or_else(|| {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = body.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            if bytes.len() as u64 >= WORDS_CAP {
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    // A page is made for a browser and says nothing in its first words.
    let words = if words.trim_start().starts_with('<') { "" } else { words.trim() };
    let said = match clean(words, QUOTED) {
        empty if empty.is_empty() => format!("{} answered {status}", body.host),
        words => format!("{} answered {status} ({words})", body.host),
    };
    match status {
        408 | 429 | 500 | 502 | 503 | 504 => Trouble::Passing(said),
        _ => Trouble::Status { status, said, challenge },
    }
}

/// Counts bytes in stretches of time: each must have a least number.
pub(super) struct Pace {
    patience: Duration,
    least: u64,
    begin: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(patience: Duration, least: u64) -> Self {
        Self { patience, least, begin: Instant::now(), bytes: 0 }
    }

    /// Counts; false if the stretch that ends now had too few. The end of a body is never late.
    fn keeps(&mut self, count: usize) -> bool {
        self.bytes = self.bytes.saturating_add(count as u64);
        if count == 0 || self.begin.elapsed() < self.patience {
            return true;
        }
        let enough = self.bytes >= self.least;
        (self.begin, self.bytes) = (Instant::now(), 0);
        enough
    }
}

/// A strong ETag of plain characters: a weak one does not promise equal bytes.
fn is_strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| {
        let plain = inner.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        plain && !inner.is_empty() && inner.len() <= 128
    })
}

/// A server's words for a person: on one line, without control characters, at most `most` long.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    // What turns the direction of writing makes a text look like another.
    let turning = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let turns = |c: &char| turning.iter().any(|range| range.contains(c));
    let plain: String = spaced.filter(|c| !c.is_control() && !turns(c)).collect();
    let words = plain.split(' ').filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_are_one_plain_line() {
        assert_eq!(clean("\x1b[31ma\r\n\tb\x07  \u{202e}c\u{9b}", 100), "[31ma b c");
        assert_eq!(clean("äöü", 2), "äö…");
        assert_eq!(clean(" \n ", 5), "");
    }

    #[test]
    fn only_strong_plain_etags_count() {
        for (etag, strong) in [
            ("\"abc-1\"", true),
            ("W/\"abc\"", false),
            ("abc", false),
            ("\"\"", false),
            ("\"a\"b\"", false),
            ("\"a b\"", false),
        ] {
            assert_eq!(is_strong(etag), strong, "{etag}");
        }
        assert!(!is_strong(&format!("\"{}\"", "x".repeat(129))));
    }

    #[test]
    fn a_stretch_with_too_few_bytes_is_seen() {
        let mut pace = Pace::new(Duration::ZERO, 10);
        assert!(pace.keeps(10) && !pace.keeps(9) && pace.keeps(11) && pace.keeps(0));
    }
}

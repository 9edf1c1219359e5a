//! Addresses: scheme, host, port and path, taken apart once and beyond doubt.
//!
//! Only `http` and `https`, no user names, no characters that some reader would take for others.
//! What is shown of an address never has its query, which may carry a token.

use crate::egress::is_host;
use std::fmt;

/// Longest address that is taken.
const CAP: usize = 8192;

/// An address of something on a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    origin: Origin,
    /// Begins with `/`; without query and fragment.
    path: String,
    query: Option<String>,
}

/// Scheme, host and port: whom a connection is made to, and whom a token is for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// Lower case; brackets around an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Url {
    /// Takes an address apart.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it: it may hold a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("the address {why}"));
        if text.len() > CAP {
            return wrong("is longer than 8192 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
            return wrong("has a character that must be written as %XX");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("does not begin with https://");
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return wrong("does not begin with https://"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return wrong("has a user name or password, which would be seen by others");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port {
            None => Some(default_port(https)),
            Some(digits) => digits.parse().ok().filter(|port| *port > 0),
        };
        let (true, Some(port)) = (is_host(authority), port) else {
            return wrong("has no host that can be read");
        };
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let origin = Origin { https, host: host.to_ascii_lowercase(), port };
        Ok(Self { origin, path, query })
    }

    /// The address that `location`, found here, means.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        let before_path = location.split(['/', '?', '#']).next().unwrap_or_default();
        if before_path.contains(':') && location.contains("://") {
            return Self::parse(location);
        }
        let scheme = self.origin.scheme();
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{}{location}", self.path),
            _ => format!("{folder}/{location}"),
        };
        Self::parse(&format!("{}{path}", self.origin))
    }

    /// This address with segments added to its path, each written so that it stays one.
    pub(crate) fn with_segments<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut path = self.path.trim_end_matches('/').to_owned();
        for segment in segments {
            path.push('/');
            path.push_str(&encoded(segment, ":+"));
        }
        Self { origin: self.origin.clone(), path, query: None }
    }

    /// This address with `key=value` added to its query.
    pub(crate) fn with_query(mut self, key: &str, value: &str) -> Self {
        let pair = format!("{}={}", encoded(key, ""), encoded(value, ""));
        self.query = Some(match self.query {
            Some(query) => format!("{query}&{pair}"),
            None => pair,
        });
        self
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The last segment of the path, decoded; anything may stand in it.
    pub(crate) fn file_name(&self) -> String {
        decoded(self.path.rsplit('/').next().unwrap_or_default())
    }

    /// The whole address, for the client alone.
    pub(crate) fn to_request(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{self}{query}")
    }
}

impl fmt::Display for Url {
    /// Without the query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Origin {
    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Is this, by its name, the machine itself?
    pub(crate) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_matches(['[', ']']);
        bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.host)?;
        match self.port {
            port if port == default_port(self.https) => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Every byte that is not plain (or in `kept`) as `%XX`.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `%XX` as the byte that it means; what is no such pair stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).filter(|_| *first == b'%');
        let digits = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("HTTPS://Example.com:8443/a/b%20c.gguf?sig=s3cret#frag").unwrap();
        assert_eq!(url.to_string(), "https://example.com:8443/a/b%20c.gguf");
        assert_eq!(url.to_request(), "https://example.com:8443/a/b%20c.gguf?sig=s3cret");
        assert_eq!(format!("{url:?}"), url.to_string(), "no secret in it");
        assert_eq!(url.file_name(), "b c.gguf");
        assert_eq!(Url::parse("https://example.com").unwrap().to_request(), "https://example.com/");
        let six = Url::parse("https://[::1]:80/x").unwrap();
        assert_eq!((six.origin().host.as_str(), six.origin().port), ("[::1]", 80));
        assert!(six.origin().is_loopback());
    }

    #[test]
    fn what_can_be_misread_is_refused() {
        for text in [
            "example.com/x",
            "ftp://example.com/x",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://me:pw@example.com/x",
            "https://example.com@example.org/",
            "https://example.com\\@example.org/",
            "https://exa mple.com/",
            "https://example.com/a b",
            "https://example.com/\u{e9}",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com/\r\nX: y",
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(!error.contains("pw@"), "{error}");
        }
    }

    #[test]
    fn a_location_is_joined() {
        let url = Url::parse("https://example.com/a/b?q").unwrap();
        for (location, expected) in [
            ("https://example.org/x?y", "https://example.org/x?y"),
            ("//example.org/x", "https://example.org/x"),
            ("/x", "https://example.com/x"),
            ("x", "https://example.com/a/x"),
            ("?z", "https://example.com/a/b?z"),
            ("/x?to=https://example.org/", "https://example.com/x?to=https://example.org/"),
        ] {
            assert_eq!(url.join(location).unwrap().to_request(), expected, "{location}");
        }
        assert!(url.join("file:///etc/passwd").is_err());
        assert!(url.join("https://u:p@example.org/").is_err());
    }

    proptest! {
        /// Whatever a name holds, it stays one segment and cannot leave its place.
        #[test]
        fn segments_stay_segments(name in ".{1,12}") {
            let base = Url::parse("https://example.com/base/").unwrap();
            let url = base.with_segments(["a", &name]);
            let again = Url::parse(&url.to_request()).unwrap();
            prop_assert_eq!(again.path.matches('/').count(), 3);
            prop_assert_eq!(again.file_name(), name);
        }

        #[test]
        fn parsing_never_panics(text in "(https://)?[ -~]{0,40}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert_eq!(Url::parse(&url.to_request()).unwrap(), url);
            }
        }
    }
}

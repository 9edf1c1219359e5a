//! Tokens: never shown, and each for one server alone.

use super::url::{Origin, Url};
use std::fmt;

/// A token. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A token as it was configured.
    ///
    /// # Errors
    /// If it has a character that no token has, a line end above all.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() || text.len() > 8192 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("expected a token: 1 to 8192 visible characters without blanks");
        }
        Ok(Self(text.to_owned()))
    }

    /// The header that carries it.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// A token and the one server that it goes to: scheme, host and port must be equal.
#[derive(Clone, Debug)]
pub struct Credential {
    origin: Origin,
    secret: Secret,
}

impl Credential {
    /// `secret` for the server of `address`.
    pub fn new(address: &Url, secret: Secret) -> Self {
        Self { origin: address.origin().clone(), secret }
    }

    /// The token for `origin` among `credentials`.
    pub(crate) fn find<'a>(credentials: &'a [Self], origin: &Origin) -> Option<&'a Secret> {
        credentials.iter().find(|one| one.origin == *origin).map(|one| &one.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_and_cannot_be_two_lines() {
        let secret = Secret::new(" hf_abc\n").unwrap();
        let url = Url::parse("https://example.com/x").unwrap();
        let shown = format!("{:?}", Credential::new(&url, secret));
        assert!(!shown.contains("hf_abc") && shown.contains("not shown"), "{shown}");
        for text in ["", "  ", "a b", "a\r\nX: y", "\u{e9}"] {
            assert!(Secret::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_for_one_server() {
        let parse = |text: &str| Url::parse(text).unwrap();
        let secret = Secret::new("t").unwrap();
        let list = [Credential::new(&parse("https://hub.example/base"), secret)];
        let found = |text: &str| Credential::find(&list, parse(text).origin()).is_some();
        assert!(found("https://hub.example/other"));
        for other in ["https://hub.example:444/", "https://sub.hub.example/", "http://hub.example/"]
        {
            assert!(!found(other), "{other}");
        }
    }
}

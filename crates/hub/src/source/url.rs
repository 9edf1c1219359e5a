//! A plain address of a GGUF file: `https://example.com/PATH/NAME.gguf`, with `#sha256=DIGEST` if
//! the user knows it.
//!
//! Without a digest, what tells one version of the file from another is the server's ETag: it is
//! part of the label, so that a pull goes on only where the file is the same.

use super::remote::{Parsed, Remote, RemoteFile, RemoteModel};
use crate::HubError;
use crate::digest::Sha256;
use crate::http::{Client, Download, Trouble, Url, probe};
use crate::name::{FileName, ModelName};
use crate::split;
use std::fmt;

/// A file at an address.
#[derive(Debug)]
struct UrlModel {
    url: Url,
    file: FileName,
    sha256: Option<Sha256>,
}

/// Takes every text that begins like an address.
pub(super) fn parse(text: &str) -> Parsed {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let is_address = lower.starts_with("https://") || lower.starts_with("http://");
    is_address.then(|| {
        let model = address(text).map_err(|why| HubError::Address { found: shown(text), why })?;
        Ok(Box::new(model) as Box<dyn Remote>)
    })
}

/// An address for a message: without what may be secret.
fn shown(text: &str) -> String {
    crate::egress::destination(text)
}

fn address(text: &str) -> Result<UrlModel, String> {
    let (address, fragment) = match text.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (text, None),
    };
    let url = Url::parse(address)?;
    let sha256 = match fragment.filter(|fragment| !fragment.is_empty()) {
        None => None,
        Some(fragment) => {
            let digest = fragment.strip_prefix("sha256=").and_then(|digits| digits.parse().ok());
            let wrong = "ends in a `#` that is not `#sha256=` and 64 hexadecimal digits";
            Some(digest.ok_or_else(|| format!("the address {wrong}"))?)
        }
    };
    let file = FileName::try_from(url.file_name()).map_err(|_| {
        "its path must end in the name of a GGUF file, as in `https://example.com/NAME.gguf`"
            .to_owned()
    })?;
    Ok(UrlModel { url, file, sha256 })
}

impl fmt::Display for UrlModel {
    /// The query may hold a token and is no part of the name; its digest stands for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)?;
        if let Some(query) = self.url.query() {
            let digest = Sha256::of(query.as_bytes()).to_string();
            write!(f, "?{}", digest.get(..12).unwrap_or_default())?;
        }
        match self.sha256 {
            Some(sha256) => write!(f, "#sha256={sha256}"),
            None => Ok(()),
        }
    }
}

impl Remote for UrlModel {
    fn kind(&self) -> &'static str {
        "url"
    }

    fn suggested_name(&self) -> Result<ModelName, HubError> {
        ModelName::from_file_name(split::stem(self.file.as_str()))
    }

    fn ask(&self, client: &Client) -> Result<RemoteModel, HubError> {
        let reference = self.to_string();
        let download = Download { url: self.url.clone(), what: reference.clone(), bearer: None };
        if split::is_part(self.file.as_str()) {
            let found = "it is one part of a split model, and an address names one file; fetch \
                         all parts into one folder and `hearth import` the first"
                .to_owned();
            return Err(HubError::Source { source_name: reference, found });
        }
        let found = probe(client, &download).map_err(|trouble: Trouble| trouble.of(&reference))?;
        let label = match (&found.etag, self.sha256) {
            (Some(etag), None) => format!("{reference} ETag {etag}"),
            _ => reference.clone(),
        };
        let file = RemoteFile {
            name: self.file.clone(),
            url: self.url.clone(),
            bytes: found.bytes,
            sha256: self.sha256,
            probe: Some(found),
        };
        Ok(RemoteModel {
            client: client.clone(),
            label,
            reference,
            files: vec![file],
            bearer: None,
            quant: None,
            licence: None,
            left_out: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_models() {
        let digest = Sha256::of(b"x");
        let text = format!("https://example.com/a/Tiny%2DModel.gguf?sig=s3cret#sha256={digest}");
        let model = parse(&text).unwrap().unwrap();
        assert_eq!(model.suggested_name().unwrap().as_str(), "tiny-model");
        let shown = format!("{model} {model:?}");
        assert!(!shown.contains("s3cret") && shown.contains(&digest.to_string()), "{shown}");
        let other = parse("https://example.com/a/Tiny%2DModel.gguf?sig=other").unwrap().unwrap();
        assert_ne!(other.to_string().split('#').next(), model.to_string().split('#').next());
        assert!(parse("example.com/x.gguf").is_none() && parse("a:b").is_none());
    }

    #[test]
    fn addresses_of_something_else_are_refused() {
        for text in [
            "https://example.com/",
            "https://example.com/model.bin",
            "https://example.com/..%2f..%2fevil.gguf",
            "https://example.com/.hidden.gguf",
            "https://example.com/%0a.gguf",
            "https://example.com/x.gguf#sha256=12",
            "https://example.com/x.gguf#md5=12",
            "https://me:s3cret@example.com/x.gguf",
        ] {
            let error = parse(text).unwrap().unwrap_err();
            assert!(matches!(error, HubError::Address { .. }), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}

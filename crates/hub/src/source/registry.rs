//! A registry in the manner of Ollama: a manifest names blobs by their digests.
//!
//! `ollama:NAME:TAG`, `registry.ollama.ai/NAMESPACE/NAME:TAG`. The layer with the model is brought;
//! what else a manifest holds (template, system message, parameters) is named as left out, and what
//! would make the model answer wrongly without it (an adapter) is refused.

use super::remote::{Parsed, Remote, RemoteFile, RemoteModel, first_to_answer};
use super::words;
use crate::digest::Sha256;
use crate::http::{Ask, Client, Secret, Trouble, Url, clean};
use crate::name::{FileName, ModelName};
use crate::{HubError, readable};
use serde::Deserialize;
use std::fmt;

/// How a place in a registry begins.
const BEGINNINGS: [&str; 3] = ["registry.ollama.ai/", "ollama.com/", "ollama:"];
/// The namespace and the tag that are meant where none is named.
const LIBRARY: &str = "library";
const LATEST: &str = "latest";
/// Largest manifest that is read, in bytes.
const MANIFEST_CAP: usize = 1 << 20;
/// Largest answer with a token that is read, in bytes.
const TOKEN_CAP: usize = 64 << 10;
/// Most layers of a manifest.
const LAYERS_CAP: usize = 64;
/// Forms of a manifest that are understood.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.oci.image.manifest.v1+json";

/// A model in a registry.
#[derive(Debug)]
struct RegistryModel {
    namespace: String,
    name: String,
    tag: String,
}

/// `sha256:` and 64 hexadecimal digits; nothing else ever becomes part of an address or a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct BlobDigest(Sha256);

impl TryFrom<String> for BlobDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
        let expected = "expected `sha256:` and 64 hexadecimal digits";
        let wrong = || format!("found the digest `{}`, {expected}", clean(&text, 80));
        digits.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// A token as a registry gives it.
#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// What a registry says of a model. Everything else in it is left alone.
#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: BlobDigest,
    size: u64,
}

impl Layer {
    /// `model` of `application/vnd.ollama.image.model`.
    fn kind(&self) -> &str {
        self.media_type.rsplit('.').next().unwrap_or_default()
    }
}

/// Takes every text that begins like a place in a registry.
pub(super) fn parse(text: &str) -> Parsed {
    let rest = BEGINNINGS.iter().find_map(|beginning| text.strip_prefix(beginning))?;
    let model = place(rest).ok_or_else(|| HubError::Address {
        found: clean(text, 100),
        why: "expected a name and a tag, as in `ollama:llama3.2:1b` or \
              `registry.ollama.ai/library/llama3.2:1b`"
            .to_owned(),
    });
    Some(model.map(|model| Box::new(model) as Box<dyn Remote>))
}

fn place(text: &str) -> Option<RegistryModel> {
    let (path, tag) = text.split_once(':').unwrap_or((text, LATEST));
    let (namespace, name) = path.split_once('/').unwrap_or((LIBRARY, path));
    let word = |text| words::word(text).map(str::to_ascii_lowercase);
    Some(RegistryModel { namespace: word(namespace)?, name: word(name)?, tag: word(tag)? })
}

impl fmt::Display for RegistryModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry.ollama.ai/{}/{}:{}", self.namespace, self.name, self.tag)
    }
}

impl Remote for RegistryModel {
    fn kind(&self) -> &'static str {
        "ollama"
    }

    fn suggested_name(&self) -> Result<ModelName, HubError> {
        let family = match self.namespace.as_str() {
            LIBRARY => self.name.clone(),
            namespace => format!("{namespace}-{}", self.name),
        };
        format!("{family}:{}", self.tag).parse()
    }

    fn ask(&self, client: &Client) -> Result<RemoteModel, HubError> {
        let none = "none is named by the setting `registry_url`";
        let answer =
            first_to_answer(&client.reach().registries, none, |base| self.ask_at(client, base));
        answer.map_err(|trouble| trouble.of(&self.to_string()))
    }
}

impl RegistryModel {
    fn ask_at(&self, client: &Client, base: &Url) -> Result<RemoteModel, Trouble> {
        let reference = self.to_string();
        let repository = base.with_segments(["v2", &self.namespace, &self.name]);
        let url = repository.with_segments(["manifests", self.tag.as_str()]);
        let (bytes, bearer) = manifest(client, &url, &reference)?;
        let host = base.origin();
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
            let error = clean(&error.to_string(), 200);
            Trouble::lasting(format!("the manifest of {host} cannot be read: {error}"))
        })?;
        let model = chosen(&manifest.layers)?;
        let file = RemoteFile {
            name: FileName::try_from(format!("{}-{}.gguf", self.name, self.tag))?,
            url: repository.with_segments(["blobs", &model.digest.to_string()]),
            bytes: model.size,
            sha256: Some(model.digest.0),
            probe: None,
        };
        Ok(RemoteModel {
            client: client.clone(),
            label: format!("{repository}:{} manifest sha256:{}", self.tag, Sha256::of(&bytes)),
            reference,
            files: vec![file],
            bearer,
            quant: None,
            licence: None,
            left_out: left_out(&manifest.layers),
        })
    }
}

/// The manifest, and the token that the registry gave for it if it wanted one.
fn manifest(client: &Client, url: &Url, what: &str) -> Result<(Vec<u8>, Option<Secret>), Trouble> {
    let ask = Ask { what, accept: Some(ACCEPT), ..Ask::default() };
    match client.fetch(url, &ask, MANIFEST_CAP) {
        Err(Trouble::Status { status: 401, challenge: Some(challenge), .. }) => {
            let token = token(client, url, &challenge, what)?;
            let ask = Ask { bearer: Some(&token), ..ask };
            Ok((client.fetch(url, &ask, MANIFEST_CAP)?, Some(token)))
        }
        answer => Ok((answer?, None)),
    }
}

/// Asks for a token where the registry says, if that is the registry itself: another server would
/// get to know who asks for what, and in place of a token could give one of a third.
fn token(client: &Client, url: &Url, challenge: &str, what: &str) -> Result<Secret, Trouble> {
    let host = url.origin();
    let Some(realm) = parameter(challenge, "realm") else {
        let text = format!("{host} wants to be asked in a way that is not known here");
        return Err(Trouble::Lasting(text));
    };
    let realm = url
        .join(realm)
        .map_err(|why| Trouble::lasting(format!("{host} names a place for tokens, and {why}")))?;
    if realm.origin() != host {
        return Err(Trouble::lasting(format!(
            "{host} wants a token of another server, {}; nothing was sent there",
            realm.origin()
        )));
    }
    let parameters = ["service", "scope"];
    let found = parameters.iter().filter_map(|name| Some((*name, parameter(challenge, name)?)));
    let realm = found.fold(realm, |realm, (name, value)| realm.with_query(name, value));
    let bytes = client.fetch(&realm, &Ask { what, ..Ask::default() }, TOKEN_CAP)?;
    // The parser's own words could quote the token.
    let wrong = || Trouble::lasting(format!("{host} answered with no token that can be read"));
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    Secret::new(&token.token).map_err(|_| wrong())
}

/// The value of `name="value"` in a challenge of the kind `Bearer`.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut rest = rest;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if key.trim_start_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// The one layer with the model. What would be wrong without the other layers is refused.
fn chosen(layers: &[Layer]) -> Result<&Layer, Trouble> {
    if layers.len() > LAYERS_CAP {
        let text =
            format!("the manifest has {} layers, at most {LAYERS_CAP} are read", layers.len());
        return Err(Trouble::Lasting(text));
    }
    if layers.iter().any(|layer| layer.kind() == "adapter") {
        return Err(Trouble::lasting(
            "this model is another one with an adapter, and the two are not brought together \
             yet; pull that model, and give the adapter with `hearth run --lora FILE`",
        ));
    }
    let mut models = layers.iter().filter(|layer| layer.kind() == "model");
    match (models.next(), models.next()) {
        (Some(model), None) => Ok(model),
        (None, _) => {
            let kinds: Vec<String> = layers.iter().map(|layer| clean(layer.kind(), 30)).collect();
            Err(Trouble::lasting(format!(
                "the manifest has no GGUF file (its layers: {}); choose another tag",
                kinds.join(", ")
            )))
        }
        (Some(_), Some(_)) => Err(Trouble::lasting(
            "the manifest has more than one GGUF file, expected one; choose another tag",
        )),
    }
}

/// Layers that are not brought, each with what that means.
fn left_out(layers: &[Layer]) -> Vec<String> {
    let others = layers.iter().filter(|layer| layer.kind() != "model");
    let said = others.map(|layer| {
        let meaning = match layer.kind() {
            "template" => "the chat template in the file is used",
            "system" => "`--system` gives a system message",
            "params" => "flags of `hearth run` set parameters",
            "license" => "read it on the model's page",
            "projector" => "the model takes text alone",
            "messages" => "the conversation starts empty",
            _ => "not known here",
        };
        let (kind, size) = (clean(layer.kind(), 30), readable(layer.size));
        format!("{kind} {} ({size}): {meaning}", layer.digest)
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_in_a_registry() {
        for (text, shown, name) in [
            ("ollama:llama3.2:1b", "library/llama3.2:1b", "llama3.2:1b"),
            ("ollama:Llama3.2", "library/llama3.2:latest", "llama3.2:latest"),
            ("registry.ollama.ai/library/a:b", "library/a:b", "a:b"),
            ("ollama.com/me/a:b", "me/a:b", "me-a:b"),
        ] {
            let model = parse(text).unwrap().unwrap();
            assert_eq!(model.to_string(), format!("registry.ollama.ai/{shown}"));
            assert_eq!(model.suggested_name().unwrap().as_str(), name);
        }
        assert!(parse("llama3.2:1b").is_none());
        // T5: the host is never taken from the name; T1: nothing climbs.
        for text in
            ["ollama:", "ollama:a/b/c", "ollama:127.0.0.1:80/a", "ollama:../a", "ollama:a:.."]
        {
            assert!(parse(text).unwrap().is_err(), "{text}");
        }
    }

    #[test]
    fn challenges_are_read() {
        let text = "Bearer realm=\"https://example.com/token\",service=\"a b\", Scope=\"r:x:pull\"";
        assert_eq!(parameter(text, "realm"), Some("https://example.com/token"));
        assert_eq!(parameter(text, "service"), Some("a b"));
        assert_eq!(parameter(text, "scope"), Some("r:x:pull"));
        for text in ["Basic realm=\"x\"", "Bearer", "Bearer realm=x", "Bearer realm=\"x", ""] {
            assert_eq!(parameter(text, "realm"), None, "{text}");
        }
    }

    proptest! {
        /// T1: a digest is 64 hexadecimal digits after its word, and no path.
        #[test]
        fn t1_a_digest_holds_nothing_else(text in r"(sha256[:\-/])?[0-9a-fA-F./\\]{0,70}") {
            if let Ok(digest) = BlobDigest::try_from(text.clone()) {
                prop_assert_eq!(digest.to_string(), text.to_lowercase());
            }
        }

        #[test]
        fn challenges_never_panic(text in r#"(Bearer )?[a-z=",\\ ]{0,30}"#) {
            let _ = parameter(&text, "realm");
        }
    }
}

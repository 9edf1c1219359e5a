//! A hub in the manner of Hugging Face: repositories of files, each version a commit.
//!
//! `hf.co/OWNER/REPO:QUANT`, `hf:OWNER/REPO@REVISION:FILE.gguf`. A branch becomes its commit before
//! anything else is asked, and files are fetched from that commit, so that all parts of a model are
//! of one version and the manifest says which. The hub's list gives sizes and digests.

use super::remote::{Parsed, Remote, RemoteFile, RemoteModel, first_to_answer};
use super::words;
use crate::digest::Sha256;
use crate::http::{Ask, Client, Trouble, Url, clean};
use crate::name::{FileName, ModelName};
use crate::{HubError, split};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;

/// How a place on a hub begins.
const BEGINNINGS: [&str; 3] = ["hf.co/", "huggingface.co/", "hf:"];
/// The branch that is meant where none is named.
const MAIN: &str = "main";
/// Largest list of a repository that is read, in bytes.
const LIST_CAP: usize = 16 << 20;
/// Files that an error lists.
const SHOWN: usize = 24;

/// A model in a repository.
#[derive(Debug)]
struct HubModel {
    owner: String,
    repo: String,
    revision: Option<String>,
    pattern: Option<Pattern>,
}

/// Which of a repository's files are meant.
#[derive(Debug)]
enum Pattern {
    /// Those with this word in their names, in capitals.
    Quant(String),
    /// The one at this path, and the other parts if it is one of several.
    File(String),
}

/// Takes every text that begins like a place on a hub.
pub(super) fn parse(text: &str) -> Parsed {
    let rest = BEGINNINGS.iter().find_map(|beginning| text.strip_prefix(beginning))?;
    let model = place(rest).ok_or_else(|| HubError::Address {
        found: clean(text, 100),
        why: "expected a repository and its files, as in `hf.co/OWNER/REPO:Q4_K_M` or \
              `hf:OWNER/REPO@REVISION:FILE.gguf`"
            .to_owned(),
    });
    Some(model.map(|model| Box::new(model) as Box<dyn Remote>))
}

fn place(text: &str) -> Option<HubModel> {
    let (repository, pattern) = match text.split_once(':') {
        Some((repository, pattern)) => (repository, Some(pattern)),
        None => (text, None),
    };
    let (name, revision) = match repository.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (repository, None),
    };
    let (owner, repo) = name.split_once('/')?;
    let revision = match revision {
        None => None,
        Some(text) => Some(words::plain_path(text)?.to_owned()),
    };
    let pattern = match pattern {
        None => None,
        Some(path) if path.to_ascii_lowercase().ends_with(".gguf") => {
            Some(Pattern::File(words::plain_path(path)?.to_owned()))
        }
        Some(quant) => Some(Pattern::Quant(words::word(quant)?.to_ascii_uppercase())),
    };
    Some(HubModel {
        owner: words::word(owner)?.to_owned(),
        repo: words::word(repo)?.to_owned(),
        revision,
        pattern,
    })
}

/// What a hub says of a repository at a commit. Everything else in it is left alone.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(rename = "cardData", default)]
    card: serde_json::Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Sha256,
    size: u64,
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf.co/{}/{}", self.owner, self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.pattern {
            None => Ok(()),
            Some(Pattern::Quant(text) | Pattern::File(text)) => write!(f, ":{text}"),
        }
    }
}

impl Remote for HubModel {
    fn kind(&self) -> &'static str {
        "hf"
    }

    fn suggested_name(&self) -> Result<ModelName, HubError> {
        let cut = self.repo.len().saturating_sub("-GGUF".len());
        let family = match self.repo.get(cut..) {
            Some(end) if end.eq_ignore_ascii_case("-gguf") => &self.repo[..cut],
            _ => &self.repo,
        };
        match &self.pattern {
            None => ModelName::from_file_name(family),
            Some(Pattern::Quant(quant)) => {
                let family = ModelName::from_file_name(family)?;
                format!("{family}:{}", ModelName::from_file_name(quant)?).parse()
            }
            Some(Pattern::File(path)) => ModelName::from_file_name(split::stem(last(path))),
        }
    }

    fn ask(&self, client: &Client) -> Result<RemoteModel, HubError> {
        let none = "no hub is named by the setting `hub_url`";
        let answer = first_to_answer(&client.reach().hubs, none, |base| self.ask_at(client, base));
        answer.map_err(|trouble| trouble.of(&self.to_string()))
    }
}

impl HubModel {
    fn ask_at(&self, client: &Client, base: &Url) -> Result<RemoteModel, Trouble> {
        let reference = self.to_string();
        let revision = self.revision.as_deref().unwrap_or(MAIN);
        let segments = ["api", "models", &self.owner, &self.repo, "revision", revision];
        let url = base.with_segments(segments).with_query("blobs", "true");
        let ask = Ask { what: &reference, accept: Some("application/json"), ..Ask::default() };
        let bytes = client.fetch(&url, &ask, LIST_CAP)?;
        let host = base.origin();
        let listing: Listing = serde_json::from_slice(&bytes).map_err(|error| {
            let error = clean(&error.to_string(), 200);
            Trouble::lasting(format!("the list of {host} cannot be read: {error}"))
        })?;
        let commit = listing.sha.as_str();
        if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            let text = format!("{host} names no commit of the revision `{revision}`");
            return Err(Trouble::lasting(text));
        }
        let chosen = self.choose(&listing)?;
        let files = chosen
            .iter()
            .map(|sibling| self.file(base, commit, sibling))
            .collect::<Result<Vec<_>, _>>()?;
        let paths: Vec<&str> = chosen.iter().map(|sibling| &*sibling.rfilename).collect();
        Ok(RemoteModel {
            client: client.clone(),
            label: format!(
                "{}@{commit}:{}",
                base.with_segments([self.owner.as_str(), &self.repo]),
                paths.join(",")
            ),
            reference,
            files,
            bearer: None,
            quant: self.quant(),
            licence: listing.card.get("license").and_then(|text| text.as_str()).map(|licence| {
                format!("{} ({host}/{}/{})", clean(licence, 60), self.owner, self.repo)
            }),
            left_out: Vec::new(),
        })
    }

    fn quant(&self) -> Option<String> {
        match &self.pattern {
            Some(Pattern::Quant(quant)) => Some(quant.clone()),
            _ => None,
        }
    }

    fn file(&self, base: &Url, commit: &str, sibling: &Sibling) -> Result<RemoteFile, Trouble> {
        let path = sibling.rfilename.as_str();
        let name = FileName::try_from(last(path).to_owned())?;
        let size = sibling.lfs.as_ref().map(|lfs| lfs.size).or(sibling.size);
        let bytes = size.ok_or_else(|| {
            Trouble::lasting(format!("the hub does not say how long `{path}` is"))
        })?;
        let repository = [self.owner.as_str(), self.repo.as_str(), "resolve", commit];
        let url = base.with_segments(repository.into_iter().chain(path.split('/')));
        let sha256 = sibling.lfs.as_ref().map(|lfs| lfs.sha256);
        Ok(RemoteFile { name, url, bytes, sha256, probe: None })
    }

    /// The files that are meant: one, or all parts of one model.
    fn choose<'a>(&self, listing: &'a Listing) -> Result<Vec<&'a Sibling>, Trouble> {
        let mut files = Vec::new();
        for sibling in &listing.siblings {
            let path = sibling.rfilename.as_str();
            if !path.to_ascii_lowercase().ends_with(".gguf") {
                continue;
            }
            if words::plain_path(path).is_none() {
                let path = clean(path, 100);
                let text = format!("the hub lists `{path}`, which is no path of a file");
                return Err(Trouble::lasting(text));
            }
            files.push(sibling);
        }
        let paths = || files.iter().map(|file| file.rfilename.as_str());
        // Parts of one model share what stands before their number.
        let meant: BTreeSet<&str> = paths().filter(|path| self.means(path)).map(whole).collect();
        let mut meant = meant.into_iter();
        match (meant.next(), meant.next()) {
            (Some(one), None) => {
                let parts = files.iter().copied().filter(|file| whole(&file.rfilename) == one);
                in_order(parts.collect())
            }
            (None, _) => Err(self.unclear("no file", paths())),
            (Some(_), Some(_)) => Err(self.unclear("more than one model", paths())),
        }
    }

    fn means(&self, path: &str) -> bool {
        match &self.pattern {
            None => !is_beside(path),
            Some(Pattern::Quant(quant)) => !is_beside(path) && has_word(path, quant),
            Some(Pattern::File(file)) => path == file,
        }
    }

    fn unclear<'a>(&self, found: &str, paths: impl Iterator<Item = &'a str>) -> Trouble {
        let names: BTreeSet<&str> = paths.collect();
        let mut list: Vec<String> = names.iter().take(SHOWN).map(|name| clean(name, 120)).collect();
        if names.len() > SHOWN {
            list.push(format!("and {} more", names.len() - SHOWN));
        }
        if list.is_empty() {
            return Trouble::lasting(
                "the repository has no GGUF file; download its safetensors and `hearth import` \
                 the folder, or look for a repository with GGUF files",
            );
        }
        let (owner, repo) = (&self.owner, &self.repo);
        Trouble::lasting(format!(
            "{found} is meant by this; the repository has {}. Name one: \
             `hearth pull hf.co/{owner}/{repo}:FILE.gguf`, or a part of its name such as `:Q4_K_M`",
            list.join(", ")
        ))
    }
}

/// Files that go with a model and are none: projectors for images, importance matrices.
fn is_beside(path: &str) -> bool {
    let name = last(path).to_ascii_lowercase();
    name.starts_with("mmproj") || name.contains("imatrix")
}

/// Is `word` (in capitals) in the name, with nothing of a word on either side?
fn has_word(path: &str, word: &str) -> bool {
    let name = path.to_ascii_uppercase();
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    name.match_indices(word).any(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + word.len()..]);
        !inside(before.chars().next_back()) && !inside(after.chars().next())
    })
}

/// The last component of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What the parts of a model have in common; the path itself where there is one part.
fn whole(path: &str) -> &str {
    match split::parse(last(path)) {
        Some((stem, _, _)) => &path[..path.len() - last(path).len() + stem.len()],
        None => path,
    }
}

/// All parts by their numbers, none missing; one file as it is.
fn in_order(mut parts: Vec<&Sibling>) -> Result<Vec<&Sibling>, Trouble> {
    let Some((stem, _, count)) = parts.first().and_then(|part| split::parse(last(&part.rfilename)))
    else {
        parts.truncate(1);
        return Ok(parts);
    };
    parts.sort_by_key(|part| split::parse(last(&part.rfilename)).map(|(_, number, _)| number));
    let found = parts.iter().map(|part| split::parse(last(&part.rfilename)));
    let expected = (1..=count).map(|number| Some((stem, number, count)));
    match found.eq(expected) {
        true => Ok(parts),
        false => Err(Trouble::lasting(format!(
            "the model has {count} parts, and the repository has {} of them; nothing is fetched \
             until all are there",
            parts.len()
        ))),
    }
}

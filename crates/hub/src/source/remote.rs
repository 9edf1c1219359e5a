//! A model on a server: what the user named becomes a list of files with addresses, and those are
//! brought into the store. The list is made by one file per kind of server.

use super::{Source, Supplied, hub, registry, url};
use crate::digest::Sha256;
use crate::http::{Client, Download, Probe, Secret, Stream, Trouble, Url, attended, probe};
use crate::name::{FileName, ModelName};
use crate::progress::{Observer, Stage};
use crate::store::{Facts, FileSpec, Intake, PieceWriter, StoredFile};
use crate::{Catalogue, HubError};
use std::fmt;

/// What a text means to a kind of server: nothing, a model there, or an error in naming one.
pub(super) type Parsed = Option<Result<Box<dyn Remote>, HubError>>;

/// The kinds of servers: each takes the texts that are meant for it.
const KINDS: [fn(&str) -> Parsed; 3] = [hub::parse, registry::parse, url::parse];

/// Most pieces of a file.
const PIECES_CAP: u64 = 1 << 16;

/// A model on a server, as the user named it. Shown as that name in its one standard form.
pub trait Remote: fmt::Display + fmt::Debug + Send + Sync {
    /// What it may be called in the store.
    ///
    /// # Errors
    /// If no name can be made of it.
    fn suggested_name(&self) -> Result<ModelName, HubError>;

    /// Asks the server for what is needed to bring the model: files, sizes, digests.
    ///
    /// # Errors
    /// What was found, what was expected and the next step.
    fn ask(&self, client: &Client) -> Result<RemoteModel, HubError>;

    /// A word for this kind of server, to tell its models from the catalogue's.
    fn kind(&self) -> &'static str;
}

impl dyn Remote + '_ {
    /// What `text` means, if it is the name of a model on a server.
    pub fn parse(text: &str) -> Option<Result<Box<dyn Remote>, HubError>> {
        KINDS.iter().find_map(|kind| kind(text))
    }

    /// What to call it in the store: its suggested name, beside the names of the catalogue.
    ///
    /// # Errors
    /// If no name can be made of it.
    pub fn name(&self, catalogue: &Catalogue) -> Result<ModelName, HubError> {
        let name = self.suggested_name()?;
        match catalogue.owner(&name) {
            None => Ok(name),
            Some(_) => format!("{}-{name}", self.kind()).parse(),
        }
    }

    /// Asks the server, while `observer` may stop it.
    ///
    /// # Errors
    /// As [`Remote::ask`]; [`HubError::Stopped`].
    pub fn find(&self, client: &Client, observer: &dyn Observer) -> Result<RemoteModel, HubError> {
        attended(client, observer, || self.ask(client).map_err(Trouble::Hub))
            .map_err(|trouble| trouble.of(&self.to_string()))
    }
}

/// What the first server says that answers: the next one is for one that does not, not for one that
/// says no. `none` is said where there is no server.
pub(super) fn first_to_answer(
    servers: &[Url],
    none: &str,
    ask: impl Fn(&Url) -> Result<RemoteModel, Trouble>,
) -> Result<RemoteModel, Trouble> {
    let mut answer = Err(Trouble::lasting(none));
    for server in servers {
        answer = ask(server);
        if !matches!(answer, Err(Trouble::Passing(_))) {
            break;
        }
    }
    answer
}

/// A file of a model on a server.
#[derive(Clone, Debug)]
pub(crate) struct RemoteFile {
    pub(crate) name: FileName,
    pub(crate) url: Url,
    pub(crate) bytes: u64,
    /// Its digest, if the server or the user said it.
    pub(crate) sha256: Option<Sha256>,
    /// What the server says of it, if it was asked already.
    pub(crate) probe: Option<Probe>,
}

/// What a server has of a model: a source.
pub struct RemoteModel {
    pub(crate) client: Client,
    /// Where exactly it comes from: with the commit or the digest, so that other bytes have another
    /// label.
    pub(crate) label: String,
    /// What the user named.
    pub(crate) reference: String,
    pub(crate) files: Vec<RemoteFile>,
    /// A token that the server itself gave.
    pub(crate) bearer: Option<Secret>,
    pub(crate) quant: Option<String>,
    pub(crate) licence: Option<String>,
    /// What there is beside the files and is not brought, a line each.
    pub(crate) left_out: Vec<String>,
}

impl RemoteModel {
    /// Size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// What the manifest says of it under the name `name`.
    pub fn facts(&self, name: ModelName) -> Facts {
        Facts {
            name,
            about: self.reference.clone(),
            family: None,
            parameters: None,
            quant: self.quant.clone(),
            instruct: None,
            licence: self.licence.clone(),
        }
    }

    /// What there is beside the files and is not brought, a line each.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn bring_file(
        &self,
        intake: &Intake<'_>,
        file: &RemoteFile,
        before: u64,
    ) -> Result<StoredFile, HubError> {
        let pieces = self.pieces(file);
        let starts: Vec<u64> = pieces
            .iter()
            .scan(0_u64, |end, piece| Some(std::mem::replace(end, end.saturating_add(*piece))))
            .collect();
        let spec = FileSpec { name: file.name.clone(), sha256: file.sha256, pieces };
        let mut stream = None;
        intake.receive(&spec, 0, |index, out| {
            let start = starts.get(index).copied().unwrap_or(0);
            let mut bring = |out: &mut PieceWriter<'_>| {
                let (stream, from) = match &mut stream {
                    Some(running) => running,
                    None => stream.insert((self.stream(intake, file, start)?, start)),
                };
                let piece = spec.pieces.get(index).copied().unwrap_or(0);
                stream.take(
                    piece,
                    |bytes| out.put(bytes),
                    |received| {
                        let done = before.saturating_add(*from).saturating_add(received);
                        intake.progress(Stage::Download, done, self.bytes())
                    },
                )
            };
            bring(out).map_err(|trouble| trouble.of(&self.label))
        })
    }

    /// Begins to fetch a file from byte `start` on.
    fn stream(
        &self,
        intake: &Intake<'_>,
        file: &RemoteFile,
        start: u64,
    ) -> Result<Stream, Trouble> {
        let (url, what) = (file.url.clone(), self.reference.clone());
        let download = Download { url, what, bearer: self.bearer.clone() };
        let mut known = match &file.probe {
            Some(probe) => probe.clone(),
            None => attended(&self.client, intake.observer(), || probe(&self.client, &download))?,
        };
        if known.bytes != file.bytes {
            return Err(Trouble::lasting(format!(
                "{} has {} bytes, expected {}",
                file.name.as_str(),
                known.bytes,
                file.bytes
            )));
        }
        // Parts of what may be two versions are put together only where that would be noticed.
        known.ranges &= is_pinned(file, known.etag.as_deref());
        Ok(Stream::start(&self.client, &download, &known, start))
    }

    /// Sizes of the pieces that a file comes in. A file that cannot be told from another version
    /// of it is one piece: half of it is no use to a later run.
    fn pieces(&self, file: &RemoteFile) -> Vec<u64> {
        let etag = file.probe.as_ref().and_then(|probe| probe.etag.as_deref());
        if !is_pinned(file, etag) {
            return vec![file.bytes];
        }
        // The list of them stays small, whatever size the server claims.
        let piece = self.client.reach().limits.piece.max(file.bytes / PIECES_CAP).max(1);
        let whole = file.bytes / piece;
        let rest = file.bytes % piece;
        let whole = std::iter::repeat_n(piece, usize::try_from(whole).unwrap_or(0));
        whole.chain((rest > 0).then_some(rest)).collect()
    }
}

fn is_pinned(file: &RemoteFile, etag: Option<&str>) -> bool {
    file.sha256.is_some() || etag.is_some()
}

impl Source for RemoteModel {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn reference(&self) -> Option<String> {
        Some(self.reference.clone())
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let mut files = Vec::new();
        let mut before = 0_u64;
        for file in &self.files {
            files.push(self.bring_file(intake, file, before)?);
            before = before.saturating_add(file.bytes);
        }
        let verified = self.files.iter().all(|file| file.sha256.is_some());
        Ok(Supplied { files, verified })
    }
}

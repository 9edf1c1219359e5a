//! `--session FILE`: a conversation that outlives the program. The file holds what was said, and
//! the keys and values that the engine computed of it, so that nothing is computed twice.
//!
//! It is sealed (see `hearth_hub::sealed`): first a head with the model and the messages, then what
//! the engine handed out, part by part as it came; none of it is in memory as a whole. What was
//! said is taken up only for the same model; what was computed the engine itself judges, and where
//! it cannot use it the prompt is read again.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use hearth_engine::protocol::{Event, Finish, Job, Keep, KeptPart, Message};
use hearth_hub::OpenModel;
use hearth_hub::sealed::{Hold, Key, SealedReader, SealedWriter};
use serde::{Deserialize, Serialize};

use crate::context::App;
use crate::conversation::Conversation;
use crate::engine::Running;
use crate::exit::{Code, Failure, code_of};
use crate::interrupt::Interrupt;

/// What the sealed file is for: no other sealed file is taken for a session.
const PURPOSE: &str = "session";
/// The layout of what is in it.
const VERSION: u32 = 1;
/// Most bytes of the messages, and of the tokens: far more than any context holds.
const CAP: usize = 64 << 20;
/// That of all requests of this program: one person's.
const SALT: u64 = 0;

/// The beginning of the file.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    /// The model's name or path, for people.
    model: String,
    /// What tells it from another.
    identity: String,
    /// The system message, if there is one, and the turns.
    messages: Vec<Message>,
}

/// Whose keys and values follow; nothing stands in its place where none do.
#[derive(Serialize, Deserialize)]
struct Computed {
    make: String,
    tokens: Vec<u32>,
}

/// The file of a conversation, held so that no other process writes it meanwhile.
pub(crate) struct Session<'a> {
    app: &'a App,
    path: PathBuf,
    key: Key,
    model: String,
    identity: String,
    /// What was said, until it is taken up, and where the file goes on.
    kept: Option<(Vec<Message>, SealedReader)>,
    /// What was said since is in the file, and nothing that was computed.
    text_only: bool,
    /// Kept for its lock.
    _hold: Option<Hold>,
}

impl<'a> Session<'a> {
    /// Opens the file, which need not be there yet, for a conversation with this model.
    pub(crate) fn open(app: &'a App, path: &Path, model: &OpenModel) -> anyhow::Result<Self> {
        let key = Key::of(&app.key_file()?)?;
        let identity = model.identity()?;
        let kept = match SealedReader::open(path, &key, PURPOSE)? {
            // Said now, and not after the answer.
            None if !std::path::absolute(path)?.parent().is_some_and(Path::is_dir) => {
                let text = format!("--session {}: there is no such folder", path.display());
                return Err(Failure::new(Code::Usage, text));
            }
            None => None,
            Some(mut reader) => {
                // No detail of what is wrong: it could be a piece of a message.
                let head: Head = serde_json::from_slice(&reader.text(CAP)?)
                    .map_err(|_| unknown(path, "found a beginning of another layout"))?;
                if head.version != VERSION {
                    let found = format!("found version {}, expected {VERSION}", head.version);
                    return Err(unknown(path, &found));
                }
                if head.identity != identity {
                    return Err(other_model(path, &head.model, &model.label));
                }
                Some((head.messages, reader))
            }
        };
        let (path, model) = (path.to_owned(), model.label.clone());
        Ok(Self { app, path, key, model, identity, kept, text_only: false, _hold: None })
    }

    /// Takes up what was said and what was computed.
    pub(crate) fn restore(
        &mut self,
        running: &Running,
        conversation: &mut Conversation,
    ) -> anyhow::Result<()> {
        let Some((messages, mut reader)) = self.kept.take() else { return Ok(()) };
        let another_system = conversation.resume(messages);
        let mut refused = None;
        let mut give = |part| {
            if refused.is_none() {
                let job = Job::Keep(Keep::In { salt: SALT, part });
                refused = running.finish(self.app, job, |_| Ok(())).err();
            }
        };
        let computed = reader.text(CAP)?;
        if !computed.is_empty() {
            let Computed { make, tokens } = serde_json::from_slice(&computed)
                .map_err(|_| unknown(&self.path, "found tokens of another layout"))?;
            give(KeptPart::Begin { make, tokens });
        }
        // To its end even if the engine wants nothing of it: only then is nothing cut off.
        let mut number = 0;
        while let Some(bytes) = reader.record()? {
            give(KeptPart::Piece { number, bytes });
            number += 1;
        }
        if !computed.is_empty() {
            give(KeptPart::End);
        }
        self._hold = Some(reader.hold());
        let (path, turns) = (self.path.display(), conversation.turns());
        let turns = if turns == 1 { "1 turn".to_owned() } else { format!("{turns} turns") };
        self.app.note(format_args!("({turns} taken up from {path})"));
        if another_system {
            self.app.note("(--system takes the place of the system message that was kept)");
        }
        if let Some(error) = refused {
            self.app.note(format_args!("(what was computed then is computed again: {error:#})"));
        }
        Ok(())
    }

    /// Keeps what was said after each turn, so that nothing ends it, without what was computed:
    /// that is written once, in [`Session::close`].
    pub(crate) fn save_text(&mut self, conversation: &Conversation) -> anyhow::Result<()> {
        let mut file = self.begin(conversation)?;
        file.put_text(&[])?;
        (self._hold, self.text_only) = (Some(file.finish()?), true);
        Ok(())
    }

    /// The end of a conversation: what was computed of it is kept too, if anything was.
    pub(crate) fn close(
        mut self,
        running: &Running,
        interrupt: &Interrupt,
        conversation: &Conversation,
    ) -> anyhow::Result<()> {
        // An engine that died knows nothing, and a new one knew no more.
        let alive = running.engine.cell().death().is_none();
        match self.text_only && !conversation.is_empty() && alive {
            true => self.save(running, interrupt, conversation),
            false => Ok(()),
        }
    }

    /// Keeps what was said and what was computed of it. Ctrl-C stops it, and all is as it was.
    pub(crate) fn save(
        &mut self,
        running: &Running,
        interrupt: &Interrupt,
        conversation: &Conversation,
    ) -> anyhow::Result<()> {
        let mut file = self.begin(conversation)?;
        match self.computed(running, interrupt, conversation, &mut file) {
            Ok(()) => self._hold = Some(file.finish()?),
            // Of the two, what was said is what cannot be had again.
            Err(error) if code_of(&error) == Code::Engine => {
                drop(file);
                self.app.note(format_args!("(only the text is kept: {error:#})"));
                self.save_text(conversation)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A new file with all that comes before what was computed.
    fn begin(&self, conversation: &Conversation) -> anyhow::Result<SealedWriter> {
        let head = Head {
            version: VERSION,
            model: self.model.clone(),
            identity: self.identity.clone(),
            messages: conversation.messages().cloned().collect(),
        };
        let mut file = SealedWriter::create(&self.path, &self.key, PURPOSE)?;
        file.put_text(&serde_json::to_vec(&head)?)?;
        Ok(file)
    }

    fn computed(
        &self,
        running: &Running,
        interrupt: &Interrupt,
        conversation: &Conversation,
        file: &mut SealedWriter,
    ) -> anyhow::Result<()> {
        let stopped = || {
            let text = format!("stopped; {} is as it was before", self.path.display());
            Failure::new(Code::Interrupted, text)
        };
        let (_guard, stop) = interrupt.guard_work();
        let job = Job::Keep(Keep::Out { salt: SALT, prompt: conversation.prompt_so_far() });
        let stats = running.finish(self.app, job, |event| {
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            match event {
                Event::Kept { part: KeptPart::Begin { make, tokens }, .. } => {
                    let computed = match tokens.is_empty() {
                        true => Vec::new(),
                        false => serde_json::to_vec(&Computed { make, tokens })?,
                    };
                    Ok(file.put_text(&computed)?)
                }
                Event::Kept { part: KeptPart::Piece { bytes, .. }, .. } => Ok(file.put(&bytes)?),
                _ => Ok(()),
            }
        })?;
        if stats.finish == Finish::Cancelled { Err(stopped()) } else { Ok(()) }
    }
}

fn unknown(path: &Path, found: &str) -> anyhow::Error {
    let text = format!(
        "{}: {found}; another version of hearth wrote it. Use that one, or give --session \
         another file",
        path.display()
    );
    Failure::new(Code::Integrity, text)
}

fn other_model(path: &Path, theirs: &str, ours: &str) -> anyhow::Error {
    let ours = match ours == theirs {
        true => "its file is not the same any more".to_owned(),
        false => format!("this is `{ours}`"),
    };
    let text = format!(
        "{} keeps a conversation with `{theirs}`, and {ours}; name that model, or give \
         --session another file",
        path.display()
    );
    Failure::new(Code::Usage, text)
}

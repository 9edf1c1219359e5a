//! A pull or an import as a whole: lock, tidy, bring, write the manifest, appear by one rename.

use super::intake::Intake;
use super::lock::{ExclusiveLock, LockFile};
use super::manifest::{Facts, Manifest};
use super::{Store, sync_folder};
use crate::HubError;
use crate::egress::Ledger;
use crate::name::ModelName;
use crate::progress::{Observer, Progress, report};
use crate::source::Source;
use std::time::Duration;

/// How often a lock that another process holds is asked for.
const TICK: Duration = Duration::from_millis(50);

/// Who asks for a model and who is told about it.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// Told about progress; may stop the work.
    pub observer: &'a dyn Observer,
    /// Written before any connection.
    pub ledger: &'a Ledger,
    /// The command the user started, for the ledger: `pull smollm2:135m`.
    pub command: &'a str,
}

/// The result of an installation.
#[derive(Debug)]
pub struct Installed {
    /// The model's manifest.
    pub manifest: Manifest,
    /// False if the model was there already.
    pub fresh: bool,
}

impl Store {
    /// Brings a model into the store. Waits while another process works on the same model; does
    /// nothing if it is there already.
    ///
    /// # Errors
    /// Whatever the source answers, too little space, wrong bytes. Complete pieces stay for a later
    /// resume, nothing else does, and nothing of it is visible.
    pub fn install(
        &self,
        facts: &Facts,
        source: &dyn Source,
        desk: Desk<'_>,
    ) -> Result<Installed, HubError> {
        if let Some(there) = self.already_there(facts, source)? {
            return Ok(there);
        }
        let _lock = self.lock_to_write(&facts.name, desk)?;
        if let Some(there) = self.already_there(facts, source)? {
            return Ok(there);
        }
        self.check_free(&facts.name)?;
        self.bring_locked(facts, source, desk)
    }

    /// Brings a model again if what the store has of it is damaged, as [`Store::check`] finds it.
    /// Waits for processes that use it.
    ///
    /// # Errors
    /// As [`Store::install`]; the damaged model stays then, marked as such.
    pub fn repair(
        &self,
        facts: &Facts,
        source: &dyn Source,
        desk: Desk<'_>,
    ) -> Result<Installed, HubError> {
        let _lock = self.lock_to_write(&facts.name, desk)?;
        if let Some(there) = self.already_there(facts, source)? {
            // Asked again under the lock: another process may have repaired it meanwhile.
            let Some(damage) = self.check(&there.manifest, desk.observer)? else {
                return Ok(there);
            };
            // Only the digest may tell, which no list asks for.
            self.mark(there.manifest, &damage)?;
            return self.bring_locked(facts, source, desk);
        }
        self.check_free(&facts.name)?;
        self.bring_locked(facts, source, desk)
    }

    fn bring_locked(
        &self,
        facts: &Facts,
        source: &dyn Source,
        desk: Desk<'_>,
    ) -> Result<Installed, HubError> {
        let result = self.bring(facts, source, desk);
        match &result {
            Ok(_) => {}
            Err(_) => self.partial(&facts.name).tidy()?,
        }
        Ok(Installed { manifest: result?, fresh: true })
    }

    fn bring(
        &self,
        facts: &Facts,
        source: &dyn Source,
        desk: Desk<'_>,
    ) -> Result<Manifest, HubError> {
        let partial = self.partial(&facts.name);
        let label = source.label();
        match partial.resume().source == label {
            true => partial.tidy()?,
            false => partial.remove()?,
        }
        partial.make()?;
        let (observer, ledger, command) = (desk.observer, desk.ledger, desk.command);
        let intake = Intake::new(partial.clone(), label.clone(), observer, ledger, command);
        let supplied = source.bring(&intake)?;

        let mut manifest = Manifest::new(facts.clone(), label, supplied.verified, supplied.files);
        manifest.reference = source.reference();
        let model = partial.model();
        intake.step("write manifest")?;
        manifest.write(&model)?;
        intake.step("publish")?;
        let folder = self.folder(&facts.name);
        // A damaged model goes out of the way only now, when the good one is complete beside it. If
        // this ends between the two, the next pull finds all pieces and fetches none.
        partial.bring_down(&folder)?;
        std::fs::rename(&model, &folder).map_err(HubError::io("publish", &folder))?;
        intake.step("sync store")?;
        sync_folder(self.root())?;
        intake.step("remove leftovers")?;
        partial.remove()?;
        Ok(manifest)
    }

    /// The model as it is in the store; the same name from another source is an error.
    fn already_there(
        &self,
        facts: &Facts,
        source: &dyn Source,
    ) -> Result<Option<Installed>, HubError> {
        match self.manifest(&facts.name)? {
            Some(manifest) if manifest.source == source.label() => {
                Ok(Some(Installed { manifest, fresh: false }))
            }
            Some(other) => Err(HubError::NameTaken {
                name: facts.name.to_string(),
                holder: format!("a model from {}", other.source),
            }),
            None => Ok(None),
        }
    }

    fn lock_to_write(&self, name: &ModelName, desk: Desk<'_>) -> Result<ExclusiveLock, HubError> {
        let mut file = LockFile::open(&self.locks(), name)?;
        loop {
            file = match file.try_exclusive(desk.command)? {
                Ok(lock) => return Ok(lock),
                Err(held) => held,
            };
            // Asked again and again: the observer could not stop a wait inside the system.
            report(desk.observer, Progress::Waiting { holder: file.holder() })?;
            std::thread::sleep(TICK);
        }
    }

    /// The folder of a new model must not exist: it may belong to a name that looks alike, or be
    /// something that the store did not make.
    fn check_free(&self, name: &ModelName) -> Result<(), HubError> {
        let folder = self.folder(name);
        let holder = match Manifest::read(&folder)? {
            Some(other) => format!("the folder of `{}`", other.facts.name),
            None if folder.exists() => format!("{}, which has no manifest", folder.display()),
            None => return Ok(()),
        };
        Err(HubError::NameTaken { name: name.to_string(), holder })
    }
}

//! What can go wrong with a request, by what can be done about it.

use super::answer::clean;
use crate::HubError;

/// Why something was not fetched.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may go well the next time: the connection broke, was too slow, the server is busy.
    Passing(String),
    /// The server's answer was no.
    Status {
        /// Its number.
        status: u16,
        /// Whose, and in what words.
        said: String,
        /// How it wants to be asked (`WWW-Authenticate`).
        challenge: Option<String>,
    },
    /// It will not go well the next time.
    Lasting(String),
    /// From the ledger, the store or the caller.
    Hub(HubError),
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl Trouble {
    /// Something that will not go away, in words; nothing of a server may be in them uncleaned.
    pub(crate) fn lasting(found: impl Into<String>) -> Self {
        Self::Lasting(found.into())
    }

    /// The error for the user, of what was to be fetched.
    pub(crate) fn of(self, source_name: &str) -> HubError {
        let found = match self {
            Self::Hub(error) => return error,
            Self::Passing(found) => {
                format!("{found}; check the network and run the same command again")
            }
            Self::Status { status: 401 | 403, said, .. } => format!(
                "{said}: it is not there, or not for everyone; check the name, or set the token \
                 of this server (`hearth config show` lists the settings)"
            ),
            Self::Status { status: 404 | 410, said, .. } => {
                format!("{said}: there is no such thing; check the name")
            }
            Self::Status { said, .. } => format!("{said}; try again later"),
            Self::Lasting(found) => found,
        };
        HubError::Source { source_name: clean(source_name, 300), found }
    }
}

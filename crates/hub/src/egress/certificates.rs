//! Whose certificates are believed: those of the system, or of a file that the user names.
//!
//! The system's own list is read rather than one built in, so that a company's authority counts
//! here as everywhere on its machines.

use crate::HubError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Where systems keep their list; the first that exists is read.
const USUAL: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest list that is read, in bytes.
const CAP: u64 = 16 << 20;

/// Certificates that are believed; none unless loaded.
#[derive(Clone, Default)]
pub(crate) struct Roots(Arc<Vec<Certificate<'static>>>);

impl Roots {
    /// The certificates of `named`, else of the system.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, HubError> {
        load(named).map(|found| Self(Arc::new(found)))
    }

    pub(super) fn to_client(&self) -> RootCerts {
        RootCerts::Specific(self.0.clone())
    }
}

fn load(named: Option<&Path>) -> Result<Vec<Certificate<'static>>, HubError> {
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.is_file());
    let Some(path) = named.map(Path::to_owned).or_else(usual) else {
        return Err(HubError::Certificates {
            path: USUAL[0].into(),
            found: "this system's list of certificates was not found".to_owned(),
        });
    };
    let mut pem = Vec::new();
    let file = File::open(&path).map_err(HubError::io("read", &path))?;
    file.take(CAP).read_to_end(&mut pem).map_err(HubError::io("read", &path))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match found.is_empty() {
        true => Err(HubError::Certificates { path, found: "it has no certificate".to_owned() }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_certificates_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(matches!(load(Some(&path)), Err(HubError::Io { .. })));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
        let error = load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("no certificate") && error.contains("ca_file"), "{error}");
    }
}

//! The certificate authorities that a hub's certificate may come from.
//!
//! Those that the variables of OpenSSL, Python's requests and curl name, since a company's proxy has
//! an authority of its own, and a machine that works for pip, git and curl works here too. With them
//! count the system's, unless one of OpenSSL's variables is set: they stand in its place, as they do
//! for OpenSSL. Where there are none at all, as in a bare container, Mozilla's, which are built in.

use std::path::Path;

use spanwise_artifact::UserError;
use ureq::tls::{Certificate, RootCerts};

/// The variables that name a file of certificates, or a directory of such files.
pub(super) const VARIABLES: [&str; 4] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Returns the authorities to trust.
///
/// # Errors
/// Fails with a [`UserError`] if a variable names something that holds no certificate.
pub(super) fn authorities(
    get: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<RootCerts, UserError> {
    let mut found = Vec::new();
    for name in VARIABLES {
        let Some(value) = get(name).filter(|value| !value.is_empty()) else {
            continue;
        };
        let before = found.len();
        // OpenSSL's variable for directories names several.
        for path in std::env::split_paths(&value) {
            add(&path, &mut found);
        }
        if found.len() == before {
            let path = value.to_string_lossy();
            return Err(UserError::new(format!(
                "{name} names {path:?}, in which there is no certificate"
            ))
            .hint("it takes a file of certificates in PEM form, or a directory of them"));
        }
    }
    let system = rustls_native_certs::load_native_certs();
    found.extend(
        system
            .certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned()),
    );
    Ok(if found.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&found)
    })
}

/// Adds the certificates of a file, or of the files of a directory. What cannot be read adds none.
fn add(path: &Path, found: &mut Vec<Certificate<'static>>) {
    let read = rustls_native_certs::load_certs_from_paths(
        path.is_file().then_some(path),
        path.is_dir().then_some(path),
    );
    found.extend(
        read.certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned()),
    );
}

//! JSON lines, with one record on each line, and single JSON documents.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use fs_err::File;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::damaged;
use crate::fingerprint;

/// Writes `records` to `path`, one on each line.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write<T: Serialize>(path: &Path, records: impl IntoIterator<Item = T>) -> Result<()> {
    let mut writer = Writer::create(path)?;
    for record in records {
        writer.push(&record)?;
    }
    writer.finish()
}

/// Writes a file of one record on each line, record by record.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Starts a file, in place of what is there.
    ///
    /// # Errors
    /// Fails if it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn push(&mut self, record: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.file, record)?;
        Ok(self.file.write_all(b"\n")?)
    }

    /// Adds whole lines, each a record and its line end.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn push_lines(&mut self, lines: &[u8]) -> Result<()> {
        Ok(self.file.write_all(lines)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

/// Reads `path` one record at a time.
///
/// # Errors
/// Fails if the file cannot be opened; a line that is not a record is an error of its own, which
/// names file and line.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<impl Iterator<Item = Result<T>> + use<T>> {
    let lines = BufReader::new(File::open(path)?).lines();
    let path = path.to_owned();
    Ok(lines.enumerate().map(move |(number, line)| {
        let record = serde_json::from_str(&line?);
        let wrong = |error| damaged(&path, &format!("line {}: {error}", number + 1));
        Ok(record.map_err(wrong)?)
    }))
}

/// Writes one pretty-printed JSON document.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_document(path: &Path, document: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    fs_err::write(path, text)?;
    Ok(())
}

/// What a sealed document begins with: the digest of everything behind it.
const SEAL: &str = "{\n  \"digest\": \"";

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// Writes one JSON document, an object, with the digest of its own text as its first key.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_sealed(path: &Path, document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)? + "\n";
    let body = text.strip_prefix("{\n").context("an object is sealed")?;
    let digest = fingerprint::of_bytes(body.as_bytes());
    fs_err::write(path, format!("{SEAL}{digest}\",\n{body}"))?;
    Ok(())
}

/// Reads one document that [`write_sealed`] wrote.
///
/// # Errors
/// Fails if the file cannot be read, or a byte of it is not what was written.
pub fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read(path)?;
    let document = || {
        let sealed = std::str::from_utf8(&text).ok()?.strip_prefix(SEAL)?;
        let (digest, body) = sealed.split_at_checked(DIGITS)?;
        let body = body.strip_prefix("\",\n")?;
        let whole = fingerprint::of_bytes(body.as_bytes()) == digest;
        whole.then(|| serde_json::from_str(&format!("{{{body}")))
    };
    let document = document().with_context(|| format!("{} is damaged", path.display()))?;
    document.with_context(|| format!("read {}", path.display()))
}

/// Reads one JSON document.
///
/// # Errors
/// Fails if the file cannot be read or is not such a document.
pub fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_bit_of_a_sealed_document_counts() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("file.json");
        let document = BTreeMap::from([("epochs".to_owned(), 2.5), ("seed".to_owned(), 1.0)]);
        write_sealed(&path, &document)?;
        let read = || read_sealed::<BTreeMap<String, f64>>(&path);
        assert_eq!(read()?, document);
        let bytes = fs_err::read(&path)?;
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            fs_err::write(&path, &damaged)?;
            assert!(read().is_err(), "bit 0 of byte {index}");
            fs_err::write(&path, &bytes[..index])?;
            assert!(read().is_err(), "cut to {index} bytes");
        }
        Ok(())
    }
}

//! JSON lines, with one record on each line, and single JSON documents.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use fs_err::File;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `records` to `path`, one on each line.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write<T: Serialize>(path: &Path, records: impl IntoIterator<Item = T>) -> Result<()> {
    let mut writer = BufWriter::new(File::create(path)?);
    for record in records {
        serde_json::to_writer(&mut writer, &record)?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    Ok(())
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
        serde_json::from_str(&line?)
            .with_context(|| format!("read {}:{}", path.display(), number + 1))
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

/// Reads one JSON document.
///
/// # Errors
/// Fails if the file cannot be read or is not such a document.
pub fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}

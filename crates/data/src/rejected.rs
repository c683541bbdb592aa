//! What is left out of the data, in the artifact's `rejected.jsonl`.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spanwise_artifact::{Split, jsonl};

/// File of the records that were left out, one a line.
pub const FILE: &str = "rejected.jsonl";

/// Begins the reason where the question is kept.
const OF_LABEL: &str = "its label is left out: ";

/// A record that was left out, or its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The split it was meant for.
    pub split: Split,
    /// The file it is in, as the pipeline file names it.
    pub file: String,
    /// Its id.
    pub id: String,
    /// What is wrong with it, and whether that costs the label alone.
    reason: String,
}

impl Rejected {
    /// A record of which `fault` is wrong, or of whose label it is.
    pub fn new(split: Split, file: &str, id: &str, fault: &str, is_label: bool) -> Self {
        let of_label = if is_label { OF_LABEL } else { "" };
        Self {
            split,
            file: file.to_owned(),
            id: id.to_owned(),
            reason: format!("{of_label}{fault}"),
        }
    }

    /// What is wrong.
    pub fn fault(&self) -> &str {
        self.reason.strip_prefix(OF_LABEL).unwrap_or(&self.reason)
    }

    /// Whether the question is kept without its label.
    pub fn is_label(&self) -> bool {
        self.reason.starts_with(OF_LABEL)
    }
}

/// Reads what was left out of a data artifact.
///
/// # Errors
/// Fails if the file cannot be read; a line that is no such record is an error of its own.
pub fn read(directory: &Path) -> Result<impl Iterator<Item = Result<Rejected>> + use<>> {
    jsonl::read(&directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_told_from_a_record() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let records = [true, false].map(|is_label| {
            Rejected::new(Split::Dev, "d.json", "7", "the answer is empty", is_label)
        });
        jsonl::write(&directory.path().join(FILE), &records)?;
        let found: Vec<Rejected> = read(directory.path())?.collect::<Result<_>>()?;
        assert_eq!(found, records);
        let labels: Vec<_> = found.iter().map(Rejected::is_label).collect();
        assert_eq!(labels, [true, false]);
        assert!(
            found
                .iter()
                .all(|record| record.fault() == "the answer is empty")
        );
        Ok(())
    }
}

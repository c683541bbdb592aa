//! The record every artifact carries.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fingerprint;
use crate::jsonl;
use crate::stage::Stage;

/// `manifest.json`: written last, so a directory without one does not count as an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the artifact's directory.
    pub name: String,
    /// The stage that wrote it.
    pub stage: Stage,
    /// Version of the stage's file layout.
    pub format: u32,
    /// The stage's resolved settings.
    pub settings: Value,
    /// The seed, for stages that use random numbers.
    pub seed: Option<u64>,
    /// Content digest per input.
    pub inputs: BTreeMap<String, String>,
    /// Digest per source file of the stage's code; empty for a job started by hand.
    pub code: BTreeMap<String, String>,
    /// Every file of the artifact.
    pub files: BTreeMap<String, FileRecord>,
    /// The device it was computed on, for stages that have a model.
    pub device: Option<String>,
    /// Number format of its matrix products, for stages that have a model.
    #[serde(default)]
    pub precision: Option<String>,
    /// When it was finished, in UTC.
    pub created: String,
    /// How long that took, in seconds.
    pub wall_seconds: f64,
    /// Version of this project.
    pub tool_version: String,
}

/// What lies where an artifact should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// No finished artifact.
    Nothing,
    /// Something that is not what was written: what is wrong with it.
    Damaged(String),
    /// An artifact whose files have their sizes.
    Whole(Box<Manifest>),
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// BLAKE3 of its bytes.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it only records how the run went, such as times and paths: it does not make a later
    /// stage stale.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
}

impl Manifest {
    /// File name of the manifest.
    pub const FILE: &str = "manifest.json";

    /// Writes it into the directory of its artifact.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        jsonl::write_sealed(&directory.join(Self::FILE), self)
    }

    /// Reads an artifact's manifest; `None` if the directory is not a finished artifact.
    ///
    /// # Errors
    /// Fails if there is a manifest that cannot be read.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(Self::FILE);
        if path.exists() {
            jsonl::read_sealed(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// What lies where an artifact should be: whether the manifest can be read and every file has
    /// its size. That costs no reading of the files.
    pub fn find(directory: &Path) -> Found {
        match Self::read(directory) {
            Ok(None) => Found::Nothing,
            Err(error) => Found::Damaged(format!("{error:#}")),
            Ok(Some(manifest)) => match manifest.wrong_size(directory) {
                Some(damage) => Found::Damaged(damage),
                None => Found::Whole(Box::new(manifest)),
            },
        }
    }

    fn wrong_size(&self, directory: &Path) -> Option<String> {
        self.files.iter().find_map(|(name, file)| {
            let Ok(metadata) = fs_err::metadata(directory.join(name)) else {
                return Some(format!("{name} is missing"));
            };
            let (bytes, expected) = (metadata.len(), file.bytes);
            (bytes != expected || !metadata.is_file())
                .then(|| format!("{name} has {bytes} bytes, and {expected} were written"))
        })
    }

    /// What is wrong with the bytes of an artifact's files, or, with `only`, of the named ones;
    /// `None` where they are what was written.
    pub fn wrong_bytes(&self, directory: &Path, only: Option<&[String]>) -> Option<String> {
        let counts = |name: &String| only.is_none_or(|only| only.contains(name));
        let mut files = self.files.iter().filter(|(name, _)| counts(name));
        files.find_map(
            |(name, file)| match fingerprint::of_file(&directory.join(name)) {
                Ok(digest) if digest == file.digest => None,
                Ok(_) => Some(format!("{name} is not what was written")),
                Err(error) => Some(format!("{name}: {error:#}")),
            },
        )
    }

    /// Content digest of the artifact, or, with `only`, of those of the named files that exist.
    pub fn content(&self, only: Option<&[&str]>) -> String {
        let counts = |name: &str| only.is_none_or(|names| names.contains(&name));
        let digests = self
            .files
            .iter()
            .filter(|(name, file)| !file.log && counts(name))
            .map(|(name, file)| (name.clone(), file.digest.clone()))
            .collect();
        fingerprint::of_named(&digests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let file = path.join("content");
        fs_err::write(&file, "content")?;
        assert_eq!(Manifest::find(path), Found::Nothing);
        let record = FileRecord {
            digest: fingerprint::of_file(&file)?,
            bytes: 7,
            log: false,
        };
        let manifest = Manifest {
            name: String::new(),
            stage: Stage::Data,
            format: 1,
            settings: Value::Null,
            seed: None,
            inputs: BTreeMap::new(),
            code: BTreeMap::new(),
            files: BTreeMap::from([("content".to_owned(), record)]),
            device: None,
            precision: None,
            created: String::new(),
            wall_seconds: 0.1,
            tool_version: String::new(),
        };
        manifest.write(path)?;
        assert_eq!(
            Manifest::find(path),
            Found::Whole(Box::new(manifest.clone()))
        );
        assert_eq!(manifest.wrong_bytes(path, None), None);

        fs_err::write(&file, "contend")?;
        let flipped = Some("content is not what was written".to_owned());
        assert_eq!(manifest.wrong_bytes(path, None), flipped);
        assert_eq!(manifest.wrong_bytes(path, Some(&[])), None);
        for (content, expected) in [
            (Some("conten"), "content has 6 bytes, and 7 were written"),
            (None, "content is missing"),
        ] {
            match content {
                Some(content) => fs_err::write(&file, content)?,
                None => fs_err::remove_file(&file)?,
            }
            assert_eq!(Manifest::find(path), Found::Damaged(expected.to_owned()));
        }
        fs_err::write(path.join(Manifest::FILE), "")?;
        assert!(matches!(Manifest::find(path), Found::Damaged(_)));
        Ok(())
    }
}

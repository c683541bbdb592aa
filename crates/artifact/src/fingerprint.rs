//! Digests of files, directories and the whole recipe of an artifact.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use fs_err::File;
use serde_json::{Value, json};

use crate::stage::Stage;

/// How much of a file is in memory while it is hashed: enough for all cores to have some.
const PIECE: usize = 8 << 20;

/// BLAKE3 of a file's bytes, in hexadecimal.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = Vec::new();
    // A map of the whole file would count as this process's memory.
    while file.by_ref().take(PIECE as u64).read_to_end(&mut piece)? > 0 {
        hasher.update_rayon(&piece);
        piece.clear();
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// BLAKE3 of bytes, in hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The first half of BLAKE3 of bytes, for telling many texts apart in little memory: no two of them
/// have the same by chance.
pub fn short(bytes: &[u8]) -> [u8; 16] {
    let digest = blake3::hash(bytes);
    std::array::from_fn(|index| digest.as_bytes()[index])
}

/// Digest of a set of named digests, independent of where the files lie.
pub fn of_named(digests: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, digest) in digests {
        hasher
            .update(name.as_bytes())
            .update(b"\0")
            .update(digest.as_bytes())
            .update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// Everything that decides an artifact's content.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The stage that writes it.
    pub stage: Stage,
    /// Its own resolved settings.
    pub settings: Value,
    /// The seed, for stages that use random numbers.
    pub seed: Option<u64>,
    /// Content digest per input.
    pub inputs: BTreeMap<String, String>,
    /// Digest per source file of its code and per version of what that depends on.
    pub code: BTreeMap<String, String>,
}

impl Recipe {
    /// The artifact's name: 20 hexadecimal digits.
    ///
    /// The device is left out on purpose: it changes rounding, not meaning, and a model trained on
    /// one machine stays fresh on another.
    pub fn fingerprint(&self) -> String {
        let recipe = json!({
            "stage": self.stage,
            "format": self.stage.format_version(),
            "settings": self.settings,
            "seed": self.seed,
            "inputs": self.inputs,
            "code": of_named(&self.code),
        });
        // serde_json's maps are sorted, so equal recipes are equal text.
        blake3::hash(recipe.to_string().as_bytes()).to_hex()[..DIGITS].to_owned()
    }
}

/// Digits of a fingerprint.
const DIGITS: usize = 20;

/// Whether a name may be one that [`Recipe::fingerprint`] returns.
pub fn is_fingerprint(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            stage: Stage::Train,
            settings: json!({"epochs": 2, "learning_rate": 2e-5}),
            seed: Some(1),
            inputs: BTreeMap::from([("windows".to_owned(), "abc".to_owned())]),
            code: BTreeMap::from([("src/lib.rs".to_owned(), "def".to_owned())]),
        }
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            fs_err::write(file.path(), &bytes)?;
            assert_eq!(of_file(file.path())?, of_bytes(&bytes), "{length} bytes");
        }
        Ok(())
    }

    #[test]
    fn every_part_of_the_recipe_counts() {
        let base = recipe().fingerprint();
        assert_eq!(base, recipe().fingerprint());
        assert_eq!(base.len(), 20);
        let changed = [
            Recipe {
                stage: Stage::Predict,
                ..recipe()
            },
            Recipe {
                settings: json!({"epochs": 3, "learning_rate": 2e-5}),
                ..recipe()
            },
            Recipe {
                seed: Some(2),
                ..recipe()
            },
            Recipe {
                inputs: BTreeMap::from([("windows".to_owned(), "abd".to_owned())]),
                ..recipe()
            },
            Recipe {
                code: BTreeMap::from([("src/lib.rs".to_owned(), "deg".to_owned())]),
                ..recipe()
            },
        ];
        for other in changed {
            assert_ne!(base, other.fingerprint());
        }
    }

    #[test]
    fn key_order_does_not_count() {
        let other = Recipe {
            settings: json!({"learning_rate": 2e-5, "epochs": 2}),
            ..recipe()
        };
        assert_eq!(recipe().fingerprint(), other.fingerprint());
    }
}

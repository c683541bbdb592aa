//! What a stage's code is: the sources of its crate and of the workspace crates it uses, and the versions
//! of everything else it is built from.
//!
//! Derived from the manifests and `Cargo.lock`, so that a new crate or dependency cannot be forgotten here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use spanwise_artifact::{Stage, fingerprint};
use toml::Table;

use crate::workspace;

/// The package whose program runs a stage.
pub fn package(stage: Stage) -> String {
    format!("spanwise-{stage}")
}

/// Where every stage's settings have a file of their own.
const SETTINGS: &str = "crates/artifact/src/settings/";

/// Whether a source belongs to another stage: a file of settings named after that stage.
fn is_foreign(stage: Stage, source: &str) -> bool {
    let settings = source.strip_prefix(SETTINGS);
    let owner = settings.and_then(|file| Stage::from_name(file.strip_suffix(".rs")?));
    owner.is_some_and(|owner| owner != stage)
}

/// Key under which the versions of foreign crates are summed up.
pub const DEPENDENCIES: &str = "dependencies";

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Digests of the workspace's code.
pub struct Code {
    lock: Lock,
}

impl Code {
    /// Reads `Cargo.lock`.
    pub fn open() -> Result<Self> {
        let path = workspace::root().join("Cargo.lock");
        let lock = toml::from_str(&fs_err::read_to_string(&path)?).context("read Cargo.lock")?;
        Ok(Self { lock })
    }

    /// Digest per source file of a stage, and one of the versions of the foreign crates it is built from.
    pub fn digests(&self, stage: Stage) -> Result<BTreeMap<String, String>> {
        let mut digests = BTreeMap::new();
        let mut foreign_crates = BTreeMap::new();
        for name in self.closure(&package(stage))? {
            match workspace_folder(&name) {
                Some(folder) if !changes_output(&workspace::root().join(&folder))? => {}
                Some(folder) => {
                    let mut add = |path: &Path| {
                        let shown = workspace::display(path);
                        if !is_foreign(stage, &shown) {
                            digests.insert(shown, fingerprint::of_file(path)?);
                        }
                        anyhow::Ok(())
                    };
                    let folder = workspace::root().join(folder);
                    for file in ["Cargo.toml", "build.rs", "link.rs"].map(|file| folder.join(file))
                    {
                        if file.exists() {
                            add(&file)?;
                        }
                    }
                    walk(&folder.join("src"), &mut add)?;
                }
                None => {
                    let packages = self
                        .lock
                        .package
                        .iter()
                        .filter(|package| package.name == name);
                    let versions = packages
                        .map(|p| format!("{} {}", p.version, p.checksum.as_deref().unwrap_or("")));
                    foreign_crates.insert(name.clone(), versions.collect::<Vec<_>>().join(", "));
                }
            }
        }
        digests.insert(
            DEPENDENCIES.to_owned(),
            fingerprint::of_named(&foreign_crates),
        );
        Ok(digests)
    }

    /// Names of all packages that `package` is built from, itself included.
    fn closure(&self, package: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(name) = open.pop() {
            if !found.insert(name.clone()) {
                continue;
            }
            match workspace_folder(&name) {
                // Cargo.lock lists what tests need as well; the manifest tells them apart.
                Some(folder) => {
                    open.extend(manifest_dependencies(&workspace::root().join(folder))?)
                }
                None => {
                    let packages = self
                        .lock
                        .package
                        .iter()
                        .filter(|package| package.name == name);
                    let names = packages.flat_map(|package| &package.dependencies);
                    open.extend(
                        names
                            .filter_map(|entry| entry.split(' ').next())
                            .map(str::to_owned),
                    );
                }
            }
        }
        Ok(found)
    }
}

/// The folder of a package of this workspace.
fn workspace_folder(package: &str) -> Option<String> {
    package
        .strip_prefix("spanwise-")
        .map(|name| format!("crates/{name}"))
}

/// Whether a package counts: unless its manifest says `output = false` below `package.metadata.spanwise`.
fn changes_output(folder: &Path) -> Result<bool> {
    let manifest = manifest(folder)?;
    let output = ["package", "metadata", "spanwise"]
        .into_iter()
        .try_fold(&manifest, |table, key| table.get(key)?.as_table())
        .and_then(|table| table.get("output")?.as_bool());
    Ok(output.unwrap_or(true))
}

fn manifest(folder: &Path) -> Result<Table> {
    let path = folder.join("Cargo.toml");
    toml::from_str(&fs_err::read_to_string(&path)?)
        .with_context(|| format!("read {}", path.display()))
}

fn manifest_dependencies(folder: &Path) -> Result<Vec<String>> {
    let manifest = manifest(folder)?;
    let tables = ["dependencies", "build-dependencies"]
        .map(|key| manifest.get(key).and_then(toml::Value::as_table));
    Ok(tables
        .into_iter()
        .flatten()
        .flat_map(|table| table.keys().cloned())
        .collect())
}

fn walk(directory: &Path, add: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, add)?
        } else {
            add(&path)?
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(stage: Stage) -> BTreeSet<String> {
        Code::open()
            .unwrap()
            .digests(stage)
            .unwrap()
            .into_keys()
            .collect()
    }

    #[test]
    fn code_follows_the_manifests() {
        let windows = files(Stage::Windows);
        assert!(windows.contains("crates/windows/src/lay.rs"));
        assert!(windows.contains("crates/artifact/src/windows.rs"));
        assert!(windows.contains("crates/windows/Cargo.toml"));
        assert!(windows.contains(DEPENDENCIES));
        assert!(!windows.iter().any(|file| file.starts_with("crates/model")));
    }

    #[test]
    fn train_and_predict_share_all_but_their_own_files() {
        let (train, predict) = (files(Stage::Train), files(Stage::Predict));
        assert!(
            train.contains("crates/training/src/optimizer.rs")
                && !predict.contains("crates/training/src/optimizer.rs")
        );
        assert!(
            predict.contains("crates/predict/src/main.rs")
                && !train.contains("crates/predict/src/main.rs")
        );
        for shared in [
            "crates/model/src/encoder.rs",
            "crates/ops/src/lib.rs",
            "crates/ops/build.rs",
        ] {
            assert!(
                train.contains(shared) && predict.contains(shared),
                "{shared}"
            );
        }
    }

    #[test]
    fn a_stage_has_its_own_settings_and_no_others() {
        for stage in Stage::ALL {
            let files = files(stage);
            let settings = files.iter().filter_map(|file| file.strip_prefix(SETTINGS));
            let mut expected = ["mod.rs".to_owned(), format!("{stage}.rs")];
            expected.sort();
            assert_eq!(settings.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn foreign_crates_are_followed_to_the_end_but_not_into_tests() {
        let code = Code::open().unwrap();
        let closure = code.closure("spanwise-train").unwrap();
        assert!(
            closure.contains("burn-autodiff"),
            "a dependency of a dependency"
        );
        assert!(!code.closure("spanwise-data").unwrap().contains("proptest"));
        assert!(!code.closure("spanwise-data").unwrap().contains("burn"));
    }

    #[test]
    fn the_runner_knows_no_burn_and_no_tokenizers() {
        let dependencies = manifest_dependencies(&workspace::root().join("crates/runner")).unwrap();
        let code = Code::open().unwrap();
        for dependency in dependencies {
            let closure = code.closure(&dependency).unwrap();
            assert!(
                !closure.contains("burn") && !closure.contains("tokenizers"),
                "{dependency}"
            );
        }
    }
}

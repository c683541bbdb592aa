//! What the code of a stage is: everything that its output can depend on, and nothing else.
//!
//! One rule, without a list that could be forgotten:
//!
//! - The sources of every workspace package that the stage's program is built from count, unless the package's manifest
//!   says `[package.metadata.spanwise] output = false`. Such a package's own dependencies do not count either.
//! - In `artifact`, a file named after a stage counts for that stage alone if it is one of settings; if it is one of
//!   records, also for a node that reads an artifact of that stage.
//! - Tests and benchmarks do not count: the folders `tests` and `benches`, and a `mod tests` at the end of a file.
//! - Of everything else it is built from, the versions count, as `Cargo.lock` has them.

mod tests_left_out;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use spanwise_artifact::{Stage, fingerprint};
use toml::Table;

use tests_left_out::without_tests;

/// Key under which the versions of packages outside the workspace are summed up.
pub const DEPENDENCIES: &str = "dependencies";

/// The package whose program runs a stage.
pub fn package(stage: Stage) -> String {
    format!("spanwise-{stage}")
}

/// Digests of the workspace's code.
pub struct Code {
    root: PathBuf,
    lock: Lock,
    /// Every source has one digest, whichever stages it counts for.
    digests: RefCell<BTreeMap<PathBuf, String>>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    checksum: Option<String>,
    /// `NAME`, or `NAME VERSION` where several versions are locked.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Code {
    /// The code of the workspace at `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("Cargo.lock");
        let lock = toml::from_str(&fs_err::read_to_string(&path)?).context("read Cargo.lock")?;
        Ok(Self {
            root: root.to_owned(),
            lock,
            digests: RefCell::default(),
        })
    }

    /// Digest per source file of a stage whose node reads artifacts of the stages `reads`, and one of the versions of
    /// the packages outside the workspace.
    pub fn digests(
        &self,
        stage: Stage,
        reads: &BTreeSet<Stage>,
    ) -> Result<BTreeMap<String, String>> {
        let mut digests = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for package in self.closure(&package(stage))? {
            let Some(folder) = self.folder(package) else {
                let checksum = package.checksum.as_deref().unwrap_or_default();
                let name = format!("{} {}", package.name, package.version);
                versions.insert(name, checksum.to_owned());
                continue;
            };
            for path in sources(&folder)? {
                let shown = path
                    .strip_prefix(&self.root)?
                    .to_string_lossy()
                    .into_owned();
                if owner(&shown).is_none_or(|owner| owner.counts_for(stage, reads)) {
                    digests.insert(shown, self.digest(&path)?);
                }
            }
        }
        digests.insert(DEPENDENCIES.to_owned(), fingerprint::of_named(&versions));
        Ok(digests)
    }

    fn digest(&self, path: &Path) -> Result<String> {
        if let Some(digest) = self.digests.borrow().get(path) {
            return Ok(digest.clone());
        }
        let digest = match path.file_name().and_then(|name| name.to_str()) {
            Some("Cargo.toml") => {
                fingerprint::of_bytes(toml::to_string(&counted(read_table(path)?))?.as_bytes())
            }
            Some(name) if name.ends_with(".rs") => {
                fingerprint::of_bytes(without_tests(&fs_err::read_to_string(path)?).as_bytes())
            }
            _ => fingerprint::of_file(path)?,
        };
        let mut digests = self.digests.borrow_mut();
        digests.insert(path.to_owned(), digest.clone());
        Ok(digest)
    }

    /// All packages that count for a program of `package`, itself included.
    fn closure(&self, package: &str) -> Result<Vec<&LockedPackage>> {
        let mut open = vec![self.locked(package)?];
        let mut found: Vec<&LockedPackage> = Vec::new();
        while let Some(package) = open.pop() {
            if found.iter().any(|found| std::ptr::eq(*found, package)) {
                continue;
            }
            // Cargo.lock lists what tests need as well; the manifest of a workspace package tells them apart.
            let used = match self.folder(package) {
                Some(folder) => {
                    let manifest = read_table(&folder.join("Cargo.toml"))?;
                    if !changes_output(&manifest) {
                        continue;
                    }
                    Some(dependencies(&manifest))
                }
                None => None,
            };
            found.push(package);
            for entry in &package.dependencies {
                let name = entry.split(' ').next().unwrap_or(entry);
                if used.as_ref().is_none_or(|used| used.contains(name)) {
                    open.push(self.locked(entry)?);
                }
            }
        }
        Ok(found)
    }

    /// The package of an entry `NAME` or `NAME VERSION`.
    fn locked(&self, entry: &str) -> Result<&LockedPackage> {
        let mut parts = entry.split(' ');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next());
        let is_it = |package: &&LockedPackage| {
            package.name == name && version.is_none_or(|version| package.version == version)
        };
        let package = self.lock.package.iter().find(is_it);
        package.with_context(|| format!("Cargo.lock has no package {entry}"))
    }

    /// The folder of a package of this workspace; `None` for any other.
    fn folder(&self, package: &LockedPackage) -> Option<PathBuf> {
        let name = package.name.strip_prefix("spanwise-")?;
        let folder = self.root.join("crates").join(name);
        (package.checksum.is_none() && folder.is_dir()).then_some(folder)
    }
}

/// The stage that a source of `artifact` is named after.
struct Owner {
    stage: Stage,
    settings: bool,
}

impl Owner {
    fn counts_for(&self, stage: Stage, reads: &BTreeSet<Stage>) -> bool {
        self.stage == stage || (!self.settings && reads.contains(&self.stage))
    }
}

/// Whose a source is; `None` where it counts for every stage that is built from it.
fn owner(source: &str) -> Option<Owner> {
    let file = source.strip_prefix("crates/artifact/src/")?;
    let (settings, file) = match file.strip_prefix("settings/") {
        Some(file) => (true, file),
        None => (false, file),
    };
    let stage = Stage::from_name(file.strip_suffix(".rs")?)?;
    Some(Owner { stage, settings })
}

/// What a package is built from: its manifest, build scripts beside it, and everything in `src`.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![folder.join("Cargo.toml")];
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    let mut open = vec![folder.join("src")];
    while let Some(directory) = open.pop() {
        for entry in fs_err::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn read_table(path: &Path) -> Result<Table> {
    let text = fs_err::read_to_string(path)?;
    toml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

/// What of a manifest can change an output: not what only tests, benchmarks, lints and people read.
fn counted(mut manifest: Table) -> Table {
    for key in ["bench", "dev-dependencies", "lints", "test"] {
        manifest.remove(key);
    }
    if let Some(package) = manifest
        .get_mut("package")
        .and_then(|table| table.as_table_mut())
    {
        package.remove("description");
    }
    manifest
}

/// Whether a package counts: unless its manifest says that it changes no output.
fn changes_output(manifest: &Table) -> bool {
    let output = ["package", "metadata", "spanwise"]
        .into_iter()
        .try_fold(manifest, |table, key| table.get(key)?.as_table())
        .and_then(|table| table.get("output")?.as_bool());
    output.unwrap_or(true)
}

/// Names of the packages that a package itself is built from, without those of its tests.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let tables = ["dependencies", "build-dependencies"];
    let tables = tables.map(|key| manifest.get(key).and_then(toml::Value::as_table));
    let entries = tables.into_iter().flatten().flatten();
    // The key, unless the entry gives a package another name here.
    let name = |(key, entry): (&String, &toml::Value)| {
        let package = entry.get("package").and_then(toml::Value::as_str);
        package.unwrap_or(key).to_owned()
    };
    entries.map(name).collect()
}

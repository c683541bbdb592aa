//! What the code of a stage is: everything that its output can depend on, and nothing else.
//!
//! One rule, without a list that could be forgotten:
//!
//! - The sources of every workspace package that the stage's program is built from count, unless
//!   the package's manifest says `[package.metadata.spanwise] output = false`. Such a package's own
//!   dependencies do not count either.
//! - In `artifact`, a file named after a stage counts for that stage alone if it is one of
//!   settings; if it is one of records, also for a node that reads an artifact of that stage.
//! - Tests and benchmarks do not count: the folders `tests` and `benches`, and a `mod tests` at the
//!   end of a file.
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

    /// Digest per source file of a stage whose node reads artifacts of the stages `reads`, and one
    /// of the versions of the packages outside the workspace.
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
        let extension = path.extension().and_then(|extension| extension.to_str());
        let digest = match extension {
            Some("toml") if path.ends_with("Cargo.toml") => {
                fingerprint::of_bytes(toml::to_string(&counted(read_table(path)?))?.as_bytes())
            }
            Some("rs") => {
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
            // Cargo.lock lists what tests need as well; the manifest of a workspace package tells
            // them apart.
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
    // The key, unless the entry renames a package.
    let name = |(key, entry): (&String, &toml::Value)| {
        let package = entry.get("package").and_then(toml::Value::as_str);
        package.unwrap_or(key).to_owned()
    };
    entries.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline_file;
    use crate::plan::graph::Graph;
    use crate::workspace;

    /// What the nodes of every stage read in a pipeline that has all stages; the student's, which
    /// alone reads scores to train on, left out.
    fn all_reads() -> Result<BTreeMap<Stage, BTreeSet<Stage>>> {
        let set = [
            "pretrain.epochs=1",
            "ensemble.members=[{ seed = 1 }, { seed = 2 }]",
        ];
        let set = set.map(str::to_owned);
        let pipeline = pipeline_file::read("pipelines/demo.toml".as_ref(), &set)?;
        let mut graph = Graph::new(&pipeline)?;
        graph.add_checkpoints()?;
        graph.add_windows();
        while graph.add_member() {}
        graph.finish();
        let nodes = graph.nodes().iter();
        Ok(nodes
            .map(|node| (node.stage, graph.stages_read_by(node)))
            .collect())
    }

    /// A copy of the workspace's code.
    fn copy() -> Result<tempfile::TempDir> {
        let copy = tempfile::tempdir()?;
        let root = workspace::root();
        fs_err::copy(root.join("Cargo.lock"), copy.path().join("Cargo.lock"))?;
        for package in fs_err::read_dir(root.join("crates"))? {
            for path in sources(&package?.path())? {
                let target = copy.path().join(path.strip_prefix(root)?);
                fs_err::create_dir_all(target.parent().context("a file in a folder")?)?;
                fs_err::copy(path, target)?;
            }
        }
        Ok(copy)
    }

    fn digests(root: &Path) -> Result<Vec<BTreeMap<String, String>>> {
        let code = Code::open(root)?;
        let reads = all_reads()?;
        let stages = Stage::ALL.into_iter();
        stages
            .map(|stage| code.digests(stage, &reads[&stage]))
            .collect()
    }

    /// Asserts which stages' code an edit of a copy of the workspace changes.
    fn check(edit: impl FnOnce(&Path) -> Result<()>, expected: &[Stage]) -> Result<()> {
        let copy = copy()?;
        let before = digests(copy.path())?;
        edit(copy.path())?;
        let after = digests(copy.path())?;
        let changed = Stage::ALL.into_iter().zip(before.iter().zip(&after));
        let changed: Vec<Stage> = changed
            .filter_map(|(stage, (before, after))| (before != after).then_some(stage))
            .collect();
        assert_eq!(changed, expected);
        Ok(())
    }

    /// Puts a line of code in front of every source that `is_edited` picks.
    fn edit_sources(root: &Path, is_edited: impl Fn(&str) -> bool) -> Result<()> {
        let mut edited = 0;
        for package in fs_err::read_dir(root.join("crates"))? {
            for path in sources(&package?.path())? {
                let shown = path.strip_prefix(root)?.to_string_lossy().into_owned();
                if is_edited(&shown) && !shown.ends_with("Cargo.toml") {
                    let text = fs_err::read_to_string(&path)?;
                    fs_err::write(&path, format!("const EDITED: () = ();\n{text}"))?;
                    edited += 1;
                }
            }
        }
        assert!(edited > 0, "nothing to edit");
        Ok(())
    }

    /// Asserts which stages' code an edit of the sources below a path changes.
    fn check_edit(path: &str, expected: &[Stage]) -> Result<()> {
        check(
            |root| edit_sources(root, |source| source.starts_with(path)),
            expected,
        )
    }

    #[test]
    fn what_changes_no_output_leaves_every_stage_fresh() -> Result<()> {
        for package in ["model-tools", "program", "runner"] {
            check_edit(&format!("crates/{package}/"), &[])?;
        }
        Ok(())
    }

    #[test]
    fn a_package_counts_for_what_is_built_from_it() -> Result<()> {
        use Stage::{Answers, Predict, Pretrain, Train};
        // Whichever file the span loss is in.
        check_edit("crates/train/src/", &[Train])?;
        check_edit("crates/pretrain/src/", &[Pretrain])?;
        check_edit("crates/training/src/", &[Pretrain, Train])?;
        check_edit("crates/model/src/", &[Pretrain, Train, Predict])?;
        check_edit("crates/ops/build.rs", &[Pretrain, Train, Predict])?;
        // Templates of the report, too.
        check_edit("crates/answers/src/", &[Answers])
    }

    #[test]
    fn a_file_of_artifact_named_after_a_stage_is_that_stages() -> Result<()> {
        use Stage::{Answers, Ensemble, Predict, Pretrain, Train, Windows};
        let file = |name: &str| format!("crates/artifact/src/{name}.rs");
        for stage in Stage::ALL {
            check_edit(&file(&format!("settings/{stage}")), &[stage])?;
        }
        check_edit(&file("windows"), &[Windows, Pretrain, Train, Predict])?;
        check_edit(&file("ensemble"), &[Ensemble, Answers])?;
        check_edit(&file("answers"), &[Answers])?;
        check_edit(&file("settings/mod"), &Stage::ALL)?;
        check_edit(&file("manifest"), &Stage::ALL)
    }

    #[test]
    fn records_count_for_the_nodes_that_read_them() -> Result<()> {
        let code = Code::open(workspace::root())?;
        let student = BTreeSet::from([Stage::Ensemble]);
        let file = "crates/artifact/src/ensemble.rs";
        assert!(code.digests(Stage::Train, &student)?.contains_key(file));
        let member = &all_reads()?[&Stage::Train];
        assert!(!code.digests(Stage::Train, member)?.contains_key(file));
        Ok(())
    }

    #[test]
    fn tests_and_benchmarks_leave_every_stage_fresh() -> Result<()> {
        let edit = |root: &Path| {
            let mut edited = 0;
            for package in fs_err::read_dir(root.join("crates"))? {
                let package = package?.path();
                for folder in ["tests", "benches"] {
                    fs_err::create_dir_all(package.join(folder))?;
                    fs_err::write(package.join(folder).join("new.rs"), "fn main() {}\n")?;
                }
                let manifest = package.join("Cargo.toml");
                let text = fs_err::read_to_string(&manifest)?;
                fs_err::write(&manifest, format!("{text}\n[[test]]\nname = \"new\"\n"))?;
                for path in sources(&package)? {
                    let text = fs_err::read_to_string(&path)?;
                    if without_tests(&text).len() < text.len() {
                        let end = text.trim_end().len() - 1;
                        let test = "    #[test]\n    fn new() {}\n";
                        fs_err::write(&path, format!("{}{test}}}\n", &text[..end]))?;
                        edited += 1;
                    }
                }
            }
            assert!(edited > 10, "{edited} files with tests");
            Ok(())
        };
        check(edit, &[])
    }

    #[test]
    fn versions_count_for_what_is_built_from_them() -> Result<()> {
        use Stage::{Checkpoint, Predict, Pretrain, Train, Windows};
        let raise = |name: &str, expected: &[Stage]| {
            let edit = |root: &Path| {
                let path = root.join("Cargo.lock");
                let text = fs_err::read_to_string(&path)?;
                let entry = format!("name = \"{name}\"\n");
                let (before, after) = text.split_once(&entry).context("a locked package")?;
                let after = after.replacen("checksum = \"", "checksum = \"0", 1);
                fs_err::write(&path, format!("{before}{entry}{after}"))?;
                Ok(())
            };
            check(edit, expected)
        };
        raise("burn-autodiff", &[Pretrain, Train, Predict])?;
        raise("tokenizers", &[Checkpoint, Windows])?;
        // Of a package that changes no output.
        raise("clap_lex", &[])?;
        // Of tests.
        raise("proptest", &[])
    }

    /// Types that a source declares.
    fn types(source: &str) -> BTreeSet<&str> {
        let mut words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut types = BTreeSet::new();
        while let Some(word) = words.next() {
            if ["struct", "enum"].contains(&word) {
                types.extend(words.next());
            }
        }
        types
    }

    /// Types of other sources that a source names.
    fn used_types<'a>(source: &'a str, declared: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.filter(|word| !declared.contains(word)).collect()
    }

    /// The rule holds only if a stage uses no type of a file that does not count for it.
    #[test]
    fn no_stage_uses_what_does_not_count_for_it() -> Result<()> {
        let root = workspace::root();
        let code = Code::open(root)?;
        let read = |source: &str| fs_err::read_to_string(root.join(source));
        let artifact = sources(&root.join("crates/artifact"))?;
        for (stage, reads) in all_reads()? {
            let counted = code.digests(stage, &reads)?;
            // The list of all settings is where their types are named.
            let counted = counted.keys().filter(|source| {
                let is_code = Path::new(source).extension() == Some("rs".as_ref());
                is_code && !source.ends_with("artifact/src/settings/mod.rs")
            });
            let counted: BTreeMap<&String, String> = counted
                .map(|source| Ok((source, read(source)?)))
                .collect::<Result<_>>()?;
            let texts = counted.values().map(|text| without_tests(text));
            let declared: BTreeSet<&str> = texts.flat_map(types).collect();
            for path in &artifact {
                let foreign = path.strip_prefix(root)?.to_string_lossy().into_owned();
                if counted.contains_key(&foreign) || owner(&foreign).is_none() {
                    continue;
                }
                let foreign_text = read(&foreign)?;
                let foreign_types = types(without_tests(&foreign_text));
                for (source, text) in &counted {
                    let used = used_types(without_tests(text), &declared);
                    let common: Vec<_> = used.intersection(&foreign_types).collect();
                    assert!(
                        common.is_empty(),
                        "{source} uses {common:?} of {foreign}, which does not count for {stage}"
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_runner_is_built_without_burn_and_tokenizers() -> Result<()> {
        let code = Code::open(workspace::root())?;
        let mut open = vec!["spanwise-runner".to_owned()];
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !found.insert(name.clone()) {
                continue;
            }
            let package = code.locked(&name)?;
            match code.folder(package) {
                Some(folder) => {
                    open.extend(dependencies(&read_table(&folder.join("Cargo.toml"))?));
                }
                None => open.extend(package.dependencies.iter().cloned()),
            }
        }
        assert!(
            found.contains("clap"),
            "what is found includes the program crate's"
        );
        for heavy in ["burn", "tokenizers", "tch"] {
            assert!(!found.contains(heavy), "{heavy}");
        }
        Ok(())
    }
}

//! Whether a node's artifact is there: its recipe, its fingerprint, and what the last run used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spanwise_artifact::fingerprint::Recipe;
use spanwise_artifact::{Found, Input, Manifest};

use crate::code::Code;
use crate::links;
use crate::plan::graph::{FOLDERS, Graph, Node, Source};
use crate::plan::reasons::{GONE, reasons};

/// Where the artifacts and links of a pipeline lie.
pub struct Store {
    /// Holds `artifacts` and `runs`.
    output: PathBuf,
    /// `runs/<pipeline>`.
    run: PathBuf,
    code: Code,
}

/// A node whose inputs are all there.
pub struct Ready {
    /// What decides its content.
    pub recipe: Recipe,
    /// What it reads, by role.
    pub inputs: BTreeMap<String, Input>,
    /// Where its artifact is or will be.
    pub output: PathBuf,
}

impl Store {
    /// The store of the pipeline `name` below `output`, with the workspace's code as it is now.
    pub fn open(output: &Path, name: &str, code: Code) -> Self {
        Self {
            output: output.to_owned(),
            run: output.join("runs").join(name),
            code,
        }
    }

    /// `runs/<pipeline>`.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Where the artifacts of all stages lie.
    pub fn artifacts(&self) -> PathBuf {
        self.output.join("artifacts")
    }

    /// What node `index` is made from and where it goes, given the artifacts of the nodes before
    /// it. `None` while one that it reads is missing.
    pub fn ready(
        &self,
        graph: &Graph,
        index: usize,
        artifacts: &[Option<PathBuf>],
    ) -> Result<Option<Ready>> {
        let node = &graph.nodes()[index];
        let mut inputs = BTreeMap::new();
        for read in &node.reads {
            let path = match &read.source {
                Source::Node(index) => match &artifacts[*index] {
                    Some(path) => path.clone(),
                    None => return Ok(None),
                },
                Source::Path(path) => path.clone(),
            };
            let files = read.files.clone();
            inputs.insert(read.role.clone(), Input { path, files });
        }
        let contents = inputs
            .iter()
            .map(|(role, input)| Ok((role.clone(), input.content()?)))
            .collect::<Result<_>>()?;
        let recipe = Recipe {
            stage: node.stage,
            settings: node.settings.clone(),
            seed: node.seed,
            inputs: contents,
            code: self.code.digests(node.stage, &graph.stages_read_by(node))?,
        };
        let artifacts = self.artifacts().join(node.stage.name());
        let output = artifacts.join(recipe.fingerprint());
        Ok(Some(Ready {
            recipe,
            inputs,
            output,
        }))
    }

    /// What lies where an artifact should be.
    pub fn find(artifact: &Path) -> Found {
        match Manifest::find(artifact) {
            Found::Whole(manifest) if !artifact.ends_with(&manifest.name) => {
                Found::Damaged("its manifest is another artifact's".to_owned())
            }
            found => found,
        }
    }

    /// What is wrong with an artifact that should be there: its files, or the named ones, are not
    /// what was written.
    pub fn damage(artifact: &Path, files: Option<&[String]>) -> Option<String> {
        match Self::find(artifact) {
            Found::Whole(manifest) => manifest.wrong_bytes(artifact, files),
            Found::Damaged(damage) => Some(damage),
            Found::Nothing => Some("it is gone".to_owned()),
        }
    }

    /// The artifact that the last run of this pipeline used for a node.
    pub fn current(&self, node: &Node) -> Option<(PathBuf, Box<Manifest>)> {
        let artifact = links::follow(&self.run.join(&node.link))?.ok()?;
        match Self::find(&artifact) {
            Found::Whole(manifest) if manifest.stage == node.stage => Some((artifact, manifest)),
            _ => None,
        }
    }

    /// Why a node's artifact is not there: what differs from the one its last run used.
    pub fn reasons(&self, node: &Node, ready: &Ready) -> Vec<String> {
        let previous = self.current(node).map(|(_, manifest)| manifest);
        if previous.is_none() && links::follow(&self.run.join(&node.link)).is_some() {
            return vec![GONE.to_owned()];
        }
        reasons(previous.as_deref(), &ready.recipe)
    }

    /// Links a node's artifact in the run's folder.
    pub fn link(&self, node: &Node, artifact: &Path) -> Result<()> {
        links::replace(artifact, &self.run.join(&node.link))
    }

    /// Removes the links that earlier runs of this pipeline have left in its folder, and that are
    /// neither of this one's nodes nor of `results`.
    pub fn remove_other_links(&self, graph: &Graph, results: &[&str]) -> Result<()> {
        let nodes = graph.nodes().iter().map(|node| self.run.join(&node.link));
        let results = results.iter().map(|file| self.run.join(file));
        let keep: Vec<PathBuf> = nodes.chain(results).collect();
        // Other folders are other runs: a comparison may have the name of a pipeline.
        let own = FOLDERS.map(|folder| self.run.join(folder));
        let artifacts = fs_err::canonicalize(self.artifacts())?;
        links::remove_others(&self.run, &artifacts, &own, &keep)
    }
}

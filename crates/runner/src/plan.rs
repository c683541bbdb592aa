//! Which stages a pipeline has, what each reads, and whether its artifact is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use spanwise_artifact::fingerprint::Recipe;
use spanwise_artifact::questions::{FOLDS_FILE, Split};
use spanwise_artifact::settings::{DataSettings, EnsembleSettings, Fold, PredictSettings};
use spanwise_artifact::{Input, Manifest, Stage, UserError, scores, windows};

use crate::code::Code;
use crate::pipeline_file::{Member, Pipeline, checkpoint_directory};
use crate::{links, workspace};

/// One stage of one member of a pipeline.
pub struct Node {
    /// What runs.
    pub stage: Stage,
    /// For people: the stage, and the member's number where there are several.
    pub label: String,
    /// Its link below `runs/<pipeline>/`.
    pub link: PathBuf,
    settings: Value,
    seed: Option<u64>,
    /// For stages that compute on one.
    pub device: Option<String>,
    reads: Vec<Read>,
}

/// Something a node reads.
struct Read {
    role: String,
    from: From,
    /// The files that count, where not all do.
    files: Option<Vec<String>>,
}

enum From {
    /// Another node's artifact, by index.
    Node(usize),
    /// Something of the user's.
    Path(PathBuf),
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

/// A pipeline's nodes, each after everything it reads.
pub struct Plan {
    /// In the order they run.
    pub nodes: Vec<Node>,
    /// Each member's first node.
    pub members: Vec<usize>,
    code: BTreeMap<Stage, BTreeMap<String, String>>,
    /// `runs/<pipeline>`.
    pub run: PathBuf,
}

impl Plan {
    /// Lays out a pipeline. Fails where an input file is not there.
    pub fn new(pipeline: &Pipeline) -> Result<Self> {
        let code = Code::open()?;
        let code = Stage::ALL
            .into_iter()
            .map(|stage| Ok((stage, code.digests(stage)?)))
            .collect::<Result<_>>()?;
        let run = workspace::output().join("runs").join(&pipeline.name);
        let (nodes, members) = nodes(pipeline, pipeline.members.len())?;
        Ok(Self {
            nodes,
            members,
            code,
            run,
        })
    }

    /// Leaves out all members but the first `count`. Their nodes, and those before them, stay as they are.
    pub fn keep_members(&mut self, pipeline: &Pipeline, count: usize) -> Result<()> {
        (self.nodes, self.members) = nodes(pipeline, count)?;
        Ok(())
    }

    /// What node `index` is made from and where it goes; `None` while an artifact it reads is missing.
    pub fn ready(&self, index: usize, artifacts: &[Option<PathBuf>]) -> Result<Option<Ready>> {
        let node = &self.nodes[index];
        let mut inputs = BTreeMap::new();
        for read in &node.reads {
            let path = match &read.from {
                From::Node(index) => match &artifacts[*index] {
                    Some(path) => path.clone(),
                    None => return Ok(None),
                },
                From::Path(path) => path.clone(),
            };
            inputs.insert(
                read.role.clone(),
                Input {
                    path,
                    files: read.files.clone(),
                },
            );
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
            code: self.code[&node.stage].clone(),
        };
        let output = workspace::output()
            .join("artifacts")
            .join(node.stage.name())
            .join(recipe.fingerprint());
        Ok(Some(Ready {
            recipe,
            inputs,
            output,
        }))
    }

    /// Labels of the nodes that node `index` waits for.
    pub fn missing(&self, index: usize, artifacts: &[Option<PathBuf>]) -> Vec<&str> {
        let read = |read: &Read| match read.from {
            From::Node(index) if artifacts[index].is_none() => {
                Some(self.nodes[index].label.as_str())
            }
            _ => None,
        };
        self.nodes[index].reads.iter().filter_map(read).collect()
    }

    /// The artifact that the last run of this pipeline used for a node.
    pub fn current(&self, node: &Node) -> Option<PathBuf> {
        let link = fs_err::canonicalize(self.run.join(&node.link)).ok()?;
        link.join(Manifest::FILE).exists().then_some(link)
    }

    /// Removes the links that earlier runs of this pipeline have left in its folder and this one has no node for.
    pub fn remove_other_links(&self) -> Result<()> {
        let below_run = |path: &Path| self.run.join(path);
        let nodes: Vec<PathBuf> = self
            .nodes
            .iter()
            .map(|node| below_run(&node.link))
            .collect();
        // Folders of other names are other runs: a comparison may have the name of a pipeline.
        let own = [MEMBERS, FOLDS, STUDENT].map(|folder| below_run(folder.as_ref()));
        links::remove(&self.run, &own, &nodes)
    }

    /// Why a node's artifact is not there: what differs from the one its last run used.
    pub fn reasons(&self, node: &Node, ready: &Ready) -> Result<Vec<String>> {
        let previous = match self.current(node) {
            Some(path) => Manifest::read(&path)?,
            None => None,
        };
        Ok(previous.map_or_else(
            || vec!["not run yet".to_owned()],
            |previous| differences(&previous, &ready.recipe),
        ))
    }
}

/// What differs between an artifact and a recipe, in words.
fn differences(previous: &Manifest, recipe: &Recipe) -> Vec<String> {
    let mut reasons = Vec::new();
    for (key, old, new) in changes(&as_map(&previous.settings), &as_map(&recipe.settings)) {
        reasons.push(format!("{key}: {old} → {new}"));
    }
    if previous.seed != recipe.seed {
        let shown =
            |seed: Option<u64>| seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string());
        reasons.push(format!(
            "seed: {} → {}",
            shown(previous.seed),
            shown(recipe.seed)
        ));
    }
    let changed = |(what, ..): &(String, String, String)| format!("{what} changed");
    reasons.extend(
        changes(&previous.inputs, &recipe.inputs)
            .iter()
            .map(changed),
    );
    let code = changes(&previous.code, &recipe.code);
    reasons.extend(code.iter().take(3).map(changed));
    if code.len() > 3 {
        reasons.push(format!("{} more source files changed", code.len() - 3));
    }
    if previous.format != recipe.stage.format_version() {
        reasons.push("its file layout changed".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("its artifact is gone".to_owned());
    }
    reasons
}

fn as_map(settings: &Value) -> BTreeMap<String, String> {
    let entries = settings.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

/// Keys whose values differ, with both values.
fn changes(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<(String, String, String)> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &BTreeMap<String, String>, key: &String| {
        map.get(key)
            .cloned()
            .unwrap_or_else(|| "default".to_owned())
    };
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| (key.clone(), value(old, key), value(new, key)))
        .collect()
}

/// The nodes of a pipeline with the first `count` of its members, and which are the members' first.
fn nodes(pipeline: &Pipeline, count: usize) -> Result<(Vec<Node>, Vec<usize>)> {
    let folds = pipeline.folds;
    // With folds, everything that is measured is measured on train and dev together.
    let all = folds.map(|count| Fold { count, index: None });
    let mut nodes = vec![data(pipeline, all, None)?];
    let parts: Vec<(Option<usize>, usize)> = match folds {
        Some(count) => {
            for index in 0..count {
                let part = Fold {
                    count,
                    index: Some(index),
                };
                nodes.push(data(pipeline, Some(part), Some(index + 1))?);
            }
            (0..count).map(|index| (Some(index), 1 + index)).collect()
        }
        None => vec![(None, DATA)],
    };
    let several = pipeline.members.len() > 1;
    let mut members = Vec::new();
    let mut predictions = Vec::new();
    for (index, member) in pipeline.members[..count].iter().enumerate() {
        members.push(nodes.len());
        for &(fold, data) in &parts {
            let place = Place::Member {
                member: several.then_some(index + 1),
                fold: fold.map(|fold| fold + 1),
            };
            // Zero-padded, so that roles sort in the order of members and folds.
            let role = match fold {
                Some(fold) => format!("member.{index:03}.fold.{fold:03}"),
                None => format!("member.{index:03}"),
            };
            predictions.extend(add_model(&mut nodes, pipeline, member, place, data, &role)?);
        }
    }
    let mut ensemble = nodes.len();
    let settings = if count > 1 || folds.is_some() || pipeline.student.is_some() {
        let mut files = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
        files.extend(folds.map(|_| FOLDS_FILE.to_owned()));
        predictions.push(node("data", DATA, Some(files)));
        pipeline.ensemble.clone()
    } else {
        // A single model passes unchanged, whatever the settings are.
        EnsembleSettings::default()
    };
    nodes.push(shared(Stage::Ensemble, json!(settings), predictions));
    if let Some(student) = &pipeline.student {
        nodes[ensemble].label = "teacher".to_owned();
        nodes[ensemble].link = "teacher".into();
        let place = Place::Student { teacher: ensemble };
        let predictions = add_model(&mut nodes, pipeline, student, place, DATA, "member.000")?;
        ensemble = nodes.len();
        let settings = json!(EnsembleSettings::default());
        nodes.push(shared(Stage::Ensemble, settings, predictions));
    }
    let questions = evaluated(pipeline)
        .into_iter()
        .flat_map(|split| [split.questions_file(), split.paragraphs_file()])
        .collect();
    nodes.push(shared(
        Stage::Answers,
        json!(pipeline.answers),
        vec![
            node("ensemble", ensemble, None),
            node("data", DATA, Some(questions)),
        ],
    ));
    Ok((nodes, members))
}

/// Folders of links below the run's.
const MEMBERS: &str = "members";
const FOLDS: &str = "folds";
const STUDENT: &str = "student";

/// Which of several models a node belongs to.
#[derive(Clone, Copy)]
enum Place {
    /// One of the ensemble's, counted from 1, for people; without numbers where there is one only.
    Member {
        member: Option<usize>,
        fold: Option<usize>,
    },
    /// The one that learns from the ensemble, node `teacher`.
    Student { teacher: usize },
}

impl Place {
    /// The stage's name and which model it is.
    fn label(self, stage: Stage) -> String {
        match self {
            Place::Member { member, fold } => {
                let numbers: Vec<String> = [member, fold]
                    .into_iter()
                    .flatten()
                    .map(|number| number.to_string())
                    .collect();
                format!("{stage} {}", numbers.join("."))
                    .trim_end()
                    .to_owned()
            }
            Place::Student { .. } => format!("{stage} student"),
        }
    }

    /// Its link below the run's folder.
    fn link(self, stage: Stage) -> PathBuf {
        let mut link = PathBuf::new();
        match self {
            Place::Member { member, fold } => {
                if let Some(member) = member {
                    link.push(format!("{MEMBERS}/{member}"));
                }
                if let Some(fold) = fold {
                    link.push(format!("{FOLDS}/{fold}"));
                }
            }
            Place::Student { .. } => link.push(STUDENT),
        }
        link.join(stage.name())
    }
}

/// Adds the stages of one model; gives its predictions, a split each, as the ensemble reads them: `role` is whose they
/// are.
fn add_model(
    nodes: &mut Vec<Node>,
    pipeline: &Pipeline,
    model: &Member,
    place: Place,
    data: usize,
    role: &str,
) -> Result<Vec<Read>> {
    let teaches = matches!(place, Place::Member { .. }) && pipeline.student.is_some();
    let splits = if teaches {
        // Train to teach, dev to be measured. Test is the student's.
        vec![Split::Train, Split::Dev]
    } else {
        evaluated(pipeline)
    };
    let mut predictions = Vec::new();
    for step in model_stages(model, nodes.len(), data, &splits)? {
        let Step {
            stage,
            split,
            settings,
            mut reads,
        } = step;
        if let (Place::Student { teacher }, Stage::Train) = (place, stage) {
            let scores = scores::file_name(Split::Train);
            reads.push(node("teacher", teacher, Some(vec![scores])));
        }
        // Members differ in the seed of their training only: they share what comes before.
        let seed = match stage {
            Stage::Pretrain => Some(pipeline.seed),
            Stage::Train => Some(model.seed),
            _ => None,
        };
        let (mut label, mut link) = (place.label(stage), place.link(stage));
        if let Some(split) = split {
            predictions.push(node(&format!("{role}.{}", split.name()), nodes.len(), None));
            label = format!("{label} {}", split.name());
            link.set_file_name(format!("{stage}-{}", split.name()));
        }
        let computes = seed.is_some() || stage == Stage::Predict;
        nodes.push(Node {
            stage,
            label,
            link,
            settings,
            seed,
            device: computes.then(|| pipeline.device.clone()),
            reads,
        });
    }
    Ok(predictions)
}

/// The splits that are answered: those that have questions.
fn evaluated(pipeline: &Pipeline) -> Vec<Split> {
    let data = &pipeline.data;
    let mut splits = Vec::new();
    if !data.dev.is_empty() || pipeline.folds.is_some() {
        splits.push(Split::Dev);
    }
    if !data.test.is_empty() || splits.is_empty() {
        splits.push(Split::Test);
    }
    splits
}

/// Index of the node whose questions are answered and measured.
const DATA: usize = 0;

fn node(role: &str, index: usize, files: Option<Vec<String>>) -> Read {
    Read {
        role: role.to_owned(),
        from: From::Node(index),
        files,
    }
}

/// A node that all members share.
fn shared(stage: Stage, settings: Value, reads: Vec<Read>) -> Node {
    Node {
        stage,
        label: stage.name().to_owned(),
        link: stage.name().into(),
        settings,
        seed: None,
        device: None,
        reads,
    }
}

/// The data of the whole pipeline, or of one fold.
fn data(pipeline: &Pipeline, fold: Option<Fold>, number: Option<usize>) -> Result<Node> {
    let mut reads = Vec::new();
    let data = DataSettings {
        fold,
        ..pipeline.data.clone()
    };
    for (split, files) in [
        (Split::Train, &data.train),
        (Split::Dev, &data.dev),
        (Split::Test, &data.test),
    ] {
        for (index, file) in files.iter().enumerate() {
            let path = workspace::resolve(file);
            if !path.is_file() {
                let message = format!(
                    "{}: data.{}: there is no file {file}",
                    pipeline.file,
                    split.name()
                );
                let hint = "paths start at the workspace root; put your own files into data/";
                return Err(UserError::new(message).hint(hint).into());
            }
            reads.push(Read {
                role: format!("{}.{index}", split.name()),
                from: From::Path(path),
                files: None,
            });
        }
    }
    let place = Place::Member {
        member: None,
        fold: number,
    };
    Ok(Node {
        label: place.label(Stage::Data),
        link: place.link(Stage::Data),
        ..shared(Stage::Data, json!(data), reads)
    })
}

/// A stage of a model, and what it really depends on.
struct Step {
    stage: Stage,
    /// The one that is predicted.
    split: Option<Split>,
    settings: Value,
    reads: Vec<Read>,
}

/// A model's stages, of which the first becomes node `first`. `data`: the node that its questions come from; `splits`:
/// what it answers, each by itself, so that new test questions leave dev's answers fresh.
fn model_stages(member: &Member, first: usize, data: usize, splits: &[Split]) -> Result<Vec<Step>> {
    let step = |stage, settings, reads| Step {
        stage,
        split: None,
        settings,
        reads,
    };
    let [checkpoint, windows] = [first, first + 1];
    let mut source = Vec::new();
    if let Some(path) = checkpoint_directory(&member.checkpoint.source) {
        if !path.is_dir() {
            let message = format!(
                "checkpoint.source: there is no directory {}",
                member.checkpoint.source
            );
            return Err(UserError::new(message)
                .hint("paths start at the workspace root")
                .into());
        }
        source.push(Read {
            role: "directory".to_owned(),
            from: From::Path(path),
            files: None,
        });
    }
    let windows_of = |splits: &[Split]| {
        let layout = windows::LAYOUT_FILE.to_owned();
        let files = splits.iter().copied().map(windows::file_name);
        node(
            "windows",
            windows,
            Some(std::iter::once(layout).chain(files).collect()),
        )
    };
    let tokenizer = vec!["tokenizer.json".to_owned()];
    let mut stages = vec![
        step(Stage::Checkpoint, json!(member.checkpoint), source),
        step(
            Stage::Windows,
            json!(member.windows),
            // Other weights with the same tokenizer leave the windows fresh.
            vec![
                node("data", data, None),
                node("checkpoint", checkpoint, Some(tokenizer)),
            ],
        ),
    ];
    // What training starts from.
    let mut start = checkpoint;
    if let Some(pretrain) = &member.pretrain {
        start = first + stages.len();
        stages.push(step(
            Stage::Pretrain,
            json!(pretrain),
            vec![
                node("checkpoint", checkpoint, None),
                windows_of(&pretrain.splits),
            ],
        ));
    }
    let train = first + stages.len();
    let dev_questions = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
    stages.push(step(
        Stage::Train,
        json!(member.train),
        // A new test file leaves the model fresh.
        vec![
            node("checkpoint", start, None),
            windows_of(&[Split::Train, Split::Dev]),
            node("data", data, Some(dev_questions)),
        ],
    ));
    for &split in splits {
        let settings = PredictSettings {
            splits: Some(vec![split]),
            ..member.predict.clone()
        };
        stages.push(Step {
            split: Some(split),
            ..step(
                Stage::Predict,
                json!(settings),
                vec![node("train", train, None), windows_of(&[split])],
            )
        });
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_say_what_changed() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let previous = Manifest {
            stage: Stage::Train,
            format: Stage::Train.format_version(),
            settings: json!({"epochs": 2, "warmup_ratio": 0.1}),
            seed: Some(1),
            inputs: map(&[("windows", "a"), ("data", "b")]),
            code: map(&[("crates/model/src/encoder.rs", "a")]),
            files: BTreeMap::new(),
            device: None,
            created: String::new(),
            wall_seconds: 0.0,
            tool_version: String::new(),
        };
        let recipe = Recipe {
            stage: Stage::Train,
            settings: json!({"epochs": 3, "warmup_ratio": 0.1, "eval_steps": 5}),
            seed: Some(2),
            inputs: map(&[("windows", "c"), ("data", "b")]),
            code: map(&[("crates/model/src/encoder.rs", "b")]),
        };
        let expected = [
            "epochs: 2 → 3",
            "eval_steps: default → 5",
            "seed: 1 → 2",
            "windows changed",
            "crates/model/src/encoder.rs changed",
        ];
        let mut found = differences(&previous, &recipe);
        found.sort_by_key(|reason| expected.iter().position(|expected| expected == reason));
        assert_eq!(found, expected);
        let same = Recipe {
            settings: previous.settings.clone(),
            seed: previous.seed,
            inputs: previous.inputs.clone(),
            code: previous.code.clone(),
            ..recipe
        };
        assert_eq!(differences(&previous, &same), ["its artifact is gone"]);
    }
}

//! Which stages a pipeline has, and what each reads.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use spanwise_artifact::questions::{FOLDS_FILE, Split, paragraphs_beside};
use spanwise_artifact::settings::{DataJob, Device, EnsembleJob, Fold, PredictJob, TrainJob};
use spanwise_artifact::{Stage, UserError, scores, windows};

use crate::pipeline_file::{Member, Pipeline, checkpoint_directory};
use crate::workspace;

/// One stage of one member of a pipeline.
#[derive(Debug)]
pub struct Node {
    /// What runs.
    pub stage: Stage,
    /// For people: the stage, and the member's number where there are several.
    pub label: String,
    /// Its link below `runs/<pipeline>/`.
    pub link: PathBuf,
    /// The stage's resolved settings.
    pub settings: Value,
    /// For stages that use random numbers.
    pub seed: Option<u64>,
    /// For stages that compute on one.
    pub device: Option<Device>,
    /// What it reads, each under its role.
    pub reads: Vec<Read>,
}

/// Something a node reads.
#[derive(Debug)]
pub struct Read {
    /// The input's name in the job.
    pub role: String,
    /// Where it comes from.
    pub source: Source,
    /// The files that count, where not all do.
    pub files: Option<Vec<String>>,
}

/// Where an input comes from.
#[derive(Debug)]
pub enum Source {
    /// Another node's artifact, by index.
    Node(usize),
    /// Something of the user's.
    Path(PathBuf),
}

/// A pipeline's nodes, each after everything it reads.
///
/// They are laid out part by part, since training time may decide how many members there are: first
/// the data, then member by member, at last what reads them all. A node never changes once it is
/// there.
pub struct Graph<'a> {
    pipeline: &'a Pipeline,
    nodes: Vec<Node>,
    /// What every member is trained on: a fold where there are folds, and the data's node.
    parts: Vec<(Option<usize>, usize)>,
    /// What the ensemble reads: the predictions of the members so far.
    predictions: Vec<Read>,
    members: usize,
}

impl<'a> Graph<'a> {
    /// The nodes of the data. Fails where a file or directory that the pipeline names is not there.
    pub fn new(pipeline: &'a Pipeline) -> Result<Self> {
        for model in pipeline.members.iter().chain(&pipeline.student) {
            checkpoint_source(model)?;
        }
        // With folds, everything that is measured is measured on train and dev together.
        let all = pipeline.folds.map(|count| Fold { count, index: None });
        let mut nodes = vec![data(pipeline, all, None)?];
        let mut parts = Vec::new();
        for index in 0..pipeline.folds.unwrap_or(0) {
            let fold = all.map(|all| Fold {
                index: Some(index),
                ..all
            });
            parts.push((Some(index), nodes.len()));
            nodes.push(data(pipeline, fold, Some(index + 1))?);
        }
        if parts.is_empty() {
            parts.push((None, DATA));
        }
        Ok(Self {
            pipeline,
            nodes,
            parts,
            predictions: Vec::new(),
            members: 0,
        })
    }

    /// The nodes so far, in the order they run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many members have been added.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Labels of the nodes whose artifacts a node waits for.
    pub fn missing(&self, node: &Node, artifacts: &[Option<PathBuf>]) -> Vec<&str> {
        let missing = |read: &Read| match read.source {
            Source::Node(index) if artifacts[index].is_none() => {
                Some(self.nodes[index].label.as_str())
            }
            _ => None,
        };
        node.reads.iter().filter_map(missing).collect()
    }

    /// The stages whose artifacts a node reads.
    pub fn stages_read_by(&self, node: &Node) -> BTreeSet<Stage> {
        let stage = |read: &Read| match read.source {
            Source::Node(index) => Some(self.nodes[index].stage),
            Source::Path(_) => None,
        };
        node.reads.iter().filter_map(stage).collect()
    }

    /// Adds the next member's nodes; `false` where there is none left.
    pub fn add_member(&mut self) -> Result<bool> {
        let index = self.members;
        let Some(member) = self.pipeline.members.get(index) else {
            return Ok(false);
        };
        let several = self.pipeline.members.len() > 1;
        for (fold, data) in self.parts.clone() {
            let role = ModelRole::Member {
                member: several.then_some(index + 1),
                fold: fold.map(|fold| fold + 1),
            };
            // Zero-padded, so that names sort in the order of members and folds.
            let name = match fold {
                Some(fold) => format!("member.{index:03}.fold.{fold:03}"),
                None => format!("member.{index:03}"),
            };
            let predictions = self.add_model(member, role, data, &name)?;
            self.predictions.extend(predictions);
        }
        self.members += 1;
        Ok(true)
    }

    /// Adds what reads the members: the ensemble, the student that learns from it, the answers.
    pub fn finish(&mut self) -> Result<()> {
        let pipeline = self.pipeline;
        let mut predictions = std::mem::take(&mut self.predictions);
        let settings = if self.members > 1 || pipeline.folds.is_some() || pipeline.student.is_some()
        {
            let mut files = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
            files.extend(pipeline.folds.map(|_| FOLDS_FILE.to_owned()));
            predictions.push(read("data", DATA, Some(files)));
            pipeline.ensemble.clone()
        } else {
            // A single model passes unchanged, whatever the settings are.
            EnsembleJob::UNCHANGED
        };
        let mut ensemble = self.add(shared(Stage::Ensemble, json!(settings), predictions));
        if let Some(student) = &pipeline.student {
            self.nodes[ensemble].label = String::from("teacher");
            self.nodes[ensemble].link = "teacher".into();
            let role = ModelRole::Student { teacher: ensemble };
            let predictions = self.add_model(student, role, DATA, "member.000")?;
            let settings = json!(EnsembleJob::UNCHANGED);
            ensemble = self.add(shared(Stage::Ensemble, settings, predictions));
        }
        let questions = evaluated(pipeline)
            .into_iter()
            .flat_map(|split| [split.questions_file(), split.paragraphs_file()])
            .collect();
        let reads = vec![
            read("ensemble", ensemble, None),
            read("data", DATA, Some(questions)),
        ];
        self.add(shared(Stage::Answers, json!(pipeline.answers), reads));
        Ok(())
    }

    /// Adds a node; returns its index.
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds the stages of one model; returns its predictions, one a split, as the ensemble reads
    /// them under `name`.
    fn add_model(
        &mut self,
        model: &Member,
        role: ModelRole,
        data: usize,
        name: &str,
    ) -> Result<Vec<Read>> {
        let pipeline = self.pipeline;
        let teaches = matches!(role, ModelRole::Member { .. }) && pipeline.student.is_some();
        let splits = if teaches {
            // Train to teach, dev to be measured. Test is the student's.
            vec![Split::Train, Split::Dev]
        } else {
            evaluated(pipeline)
        };
        let mut predictions = Vec::new();
        for step in model_stages(model, self.nodes.len(), data, &splits)? {
            let Step {
                stage,
                split,
                settings,
                mut reads,
            } = step;
            if let (ModelRole::Student { teacher }, Stage::Train) = (role, stage) {
                let scores = scores::file_name(Split::Train);
                reads.push(read("teacher", teacher, Some(vec![scores])));
            }
            // Members differ in the seed of their training only: they share what comes before.
            let seed = match stage {
                Stage::Pretrain => Some(pipeline.seed),
                Stage::Train => Some(model.seed),
                _ => None,
            };
            let (mut label, mut link) = (role.label(stage), role.link(stage));
            if let Some(split) = split {
                let name = format!("{name}.{}", split.name());
                predictions.push(read(&name, self.nodes.len(), None));
                label = format!("{label} {}", split.name());
                link.set_file_name(format!("{stage}-{}", split.name()));
            }
            self.add(Node {
                stage,
                label,
                link,
                settings,
                seed,
                device: stage.takes_device().then_some(pipeline.device),
                reads,
            });
        }
        Ok(predictions)
    }
}

const MEMBERS: &str = "members";
const FOLDS: &str = "folds";
const STUDENT: &str = "student";

/// Folders of links below a run's.
pub const FOLDERS: [&str; 3] = [MEMBERS, FOLDS, STUDENT];

/// Which of several models a node belongs to.
#[derive(Clone, Copy)]
enum ModelRole {
    /// One of the ensemble's, counted from 1, for people; without numbers where there is one only.
    Member {
        member: Option<usize>,
        fold: Option<usize>,
    },
    /// The one that learns from the ensemble, node `teacher`.
    Student { teacher: usize },
}

impl ModelRole {
    /// The stage's name and which model it is.
    fn label(self, stage: Stage) -> String {
        match self {
            ModelRole::Member { member, fold } => {
                let numbers: Vec<String> = [member, fold]
                    .into_iter()
                    .flatten()
                    .map(|number| number.to_string())
                    .collect();
                format!("{stage} {}", numbers.join("."))
                    .trim_end()
                    .to_owned()
            }
            ModelRole::Student { .. } => format!("{stage} student"),
        }
    }

    /// Its link below the run's folder.
    fn link(self, stage: Stage) -> PathBuf {
        let mut link = PathBuf::new();
        match self {
            ModelRole::Member { member, fold } => {
                if let Some(member) = member {
                    link.push(format!("{MEMBERS}/{member}"));
                }
                if let Some(fold) = fold {
                    link.push(format!("{FOLDS}/{fold}"));
                }
            }
            ModelRole::Student { .. } => link.push(STUDENT),
        }
        link.join(stage.name())
    }
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

fn read(role: &str, index: usize, files: Option<Vec<String>>) -> Read {
    Read {
        role: role.to_owned(),
        source: Source::Node(index),
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
    let data = &pipeline.data;
    for (split, files) in [
        (Split::Train, &data.train),
        (Split::Dev, &data.dev),
        (Split::Test, &data.test),
    ] {
        let named = files.iter().enumerate().flat_map(|(index, file)| {
            let role = format!("{}.{index}", split.name());
            let paragraphs = paragraphs_beside(file);
            let paragraphs = paragraphs.map(|file| (format!("{role}.paragraphs"), file));
            std::iter::once((role, file.clone())).chain(paragraphs)
        });
        for (role, file) in named {
            let path = workspace::resolve(&file);
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
                role,
                source: Source::Path(path),
                files: None,
            });
        }
    }
    let role = ModelRole::Member {
        member: None,
        fold: number,
    };
    let job = DataJob {
        table: data.clone(),
        fold,
    };
    Ok(Node {
        label: role.label(Stage::Data),
        link: role.link(Stage::Data),
        ..shared(Stage::Data, json!(job), reads)
    })
}

/// The directory that a model's checkpoint comes from, where it is one. Fails where it is not
/// there.
fn checkpoint_source(model: &Member) -> Result<Option<PathBuf>> {
    let source = &model.checkpoint.source;
    let directory = checkpoint_directory(source);
    if directory.as_ref().is_some_and(|path| !path.is_dir()) {
        let message = format!("checkpoint.source: there is no directory {source}");
        let hint = "paths start at the workspace root";
        return Err(UserError::new(message).hint(hint).into());
    }
    Ok(directory)
}

/// A stage of a model, and what it really depends on.
struct Step {
    stage: Stage,
    /// The one that is predicted.
    split: Option<Split>,
    settings: Value,
    reads: Vec<Read>,
}

/// A model's stages, of which the first becomes node `first`. `data`: the node that its questions
/// come from; `splits`: what it answers, each by itself, so that new test questions leave dev's
/// answers fresh.
fn model_stages(member: &Member, first: usize, data: usize, splits: &[Split]) -> Result<Vec<Step>> {
    let step = |stage, settings, reads| Step {
        stage,
        split: None,
        settings,
        reads,
    };
    let [checkpoint, windows] = [first, first + 1];
    let source = checkpoint_source(member)?.map(|path| Read {
        role: "directory".to_owned(),
        source: Source::Path(path),
        files: None,
    });
    let windows_of = |splits: &[Split]| {
        let layout = windows::LAYOUT_FILE.to_owned();
        let files = splits.iter().copied().map(windows::file_name);
        read(
            "windows",
            windows,
            Some(std::iter::once(layout).chain(files).collect()),
        )
    };
    let tokenizer = vec!["tokenizer.json".to_owned()];
    let mut stages = vec![
        step(
            Stage::Checkpoint,
            json!(member.checkpoint),
            source.into_iter().collect(),
        ),
        step(
            Stage::Windows,
            json!(member.windows),
            // Other weights with the same tokenizer leave the windows fresh.
            vec![
                read("data", data, None),
                read("checkpoint", checkpoint, Some(tokenizer)),
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
                read("checkpoint", checkpoint, None),
                windows_of(&pretrain.splits),
            ],
        ));
    }
    let train = first + stages.len();
    let dev_questions = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
    stages.push(step(
        Stage::Train,
        json!(TrainJob {
            table: member.train.clone(),
            distill: member.distill,
        }),
        // A new test file leaves the model fresh.
        vec![
            read("checkpoint", start, None),
            windows_of(&[Split::Train, Split::Dev]),
            read("data", data, Some(dev_questions)),
        ],
    ));
    for &split in splits {
        let settings = PredictJob {
            table: member.predict.clone(),
            splits: vec![split],
        };
        stages.push(Step {
            split: Some(split),
            ..step(
                Stage::Predict,
                json!(settings),
                vec![read("train", train, None), windows_of(&[split])],
            )
        });
    }
    Ok(stages)
}

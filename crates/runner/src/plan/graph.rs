//! Which stages a pipeline has, and what each reads.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use spanwise_artifact::profile::PROFILE_FILE;
use spanwise_artifact::questions::{COUNTS_FILE, FOLDS_FILE, Split, paragraphs_beside};
use spanwise_artifact::settings::{
    CheckpointJob, DataJob, Device, EnsembleJob, Fold, PredictJob, TrainJob,
};
use spanwise_artifact::{Stage, UserError, scores, windows};

use crate::pipeline_file::{Member, Pipeline, checkpoint_directory};
use crate::workspace;

/// One stage of one member of a pipeline.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct Read {
    /// The input's name in the job.
    pub role: String,
    /// Where it comes from.
    pub source: Source,
    /// The files that count, where not all do.
    pub files: Option<Vec<String>>,
}

/// Where an input comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Another node's artifact, by index.
    Node(usize),
    /// Something of the user's.
    Path(PathBuf),
}

/// A pipeline's nodes, each after everything it reads.
///
/// They are laid out part by part: first the data, then what every model starts from, so that what
/// is wrong with one is known before another is trained, then member by member, since training time
/// may decide how many there are, at last what reads them all. A node never changes once it is there.
#[derive(Clone)]
pub struct Graph<'a> {
    pipeline: &'a Pipeline,
    nodes: Vec<Node>,
    /// The members' models, one a fold where there are folds, and the student.
    models: Vec<Model<'a>>,
    /// What the ensemble reads: the predictions of the members so far.
    predictions: Vec<Read>,
    members: usize,
}

/// A model, and the nodes that it starts from.
#[derive(Clone, Copy)]
struct Model<'a> {
    settings: &'a Member,
    role: ModelRole,
    /// The node that its questions come from.
    data: usize,
    /// 0 until it is there.
    checkpoint: usize,
    /// 0 until it is there.
    windows: usize,
}

impl<'a> Graph<'a> {
    /// The nodes of the data. Fails where a file or directory that the pipeline names is not there.
    pub fn new(pipeline: &'a Pipeline) -> Result<Self> {
        for model in pipeline.models() {
            checkpoint_source(model)?;
        }
        // With folds, everything that is measured is measured on train and dev together.
        let all = pipeline.folds.map(|count| Fold { count, index: None });
        let mut nodes = vec![data(pipeline, all, None)?];
        // What every member is trained on: a fold where there are folds, and the data's node.
        let mut parts = Vec::new();
        for index in 0..pipeline.folds.unwrap_or(0) {
            let fold = all.map(|all| Fold {
                index: Some(index),
                ..all
            });
            parts.push((Some(index), nodes.len()));
            nodes.push(data(pipeline, fold, Some(index))?);
        }
        if parts.is_empty() {
            parts.push((None, DATA));
        }
        let several = pipeline.members.len() > 1;
        let members = pipeline.members.iter().enumerate();
        let members = members.flat_map(|(index, settings)| {
            parts.iter().map(move |&(fold, data)| Model {
                settings,
                role: ModelRole::Member {
                    index,
                    several,
                    fold,
                },
                data,
                checkpoint: 0,
                windows: 0,
            })
        });
        let student = pipeline.student.iter().map(|settings| Model {
            settings,
            role: ModelRole::Student,
            data: DATA,
            checkpoint: 0,
            windows: 0,
        });
        Ok(Self {
            pipeline,
            models: members.chain(student).collect(),
            nodes,
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

    /// Adds the checkpoints of all models.
    pub fn add_checkpoints(&mut self) -> Result<()> {
        self.add_starts(false)
    }

    /// Adds the checkpoints of all models without their weights.
    pub fn add_tokenizers(&mut self) -> Result<()> {
        self.add_starts(true)
    }

    fn add_starts(&mut self, tokenizer_only: bool) -> Result<()> {
        for index in 0..self.models.len() {
            let model = self.models[index];
            let step = checkpoint_step(model.settings, tokenizer_only)?;
            self.models[index].checkpoint = self.add_step(model.role, step);
        }
        Ok(())
    }

    /// Adds the windows of all models, whose checkpoints are there.
    pub fn add_windows(&mut self) {
        for index in 0..self.models.len() {
            let model = self.models[index];
            self.models[index].windows = self.add_step(model.role, windows_step(&model));
        }
    }

    /// Every model's settings and the node of its checkpoint, once it is there.
    pub fn checkpoints(&self) -> impl Iterator<Item = (&'a Member, usize)> {
        let models = self.models.iter();
        let checkpoints = models.map(|model| (model.settings, model.checkpoint));
        checkpoints.filter(|&(_, checkpoint)| checkpoint != DATA)
    }

    /// Tokens of the longest window of the models that start from the checkpoint of node `index`;
    /// `None` where that is no checkpoint.
    pub fn longest_window(&self, index: usize) -> Option<usize> {
        let checkpoint = &self.nodes[index].settings;
        let models = self.checkpoints();
        let same = models.filter(|&(_, node)| self.nodes[node].settings == *checkpoint);
        same.map(|(settings, _)| settings.windows.max_length).max()
    }

    /// Adds the next member's nodes, whose windows are there; `false` where there is none left.
    pub fn add_member(&mut self) -> bool {
        let index = self.members;
        if index == self.pipeline.members.len() {
            return false;
        }
        for model in self.models.clone() {
            if matches!(model.role, ModelRole::Member { index: of, .. } if of == index) {
                let predictions = self.add_model(&model, None);
                self.predictions.extend(predictions);
            }
        }
        self.members += 1;
        true
    }

    /// Adds what reads the members: the ensemble, the student that learns from it, the answers.
    pub fn finish(&mut self) {
        let pipeline = self.pipeline;
        let mut predictions = std::mem::take(&mut self.predictions);
        let settings = if self.members > 1 || pipeline.folds.is_some() || pipeline.student.is_some()
        {
            let mut files = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
            files.extend([PROFILE_FILE, COUNTS_FILE].map(str::to_owned));
            files.extend(pipeline.folds.map(|_| FOLDS_FILE.to_owned()));
            predictions.push(read("data", DATA, Some(files)));
            pipeline.ensemble.clone()
        } else {
            // A single model passes unchanged, whatever the settings are.
            EnsembleJob::UNCHANGED
        };
        let mut ensemble = self.add(shared(Stage::Ensemble, json!(settings), predictions));
        let student = self.models.last().copied();
        if let Some(student) = student.filter(|model| model.role == ModelRole::Student) {
            self.nodes[ensemble].label = String::from("teacher");
            self.nodes[ensemble].link = "teacher".into();
            let predictions = self.add_model(&student, Some(ensemble));
            let settings = json!(EnsembleJob::UNCHANGED);
            ensemble = self.add(shared(Stage::Ensemble, settings, predictions));
        }
        let questions = evaluated(pipeline)
            .into_iter()
            .flat_map(|split| [split.questions_file(), split.paragraphs_file()])
            .chain([PROFILE_FILE, COUNTS_FILE].map(str::to_owned))
            .collect();
        let reads = vec![
            read("ensemble", ensemble, None),
            read("data", DATA, Some(questions)),
        ];
        self.add(shared(Stage::Answers, json!(pipeline.answers), reads));
    }

    /// Adds a node; returns its index.
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds the stages of one model; returns its predictions, one a split, as the ensemble reads
    /// them. `teacher`: the node that it learns from.
    fn add_model(&mut self, model: &Model, teacher: Option<usize>) -> Vec<Read> {
        let pipeline = self.pipeline;
        let teaches = model.role != ModelRole::Student && pipeline.student.is_some();
        let splits = if teaches {
            // Train to teach, dev to be measured. Test is the student's.
            vec![Split::Train, Split::Dev]
        } else {
            evaluated(pipeline)
        };
        let mut predictions = Vec::new();
        for mut step in training_steps(model, self.nodes.len(), &splits) {
            if let (Some(teacher), Stage::Train) = (teacher, step.stage) {
                let scores = scores::file_name(Split::Train);
                step.reads
                    .push(read("teacher", teacher, Some(vec![scores])));
            }
            let split = step.split;
            let node = self.add_step(model.role, step);
            if let Some(split) = split {
                let name = format!("{}.{}", model.role.input(), split.name());
                predictions.push(read(&name, node, None));
            }
        }
        predictions
    }

    /// Adds a stage of a model; returns its node.
    fn add_step(&mut self, role: ModelRole, step: Step) -> usize {
        let Step {
            stage,
            split,
            settings,
            seed,
            reads,
        } = step;
        // Members differ in the seed of their training only: they share what comes before.
        let seed = match stage {
            Stage::Pretrain => Some(self.pipeline.seed),
            _ => seed,
        };
        let (mut label, mut link) = (role.label(stage), role.link(stage));
        if let Some(split) = split {
            label = format!("{label} {}", split.name());
            link.set_file_name(format!("{stage}-{}", split.name()));
        }
        self.add(Node {
            stage,
            label,
            link,
            settings,
            seed,
            device: stage.takes_device().then_some(self.pipeline.device),
            reads,
        })
    }
}

const MEMBERS: &str = "members";
const FOLDS: &str = "folds";
const STUDENT: &str = "student";

/// Folders of links below a run's.
pub const FOLDERS: [&str; 3] = [MEMBERS, FOLDS, STUDENT];

/// Which of several models a node belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ModelRole {
    /// One of the ensemble's, which `several` says has others; counted from 0, for people from 1.
    Member {
        index: usize,
        several: bool,
        fold: Option<usize>,
    },
    /// The one that learns from the ensemble.
    Student,
}

impl ModelRole {
    /// The stage's name and which model it is.
    fn label(self, stage: Stage) -> String {
        match self {
            ModelRole::Member {
                index,
                several,
                fold,
            } => {
                let numbers: Vec<String> = [several.then_some(index), fold]
                    .into_iter()
                    .flatten()
                    .map(|number| (number + 1).to_string())
                    .collect();
                format!("{stage} {}", numbers.join("."))
                    .trim_end()
                    .to_owned()
            }
            ModelRole::Student => format!("{stage} student"),
        }
    }

    /// Its link below the run's folder.
    fn link(self, stage: Stage) -> PathBuf {
        let mut link = PathBuf::new();
        match self {
            ModelRole::Member {
                index,
                several,
                fold,
            } => {
                if several {
                    link.push(format!("{MEMBERS}/{}", index + 1));
                }
                if let Some(fold) = fold {
                    link.push(format!("{FOLDS}/{}", fold + 1));
                }
            }
            ModelRole::Student => link.push(STUDENT),
        }
        link.join(stage.name())
    }

    /// What the ensemble calls its predictions. Zero-padded, so that names sort in the order of
    /// members and folds.
    fn input(self) -> String {
        match self {
            ModelRole::Member {
                index,
                fold: Some(fold),
                ..
            } => format!("member.{index:03}.fold.{fold:03}"),
            ModelRole::Member { index, .. } => format!("member.{index:03}"),
            ModelRole::Student => "member.000".to_owned(),
        }
    }
}

/// The splits that are answered: those that have questions.
fn evaluated(pipeline: &Pipeline) -> Vec<Split> {
    let data = &pipeline.data;
    let mut splits = Vec::new();
    if pipeline.has_dev() {
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
        index: 0,
        several: false,
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
    seed: Option<u64>,
    reads: Vec<Read>,
}

impl Step {
    fn new(stage: Stage, settings: Value, reads: Vec<Read>) -> Self {
        Self {
            stage,
            split: None,
            settings,
            seed: None,
            reads,
        }
    }
}

fn checkpoint_step(settings: &Member, tokenizer_only: bool) -> Result<Step> {
    let source = checkpoint_source(settings)?.map(|path| Read {
        role: "directory".to_owned(),
        source: Source::Path(path),
        files: None,
    });
    let reads = source.into_iter().collect();
    let settings = json!(CheckpointJob {
        table: settings.checkpoint.clone(),
        tokenizer_only,
    });
    Ok(Step::new(Stage::Checkpoint, settings, reads))
}

fn windows_step(model: &Model) -> Step {
    let tokenizer = vec!["tokenizer.json".to_owned()];
    Step::new(
        Stage::Windows,
        json!(model.settings.windows),
        // Other weights with the same tokenizer leave the windows fresh.
        vec![
            read("data", model.data, None),
            read("checkpoint", model.checkpoint, Some(tokenizer)),
        ],
    )
}

/// The stages behind a model's windows, of which the first becomes node `first`. `splits`: what it
/// answers, each by itself, so that new test questions leave dev's answers fresh.
fn training_steps(model: &Model, first: usize, splits: &[Split]) -> Vec<Step> {
    let &Model {
        settings,
        data,
        checkpoint,
        windows,
        ..
    } = model;
    let windows_of = |splits: &[Split]| {
        let layout = windows::LAYOUT_FILE.to_owned();
        let files = splits.iter().copied().map(windows::file_name);
        read(
            "windows",
            windows,
            Some(std::iter::once(layout).chain(files).collect()),
        )
    };
    let mut steps = Vec::new();
    // What training starts from.
    let mut start = checkpoint;
    if let Some(pretrain) = &settings.pretrain {
        start = first;
        steps.push(Step::new(
            Stage::Pretrain,
            json!(pretrain),
            vec![
                read("checkpoint", checkpoint, None),
                windows_of(&pretrain.splits),
            ],
        ));
    }
    let train = first + steps.len();
    let learns = settings.train.learns();
    let job = TrainJob {
        table: settings.train.clone(),
        distill: settings.distill,
    };
    let mut reads = vec![read("checkpoint", start, None)];
    if learns {
        let dev_questions = vec![Split::Dev.questions_file(), Split::Dev.paragraphs_file()];
        // A new test file leaves the model fresh.
        reads.push(windows_of(&[Split::Train, Split::Dev]));
        reads.push(read("data", data, Some(dev_questions)));
    }
    steps.push(Step {
        // Without training, members and folds of one checkpoint are one model.
        seed: learns.then_some(settings.seed),
        ..Step::new(Stage::Train, json!(job), reads)
    });
    for &split in splits {
        let job = PredictJob {
            table: settings.predict.clone(),
            splits: vec![split],
        };
        let reads = vec![read("train", train, None), windows_of(&[split])];
        steps.push(Step {
            split: Some(split),
            ..Step::new(Stage::Predict, json!(job), reads)
        });
    }
    steps
}

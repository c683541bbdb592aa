//! Brings a pipeline up to date: node after node, only what is stale.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use spanwise_artifact::answers::{
    ANSWERS_FILE, METRICS_FILE, PREDICTION_FILES, REPORT_FILE, SUBMISSION_FILE,
};
use spanwise_artifact::draft::STATE_PREFIX;
use spanwise_artifact::ensemble::REPORT_FILE as ENSEMBLE_REPORT_FILE;
use spanwise_artifact::questions::COUNTS_FILE;
use spanwise_artifact::settings::Device;
use spanwise_artifact::{Found, Job, Manifest, Stage, UserError, draft, durable};

use crate::code::Code;
use crate::lock::{self, Lock};
use crate::pipeline_file::Pipeline;
use crate::plan::freshness::{Ready, Store};
use crate::plan::graph::{Graph, Node, Source};
use crate::readers::{self, Hold};
use crate::summary::SAFE_SUBMISSION_FILE;
use crate::{checks, gc, links, owner, workspace};

/// Files of the answers stage that stand at the top of a run.
const RESULTS: [&str; 10] = {
    let [
        predictions,
        nbest,
        odds,
        dev_predictions,
        dev_nbest,
        dev_odds,
    ] = PREDICTION_FILES;
    [
        SUBMISSION_FILE,
        REPORT_FILE,
        METRICS_FILE,
        ANSWERS_FILE,
        predictions,
        nbest,
        odds,
        dev_predictions,
        dev_nbest,
        dev_odds,
    ]
};

/// Which stages run.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// This one and all after it run even if they are fresh.
    pub from: Option<Stage>,
    /// No other runs; everything before it must be fresh.
    pub only: Option<Stage>,
    /// Their current artifacts are used as they are, stale or not.
    pub keep: Vec<Stage>,
    /// Everything in scope runs even if it is fresh.
    pub force: bool,
    /// Every byte of the artifacts is compared with what was written: one that is damaged is stale.
    pub verify: bool,
}

/// What runs the stages.
pub trait Execute {
    /// Makes ready what [`run`](Self::run) needs for these stages, with models on `device`.
    fn prepare(&mut self, stages: &[Stage], device: Device) -> Result<()>;

    /// Has a stage that has been made ready say what is wrong with a job, as far as that is known
    /// before its work.
    fn check(&mut self, job: &Job) -> Result<()>;

    /// Runs a stage that has been made ready: its artifact is there afterwards.
    fn run(&mut self, job: &Job) -> Result<()>;
}

/// A pipeline that has been walked through.
pub struct Run<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) graph: Graph<'a>,
    pub(crate) store: Store,
    /// A node each, as far as they are there.
    pub(crate) artifacts: Vec<Option<PathBuf>>,
    /// Keeps `gc` off artifacts that are not linked yet, or that another run has unlinked.
    _lock: Option<fs_err::File>,
}

/// Runs what is stale and in scope, and leaves the results in the run's folder where no stage was
/// left out. Every node's state goes to `log`. `output` is the folder of `artifacts` and `runs`.
pub fn run<'a>(
    output: &Path,
    pipeline: &'a Pipeline,
    scope: &Scope,
    stages: &mut dyn Execute,
    log: &mut dyn Write,
) -> Result<Run<'a>> {
    let run = walk(output, pipeline, scope, Mode::Run(stages), log)?;
    if scope.only.is_none() {
        run.publish()?;
    }
    Ok(run)
}

/// Writes to `log` whether every node is fresh, and if not, why. Runs nothing.
pub fn status(
    output: &Path,
    pipeline: &Pipeline,
    scope: &Scope,
    log: &mut dyn Write,
) -> Result<()> {
    walk(output, pipeline, scope, Mode::Look, log)?;
    Ok(())
}

/// Answers the questions of a pipeline whose models are there; returns the artifact of `answers`.
/// Says nothing of single stages.
pub fn answer(output: &Path, pipeline: &Pipeline, stages: &mut dyn Execute) -> Result<PathBuf> {
    let scope = Scope::default();
    let log = &mut io::sink();
    let run = walk(output, pipeline, &scope, Mode::Answer(stages), log)?;
    run.answers()
}

/// Makes the questions of a pipeline and the windows of its first model, for which only the small
/// files of the checkpoint are fetched. A pipeline without members has no windows.
pub(crate) fn texts<'a>(
    output: &Path,
    pipeline: &'a Pipeline,
    stages: &mut dyn Execute,
    log: &mut dyn Write,
) -> Result<Run<'a>> {
    walk(
        output,
        pipeline,
        &Scope::default(),
        Mode::Texts(stages),
        log,
    )
}

/// Walks through a pipeline. Where a stage is about to read an artifact that is damaged, the
/// artifact is removed and the walk begins anew: it is stale then. So is one that another run has
/// removed.
fn walk<'a>(
    output: &Path,
    pipeline: &'a Pipeline,
    scope: &Scope,
    mut mode: Mode,
    log: &mut dyn Write,
) -> Result<Run<'a>> {
    let (mut removed, mut made) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let walk = Walk::new(output, pipeline, scope, mode.again(), log, &mut made)?;
        match walk.go() {
            Err(error) => match error.downcast::<Removed>() {
                Ok(Removed(artifact)) => ensure!(
                    removed.insert(artifact.clone()),
                    UserError::new(format!(
                        "{} was damaged or removed again",
                        workspace::display(&artifact)
                    ))
                    .hint("what is written does not stay as it was: look after the disk, and what else writes to it")
                ),
                Err(error) => return Err(error),
            },
            result => return result,
        }
    }
}

/// An artifact that was found earlier was removed, by this run where it was damaged.
#[derive(Debug, thiserror::Error)]
#[error("{} was removed", .0.display())]
struct Removed(PathBuf);

/// [`Removed`] where an artifact is gone, which explains the error then.
fn removed_or(artifact: &Path, error: Error) -> Error {
    if artifact.exists() {
        error
    } else {
        Removed(artifact.to_owned()).into()
    }
}

impl Run<'_> {
    /// The artifacts of its stages that are there.
    pub fn artifacts(&self) -> impl Iterator<Item = &Path> {
        self.artifacts.iter().flatten().map(PathBuf::as_path)
    }

    /// The artifacts of a stage that are there, in the order of the nodes.
    pub fn of_stage(&self, stage: Stage) -> impl DoubleEndedIterator<Item = &Path> {
        let nodes = self.graph.nodes().iter().zip(&self.artifacts);
        nodes.filter_map(move |(node, artifact)| {
            let artifact = artifact.as_deref()?;
            (node.stage == stage).then_some(artifact)
        })
    }

    /// Its folder below `runs`.
    pub fn folder(&self) -> &Path {
        self.store.run()
    }

    /// The artifact of `answers`.
    pub fn answers(&self) -> Result<PathBuf> {
        let last = self.artifacts.last().cloned().flatten();
        last.context("the pipeline has no answers yet")
    }

    /// Leaves in the run's folder what is this run's, its results at the top. Another run of the
    /// same pipeline may have linked its artifacts there meanwhile.
    fn publish(&self) -> Result<()> {
        let run = self.store.run();
        let _lock = Lock::take(run, |_| Ok(()))?;
        for (node, artifact) in self.graph.nodes().iter().zip(&self.artifacts) {
            // What another run has removed since was read before.
            if let Some(artifact) = artifact.as_ref().filter(|artifact| artifact.exists()) {
                self.store.link(node, artifact)?;
            }
        }
        self.store.remove_other_links(&self.graph, &RESULTS)?;
        links::write(&run.join("pipeline.toml"), &self.pipeline.resolved)?;
        // It is of the last run, which has other answers.
        let _ = fs_err::remove_file(run.join(SAFE_SUBMISSION_FILE));
        let answers = self.answers()?;
        for file in RESULTS {
            let (from, to) = (answers.join(file), run.join(file));
            if from.exists() {
                links::replace(&from, &to)?;
            } else if to.is_symlink() || to.exists() {
                fs_err::remove_file(to)?;
            }
        }
        Ok(())
    }
}

/// Seconds that these artifacts took when they were written, each counted once.
pub fn wall_seconds<'a>(artifacts: impl Iterator<Item = &'a Path>) -> Result<f64> {
    let mut counted = Vec::new();
    let mut seconds = 0.0;
    for artifact in artifacts {
        if !counted.contains(&artifact) {
            counted.push(artifact);
            seconds += Manifest::read(artifact)?.map_or(0.0, |manifest| manifest.wall_seconds);
        }
    }
    Ok(seconds)
}

/// Whether a stage is one of those that a model comes from: answering a question runs none of them.
pub(crate) fn makes_a_model(stage: Stage) -> bool {
    stage == Stage::Checkpoint || trains(stage)
}

pub(crate) fn trains(stage: Stage) -> bool {
    matches!(stage, Stage::Pretrain | Stage::Train)
}

/// What a walk does with a stale node.
enum Mode<'e> {
    /// Says so.
    Look,
    /// Runs it.
    Run(&'e mut dyn Execute),
    /// Runs it unless it makes a model.
    Answer(&'e mut dyn Execute),
    /// Runs it, but nothing behind the windows.
    Texts(&'e mut dyn Execute),
}

impl Mode<'_> {
    /// The same for another walk.
    fn again(&mut self) -> Mode<'_> {
        match self {
            Mode::Look => Mode::Look,
            Mode::Run(stages) => Mode::Run(*stages),
            Mode::Answer(stages) => Mode::Answer(*stages),
            Mode::Texts(stages) => Mode::Texts(*stages),
        }
    }
}

/// The way through a pipeline's nodes.
struct Walk<'a, 'w> {
    run: Run<'a>,
    scope: &'w Scope,
    mode: Mode<'w>,
    log: &'w mut dyn Write,
    /// What was made on the way. Nothing is forced twice: members share artifacts.
    made: &'w mut BTreeSet<PathBuf>,
}

impl<'a, 'w> Walk<'a, 'w> {
    fn new(
        output: &Path,
        pipeline: &'a Pipeline,
        scope: &'w Scope,
        mode: Mode<'w>,
        log: &'w mut dyn Write,
        made: &'w mut BTreeSet<PathBuf>,
    ) -> Result<Self> {
        let code = Code::open(workspace::root())?;
        let run = Run {
            pipeline,
            graph: Graph::new(pipeline)?,
            store: Store::open(output, &pipeline.name, code),
            artifacts: Vec::new(),
            _lock: match mode {
                Mode::Look => None,
                Mode::Run(_) | Mode::Answer(_) | Mode::Texts(_) => Some(gc::keep_off(output)?),
            },
        };
        match mode {
            Mode::Run(_) => owner::claim(run.store.run(), pipeline)?,
            Mode::Look | Mode::Answer(_) | Mode::Texts(_) => {
                owner::check(run.store.run(), pipeline)?;
            }
        }
        Ok(Self {
            run,
            scope,
            mode,
            log,
            made,
        })
    }

    fn go(mut self) -> Result<Run<'a>> {
        self.bring_up_to_date()?;
        if matches!(self.mode, Mode::Texts(_)) {
            return self.go_to_windows();
        }
        self.refuse(&[0], COUNTS_FILE, checks::data)?;
        self.run.graph.add_checkpoints()?;
        self.check_sources()?;
        self.bring_up_to_date()?;
        let checkpoints = self.run.graph.checkpoints();
        let checkpoints: Vec<usize> = checkpoints.map(|(_, node)| node).collect();
        self.refuse(&checkpoints, "config.json", checks::checkpoints)?;
        let untrained = checks::untrained(&self.run);
        self.refuse(&untrained, "model.safetensors", checks::heads)?;
        self.run.graph.add_windows();
        self.bring_up_to_date()?;
        while self.has_time_for_a_member()? && self.run.graph.add_member() {
            self.bring_up_to_date()?;
        }
        self.run.graph.finish();
        self.bring_up_to_date()?;
        if let Some(only) = self.scope.only {
            let mut nodes = self.run.graph.nodes().iter();
            ensure!(
                nodes.any(|node| node.stage == only),
                UserError::new(format!("{} has no {only} stage", self.run.pipeline.file))
            );
        }
        self.check_results()?;
        Ok(self.run)
    }

    /// The rest of the way where no model is made.
    fn go_to_windows(mut self) -> Result<Run<'a>> {
        self.run.graph.add_tokenizers()?;
        self.bring_up_to_date()?;
        self.run.graph.add_windows();
        self.bring_up_to_date()?;
        for index in 0..self.run.artifacts.len() {
            self.check_bytes(index, None)?;
        }
        Ok(self.run)
    }

    /// Compares what no stage reads, but people and the summary do.
    fn check_results(&mut self) -> Result<()> {
        if matches!(self.mode, Mode::Look) || self.scope.only.is_some() {
            return Ok(());
        }
        for (stage, file) in [
            (Stage::Answers, None),
            (Stage::Ensemble, Some(ENSEMBLE_REPORT_FILE)),
            (Stage::Windows, Some(COUNTS_FILE)),
            (Stage::Data, Some(COUNTS_FILE)),
        ] {
            let files = file.map(|file| vec![file.to_owned()]);
            let nodes = self.run.graph.nodes().iter().enumerate();
            let nodes = nodes.filter(|(_, node)| node.stage == stage);
            for index in nodes.map(|(index, _)| index).collect::<Vec<_>>() {
                self.check_bytes(index, files.as_deref())?;
            }
        }
        Ok(())
    }

    /// Refuses what cannot work with the artifacts so far, all of it at once, before anything is
    /// made from them. `file` of each of `nodes` is what that is told from.
    fn refuse(
        &mut self,
        nodes: &[usize],
        file: &str,
        problems: fn(&Run) -> Result<Vec<String>>,
    ) -> Result<()> {
        if matches!(self.mode, Mode::Look) || self.scope.only.is_some() {
            return Ok(());
        }
        for &node in nodes {
            self.check_bytes(node, Some(&[file.to_owned()]))?;
        }
        let problems = problems(&self.run)?;
        ensure!(problems.is_empty(), UserError::new(problems.join("\n")));
        Ok(())
    }

    /// Has the checkpoint stage look at the small files of all checkpoints that are to be made, before
    /// the weights of one are fetched.
    fn check_sources(&mut self) -> Result<()> {
        let stage = Stage::Checkpoint;
        let is_made = matches!(self.mode, Mode::Run(_)) && self.scope.only.is_none();
        if !is_made || self.scope.keep.contains(&stage) {
            return Ok(());
        }
        let Run {
            graph,
            store,
            artifacts,
            ..
        } = &self.run;
        let mut jobs = BTreeMap::new();
        for index in artifacts.len()..graph.nodes().len() {
            if let Some(ready) = store.ready(graph, index, artifacts)?
                && !matches!(Store::find(&ready.output), Found::Whole(_))
            {
                jobs.insert(ready.output.clone(), self.job(index, ready));
            }
        }
        // The stage itself looks first at the small files of its own.
        if jobs.len() < 2 {
            return Ok(());
        }
        let needed = self.needed_from(stage);
        let Mode::Run(stages) = &mut self.mode else {
            return Ok(());
        };
        stages.prepare(&needed, self.run.pipeline.device)?;
        let mut refused = None;
        for job in jobs.values() {
            match stages.check(job) {
                Err(error) if error.is::<UserError>() => refused = Some(error),
                result => result?,
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// What a stage is started with for node `index`.
    fn job(&self, index: usize, ready: Ready) -> Job {
        let Run { graph, store, .. } = &self.run;
        let node = &graph.nodes()[index];
        let logs = store.run().join("logs");
        Job {
            stage: node.stage,
            settings: ready.recipe.settings,
            inputs: ready.inputs,
            contents: ready.recipe.inputs,
            output: ready.output,
            seed: ready.recipe.seed,
            device: node.device,
            save_minutes: trains(node.stage).then_some(self.run.pipeline.save_minutes),
            longest_window: graph.longest_window(index),
            code: ready.recipe.code,
            log: Some(logs.join(format!("{}.log", node.label.replace(' ', "-")))),
        }
    }

    /// Whether training has left time for another member. The manifests of those before it decide,
    /// so that the next run decides the same.
    fn has_time_for_a_member(&mut self) -> Result<bool> {
        let (member, pipeline) = (self.run.graph.members(), self.run.pipeline);
        let Some(limit) = pipeline.max_minutes else {
            return Ok(true);
        };
        if member == 0 || member == pipeline.members.len() {
            return Ok(true);
        }
        let nodes = self.run.graph.nodes().iter().zip(&self.run.artifacts);
        let trained = nodes
            .filter(|(node, _)| trains(node.stage))
            .filter_map(|(_, artifact)| artifact.as_deref());
        let spent = wall_seconds(trained)? / 60.0;
        if spent < limit {
            return Ok(true);
        }
        self.say(
            &format!("member {}+", member + 1),
            &format!("left out: training took {spent:.0} minutes, ensemble.max_minutes = {limit}"),
        )?;
        Ok(false)
    }

    /// Goes through the nodes that were added last.
    fn bring_up_to_date(&mut self) -> Result<()> {
        while self.run.artifacts.len() < self.run.graph.nodes().len() {
            let artifact = self.artifact(self.run.artifacts.len())?;
            self.run.artifacts.push(artifact);
        }
        Ok(())
    }

    /// The artifact of node `index`, which runs first if it is stale and in scope; `None` where it
    /// is not there.
    fn artifact(&mut self, index: usize) -> Result<Option<PathBuf>> {
        let Run {
            graph,
            store,
            artifacts,
            ..
        } = &self.run;
        let node = &graph.nodes()[index];
        let (stage, label) = (node.stage, node.label.clone());
        if self.scope.keep.contains(&stage) {
            let Some((current, _)) = store.current(node) else {
                let reason = if links::follow(&store.run().join(&node.link)).is_some() {
                    "the artifact is damaged or gone".to_owned()
                } else {
                    format!("the {stage} stage of this pipeline has not run yet")
                };
                bail!(UserError::new(format!("--keep {stage}: {reason}")));
            };
            if trains(stage) {
                checks::kept_model(&self.run, index, &current)?;
            }
            self.say(&label, "kept as it is")?;
            return Ok(Some(current));
        }
        // Checkpoint and data read nothing of other stages.
        let is_first = |stage| matches!(stage, Stage::Checkpoint | Stage::Data);
        let is_needless = |only| stage > only || (stage != only && is_first(only));
        if self.scope.only.is_some_and(is_needless) {
            return Ok(None);
        }
        let Some(ready) = self.ready(index)? else {
            let waits = graph.missing(node, artifacts).join(", ");
            self.say(&label, &format!("waiting for {waits}"))?;
            return Ok(None);
        };
        let output = ready.output.clone();
        let forced = self.is_forced(stage) && !self.made.contains(&output);
        let found = self.find(&output);
        if matches!(found, Found::Whole(_)) && !forced {
            let state = if self.scope.verify {
                "fresh, byte for byte"
            } else {
                "fresh"
            };
            self.say(&label, state)?;
        } else {
            let reasons = match &found {
                Found::Damaged(damage) => format!("damaged: {damage}"),
                _ if forced => "forced".to_owned(),
                _ => store.reasons(node, &ready).join(", "),
            };
            if matches!(self.mode, Mode::Look) {
                let begun = begun(&output).unwrap_or_default();
                self.say(&label, &format!("stale: {reasons}{begun}"))?;
                return Ok(None);
            }
            self.say(&label, &format!("stale: {reasons}"))?;
            self.check_scope(index)?;
            let Some(_inputs) = self.hold_inputs(index, &output)? else {
                return self.artifact(index);
            };
            let job = self.job(index, ready);
            let state = self.make(index, &job, forced)?;
            self.say(&label, &state)?;
            self.made.insert(output.clone());
        }
        if !matches!(self.mode, Mode::Look) {
            let linked = self.run.store.link(self.node(index), &output);
            linked.map_err(|error| removed_or(&output, error))?;
        }
        Ok(Some(output))
    }

    /// Runs the stage of node `index`, unless another run makes its artifact meanwhile; returns what
    /// was done.
    fn make(&mut self, index: usize, job: &Job, forced: bool) -> Result<String> {
        let (stage, output) = (job.stage, &job.output);
        let label = self.node(index).label.clone();
        if trains(stage) {
            checks::disk(&self.run, index)?;
        }
        let _lock = self.lock(&label, output)?;
        remove_drafts(output);
        let is_whole = matches!(self.find(output), Found::Whole(_));
        if is_whole && !forced {
            return Ok("made by another run".to_owned());
        }
        let _output = readers::replace(output, || {
            self.say(&label, "waits for other runs that read it")
        })?;
        if !is_whole && output.exists() {
            // A stage replaces nothing but its own artifact.
            durable::remove(output)?;
        }
        let needed = self.needed_from(stage);
        let began = Instant::now();
        if let Mode::Run(stages) | Mode::Answer(stages) | Mode::Texts(stages) = &mut self.mode {
            stages.prepare(&needed, self.run.pipeline.device)?;
            let result = stages.run(job);
            remove_drafts(output);
            result?;
        }
        Ok(format!("done in {}", minutes(began.elapsed())))
    }

    fn node(&self, index: usize) -> &Node {
        &self.run.graph.nodes()[index]
    }

    /// Refuses a stale node that was not asked to run.
    fn check_scope(&self, index: usize) -> Result<()> {
        let node = self.node(index);
        if let Some(only) = self.scope.only.filter(|&only| only != node.stage) {
            let message = format!("{} is stale, and only {only} was to run", node.label);
            let hint = "run the whole pipeline, or add --keep for a stage to use as it is";
            bail!(UserError::new(message).hint(hint));
        }
        if matches!(self.mode, Mode::Answer(_)) && makes_a_model(node.stage) {
            let message = format!("{} is stale, and there is no model to ask", node.label);
            let file = &self.run.pipeline.file;
            let hint = format!(
                "run cargo xtask pipeline {file}; a model that was made with --set is asked with the same --set"
            );
            bail!(UserError::new(message).hint(hint));
        }
        Ok(())
    }

    /// What to make ready before a stage runs: it and all that may run after it, since the compiler
    /// then always has work for every core. The data stage takes seconds to build, and is made ready
    /// alone: what is wrong with someone's files is said before Burn is compiled.
    fn needed_from(&self, stage: Stage) -> Vec<Stage> {
        if stage == Stage::Data {
            return vec![stage];
        }
        let mut models = self.run.pipeline.models();
        let pretrains = models.any(|model| model.pretrain.is_some());
        let mut needed = Stage::ALL.to_vec();
        needed.retain(|&other| {
            other >= stage
                && other != Stage::Data
                && (pretrains || other != Stage::Pretrain)
                && self.scope.only.is_none_or(|only| only == other)
                && !self.scope.keep.contains(&other)
                && !(matches!(self.mode, Mode::Answer(_)) && makes_a_model(other))
                && !(matches!(self.mode, Mode::Texts(_)) && other > Stage::Windows)
        });
        needed
    }

    /// What lies where an artifact should be, looked at as closely as was asked for.
    fn find(&self, artifact: &Path) -> Found {
        match Store::find(artifact) {
            Found::Whole(manifest) if self.scope.verify => {
                match manifest.wrong_bytes(artifact, None) {
                    Some(damage) => Found::Damaged(damage),
                    None => Found::Whole(manifest),
                }
            }
            found => found,
        }
    }

    /// Waits until no other run makes an artifact.
    fn lock(&mut self, label: &str, artifact: &Path) -> Result<Lock> {
        Lock::take(artifact, |owner| {
            self.say(
                label,
                &format!("waits for another run that makes it{owner}"),
            )
        })
    }

    /// Keeps other runs from replacing what node `index` reads to make `output`, and compares every
    /// byte of it. `None` where another run has replaced some of it before.
    fn hold_inputs(&mut self, index: usize, output: &Path) -> Result<Option<Vec<Hold>>> {
        let mut holds = Vec::new();
        for (input, _) in self.artifacts_read(index) {
            let Some(artifact) = self.run.artifacts[input].clone() else {
                continue;
            };
            let label = self.node(input).label.clone();
            holds.push(readers::read(&artifact, || {
                self.say(&label, "waits for another run that makes it anew")
            })?);
        }
        let now = self.ready(index)?;
        if now.is_none_or(|now| now.output != output) {
            return Ok(None);
        }
        for (input, files) in self.artifacts_read(index) {
            let artifact = self.run.artifacts[input].as_deref();
            let damage = artifact.and_then(|artifact| Store::damage(artifact, files.as_deref()));
            if damage.is_some() {
                // Whoever removes it waits for those that read it.
                drop(holds);
                self.check_bytes(input, files.as_deref())?;
                return Ok(None);
            }
        }
        Ok(Some(holds))
    }

    /// What node `index` is made from. Fails with [`Removed`] where another run has removed some of
    /// it since this one has found it.
    fn ready(&self, index: usize) -> Result<Option<Ready>> {
        let Run {
            graph,
            store,
            artifacts,
            ..
        } = &self.run;
        store.ready(graph, index, artifacts).map_err(|error| {
            let read = self.artifacts_read(index).into_iter();
            let read = read.filter_map(|(input, _)| artifacts[input].as_deref());
            read.fold(error, |error, artifact| removed_or(artifact, error))
        })
    }

    /// The nodes whose artifacts node `index` reads, and which of their files.
    fn artifacts_read(&self, index: usize) -> Vec<(usize, Option<Vec<String>>)> {
        let reads = self.node(index).reads.iter();
        let artifacts = reads.filter_map(|read| match read.source {
            Source::Node(index) => Some((index, read.files.clone())),
            Source::Path(_) => None,
        });
        artifacts.collect()
    }

    /// Removes the artifact of a node, and fails with [`Removed`], where its files, or the named
    /// ones, are not what was written.
    fn check_bytes(&mut self, index: usize, files: Option<&[String]>) -> Result<()> {
        let Some(artifact) = self.run.artifacts[index].clone() else {
            return Ok(());
        };
        let Some(damage) = Store::damage(&artifact, files) else {
            return Ok(());
        };
        let Node { stage, label, .. } = self.node(index);
        let (stage, label) = (*stage, label.clone());
        ensure!(
            !self.scope.keep.contains(&stage),
            UserError::new(format!("--keep {stage}: the artifact is damaged: {damage}"))
        );
        if matches!(self.mode, Mode::Answer(_)) && makes_a_model(stage) {
            let file = &self.run.pipeline.file;
            let error = UserError::new(format!("{label} is damaged: {damage}"));
            let hint = format!("run cargo xtask pipeline {file} --verify");
            return Err(error.hint(hint).into());
        }
        // Another run may have made it again meanwhile.
        let _lock = self.lock(&label, &artifact)?;
        let Some(damage) = Store::damage(&artifact, files) else {
            return Ok(());
        };
        self.say(&label, &format!("damaged: {damage}"))?;
        let _readers = readers::replace(&artifact, || {
            self.say(&label, "waits for other runs that read it")
        })?;
        if artifact.exists() {
            durable::remove(&artifact)?;
        }
        Err(Removed(artifact).into())
    }

    fn is_forced(&self, stage: Stage) -> bool {
        let Scope {
            from, only, force, ..
        } = self.scope;
        let in_scope = only.is_none_or(|only| only == stage);
        (*force && in_scope) || from.is_some_and(|from| stage >= from)
    }

    fn say(&mut self, label: &str, state: &str) -> Result<()> {
        let Pipeline {
            members,
            folds,
            student,
            ..
        } = self.run.pipeline;
        // Labels of several models have numbers and splits.
        let several = members.len() > 1 || folds.is_some() || student.is_some();
        let width = if several { 20 } else { 12 };
        writeln!(self.log, "{label:<width$} {state}")?;
        Ok(())
    }
}

/// What has become of an artifact so far that is not there.
fn begun(artifact: &Path) -> Option<String> {
    if let Some(owner) = lock::holder(artifact) {
        return Some(format!("; being made by {owner}"));
    }
    let state = format!("{STATE_PREFIX}{}", artifact.file_name()?.to_string_lossy());
    let state = artifact.with_file_name(state);
    state
        .is_dir()
        .then(|| "; interrupted, and a run resumes it".to_owned())
}

/// Removes what runs that were killed have left beside an artifact, whose lock is held.
fn remove_drafts(artifact: &Path) {
    let (Some(parent), Some(name)) = (artifact.parent(), artifact.file_name()) else {
        return;
    };
    let name = name.to_string_lossy();
    let (drafts, locks) = (draft::prefix(&name), format!("{}{name}.", lock::PREFIX));
    // What stays is removed by `gc`.
    for entry in fs_err::read_dir(parent).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with(&drafts) {
            let _ = fs_err::remove_dir_all(path);
        } else if name.starts_with(&locks) && lock::is_nobodys(&path).unwrap_or(false) {
            let _ = fs_err::remove_file(path);
        }
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

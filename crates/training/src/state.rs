//! What a run changes as it goes, and how it is saved so that an interrupted run resumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spanwise_artifact::{Job, UserError, draft, durable, fingerprint, jsonl};
use spanwise_model::EncoderConfig;
use spanwise_model::EncoderModel;
use spanwise_model::weights;
use spanwise_ops::Precision;

use crate::average::AveragedWeights;
use crate::best::{BestRecord, BestWeights};
use crate::hyperparameters::Hyperparameters;
use crate::log::{Evaluation, Step, TrainingLog};
use crate::optimizer::{AdamW, ClippedGradients, OptimizerSettings};
use crate::scaler::{LossScaler, SavedScaler};
use crate::step::PendingStep;

/// A run so far. Items, order and dropout follow from seed and step, so this is all of it.
pub struct RunState<M> {
    /// The model that is trained.
    pub model: M,
    /// Steps done.
    pub step: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// Seconds that evaluations took.
    pub evaluation_seconds: f64,
    /// In fp16.
    pub(crate) scaler: Option<LossScaler>,
    /// The last step, until what the device computes of it is read.
    pending: Option<PendingStep>,
    optimizer: AdamW,
    average: Option<AveragedWeights<M>>,
    best: Option<BestWeights>,
}

impl<M: EncoderModel> RunState<M> {
    /// A run before its first step.
    pub fn new(model: M, hyperparameters: &Hyperparameters) -> Self {
        let &Hyperparameters {
            weight_decay,
            layer_decay,
            ema,
            precision,
            load_best_model_at_end,
            early_stopping_patience,
            ..
        } = hyperparameters;
        let optimizer = AdamW::new(OptimizerSettings {
            weight_decay,
            layer_decay,
            layers: model.encoder().layers.len(),
        });
        let device = model.encoder().device().without_autodiff();
        Self {
            average: (ema > 0.0).then(|| AveragedWeights::new(&model, ema)),
            model,
            step: 0,
            seconds: 0.0,
            evaluation_seconds: 0.0,
            scaler: LossScaler::new(precision, &device),
            pending: None,
            optimizer,
            best: load_best_model_at_end.then(|| BestWeights::new(early_stopping_patience)),
        }
    }

    /// Returns the model that is evaluated: with the averaged weights where they are kept, else the
    /// last ones.
    pub fn candidate(&self) -> &M {
        let average = self.average.as_ref();
        average.map_or(&self.model, AveragedWeights::model)
    }

    /// Takes an evaluation of [`RunState::candidate`] into account.
    pub fn consider(&mut self, evaluation: Evaluation) {
        self.evaluation_seconds += evaluation.seconds;
        let average = self.average.as_ref();
        let candidate = average.map_or(&self.model, AveragedWeights::model);
        if let Some(best) = &mut self.best {
            best.consider(evaluation, candidate);
        }
    }

    /// Returns the best evaluation so far, where its model is kept.
    pub fn best_evaluation(&self) -> Option<&Evaluation> {
        self.best.as_ref()?.evaluation()
    }

    /// Returns whether so many evaluations were no better than one before that the run ends.
    pub fn is_out_of_patience(&self) -> bool {
        let best = self.best.as_ref();
        best.is_some_and(BestWeights::is_out_of_patience)
    }

    /// Returns the run's result so far: the model of the best evaluation where that is kept, else
    /// the [candidate](RunState::candidate).
    pub fn result(&self) -> M {
        let candidate = self.candidate().clone();
        match &self.best {
            Some(best) => best.model(candidate),
            None => candidate,
        }
    }

    /// Takes an optimizer step and counts it. Gradients that overflowed leave the model as it is.
    /// Nothing waits for the device.
    pub fn update(&mut self, gradients: ClippedGradients, learning_rate: f64) {
        if let Some(scaler) = &mut self.scaler {
            scaler.update(gradients.overflowed());
        }
        let model = self.model.clone();
        self.model = self.optimizer.step(model, gradients, learning_rate);
        self.step += 1;
        if let Some(average) = &mut self.average {
            average.update(&self.model, self.step);
        }
    }

    /// Keeps what is to be reported of the last step.
    pub(crate) fn report_later(&mut self, step: PendingStep) {
        self.pending = Some(step);
    }

    /// Reports the last step, unless it has been: waits for the device, and writes the step's record.
    /// Fails if the training has diverged.
    pub fn report(&mut self, log: &mut TrainingLog) -> Result<Option<Step>> {
        let Some(pending) = self.pending.take() else {
            return Ok(None);
        };
        let start = Instant::now();
        let step = pending.read(start)?;
        self.seconds += start.elapsed().as_secs_f64();
        ensure!(
            step.gradient_norm.is_finite()
                || step
                    .loss_scale
                    .is_some_and(|scale| scale > LossScaler::LEAST_SCALE),
            UserError::new(format!(
                "training diverged at step {}: the gradient norm is {}",
                step.step, step.gradient_norm
            ))
            .hint("lower the learning rate or raise the warm-up")
        );
        log.step(&step)?;
        Ok(Some(step))
    }
}

/// A directory that keeps the state of an unfinished run, in a folder named after the number of its
/// steps.
pub struct SavedState {
    directory: PathBuf,
    /// The digest of what the run is made from. The state of a run made from anything else is not
    /// used. A digest, since a float that is written as a decimal may be read as its neighbour.
    identity: String,
    /// The model's `config.json`.
    config: PathBuf,
    /// The run's records so far.
    log: PathBuf,
    /// Time between saves, so what is lost at most when a machine goes down.
    interval: Duration,
    saved: Instant,
}

/// Time between saves where the job does not say.
const INTERVAL: Duration = Duration::from_mins(5);

/// What is saved besides arrays and log.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: String,
    step: usize,
    seconds: f64,
    evaluation_seconds: f64,
    scaler: Option<SavedScaler>,
    best: Option<BestRecord>,
    /// Digests of the other files.
    files: BTreeMap<String, String>,
}

/// Digests of the files in a folder and the folders in it, but for the header, which has them.
fn digests(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        );
        if entry.file_type()?.is_dir() {
            let inner = self::digests(&path)?.into_iter();
            digests.extend(inner.map(|(inner, digest)| (format!("{name}/{inner}"), digest)));
        } else if name != HEADER {
            digests.insert(name, fingerprint::of_file(&path)?);
        }
    }
    Ok(digests)
}

const HEADER: &str = "state.json";
const MODEL: &str = "model.safetensors";
/// Folder of the averaged weights.
const AVERAGE: &str = "mean";
/// Folder of the best weights.
const BEST: &str = "best";
const CONFIG: &str = "config.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const LOG: &str = "training.jsonl";

impl SavedState {
    /// The state in `directory` of the run that `identity` describes. `config`: the model's
    /// `config.json`; `log`: the run's records.
    pub fn new(directory: PathBuf, identity: &Value, config: PathBuf, log: PathBuf) -> Self {
        Self {
            directory,
            identity: fingerprint::of_bytes(identity.to_string().as_bytes()),
            config,
            log,
            interval: INTERVAL,
            saved: Instant::now(),
        }
    }

    /// The state of a job's run, beside the artifact that it is to become; as [`SavedState::new`].
    /// `precision`: what the run computes in, which another device may choose differently.
    pub fn of(job: &Job, precision: Precision, config: PathBuf, log: PathBuf) -> Result<Self> {
        let directory = format!("{}{}", draft::STATE_PREFIX, job.name()?);
        let identity = serde_json::json!({
            "settings": job.settings,
            "precision": precision.to_string(),
            "seed": job.seed,
            "inputs": job.input_contents()?,
            "code": job.code,
        });
        let directory = job.output.with_file_name(directory);
        let mut state = Self::new(directory, &identity, config, log);
        if let Some(minutes) = job.save_minutes {
            let interval = Duration::try_from_secs_f64(60.0 * minutes);
            state.interval = interval.map_err(|_| {
                UserError::new(format!(
                    "save_minutes is {minutes}: a positive number is meant"
                ))
            })?;
        }
        Ok(state)
    }

    /// Saves the run where the interval since the last save is over. Fails if the training has
    /// diverged.
    pub fn save_if_due<M: EncoderModel>(
        &mut self,
        run: &mut RunState<M>,
        log: &mut TrainingLog,
    ) -> Result<()> {
        if self.saved.elapsed() >= self.interval {
            run.report(log)?;
            // Training that cannot be saved, as on a full disk, still ends with a model.
            if let Err(error) = self.save(run, log) {
                tracing::warn!("training is not saved after step {}: {error:#}", run.step);
            }
            self.saved = Instant::now();
        }
        Ok(())
    }

    /// Saves the run, once its last step is reported, and removes what was saved of it before. What
    /// is saved is whole and on the disk before it counts, and what it replaces stands until then.
    /// Fails if the training has diverged.
    pub fn save<M: EncoderModel>(
        &self,
        run: &mut RunState<M>,
        log: &mut TrainingLog,
    ) -> Result<()> {
        run.report(log)?;
        fs_err::create_dir_all(&self.directory)?;
        let folder = self.directory.join(run.step.to_string());
        if folder.exists() {
            if self.usable(&folder).is_ok_and(|header| header.is_some()) {
                return Ok(()); // a run that resumed there, and has not gone a step
            }
            durable::remove(&folder)?;
        }
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.directory)?;
        let file = |name: &str| new.path().join(name);
        draft::copy(&self.config, &file(CONFIG))?;
        draft::copy(&self.log, &file(LOG))?;
        let config = EncoderConfig::read(&self.config)?;
        weights::save(&run.model, &config, &file(MODEL))?;
        let also = |model: &M, folder: &str| {
            fs_err::create_dir(file(folder))?;
            draft::copy(&self.config, &file(folder).join(CONFIG))?;
            weights::save(model, &config, &file(folder).join(MODEL))
        };
        if let Some(average) = &run.average {
            also(average.model(), AVERAGE)?;
        }
        let best = run.best.as_ref();
        let best = best.and_then(|best| Some((best, best.record()?.clone())));
        if let Some((best, _)) = best {
            // The run's device may have no room for one more model.
            also(&best.model(M::new(&config, &Device::flex())), BEST)?;
        }
        run.optimizer.save(&file(OPTIMIZER))?;
        let header = Header {
            identity: self.identity.clone(),
            step: run.step,
            seconds: run.seconds,
            evaluation_seconds: run.evaluation_seconds,
            scaler: run.scaler.as_ref().map(LossScaler::saved).transpose()?,
            best: best.map(|(_, record)| record),
            files: digests(new.path())?,
        };
        jsonl::write_sealed(&file(HEADER), &header)?;
        let earlier = self.folders()?;
        durable::rename(new, &folder)?;
        for earlier in earlier.iter().filter(|&earlier| *earlier != folder) {
            durable::remove(earlier)?;
        }
        Ok(())
    }

    /// Restores the run and its records to where they were saved last; returns false where nothing
    /// is saved of this run. What cannot be used is said and left out.
    pub fn restore<M: EncoderModel>(&self, run: &mut RunState<M>, device: &Device) -> Result<bool> {
        self.remove_unfinished()?;
        for folder in self.folders()? {
            match self.restore_from(&folder, run, device) {
                Ok(true) => {
                    tracing::info!("resuming after step {}", run.step);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    "what is saved in {} cannot be used: {error:#}",
                    folder.display()
                ),
            }
        }
        Ok(false)
    }

    /// The header of what is saved in a folder, where that is of this run. Fails where it is not
    /// whole.
    fn usable(&self, folder: &Path) -> Result<Option<Header>> {
        let header: Header = jsonl::read_sealed(&folder.join(HEADER))?;
        if header.identity != self.identity {
            return Ok(None);
        }
        ensure!(digests(folder)? == header.files, "it is damaged");
        Ok(Some(header))
    }

    /// The run is as it was where this fails.
    fn restore_from<M: EncoderModel>(
        &self,
        folder: &Path,
        run: &mut RunState<M>,
        device: &Device,
    ) -> Result<bool> {
        let file = |name: &str| folder.join(name);
        let Some(header) = self.usable(folder)? else {
            return Ok(false);
        };
        let (model, _) = weights::load(folder, device)?;
        let average = match &run.average {
            Some(_) => Some(weights::load(&file(AVERAGE), device)?.0),
            None => None,
        };
        let best = match header.best {
            Some(record) => Some((record, weights::load(&file(BEST), &Device::flex())?.0)),
            None => None,
        };
        let plain = device.clone().without_autodiff();
        let optimizer = run.optimizer.restored(&file(OPTIMIZER), &plain)?;
        draft::copy(&file(LOG), &self.log)?;
        run.model = model;
        if let (Some(average), Some(model)) = (&mut run.average, average) {
            average.restore(model);
        }
        if let (Some(best), Some((record, model))) = (&mut run.best, best) {
            best.keep::<M>(record, &model);
        }
        run.optimizer = optimizer;
        run.scaler = header
            .scaler
            .map(|saved| LossScaler::restored(saved, &plain));
        run.pending = None;
        run.step = header.step;
        run.seconds = header.seconds;
        run.evaluation_seconds = header.evaluation_seconds;
        Ok(true)
    }

    /// What is saved, a folder for each number of steps, the most first.
    fn folders(&self) -> Result<Vec<PathBuf>> {
        if !self.directory.is_dir() {
            return Ok(Vec::new());
        }
        let mut folders = Vec::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let entry = entry?;
            let step = entry.file_name().to_str().map(str::parse::<usize>);
            if let Some(Ok(step)) = step {
                folders.push((step, entry.path()));
            }
        }
        folders.sort_unstable_by(|left, right| right.cmp(left));
        Ok(folders.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes what saves have left that were killed.
    fn remove_unfinished(&self) -> Result<()> {
        if !self.directory.is_dir() {
            return Ok(());
        }
        let folders = self.folders()?;
        for entry in fs_err::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.is_dir() && !folders.contains(&path) {
                fs_err::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// Removes what is saved.
    pub fn remove(&self) -> Result<()> {
        if self.directory.exists() {
            durable::remove(&self.directory)?;
        }
        Ok(())
    }
}

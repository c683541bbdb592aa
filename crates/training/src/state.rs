//! What a run changes as it goes, and how an interrupted run goes on where it was.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spanwise_artifact::{Job, UserError, jsonl};
use spanwise_ops::Precision;

use crate::log::{Record, TrainingLog};
use crate::mean::RunningMean;
use crate::optimizer::{AdamW, OptimizerSettings};
use crate::scaler::LossScaler;
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::Encodes;
use spanwise_model::weights;

/// A run so far. Windows, order and dropout are drawn from seed and step, so this is all of it.
pub struct Training<M> {
    /// What is being trained.
    pub model: M,
    /// Steps done.
    pub step: usize,
    /// Time they took.
    pub seconds: f64,
    optimizer: AdamW,
    scaler: LossScaler,
    mean: Option<RunningMean<M>>,
}

impl<M: Encodes> Training<M> {
    /// A run's beginning. `ema`: decay of the running mean of the weights, 0 for none.
    pub fn new(model: M, settings: OptimizerSettings, ema: f64, precision: Precision) -> Self {
        Self {
            mean: (ema > 0.0).then(|| RunningMean::new(&model, ema)),
            model,
            optimizer: AdamW::new(settings),
            scaler: LossScaler::new(precision),
            step: 0,
            seconds: 0.0,
        }
    }

    /// What comes out of the run so far: the running mean of the weights where one is kept, else the last ones.
    pub fn result(&self) -> &M {
        self.mean.as_ref().map_or(&self.model, RunningMean::model)
    }

    /// One optimizer step, timed and logged. `gradients` makes of the model and a factor on the loss the loss, the
    /// gradients of the loss times that factor, and the number of real tokens. Gives a note on the step for people.
    pub fn take_step(
        &mut self,
        epoch: usize,
        learning_rate: f64,
        log: &mut TrainingLog,
        gradients: impl FnOnce(&M, f64) -> Result<(f64, GradientsParams, usize)>,
    ) -> Result<String> {
        let began = Instant::now();
        let loss_scale = self.scaler.scale();
        let (loss, gradients, tokens) = gradients(&self.model, loss_scale)?;
        let gradient_norm = self.update(gradients, learning_rate)?;
        let seconds = began.elapsed().as_secs_f64();
        self.seconds += seconds;
        let tokens_per_second = tokens as f64 / seconds;
        log.push(Record::Step {
            step: self.step,
            epoch: epoch + 1,
            loss,
            learning_rate,
            gradient_norm,
            loss_scale: self.scaler.is_dynamic().then_some(loss_scale),
            tokens_per_second,
        })?;
        Ok(format!("loss {loss:.3}, {tokens_per_second:.0} tokens/s"))
    }

    /// One step with the gradients of the scaled loss; gives their norm, unscaled. A step whose gradients overflow
    /// is not taken.
    pub fn update(&mut self, gradients: GradientsParams, learning_rate: f64) -> Result<f64> {
        let scale = self.scaler.scale();
        let (updated, norm) =
            self.optimizer
                .step(self.model.clone(), gradients, learning_rate, scale)?;
        ensure!(
            self.scaler.update(!norm.is_finite()),
            UserError::new(format!(
                "training diverged at step {}: the gradient norm is {norm}",
                self.step
            ))
            .hint("lower the learning rate or raise the warm-up")
        );
        self.model = updated;
        self.step += 1;
        if let Some(mean) = &mut self.mean {
            mean.update(&self.model, self.step);
        }
        Ok(norm)
    }
}

/// A directory that keeps the state of an unfinished run.
pub struct SavedState {
    directory: PathBuf,
    /// What the run is made from. Another run's state is of no use.
    identity: Value,
    saved: Instant,
}

/// What is lost at most when a run is interrupted.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// What is saved besides arrays and log.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: Value,
    step: usize,
    seconds: f64,
    scaler: LossScaler,
}

const HEADER: &str = "state.json";
const MODEL: &str = "model.safetensors";
/// Folder of the running mean's weights.
const MEAN: &str = "mean";
const CONFIG: &str = "config.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const LOG: &str = "training.jsonl";

impl SavedState {
    /// The state in `directory` of the run that `identity` describes.
    pub fn new(directory: PathBuf, identity: Value) -> Self {
        Self {
            directory,
            identity,
            saved: Instant::now(),
        }
    }

    /// The state of a job's run, beside the artifact that it is to become.
    pub fn of(job: &Job) -> Result<Self> {
        let name = job
            .output
            .file_name()
            .context("the output directory has no name")?;
        let directory = format!(".state-{}", name.to_string_lossy());
        let identity = serde_json::json!({
            "settings": job.settings,
            "seed": job.seed,
            "inputs": job.input_contents()?,
            "code": job.code,
        });
        Ok(Self::new(job.output.with_file_name(directory), identity))
    }

    /// Saves where that has not been done for five minutes.
    pub fn save_if_due<M: Encodes>(
        &mut self,
        training: &Training<M>,
        config: &Path,
        log: &Path,
    ) -> Result<()> {
        if self.saved.elapsed() >= SAVE_INTERVAL {
            self.save(training, config, log)?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    /// Replaces what is saved. `config`: the model's `config.json`; `log`: the records so far.
    ///
    /// An interruption while saving may cost what is saved; it never leaves half of it.
    pub fn save<M: Encodes>(
        &self,
        training: &Training<M>,
        config: &Path,
        log: &Path,
    ) -> Result<()> {
        let parent = self.directory.parent().unwrap_or(Path::new("."));
        let new = tempfile::Builder::new()
            .prefix(".state-")
            .tempdir_in(parent)?;
        let file = |name: &str| new.path().join(name);
        fs_err::copy(config, file(CONFIG))?;
        fs_err::copy(log, file(LOG))?;
        let described = EncoderConfig::read(config)?;
        weights::save(&training.model, &described, &file(MODEL))?;
        if let Some(mean) = &training.mean {
            fs_err::create_dir(file(MEAN))?;
            fs_err::copy(config, file(MEAN).join(CONFIG))?;
            weights::save(mean.model(), &described, &file(MEAN).join(MODEL))?;
        }
        training.optimizer.save(&file(OPTIMIZER))?;
        let header = Header {
            identity: self.identity.clone(),
            step: training.step,
            seconds: training.seconds,
            scaler: training.scaler.clone(),
        };
        jsonl::write_document(&file(HEADER), &header)?;
        self.remove()?;
        fs_err::rename(new.keep(), &self.directory)?;
        Ok(())
    }

    /// Takes `training` to where it was saved and puts the records back into `log`; false where there is
    /// nothing saved of this run.
    pub fn restore<M: Encodes>(
        &self,
        training: &mut Training<M>,
        log: &Path,
        device: &Device,
    ) -> Result<bool> {
        let file = |name: &str| self.directory.join(name);
        if !file(HEADER).exists() {
            return Ok(false);
        }
        let header: Header = jsonl::read_document(&file(HEADER))?;
        if header.identity != self.identity {
            return Ok(false);
        }
        (training.model, _) = weights::load(&self.directory, device)?;
        if let Some(mean) = &mut training.mean {
            let (model, _) = weights::load(&file(MEAN), device)?;
            mean.restore(model);
        }
        let plain = device.clone().without_autodiff();
        training.optimizer.restore(&file(OPTIMIZER), &plain)?;
        training.scaler = header.scaler;
        training.step = header.step;
        training.seconds = header.seconds;
        fs_err::copy(file(LOG), log)?;
        tracing::info!(
            "going on after step {}, where it was interrupted",
            training.step
        );
        Ok(true)
    }

    /// Removes what is saved.
    pub fn remove(&self) -> Result<()> {
        if self.directory.exists() {
            fs_err::remove_dir_all(&self.directory)?;
        }
        Ok(())
    }
}

//! What a run changes as it goes, and how an interrupted run goes on where it was.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spanwise_artifact::jsonl;
use spanwise_artifact::settings::TrainSettings;
use spanwise_ops::Precision;

use crate::config::EncoderConfig;
use crate::encoder::SpanModel;
use crate::train::optimizer::AdamW;
use crate::train::scaler::LossScaler;
use crate::weights;

/// A run so far. Windows, order and dropout are drawn from seed and step, so this is all of it.
pub struct Training {
    /// What is being trained.
    pub model: SpanModel,
    pub(super) optimizer: AdamW,
    pub(super) scaler: LossScaler,
    /// Steps done.
    pub step: usize,
}

impl Training {
    /// A run's beginning.
    pub fn new(model: SpanModel, settings: &TrainSettings, precision: Precision) -> Self {
        Self {
            model,
            optimizer: AdamW::new(settings.weight_decay, settings.max_grad_norm),
            scaler: LossScaler::new(precision),
            step: 0,
        }
    }
}

/// A directory that keeps the state of an unfinished run.
pub struct SavedState {
    directory: PathBuf,
    /// What the run is made from. Another run's state is of no use.
    identity: Value,
}

/// What is saved besides arrays and log.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: Value,
    step: usize,
    scaler: LossScaler,
}

const HEADER: &str = "state.json";
const MODEL: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const LOG: &str = "training.jsonl";

impl SavedState {
    /// The state in `directory` of the run that `identity` describes.
    pub fn new(directory: PathBuf, identity: Value) -> Self {
        Self {
            directory,
            identity,
        }
    }

    /// Replaces what is saved. `config`: the model's `config.json`; `log`: the records so far.
    ///
    /// An interruption while saving may cost what is saved; it never leaves half of it.
    pub fn save(&self, training: &Training, config: &Path, log: &Path) -> Result<()> {
        let parent = self.directory.parent().unwrap_or(Path::new("."));
        let new = tempfile::Builder::new()
            .prefix(".state-")
            .tempdir_in(parent)?;
        let file = |name: &str| new.path().join(name);
        fs_err::copy(config, file(CONFIG))?;
        fs_err::copy(log, file(LOG))?;
        weights::save(&training.model, &EncoderConfig::read(config)?, &file(MODEL))?;
        training.optimizer.save(&file(OPTIMIZER))?;
        let header = Header {
            identity: self.identity.clone(),
            step: training.step,
            scaler: training.scaler.clone(),
        };
        jsonl::write_document(&file(HEADER), &header)?;
        self.remove()?;
        fs_err::rename(new.keep(), &self.directory)?;
        Ok(())
    }

    /// Takes `training` to where it was saved and puts the records back into `log`; false where there is
    /// nothing saved of this run.
    pub fn restore(&self, training: &mut Training, log: &Path, device: &Device) -> Result<bool> {
        let file = |name: &str| self.directory.join(name);
        if !file(HEADER).exists() {
            return Ok(false);
        }
        let header: Header = jsonl::read_document(&file(HEADER))?;
        if header.identity != self.identity {
            return Ok(false);
        }
        (training.model, _) = weights::load(&self.directory, device)?;
        let plain = device.clone().without_autodiff();
        training.optimizer.restore(&file(OPTIMIZER), &plain)?;
        training.scaler = header.scaler;
        training.step = header.step;
        fs_err::copy(file(LOG), log)?;
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

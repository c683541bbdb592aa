//! What the tests of learning spans share.

use anyhow::Result;
use burn::tensor::Device;
use spanwise_artifact::settings::TrainTable;
use spanwise_ops::Precision;
use spanwise_testing::high_ids::Files;
use spanwise_train::{SpanTask, TrainingData};

/// Seed of every run.
pub(crate) const SEED: u64 = 7;

/// Returns what the task is learned with.
pub(crate) fn settings() -> TrainTable {
    TrainTable {
        epochs: 10,
        batch_size: 8,
        learning_rate: 5e-3,
        ..Default::default()
    }
}

/// Returns the task of learning from `files`.
pub(crate) fn task<'a>(
    files: &'a Files,
    settings: &'a TrainTable,
    device: &'a Device,
    precision: Precision,
) -> Result<SpanTask<'a>> {
    let data = TrainingData {
        layout: &files.layout,
        train: &files.train,
        teacher: None,
        dev: Some((&files.dev, &files.references)),
    };
    SpanTask::new(data, settings, device, precision)
}

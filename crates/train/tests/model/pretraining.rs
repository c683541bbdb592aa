//! Masked language modelling.

use anyhow::Result;
use spanwise_artifact::Split;
use spanwise_artifact::settings::PretrainTable;
use spanwise_artifact::windows::WindowFile;
use spanwise_model::encoder::MaskedModel;
use spanwise_ops::Precision;
use spanwise_pretrain;
use spanwise_training::optimizer::OptimizerSettings;
use spanwise_training::state::Training;

use crate::support::devices;
use crate::task::{assert_goes_on, drawn, files};

#[test]
fn pre_training_learns_the_texts_and_goes_on_after_an_interruption() -> Result<()> {
    let files = files()?;
    let settings = PretrainTable {
        epochs: 12,
        batch_size: 16,
        learning_rate: 5e-3,
        ..Default::default()
    };
    for (name, device) in devices() {
        let device = device.autodiff();
        let texts = [
            WindowFile::open(files.directory.path(), Split::Train)?.expect("written"),
            WindowFile::open(files.directory.path(), Split::Dev)?.expect("written"),
        ];
        let run = pretrain::Run {
            settings: &settings,
            seed: 7,
            device: &device,
            precision: Precision::Fp32,
            layout: &files.layout,
            files: &texts,
        };
        let begin = || {
            let model: MaskedModel = drawn(0.1, 3, &device)?;
            let optimizer = OptimizerSettings::uniform(0.01, 1.0);
            Ok(Training::new(model, optimizer, 0.0, Precision::Fp32))
        };
        let losses = assert_goes_on(
            (name, &device),
            10..=12,
            begin,
            &|training, log, after_step| run.train(training, log, after_step),
        )?;
        assert_eq!(losses.len(), 12 * (64 + 24usize).div_ceil(16));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        // Where the answer is, ids are from 60 on; elsewhere they are below. Half of the guesses gain by knowing.
        assert!(
            mean(&losses[losses.len() - 6..]) < mean(&losses[..3]) - 0.3,
            "{name}: {losses:?}"
        );
    }
    Ok(())
}

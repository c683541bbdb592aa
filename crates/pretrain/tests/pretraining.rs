//! Learning to predict masked tokens, on every backend that this build has.

use anyhow::Result;
use spanwise_artifact::Split;
use spanwise_artifact::settings::PretrainTable;
use spanwise_model::MaskedModel;
use spanwise_ops::Precision;
use spanwise_pretrain::MaskedTask;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::resuming::assert_resumes;
use spanwise_testing::tiny;

#[test]
fn pre_training_learns_the_texts_and_resumes_after_an_interruption() -> Result<()> {
    let files = Files::new()?;
    let settings = PretrainTable {
        epochs: 12,
        batch_size: 16,
        learning_rate: 5e-3,
        ..Default::default()
    };
    for (name, device) in devices() {
        let device = device.autodiff();
        let texts = [files.open(Split::Train)?, files.open(Split::Dev)?];
        let task = MaskedTask::new(&settings, &device, &files.layout, &texts)?;
        let hyperparameters = task.hyperparameters(7, Precision::Fp32);
        let model = || tiny::random::<MaskedModel>(0.1, 3, &device);
        let losses = assert_resumes(name, &task, &hyperparameters, 10..=12, model, &device)?;
        assert_eq!(losses.len(), 12 * (64 + 24usize).div_ceil(16));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        // Where the answer is, ids are from 60 on; elsewhere they are below. Half of the guesses
        // gain by knowing.
        assert!(
            mean(&losses[losses.len() - 6..]) < mean(&losses[..3]) - 0.3,
            "{name}: {losses:?}"
        );
    }
    Ok(())
}

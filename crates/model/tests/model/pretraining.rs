//! Masked language modelling.

use anyhow::Result;
use spanwise_artifact::settings::PretrainSettings;
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Split, jsonl};
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::{Encodes, MaskedModel};
use spanwise_model::pretrain;
use spanwise_model::train::log::TrainingLog;
use spanwise_model::train::optimizer::OptimizerSettings;
use spanwise_model::train::state::{SavedState, Training};
use spanwise_ops::Precision;

use crate::support::devices;
use crate::task::{config_document, files, numbers, parameters};

#[test]
fn pre_training_learns_the_texts_and_goes_on_after_an_interruption() -> Result<()> {
    let files = files()?;
    let settings = PretrainSettings {
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
            precision: Precision::F32,
            layout: &files.layout,
            files: &texts,
        };
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("config.json");
        jsonl::write_document(&config, &config_document(0.1))?;
        let begin = || -> Result<Training<MaskedModel>> {
            device.seed(3);
            let model = MaskedModel::new(&EncoderConfig::read(&config)?, &device);
            parameters(&model);
            let optimizer = OptimizerSettings::uniform(0.01, 1.0);
            Ok(Training::new(model, optimizer, 0.0, Precision::F32))
        };
        let log = |name: &str| directory.path().join(name);
        let mut whole = begin()?;
        run.train(&mut whole, &mut TrainingLog::open(&log("whole"))?, |_| {
            Ok(())
        })?;
        let records: Vec<serde_json::Value> = jsonl::read(&log("whole"))?.collect::<Result<_>>()?;
        let losses = numbers(&records, "loss");
        assert_eq!(losses.len(), 12 * (64 + 24usize).div_ceil(16));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        // Where the answer is, ids are from 60 on; elsewhere they are below. Half of the guesses gain by knowing.
        assert!(
            mean(&losses[losses.len() - 6..]) < mean(&losses[..3]) - 0.3,
            "{name}: {losses:?}"
        );

        let state = || SavedState::new(directory.path().join("state"), serde_json::json!(1));
        let mut first = begin()?;
        let interrupted = run.train(
            &mut first,
            &mut TrainingLog::open(&log("first"))?,
            |training| {
                if training.step == 10 {
                    state().save(training, &config, &log("first"))?;
                }
                anyhow::ensure!(training.step < 12, "the power went out");
                Ok(())
            },
        );
        assert!(interrupted.is_err());
        let mut second = begin()?;
        assert!(state().restore(&mut second, &log("second"), &device)?);
        run.train(&mut second, &mut TrainingLog::open(&log("second"))?, |_| {
            Ok(())
        })?;
        assert_eq!(
            parameters(&whole.model),
            parameters(&second.model),
            "{name}"
        );
    }
    Ok(())
}

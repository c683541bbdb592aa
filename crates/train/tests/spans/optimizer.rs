//! The same losses, gradient norms and optimizer steps as PyTorch.

use anyhow::Result;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value;
use spanwise_artifact::jsonl;
use spanwise_model::pair_template::Row;
use spanwise_model::{SpanModel, weights};
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::tiny::{batch, largest_difference, rows, saved};
use spanwise_train::loss::{Boundaries, Targets};
use spanwise_training::optimizer::{self, AdamW, OptimizerSettings};

#[derive(Deserialize)]
struct Expected {
    training: Training,
}

#[derive(Deserialize)]
struct Training {
    learning_rate: f64,
    weight_decay: f64,
    max_grad_norm: f64,
    starts: Vec<usize>,
    ends: Vec<usize>,
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
    after: Logits,
}

/// What PyTorch computes for some rows.
#[derive(Deserialize)]
struct Logits {
    rows: Vec<InputRow>,
    start: Vec<Vec<f32>>,
    end: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct InputRow {
    ids: Vec<u32>,
    token_types: Vec<u32>,
}

impl Logits {
    fn rows(&self) -> Vec<Row> {
        let rows = self.rows.iter();
        rows.map(|row| (row.ids.clone(), row.token_types.clone()))
            .collect()
    }

    /// Returns the largest difference of a logit of a real token.
    fn difference(&self, model: &SpanModel, device: &Device) -> Result<f32> {
        let logits = model.forward(&batch(&self.rows(), device), Precision::Fp32);
        let found = [rows(logits.start)?, rows(logits.end)?].concat();
        let expected = [&self.start[..], &self.end[..]].concat();
        let differences = found.iter().zip(&expected).map(|(found, expected)| {
            let tokens = expected.len().min(found.len());
            largest_difference(&found[..tokens], &expected[..tokens])
        });
        Ok(differences.fold(0.0, f32::max))
    }
}

#[test]
fn optimizer_steps_equal_pytorch() -> Result<()> {
    let expected: Expected = jsonl::read_document(&saved("bert").join("expected.json"))?;
    let expected = expected.training;
    // Dropout samples from another generator than PyTorch's, so it is switched off.
    let directory = without_dropout()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let (mut model, _) = weights::load::<SpanModel>(directory.path(), &device)?;
        let mut optimizer = AdamW::new(OptimizerSettings::uniform(expected.weight_decay));
        let input = batch(&expected.after.rows(), &device);
        let answers = expected.starts.iter().zip(&expected.ends);
        let answers = answers.map(|(&start, &last)| Boundaries {
            answer: start..last + 1,
            rows: 1,
        });
        let targets = Targets::new(&answers.collect::<Vec<_>>(), 0.0, &input.mask);
        let steps = expected.losses.iter().zip(&expected.gradient_norms);
        for (expected_loss, expected_norm) in steps {
            let logits = model.forward(&input, Precision::Fp32);
            let loss = targets.boundary_loss(&logits).mean();
            let found_loss = loss.to_data().try_into_vec::<f32>().expect("f32")[0];
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let gradients = optimizer::clip(&model, gradients, expected.max_grad_norm, None);
            let norm = f64::from(gradients.norm().into_scalar::<f32>());
            model = optimizer.step(model, gradients, expected.learning_rate);
            assert!(
                (f64::from(found_loss) - expected_loss).abs() < 1e-4,
                "{name}: {found_loss}, not {expected_loss}"
            );
            assert!(
                (norm - expected_norm).abs() < 1e-3,
                "{name}: norm {norm}, not {expected_norm}"
            );
        }
        let plain = device.without_autodiff();
        let difference = expected.after.difference(&model.valid(), &plain)?;
        // PyTorch's own f32 and f64 runs of these steps differ by 1e-3; decay that does not spare
        // biases and layer norms changes the logits by 0.5.
        assert!(
            difference < 1e-2,
            "{name}: after training, logits differ by {difference}"
        );
    }
    Ok(())
}

/// Returns a copy of the tiny checkpoint whose configuration has no dropout.
fn without_dropout() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    let checkpoint = saved("bert");
    let weights = "model.safetensors";
    fs_err::copy(checkpoint.join(weights), file(weights))?;
    let mut config: Value = jsonl::read_document(&checkpoint.join("config.json"))?;
    config["hidden_dropout_prob"] = 0.0.into();
    config["attention_probs_dropout_prob"] = 0.0.into();
    jsonl::write_document(&file("config.json"), &config)?;
    Ok(directory)
}

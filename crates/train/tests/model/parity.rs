//! The same losses, gradient norms and optimizer steps as PyTorch.

use anyhow::Result;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use serde::Deserialize;
use spanwise_artifact::jsonl;
use spanwise_model::{SpanModel, weights};
use spanwise_ops::Precision;
use spanwise_train::objective::{Example, Targets};
use spanwise_training::optimizer::{AdamW, OptimizerSettings};

use crate::support::{batch, devices, tiny, values};

#[derive(Deserialize)]
struct Expected {
    training: Training,
}

#[derive(Deserialize)]
struct Case {
    rows: Vec<Row>,
    start: Vec<Vec<f32>>,
    end: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Row {
    ids: Vec<u32>,
    token_types: Vec<u32>,
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
    after: Case,
}

fn pairs(rows: &[Row]) -> Vec<(Vec<u32>, Vec<u32>)> {
    rows.iter()
        .map(|row| (row.ids.clone(), row.token_types.clone()))
        .collect()
}

impl Case {
    /// Largest difference of a logit of a real token.
    fn difference(&self, model: &SpanModel, device: &Device) -> Result<f32> {
        let logits = model.forward(&batch(&pairs(&self.rows), device), Precision::Fp32);
        let mut largest = 0f32;
        for (found, expected) in [
            (values(logits.start)?, &self.start),
            (values(logits.end)?, &self.end),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                let differences = found
                    .iter()
                    .zip(expected)
                    .map(|(found, expected)| (found - expected).abs());
                largest = differences.fold(largest, f32::max);
            }
        }
        Ok(largest)
    }
}

#[test]
fn optimizer_steps_equal_pytorch() -> Result<()> {
    let Training {
        learning_rate,
        weight_decay,
        max_grad_norm,
        starts,
        ends,
        losses,
        gradient_norms,
        after,
    } = jsonl::read_document::<Expected>(&tiny("bert").join("expected.json"))?.training;
    for (name, device) in devices() {
        // Dropout draws from another generator than PyTorch's, so it is switched off.
        let directory = without_dropout()?;
        let device = device.autodiff();
        let (mut model, _) = weights::load::<SpanModel>(directory.path(), &device)?;
        let mut optimizer = AdamW::new(OptimizerSettings::uniform(weight_decay, max_grad_norm));
        for (expected_loss, expected_norm) in losses.iter().zip(&gradient_norms) {
            let input = batch(&pairs(&after.rows), &device);
            let examples = starts.iter().zip(&ends).map(|(&start, &end)| Example {
                start,
                end,
                rows: 1,
            });
            let targets = Targets::new(&examples.collect::<Vec<_>>(), 0.0, &input.mask);
            let logits = model.forward(&input, Precision::Fp32);
            let loss = targets.boundaries(&logits).mean();
            let found_loss = loss
                .clone()
                .try_into_scalar::<f32>()
                .map_err(|error| anyhow::anyhow!("{error:?}"))?;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let norm;
            (model, norm) = optimizer.step(model, gradients, learning_rate, 1.0)?;
            assert!(
                (f64::from(found_loss) - expected_loss).abs() < 1e-4,
                "{name}: {found_loss}, not {expected_loss}"
            );
            assert!(
                (norm - expected_norm).abs() < 1e-3,
                "{name}: norm {norm}, not {expected_norm}"
            );
        }
        let difference = after.difference(&model.valid(), &device.without_autodiff())?;
        // PyTorch's own f32 and f64 runs of these steps differ by 1e-3; decay that does not spare biases and
        // layer norms changes the logits by 0.5.
        assert!(
            difference < 1e-2,
            "{name}: after training, logits differ by {difference}"
        );
    }
    Ok(())
}

/// A copy of the tiny checkpoint whose configuration has no dropout.
fn without_dropout() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    fs_err::copy(
        tiny("bert").join("model.safetensors"),
        directory.path().join("model.safetensors"),
    )?;
    let mut config: serde_json::Value = jsonl::read_document(&tiny("bert").join("config.json"))?;
    config["hidden_dropout_prob"] = 0.0.into();
    config["attention_probs_dropout_prob"] = 0.0.into();
    jsonl::write_document(&directory.path().join("config.json"), &config)?;
    Ok(directory)
}

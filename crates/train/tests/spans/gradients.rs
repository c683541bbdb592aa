//! The gradients of a batch, however it is cut and whatever is minimised, and the steps they lead
//! to.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use spanwise_artifact::settings::TrainTable;
use spanwise_model::{SpanModel, parameters};
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::tiny::{largest_difference, span_model, values};
use spanwise_training::backward::{self, BatchGradients};
use spanwise_training::{Batches, RunState, optimizer};

use crate::support::{SEED, settings, task};

/// Decides dropout and masks.
const STEP_SEED: u64 = 11;

/// Returns loss and gradients of the first batch.
fn first_batch(
    files: &Files,
    model: &SpanModel,
    device: &Device,
    settings: &TrainTable,
    precision: Precision,
    scale: f64,
) -> Result<BatchGradients> {
    let task = task(files, settings, device, precision)?;
    let hyperparameters = task.hyperparameters(SEED);
    let batch = Batches::new(&task, &hyperparameters).sample(0).remove(0);
    let scale = loss_scale(scale, device);
    let scale = Some(&scale);
    Ok(backward::batch(
        &task,
        &hyperparameters,
        model,
        &batch,
        STEP_SEED,
        scale,
    ))
}

/// A loss scale on a device that records no gradients.
fn loss_scale(scale: f64, device: &Device) -> Tensor<1> {
    Tensor::from_data([scale as f32], &device.clone().without_autodiff())
}

fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

/// Returns loss and gradients of the first batch, of 13 questions, the gradients flat.
fn gradients(
    files: &Files,
    model: &SpanModel,
    device: &Device,
    settings: TrainTable,
    precision: Precision,
    scale: f64,
) -> Result<(f64, Vec<f32>)> {
    let settings = TrainTable {
        batch_size: 13,
        ..settings
    };
    let found = first_batch(files, model, device, &settings, precision, scale)?;
    let gradients = parameters::with_gradients(model, found.gradients);
    assert_eq!(gradients.len(), parameters::named(model).len());
    let gradients = gradients.into_iter().flat_map(|(_, _, gradient)| {
        let values = gradient.into_data().try_into_vec::<f32>();
        values.expect("gradients are f32")
    });
    Ok((scalar(found.loss) / scale, gradients.collect()))
}

/// Compares loss and gradients of a batch in micro-batches of `sizes` with those of the whole
/// batch.
fn assert_micro_batches_add_up(settings: &TrainTable, sizes: &[usize]) -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = span_model(0.0, &device)?;
        let gradients = |micro_batch_size| {
            let settings = TrainTable {
                micro_batch_size,
                ..settings.clone()
            };
            gradients(&files, &model, &device, settings, Precision::Fp32, 1.0)
        };
        let (loss, whole) = gradients(None)?;
        for &size in sizes {
            let (split_loss, split) = gradients(Some(size))?;
            assert!(
                (loss - split_loss).abs() < 1e-5,
                "{name}: {loss} and {split_loss}"
            );
            let difference = largest_difference(&whole, &split);
            assert!(
                difference < 1e-5,
                "{name}: micro-batches of {size} differ by {difference}"
            );
        }
    }
    Ok(())
}

#[test]
fn micro_batches_add_up_to_the_batch() -> Result<()> {
    assert_micro_batches_add_up(&settings(), &[1, 4, 5])
}

#[test]
fn micro_batches_add_up_whatever_is_minimised() -> Result<()> {
    let settings = TrainTable {
        joint_loss: 0.5,
        soft_labels: 0.1,
        negative_windows: 1,
        r_drop: 1.0,
        ..settings()
    };
    assert_micro_batches_add_up(&settings, &[1, 5])
}

#[test]
fn gradient_checkpointing_changes_nothing() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = span_model(0.1, &device)?;
        for precision in [Precision::Fp32, Precision::Bf16] {
            let gradients = |gradient_checkpointing| {
                let settings = TrainTable {
                    micro_batch_size: Some(8),
                    gradient_checkpointing,
                    ..settings()
                };
                gradients(&files, &model, &device, settings, precision, 1.0)
            };
            let (kept_loss, kept) = gradients(false)?;
            let (loss, recomputed) = gradients(true)?;
            assert!(
                (kept_loss - loss).abs() < 1e-6,
                "{name}: {kept_loss} and {loss}"
            );
            let difference = largest_difference(&kept, &recomputed);
            let largest = largest_difference(&kept, &vec![0.0; kept.len()]);
            assert!(
                difference < 1e-6 * largest.max(1.0),
                "{name}, {precision:?}: gradients differ by {difference} of {largest}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_scaled_loss_has_scaled_gradients_until_they_overflow() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = span_model(0.0, &device)?;
        let gradients =
            |precision, scale| gradients(&files, &model, &device, settings(), precision, scale);
        let (loss, expected) = gradients(Precision::Fp32, 1.0)?;
        let (scaled_loss, scaled) = gradients(Precision::Fp16, 1024.0)?;
        assert!(
            (loss - scaled_loss).abs() < 0.02,
            "{name}: {loss} and {scaled_loss}"
        );
        let unscaled: Vec<f32> = scaled.iter().map(|gradient| gradient / 1024.0).collect();
        let difference = largest_difference(&expected, &unscaled);
        assert!(
            difference < 0.02,
            "{name}: gradients differ by {difference}"
        );

        let (_, overflowed) = gradients(Precision::Fp16, 1e9)?;
        assert!(overflowed.iter().any(|gradient| !gradient.is_finite()));
        let (_, wide) = gradients(Precision::Bf16, 1e9)?;
        assert!(wide.iter().all(|gradient| gradient.is_finite()), "{name}");
    }
    Ok(())
}

#[test]
fn a_step_that_overflowed_is_not_taken() -> Result<()> {
    let files = Files::new()?;
    let settings = settings();
    for (name, device) in devices() {
        let device = device.autodiff();
        let task = task(&files, &settings, &device, Precision::Fp16)?;
        let hyperparameters = task.hyperparameters(SEED);
        // One run sees an overflow between two good steps, the other does not.
        let mut after = Vec::new();
        for scales in [&[256.0, 1e9, 256.0][..], &[256.0, 256.0]] {
            let mut run = RunState::new(span_model(0.0, &device)?, &hyperparameters);
            for &scale in scales {
                let before = values(&run.model);
                let found = first_batch(
                    &files,
                    &run.model,
                    &device,
                    &settings,
                    Precision::Fp16,
                    scale,
                )?;
                let scale_tensor = loss_scale(scale, &device);
                let gradients =
                    optimizer::clip(&run.model, found.gradients, 1.0, Some(&scale_tensor));
                let norm = scalar(gradients.norm());
                assert_eq!(norm.is_finite(), scale < 1e9, "{name}: {norm} at {scale}");
                run.update(gradients, 1e-3);
                assert_eq!(norm.is_finite(), values(&run.model) != before, "{name}");
            }
            assert_eq!(run.step, scales.len(), "{name}");
            after.push(values(&run.model));
        }
        assert_eq!(after[0], after[1], "{name}: the overflow left a trace");
    }
    Ok(())
}

#[test]
fn an_adversarial_step_raises_the_loss() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = span_model(0.0, &device)?;
        let gradients = |fgm| {
            let settings = TrainTable { fgm, ..settings() };
            gradients(&files, &model, &device, settings, Precision::Fp32, 1.0)
        };
        let (loss, clean) = gradients(0.0)?;
        let (same_loss, far) = gradients(0.5)?;
        assert_eq!(
            loss, same_loss,
            "{name}: the loss that is logged is the clean one"
        );
        // A step of no length doubles the gradients; a longer one leads where they differ.
        let (_, doubled) = gradients(1e-6)?;
        let twice: Vec<f32> = clean.iter().map(|gradient| 2.0 * gradient).collect();
        assert!(largest_difference(&twice, &doubled) < 1e-4, "{name}");
        assert!(largest_difference(&twice, &far) > 1e-3, "{name}");
    }
    Ok(())
}

#[test]
fn lower_layers_take_smaller_steps() -> Result<()> {
    let files = Files::new()?;
    let settings = TrainTable {
        weight_decay: 0.0,
        layer_decay: 0.5,
        ..settings()
    };
    for (name, device) in devices() {
        let device = device.autodiff();
        let hyperparameters =
            task(&files, &settings, &device, Precision::Fp32)?.hyperparameters(SEED);
        let mut run = RunState::new(span_model(0.1, &device)?, &hyperparameters);
        let parts = |model: &SpanModel| {
            [
                values(&model.encoder.embeddings),
                values(&model.encoder.layers[0]),
                values(&model.encoder.layers[1]),
                values(&model.span_head),
            ]
        };
        let before = parts(&run.model.valid());
        let found = first_batch(&files, &run.model, &device, &settings, Precision::Fp32, 1.0)?;
        let gradients = optimizer::clip(&run.model, found.gradients, 1.0, None);
        run.update(gradients, 1e-2);
        // Adam's first step has the learning rate's length in every parameter that has a gradient.
        let after = parts(&run.model);
        let pairs = before.iter().zip(&after);
        let steps: Vec<f32> = pairs.map(|(a, b)| largest_difference(a, b)).collect();
        for (step, expected) in steps.iter().zip([0.125, 0.25, 0.5, 1.0]) {
            let expected = expected * 1e-2;
            assert!(
                (step - expected).abs() < 1e-3 * expected,
                "{name}: {steps:?}"
            );
        }
    }
    Ok(())
}

//! The gradients of a batch, however it is cut and whatever is minimised, and the steps they make.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use spanwise_artifact::settings::TrainTable;
use spanwise_model::encoder::SpanModel;
use spanwise_ops::Precision;
use spanwise_train::epoch::{self, Draw, Example};
use spanwise_training::optimizer::{AdamW, OptimizerSettings};

use crate::support::devices;
use crate::task::{Files, begin, files, largest_difference, model, parameters, settings};

/// All gradients, by parameter, flattened.
fn flatten(model: &SpanModel, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self
                .0
                .get::<D>(param.id)
                .expect("every parameter has a gradient");
            self.1.extend(
                gradient
                    .into_data()
                    .try_into_vec::<f32>()
                    .expect("gradients are f32"),
            );
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

/// The first batch of an epoch.
fn batch(files: &Files, batch_size: usize) -> Vec<Example> {
    let draw = Draw {
        batch_size,
        negative_windows: 0,
        seed: 7,
    };
    let questions = epoch::trainable(&files.train, &files.layout);
    epoch::batches(&files.train, &files.layout, &questions, draw, 0).remove(0)
}

/// Loss and gradients of the first batch, of 13 questions.
fn gradients(
    files: &Files,
    model: &SpanModel,
    device: &Device,
    settings: TrainTable,
    precision: Precision,
    scale: f64,
) -> Result<(f64, Vec<f32>)> {
    let run = files.run(&settings, device, precision);
    let (loss, gradients, _) = run.gradients(model, &batch(files, 13), 11, scale)?;
    Ok((loss, flatten(model, &gradients)))
}

/// Holds loss and gradients of a batch in micro-batches of `sizes` to those of the batch in one piece.
fn assert_micro_batches_add_up(settings: &TrainTable, sizes: &[usize]) -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |micro_batch_size| {
            let settings = TrainTable {
                batch_size: 13,
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
fn micro_batches_add_up_however_the_loss_is_made() -> Result<()> {
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
fn recomputing_activations_changes_nothing() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.1, &device)?;
        for precision in [Precision::Fp32, Precision::Bf16] {
            let gradients = |gradient_checkpointing| {
                let settings = TrainTable {
                    batch_size: 13,
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
fn a_scaled_loss_gives_scaled_gradients_until_they_overflow() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |precision, scale| {
            let settings = TrainTable {
                batch_size: 13,
                ..settings()
            };
            gradients(&files, &model, &device, settings, precision, scale)
        };
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
    let files = files()?;
    let settings = settings();
    for (name, device) in devices() {
        let device = device.autodiff();
        let mut model = model(0.0, &device)?;
        let run = files.run(&settings, &device, Precision::Fp16);
        let batch = batch(&files, 8);
        // One optimizer sees an overflow between two good steps, the other does not.
        let mut after = Vec::new();
        for scales in [&[256.0, 1e9, 256.0][..], &[256.0, 256.0]] {
            let mut optimizer = AdamW::new(OptimizerSettings::uniform(0.01, 1.0));
            let mut trained = model.clone();
            for &scale in scales {
                let before = parameters(&trained);
                let (_, gradients, _) = run.gradients(&trained, &batch, 11, scale)?;
                let norm;
                (trained, norm) = optimizer.step(trained, gradients, 1e-3, scale)?;
                assert_eq!(norm.is_finite(), scale < 1e9, "{name}: {norm} at {scale}");
                assert_eq!(norm.is_finite(), parameters(&trained) != before, "{name}");
            }
            after.push(parameters(&trained));
            model = self::model(0.0, &device)?;
        }
        assert_eq!(after[0], after[1], "{name}: the overflow left a trace");
    }
    Ok(())
}

#[test]
fn an_adversarial_step_raises_the_loss() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
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
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let settings = TrainTable {
            weight_decay: 0.0,
            layer_decay: 0.5,
            ..settings()
        };
        let mut training = begin(&settings, &device, Precision::Fp32)?;
        let before = training.model.clone().valid();
        let widths = |model: &SpanModel| {
            [
                parameters(&model.encoder.embeddings),
                parameters(&model.encoder.layers[0]),
                parameters(&model.encoder.layers[1]),
                parameters(&model.span_head),
            ]
        };
        let before = widths(&before);
        let run = files.run(&settings, &device, Precision::Fp32);
        let (_, gradients, _) = run.gradients(&training.model, &batch(&files, 8), 11, 1.0)?;
        training.update(gradients, 1e-2)?;
        // Adam's first step has the learning rate's length in every parameter that has a gradient.
        let after = widths(&training.model);
        let steps: Vec<f32> = before
            .iter()
            .zip(&after)
            .map(|(a, b)| largest_difference(a, b))
            .collect();
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

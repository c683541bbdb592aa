//! Fine-tuning on spans: the whole loop on one screen.

pub mod backward;
pub mod epoch;
pub mod export;
pub mod log;
pub mod memory;
pub mod optimizer;
pub mod scaler;
pub mod schedule;
pub mod state;

mod placement;

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::progress::Progress;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::TrainSettings;
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_artifact::{Characters, UserError};
use spanwise_ops as ops;
use spanwise_ops::Precision;

use crate::batch::{Batch, within_budget};
use crate::encoder::{SpanLogits, SpanModel};
use crate::score::{Scorer, answer_in};
use backward::Backward;
use epoch::mix;
use log::{Evaluation, Record, TrainingLog};
use state::Training;

/// Longest dev answer considered while training, in characters. Only measures progress.
const DEV_ANSWER_LENGTH: usize = 40;

/// What a run learns from and how.
pub struct Run<'a> {
    /// `[train]`.
    pub settings: &'a TrainSettings,
    /// Decides windows, order and dropout.
    pub seed: u64,
    /// Records gradients.
    pub device: &'a Device,
    /// Of matrix products.
    pub precision: Precision,
    /// Pair template and lengths.
    pub layout: &'a Layout,
    /// Training questions.
    pub train: &'a WindowFile,
    /// Dev questions and their reference answers, where there are any.
    pub dev: Option<(&'a WindowFile, &'a Questions)>,
}

impl Run<'_> {
    /// Takes a run, from its beginning or from where it was interrupted, to its end. `after_step` sees it
    /// after every step.
    pub fn train(
        &self,
        training: &mut Training,
        log: &mut TrainingLog,
        mut after_step: impl FnMut(&Training) -> Result<()>,
    ) -> Result<()> {
        let settings = self.settings;
        let questions = epoch::trainable(self.train, self.layout);
        ensure!(
            !questions.is_empty(),
            UserError::new("no training question has an answer that fits a window")
        );
        let steps_per_epoch = questions.len().div_ceil(settings.batch_size);
        let total = settings.epochs * steps_per_epoch;
        tracing::info!("{} questions to learn from, {total} steps", questions.len());

        // A broken dev path should fail now and not after an epoch.
        self.evaluate(&training.model, 2 * settings.micro_batch_size())?;

        let mut progress = Progress::new("train", total - training.step);
        while training.step < total {
            let epoch = training.step / steps_per_epoch;
            let batches = epoch::batches(
                self.train,
                self.layout,
                &questions,
                settings.batch_size,
                self.seed,
                epoch,
            );
            for batch in &batches[training.step % steps_per_epoch..] {
                let note = self.step(training, batch, epoch, total, log)?;
                progress.note(note);
                progress.advance(1);
                let step = training.step;
                let every = settings
                    .evaluate_every
                    .is_some_and(|every| step.is_multiple_of(every));
                if every || step.is_multiple_of(steps_per_epoch) {
                    self.log_evaluation(&training.model, step, epoch, log)?;
                }
                after_step(training)?;
            }
        }
        Ok(())
    }

    /// One optimizer step, on one batch. Gives a note on it for people.
    fn step(
        &self,
        training: &mut Training,
        batch: &[Window],
        epoch: usize,
        total: usize,
        log: &mut TrainingLog,
    ) -> Result<String> {
        let Training {
            model,
            optimizer,
            scaler,
            step,
        } = training;
        let began = Instant::now();
        let learning_rate = schedule::learning_rate(self.settings, *step, total);
        let seed = mix(self.seed, *step as u64);
        let scale = scaler.scale();
        let (loss, gradients, tokens) = self.gradients(model, batch, seed, scale)?;
        let (updated, gradient_norm) =
            optimizer.step(model.clone(), gradients, learning_rate, scale)?;
        ensure!(
            scaler.update(!gradient_norm.is_finite()),
            UserError::new(format!(
                "training diverged at step {step}: the gradient norm is {gradient_norm}"
            ))
            .hint("lower train.learning_rate or raise train.warmup")
        );
        *model = updated;
        *step += 1;
        let tokens_per_second = tokens as f64 / began.elapsed().as_secs_f64();
        log.push(Record::Step {
            step: *step,
            epoch: epoch + 1,
            loss,
            learning_rate,
            gradient_norm,
            loss_scale: scaler.is_dynamic().then_some(scale),
            tokens_per_second,
        })?;
        Ok(format!("loss {loss:.3}, {tokens_per_second:.0} tokens/s"))
    }

    /// Mean loss of a batch, the gradients of that loss times `scale`, and the number of real tokens. The
    /// batch goes through the model in micro-batches; each counts by its share of questions, so the split
    /// changes nothing. `seed` decides what dropout drops.
    pub fn gradients(
        &self,
        model: &SpanModel,
        batch: &[Window],
        seed: u64,
        scale: f64,
    ) -> Result<(f64, GradientsParams, usize)> {
        let mut gradients = GradientsAccumulator::new();
        let mut losses = Vec::new();
        let mut tokens = 0;
        for (index, windows) in
            within_budget(self.train, self.layout, batch, self.tokens_per_pass())
                .into_iter()
                .enumerate()
        {
            let input = Batch::from_windows(self.train, self.layout, windows, self.device);
            tokens += input.tokens;
            let loss = |logits| {
                let (starts, ends) = self.targets(windows);
                span_loss(logits, input.mask.clone(), starts, ends)
                    .sum()
                    .mul_scalar(scale / batch.len() as f64)
            };
            let backward = Backward {
                model,
                batch: &input,
                precision: self.precision,
                seed: mix(seed, index as u64),
            };
            let recomputes = self.settings.checkpoint_activations;
            losses.push(backward.run(recomputes, loss, &mut gradients));
        }
        let loss = Tensor::cat(losses, 0)
            .sum()
            .try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))?;
        Ok((f64::from(loss) / scale, gradients.grads(), tokens))
    }

    /// What a forward pass holds: `micro_batch_size` windows of full length, or more that are shorter.
    fn tokens_per_pass(&self) -> usize {
        self.settings.micro_batch_size() * self.layout.max_length
    }

    /// Input positions of the answers' first and last tokens, `[batch]` each.
    fn targets(&self, windows: &[Window]) -> (Tensor<1, Int>, Tensor<1, Int>) {
        let positions = windows.iter().map(|window| {
            let question = self.train.question_tokens(window.question).len();
            let paragraph = self.layout.template.paragraph_start(question);
            let (first, last) =
                answer_in(self.train, window).expect("training windows contain their answer");
            ((paragraph + first) as i64, (paragraph + last) as i64)
        });
        let (starts, ends): (Vec<i64>, Vec<i64>) = positions.unzip();
        let tensor = |values: Vec<i64>| {
            let shape = [values.len()];
            Tensor::from_data(TensorData::new(values, shape), self.device)
        };
        (tensor(starts), tensor(ends))
    }

    fn log_evaluation(
        &self,
        model: &SpanModel,
        step: usize,
        epoch: usize,
        log: &mut TrainingLog,
    ) -> Result<()> {
        let Some((dev, _)) = self.dev else {
            return Ok(());
        };
        let (dev_loss, dev_exact_match) = self.evaluate(model, dev.questions())?;
        tracing::info!("step {step}: dev loss {dev_loss:.3}, exact match {dev_exact_match:.3}");
        let epoch = epoch + 1;
        log.push(Record::Evaluation(Evaluation {
            step,
            epoch,
            dev_loss,
            dev_exact_match,
            dev_questions: dev.questions(),
        }))
    }

    /// Loss and exact match on the first `questions` dev questions, without dropout.
    fn evaluate(&self, model: &SpanModel, questions: usize) -> Result<(f64, f64)> {
        let Some((dev, references)) = self.dev else {
            return Ok((f64::NAN, f64::NAN));
        };
        let model = model.valid();
        let device = self.device.clone().without_autodiff();
        let scorer = Scorer {
            model: &model,
            device: &device,
            layout: self.layout,
            precision: self.precision,
            // Without activations to keep, twice as many fit.
            tokens_per_pass: 2 * self.tokens_per_pass(),
        };
        let mut exact = 0;
        let loss = scorer.score(dev, questions, |index, scores, _| {
            let question = &references.questions[index];
            let paragraph = Characters::new(references.paragraph(question));
            let best = scores.view().best_spans(DEV_ANSWER_LENGTH, 1);
            let answer = best.first().and_then(|span| paragraph.get(span.range()));
            exact += usize::from(
                question
                    .answers
                    .iter()
                    .any(|reference| Some(&*reference.text) == answer),
            );
            Ok(())
        })?;
        Ok((
            loss.value(),
            exact as f64 / questions.min(dev.questions()) as f64,
        ))
    }
}

/// Loss of every row, `[batch]`: the mean of start and end cross-entropy.
///
/// `mask`: `[batch, tokens]`, as in [`Batch`]; `starts` and `ends`: input positions of the answers' first
/// and last tokens, `[batch]`.
pub fn span_loss(
    logits: SpanLogits,
    mask: Tensor<2>,
    starts: Tensor<1, Int>,
    ends: Tensor<1, Int>,
) -> Tensor<1> {
    let start = ops::position_cross_entropy(logits.start, mask.clone(), starts);
    let end = ops::position_cross_entropy(logits.end, mask, ends);
    (start + end).div_scalar(2.0)
}

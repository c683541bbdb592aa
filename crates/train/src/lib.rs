//! Fine-tuning on spans: the loop, and one batch's gradients.

mod adversary;
pub mod epoch;
pub mod export;
pub mod objective;

mod placement;

use anyhow::{Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;
use spanwise_artifact::questions::{Questions, in_sample};
use spanwise_artifact::scores::{ScoreFile, ScoresView};
use spanwise_artifact::settings::{DistillTable, TrainTable};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_artifact::{Characters, UserError};
use spanwise_ops::Precision;
use spanwise_program::progress::Progress;

use epoch::{Draw, Example};
use objective::{Lesson, Targets};
use spanwise_model::batch::{self, Batch, Row, within_budget};
use spanwise_model::encoder::SpanModel;
use spanwise_model::score::{Scorer, answer_in};
use spanwise_training::backward::Backward;
use spanwise_training::log::{Evaluation, Record, TrainingLog};
use spanwise_training::seed::mix;
use spanwise_training::state::Training;
use spanwise_training::{mask, schedule};

/// Longest dev answer considered while training, in characters. Only measures progress.
const DEV_ANSWER_LENGTH: usize = 40;

/// Dev questions answered while training, from all over the file. Nothing is chosen by them, and all of them are
/// answered by predict: these show whether a run gets anywhere, to ±0.04, in a quarter of the time or less.
const DEV_QUESTIONS: usize = 128;

/// Dev questions answered before training, to see that they can be.
const FIRST_DEV_QUESTIONS: usize = 4;

/// What a run learns from and how.
pub struct Run<'a> {
    /// `[train]`.
    pub settings: &'a TrainTable,
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
    /// An ensemble's scores of the training questions, to learn from as well.
    pub teacher: Option<(&'a ScoreFile, DistillTable)>,
    /// Dev questions and their reference answers, where there are any.
    pub dev: Option<(&'a WindowFile, &'a Questions)>,
}

impl Run<'_> {
    /// Takes a run, from its beginning or from where it was interrupted, to its end. `after_step` sees it
    /// after every step.
    pub fn train(
        &self,
        training: &mut Training<SpanModel>,
        log: &mut TrainingLog,
        mut after_step: impl FnMut(&Training<SpanModel>) -> Result<()>,
    ) -> Result<()> {
        let settings = self.settings;
        let questions = epoch::trainable(self.train, self.layout);
        ensure!(
            !questions.is_empty(),
            UserError::new("no training question has an answer that fits a window")
        );
        ensure!(
            self.mask_id().is_some() || settings.mask_inputs == 0.0,
            UserError::new("train.mask_inputs needs a masking token, and the tokenizer has none")
        );
        let steps_per_epoch = questions.len().div_ceil(settings.batch_size);
        let total = settings.epochs * steps_per_epoch;
        tracing::info!("{} questions to learn from, {total} steps", questions.len());

        // A broken dev path should fail now and not after an epoch.
        self.evaluate(&training.model, FIRST_DEV_QUESTIONS)?;

        let position = |training: &Training<SpanModel>| {
            schedule::position(settings.max_minutes, training.step, training.seconds, total)
        };
        let mut place = position(training);
        let mut progress = Progress::new("train", total - place as usize);
        while place < total as f64 {
            let epoch = training.step / steps_per_epoch;
            let draw = Draw {
                batch_size: settings.batch_size,
                negative_windows: settings.negative_windows,
                seed: self.seed,
            };
            let batches = epoch::batches(self.train, self.layout, &questions, draw, epoch);
            for batch in &batches[training.step % steps_per_epoch..] {
                let learning_rate = schedule::learning_rate(settings, place, total);
                let note = self.step(training, batch, epoch, learning_rate, log)?;
                progress.note(note);
                let before = std::mem::replace(&mut place, position(training));
                progress.advance(place as usize - before as usize);
                let step = training.step;
                let over = place >= total as f64;
                let every = settings
                    .eval_steps
                    .is_some_and(|every| step.is_multiple_of(every));
                if every || over || step.is_multiple_of(steps_per_epoch) {
                    self.log_evaluation(training.result(), step, epoch, log)?;
                }
                after_step(training)?;
                if over {
                    break;
                }
            }
        }
        if training.step < total {
            tracing::warn!(
                "train.max_minutes ended it after {} of {total} steps, {:.1} of {} epochs",
                training.step,
                training.step as f64 / steps_per_epoch as f64,
                settings.epochs
            );
        }
        Ok(())
    }

    /// One optimizer step, on one batch. Gives a note on it for people.
    fn step(
        &self,
        training: &mut Training<SpanModel>,
        batch: &[Example],
        epoch: usize,
        learning_rate: f64,
        log: &mut TrainingLog,
    ) -> Result<String> {
        let seed = mix(self.seed, training.step as u64);
        training.take_step(epoch, learning_rate, log, |model, scale| {
            self.gradients(model, batch, seed, scale)
        })
    }

    /// Mean loss of a batch, the gradients of that loss times `scale`, and the number of real tokens. The
    /// batch goes through the model in micro-batches; each counts by its share of questions, so the split
    /// changes nothing. `seed` decides what dropout drops and what is masked.
    pub fn gradients(
        &self,
        model: &SpanModel,
        batch: &[Example],
        seed: u64,
        scale: f64,
    ) -> Result<(f64, GradientsParams, usize)> {
        let mut gradients = GradientsAccumulator::new();
        let mut losses = Vec::new();
        let mut tokens = 0;
        let passes = if self.settings.r_drop > 0.0 { 2 } else { 1 };
        let size = |example: &Example| {
            let rows = passes * example.windows.len();
            let longest = example.length(self.train, self.layout);
            (rows, batch::width(longest, self.layout.max_length))
        };
        for (index, examples) in within_budget(batch, size, self.tokens_per_pass())
            .into_iter()
            .enumerate()
        {
            let seed = mix(seed, index as u64);
            let once = self.input(examples, seed);
            tokens += once.tokens;
            let targets = self.targets(examples, &once.mask);
            let input = if passes == 2 {
                once.twice()
            } else {
                once.clone()
            };
            let backward = |model: &SpanModel, gradients: &mut GradientsAccumulator<SpanModel>| {
                let backward = Backward {
                    model,
                    batch: &input,
                    precision: self.precision,
                    seed,
                };
                let loss = |hidden| {
                    objective::loss(model, &hidden, &once.mask, &targets, self.settings)
                        .mul_scalar(scale / batch.len() as f64)
                };
                let recomputes = self.settings.gradient_checkpointing;
                backward.run(recomputes, loss, gradients)
            };
            if self.settings.fgm > 0.0 {
                let mut clean = GradientsAccumulator::new();
                losses.push(backward(model, &mut clean));
                let clean = clean.grads();
                if let Some(attacked) = adversary::attack(model, &clean, self.settings.fgm) {
                    backward(&attacked, &mut gradients);
                }
                gradients.accumulate(model, clean);
            } else {
                losses.push(backward(model, &mut gradients));
            }
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

    /// The windows of `examples` as the model reads them.
    fn input(&self, examples: &[Example], seed: u64) -> Batch {
        let mut random = StdRng::seed_from_u64(seed);
        let windows = examples.iter().flat_map(|example| &example.windows);
        let rows: Vec<Row> = windows
            .map(|window| self.row(window, &mut random))
            .collect();
        Batch::from_rows(&rows, self.layout, self.device)
    }

    /// One window's input, some of its tokens masked if that is asked for, the answer's never.
    fn row(&self, window: &Window, random: &mut StdRng) -> Row {
        let (mut ids, types) = batch::row(self.train, self.layout, window);
        if let Some(mask) = self.mask_id() {
            let texts = batch::text(self.train, self.layout, window);
            let paragraph = texts[1].start;
            let answer = answer_in(self.train, window)
                .map(|(first, last)| paragraph + first..=paragraph + last);
            for text in &texts {
                for place in mask::draw(text, self.settings.mask_inputs, 1, random) {
                    if answer
                        .as_ref()
                        .is_none_or(|answer| !answer.contains(&place))
                    {
                        ids[place] = mask;
                    }
                }
            }
        }
        (ids, types)
    }

    /// The masking token, where inputs are masked.
    fn mask_id(&self) -> Option<u32> {
        let mask = self.layout.template.mask_id;
        mask.filter(|_| self.settings.mask_inputs > 0.0)
    }

    fn targets(&self, examples: &[Example], mask: &Tensor<2>) -> Targets {
        let places = examples.iter().map(|example| {
            let window = &example.windows[0];
            let [_, paragraph] = batch::text(self.train, self.layout, window);
            let (first, last) =
                answer_in(self.train, window).expect("an example's first window has its answer");
            objective::Example {
                start: paragraph.start + first,
                end: paragraph.start + last,
                rows: example.windows.len(),
            }
        });
        let targets = Targets::new(&places.collect::<Vec<_>>(), self.settings.soft_labels, mask);
        let Some((teacher, distill)) = self.teacher else {
            return targets;
        };
        let lessons = examples.iter().map(|example| {
            let window = &example.windows[0];
            let [_, paragraph] = batch::text(self.train, self.layout, window);
            lesson(
                self.train,
                window,
                paragraph.start,
                teacher.get(window.question),
                distill.temperature as f32,
            )
        });
        targets.with_lessons(&lessons.collect::<Vec<_>>(), distill)
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
        let dev_questions = dev.questions().min(DEV_QUESTIONS);
        let (dev_loss, dev_exact_match) = self.evaluate(model, dev_questions)?;
        tracing::info!("step {step}: dev loss {dev_loss:.3}, exact match {dev_exact_match:.3}");
        let epoch = epoch + 1;
        log.push(Record::Evaluation(Evaluation {
            step,
            epoch,
            dev_loss,
            dev_exact_match,
            dev_questions,
        }))
    }

    /// Loss and exact match on `count` of the dev questions, evenly spread, without dropout.
    fn evaluate(&self, model: &SpanModel, count: usize) -> Result<(f64, f64)> {
        let Some((dev, references)) = self.dev else {
            return Ok((f64::NAN, f64::NAN));
        };
        let all = dev.questions();
        let count = count.min(all);
        let windows = dev
            .evaluation_windows()
            .filter(|window| in_sample(window.question, count, all));
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
        let loss = scorer.score(dev, windows, |index, scores, _| {
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
        Ok((loss.value(), exact as f64 / count as f64))
    }
}

/// What a teacher's scores of a paragraph's characters say of a window's tokens. A token that the teacher cannot express
/// counts as the tightest span around it.
fn lesson(
    file: &WindowFile,
    window: &Window,
    first: usize,
    scores: ScoresView,
    temperature: f32,
) -> Lesson {
    let covering = scores.covering();
    let characters = |token| file.characters(window.question, token);
    let start = window
        .tokens
        .clone()
        .map(|token| covering.start[characters(token).start]);
    let end = window
        .tokens
        .clone()
        .map(|token| covering.end[characters(token).end - 1]);
    Lesson {
        first,
        start: softmax(start.collect(), temperature),
        end: softmax(end.collect(), temperature),
    }
}

/// Probabilities of scores; all alike where no score is one.
fn softmax(scores: Vec<f32>, temperature: f32) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return vec![1.0 / scores.len() as f32; scores.len()];
    }
    let weights: Vec<f32> = scores
        .iter()
        .map(|score| ((score - largest) / temperature).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

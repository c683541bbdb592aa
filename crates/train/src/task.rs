//! What is learned: for every question, where its answer starts and ends among the tokens of
//! windows of its paragraph.

use anyhow::{Result, ensure};
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;
use spanwise_artifact::UserError;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{self, ScoreFile};
use spanwise_artifact::settings::{DistillTable, Precision, TrainTable};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_model::SpanModel;
use spanwise_model::batch::Batch;
use spanwise_model::pair_template::{
    Row, answer_range, input_length, input_row, question_and_paragraph_ranges,
};
use spanwise_training::log::DevMetrics;
use spanwise_training::{BackwardPass, Hyperparameters, MicroBatch, Task, derive_seed};

use crate::evaluation::{self, Dev};
use crate::loss::{Boundaries, Targets};
use crate::placement;
use crate::regularisers::{adversary, distillation, masked_inputs};

/// What is learned from.
#[derive(Clone, Copy)]
pub struct TrainingData<'a> {
    /// Pair template and lengths.
    pub layout: &'a Layout,
    /// Training questions.
    pub train: &'a WindowFile,
    /// An ensemble's scores of the training questions, to learn from as well.
    pub teacher: Option<(&'a ScoreFile, DistillTable)>,
    /// Dev questions and their reference answers, where there are any.
    pub dev: Option<(&'a WindowFile, &'a Questions)>,
}

/// A question to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingExample {
    /// A window that holds the whole answer, then `negative_windows` from the rest of the
    /// paragraph.
    pub windows: Vec<Window>,
}

/// Learns spans as `[train]` says.
pub struct SpanTask<'a> {
    data: TrainingData<'a>,
    settings: &'a TrainTable,
    device: &'a Device,
    precision: Precision,
    questions: Vec<usize>,
}

impl<'a> SpanTask<'a> {
    /// The task of learning from `data` on `device`, which records gradients. Refuses data without
    /// a question to learn from, and masked inputs where the tokenizer has no masking token.
    pub fn new(
        data: TrainingData<'a>,
        settings: &'a TrainTable,
        device: &'a Device,
        precision: Precision,
    ) -> Result<Self> {
        let questions = learnable(data.train, data.layout);
        ensure!(
            !questions.is_empty(),
            UserError::new("no training question has an answer that fits a window")
        );
        ensure!(
            data.layout.template.mask_id.is_some() || settings.mask_inputs == 0.0,
            UserError::new("train.mask_inputs needs a masking token, and the tokenizer has none")
        );
        if let Some((teacher, _)) = data.teacher {
            check_teacher(teacher, data.train)?;
        }
        Ok(Self {
            data,
            settings,
            device,
            precision,
            questions,
        })
    }

    /// Returns what the loop needs to know of the settings.
    pub fn hyperparameters(&self, seed: u64) -> Hyperparameters {
        let settings = self.settings;
        Hyperparameters {
            seed,
            epochs: settings.epochs,
            max_minutes: settings.max_minutes,
            batch_size: settings.batch_size,
            micro_batch_size: settings.micro_batch_size(),
            max_length: self.data.layout.max_length,
            learning_rate: settings.learning_rate,
            schedule: settings.schedule,
            warmup_ratio: settings.warmup_ratio,
            weight_decay: settings.weight_decay,
            max_grad_norm: settings.max_grad_norm,
            layer_decay: settings.layer_decay,
            ema: settings.ema,
            precision: self.precision,
            gradient_checkpointing: settings.gradient_checkpointing,
            eval_steps: settings.eval_steps,
            load_best_model_at_end: settings.load_best_model_at_end,
            early_stopping_patience: settings.early_stopping_patience,
        }
    }

    /// Samples a question's windows; `None` where its answer fits none.
    fn example(&self, question: usize, random: &mut StdRng) -> Option<TrainingExample> {
        let TrainingData { train, layout, .. } = self.data;
        let tokens = train.paragraph_tokens(question).len();
        let room = layout.room(train.question_tokens(question).len());
        let answer = train.answer(question)?;
        let positive = placement::around(layout.placement, tokens, room, answer.clone(), random)?;
        let negatives = (0..self.settings.negative_windows)
            .filter_map(|_| placement::without(tokens, room, answer.clone(), random));
        let windows = std::iter::once(positive).chain(negatives);
        Some(TrainingExample {
            windows: windows.map(|tokens| Window { question, tokens }).collect(),
        })
    }

    fn micro_batch(&self, examples: &[TrainingExample], seed: u64) -> MicroBatch<Targets> {
        let mut random = StdRng::seed_from_u64(seed);
        let windows = examples.iter().flat_map(|example| &example.windows);
        let rows: Vec<Row> = windows
            .map(|window| self.row(window, &mut random))
            .collect();
        let once = Batch::from_rows(&rows, self.data.layout, self.device);
        MicroBatch {
            targets: self.targets(examples, &once.mask),
            losses: examples.len(),
            tokens: once.tokens,
            input: if self.settings.r_drop > 0.0 {
                once.twice()
            } else {
                once
            },
        }
    }

    /// Returns a window's input, some of its tokens masked where that is asked for.
    fn row(&self, window: &Window, random: &mut StdRng) -> Row {
        let TrainingData { train, layout, .. } = self.data;
        let (mut ids, types) = input_row(train, layout, window);
        let probability = self.settings.mask_inputs;
        if let Some(mask) = layout.template.mask_id.filter(|_| probability > 0.0) {
            let texts = question_and_paragraph_ranges(train, layout, window);
            let answer = answer_range(train, layout, window);
            masked_inputs::mask(&mut ids, &texts, answer, probability, mask, random);
        }
        (ids, types)
    }

    /// Returns the labels of examples. `mask`: their rows', `[rows, tokens]`.
    fn targets(&self, examples: &[TrainingExample], mask: &Tensor<2>) -> Targets {
        let TrainingData { train, layout, .. } = self.data;
        let boundaries = examples.iter().map(|example| Boundaries {
            answer: answer_range(train, layout, &example.windows[0])
                .expect("an example's first window has its answer"),
            rows: example.windows.len(),
        });
        let boundaries: Vec<_> = boundaries.collect();
        let targets = Targets::new(&boundaries, self.settings.soft_labels, mask);
        let Some((teacher, settings)) = self.data.teacher else {
            return targets;
        };
        let soft_targets = examples.iter().map(|example| {
            let window = &example.windows[0];
            let [_, paragraph] = question_and_paragraph_ranges(train, layout, window);
            let scores = teacher.get(window.question);
            let scores = scores.expect("all were read when the task was made");
            let temperature = settings.temperature as f32;
            distillation::soft_targets(train, window, paragraph.start, scores.view(), temperature)
        });
        targets.with_teacher(&soft_targets.collect::<Vec<_>>(), settings)
    }

    /// Returns the dev split; `None` where there is none.
    fn dev(&self) -> Option<Dev<'_>> {
        let (windows, references) = self.data.dev?;
        Some(Dev {
            windows,
            references,
            layout: self.data.layout,
            device: self.device,
            precision: self.precision,
            // Without activations to keep, twice as many fit.
            tokens_per_pass: 2 * self.settings.micro_batch_size() * self.data.layout.max_length,
        })
    }

    /// Returns loss and task exact match on so many dev questions; `None` where none can be
    /// measured.
    fn dev_metrics(&self, model: &SpanModel, questions: usize) -> Result<Option<DevMetrics>> {
        match self.dev() {
            Some(dev) => evaluation::evaluate(model, dev, questions),
            None => Ok(None),
        }
    }
}

impl Task for SpanTask<'_> {
    const NAME: &'static str = "train";
    type Model = SpanModel;
    type Item = TrainingExample;
    type Targets = Targets;

    fn items(&self) -> usize {
        self.questions.len()
    }

    fn sample(&self, random: &mut StdRng) -> Vec<TrainingExample> {
        let questions = self.questions.iter();
        questions
            .filter_map(|&question| self.example(question, random))
            .collect()
    }

    fn rows(&self, example: &TrainingExample) -> usize {
        let copies = if self.settings.r_drop > 0.0 { 2 } else { 1 };
        copies * example.windows.len()
    }

    fn length(&self, example: &TrainingExample) -> usize {
        let TrainingData { train, layout, .. } = self.data;
        let windows = example.windows.iter();
        let lengths = windows.map(|window| input_length(train, layout, window));
        lengths.max().unwrap_or(0)
    }

    fn micro_batches(&self, parts: &[&[TrainingExample]], seed: u64) -> Vec<MicroBatch<Targets>> {
        let parts = parts.iter().enumerate();
        parts
            .map(|(index, examples)| self.micro_batch(examples, derive_seed(seed, index as u64)))
            .collect()
    }

    fn loss(&self, model: &SpanModel, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        targets.loss(model, &hidden, self.settings)
    }

    fn backward(
        &self,
        pass: &BackwardPass<SpanModel>,
        model: &SpanModel,
        gradients: &mut GradientsAccumulator<SpanModel>,
    ) -> Tensor<1> {
        if self.settings.fgm > 0.0 {
            adversary::backward(pass, model, self.settings.fgm, gradients)
        } else {
            pass(model, gradients)
        }
    }

    fn check(&self, model: &SpanModel) -> Result<()> {
        if let Some((_, references)) = self.data.dev
            && references.questions.iter().all(|q| q.answers().is_empty())
        {
            tracing::info!("no dev question has an answer: nothing is measured while training");
        }
        ensure!(
            !self.settings.load_best_model_at_end
                || self.dev().is_some_and(evaluation::is_measurable),
            UserError::new(
                "train.load_best_model_at_end = true: the best model is chosen by dev questions, \
                 and none has an answer in a window"
            )
            .hint("name labelled questions under data.dev, or leave the key out")
        );
        self.dev_metrics(model, evaluation::FIRST_QUESTIONS)
            .map(drop)
    }

    fn evaluate(&self, model: &SpanModel) -> Result<Option<DevMetrics>> {
        let questions = if self.settings.load_best_model_at_end {
            usize::MAX
        } else {
            evaluation::QUESTIONS
        };
        self.dev_metrics(model, questions)
    }
}

/// Refuses a teacher that has scored other questions than those to learn from, or whose scores
/// cannot be read.
fn check_teacher(teacher: &ScoreFile, train: &WindowFile) -> Result<()> {
    let lengths = (0..train.questions()).map(|question| train.paragraph_characters(question));
    ensure!(
        teacher.lengths().eq(lengths),
        UserError::new("the teacher has scored other questions than those to learn from")
    );
    for range in scores::ranges(teacher.lengths(), 1 << 20) {
        teacher.read(range)?;
    }
    Ok(())
}

/// Returns the questions that can be learned from: those with an answer that fits a window.
fn learnable(train: &WindowFile, layout: &Layout) -> Vec<usize> {
    let fits = |&question: &usize| {
        let room = layout.room(train.question_tokens(question).len());
        let answer = train.answer(question);
        answer.is_some_and(|answer| answer.len() <= room)
    };
    (0..train.questions()).filter(fits).collect()
}

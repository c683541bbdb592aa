//! Continued pre-training: masked language modelling on the task's own texts before fine-tuning on
//! them (Gururangan et al., 2020, arXiv:2004.10964). Questions are read with windows of their
//! paragraphs, as they will be later.

#![warn(missing_docs)]

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use spanwise_artifact::UserError;
use spanwise_artifact::settings::PretrainTable;
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_model::MaskedModel;
use spanwise_model::batch::Batch;
use spanwise_model::pair_template::{Row, input_length, input_row, question_and_paragraph_ranges};
use spanwise_ops::Precision;
use spanwise_training::{Hyperparameters, MicroBatch, Task, mask};

/// Of the masked tokens, the share that the model sees as they are, and the share that it sees as
/// another token (BERT; Devlin et al., 2019, arXiv:1810.04805): later it sees no masks.
const KEPT: f64 = 0.1;
const REPLACED: f64 = 0.1;

/// Learns to predict masked tokens as `[pretrain]` says.
pub struct MaskedTask<'a> {
    settings: &'a PretrainTable,
    device: &'a Device,
    layout: &'a Layout,
    files: &'a [WindowFile],
    mask_id: u32,
}

/// A window of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWindow {
    file: usize,
    window: Window,
}

/// The masked tokens of a micro-batch.
pub struct MaskedTokens {
    /// Positions in the flattened batch, `[masked]`.
    positions: Tensor<1, Int>,
    /// Vocabulary ids of what was masked, `[masked, 1]`.
    ids: Tensor<2, Int>,
}

impl<'a> MaskedTask<'a> {
    /// The task of learning from all questions in `files` on `device`, which records gradients.
    /// Refuses files without a question, and a tokenizer without a masking token.
    pub fn new(
        settings: &'a PretrainTable,
        device: &'a Device,
        layout: &'a Layout,
        files: &'a [WindowFile],
    ) -> Result<Self> {
        let mask_id = layout.template.mask_id.ok_or_else(|| {
            UserError::new("pre-training needs a masking token, and the tokenizer has none")
        })?;
        let task = Self {
            settings,
            device,
            layout,
            files,
            mask_id,
        };
        ensure!(task.items() > 0, UserError::new("there is no text to read"));
        Ok(task)
    }

    /// Returns what the loop needs to know of the settings.
    pub fn hyperparameters(&self, seed: u64, precision: Precision) -> Hyperparameters {
        let settings = self.settings;
        Hyperparameters {
            seed,
            epochs: settings.epochs,
            max_minutes: None,
            batch_size: settings.batch_size,
            micro_batch_size: settings.micro_batch_size(),
            max_length: self.layout.max_length,
            learning_rate: settings.learning_rate,
            schedule: settings.schedule,
            warmup_ratio: settings.warmup_ratio,
            weight_decay: settings.weight_decay,
            max_grad_norm: settings.max_grad_norm,
            layer_decay: 1.0,
            ema: 0.0,
            precision,
            gradient_checkpointing: false,
            eval_steps: None,
            load_best_model_at_end: false,
            early_stopping_patience: None,
        }
    }

    /// Returns the inputs of `texts` with some tokens of questions and paragraphs masked, at least
    /// one together, and what was masked.
    fn mask(&self, texts: &[TextWindow], random: &mut StdRng) -> MicroBatch<MaskedTokens> {
        let mut rows: Vec<Row> = Vec::with_capacity(texts.len());
        // Row, position in it, and id of every masked token.
        let mut masked: Vec<(usize, usize, u32)> = Vec::new();
        let probability = self.settings.mlm_probability;
        let longest = self.settings.longest_mask;
        for (row, text) in texts.iter().enumerate() {
            let file = &self.files[text.file];
            let (mut ids, types) = input_row(file, self.layout, &text.window);
            for part in question_and_paragraph_ranges(file, self.layout, &text.window) {
                for position in mask::sample(&part, probability, longest, random) {
                    masked.push((row, position, ids[position]));
                    let chance = random.random::<f64>();
                    if chance < REPLACED {
                        // Another token of the same paragraph: as common as tokens of the text are.
                        let tokens = file.paragraph_tokens(text.window.question);
                        ids[position] = tokens[random.random_range(0..tokens.len())];
                    } else if chance >= REPLACED + KEPT {
                        ids[position] = self.mask_id;
                    }
                }
            }
            rows.push((ids, types));
        }
        if masked.is_empty() {
            let TextWindow { file, window } = &texts[0];
            let file = &self.files[*file];
            let [_, paragraph] = question_and_paragraph_ranges(file, self.layout, window);
            let id = &mut rows[0].0[paragraph.start];
            masked.push((0, paragraph.start, *id));
            *id = self.mask_id;
        }
        let input = Batch::from_rows(&rows, self.layout, self.device);
        let [_, width] = input.mask.dims();
        let losses = masked.len();
        let (positions, ids): (Vec<i64>, Vec<i64>) = masked
            .into_iter()
            .map(|(row, position, id)| ((row * width + position) as i64, i64::from(id)))
            .unzip();
        let targets = MaskedTokens {
            positions: Tensor::from_data(TensorData::new(positions, [losses]), self.device),
            ids: Tensor::from_data(TensorData::new(ids, [losses, 1]), self.device),
        };
        MicroBatch {
            tokens: input.tokens,
            input,
            targets,
            losses,
        }
    }
}

impl Task for MaskedTask<'_> {
    const NAME: &'static str = "pretrain";
    type Model = MaskedModel;
    type Item = TextWindow;
    type Targets = MaskedTokens;

    fn items(&self) -> usize {
        self.files.iter().map(WindowFile::questions).sum()
    }

    fn described(&self) -> String {
        format!(
            "{} questions, each with a window of its paragraph",
            self.items()
        )
    }

    /// Every question once, each with a window anywhere in its paragraph.
    fn sample(&self, random: &mut StdRng) -> Vec<TextWindow> {
        let mut texts = Vec::with_capacity(self.items());
        for (index, file) in self.files.iter().enumerate() {
            for question in 0..file.questions() {
                let tokens = file.paragraph_tokens(question).len();
                let room = self.layout.room(file.question_tokens(question).len());
                let start = random.random_range(0..=tokens.saturating_sub(room));
                let tokens = start..(start + room).min(tokens);
                texts.push(TextWindow {
                    file: index,
                    window: Window { question, tokens },
                });
            }
        }
        texts
    }

    fn rows(&self, _: &TextWindow) -> usize {
        1
    }

    fn length(&self, text: &TextWindow) -> usize {
        input_length(&self.files[text.file], self.layout, &text.window)
    }

    fn micro_batches(&self, parts: &[&[TextWindow]], seed: u64) -> Vec<MicroBatch<MaskedTokens>> {
        let mut random = StdRng::seed_from_u64(seed);
        let parts = parts.iter();
        parts.map(|texts| self.mask(texts, &mut random)).collect()
    }

    /// The negative log-likelihood of the masked tokens.
    fn loss(&self, model: &MaskedModel, hidden: Tensor<3>, targets: &MaskedTokens) -> Tensor<1> {
        let [rows, tokens, width] = hidden.dims();
        let hidden = hidden
            .reshape([rows * tokens, width])
            .select(0, targets.positions.clone());
        activation::log_softmax(model.logits(hidden), 1)
            .gather(1, targets.ids.clone())
            .sum()
            .neg()
    }
}

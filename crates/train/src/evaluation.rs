//! How good the model is on dev while it trains.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use spanwise_artifact::Characters;
use spanwise_artifact::questions::{Questions, Reference};
use spanwise_artifact::windows::{Layout, WindowFile};
use spanwise_model::SpanModel;
use spanwise_model::pair_template::answer_range;
use spanwise_model::score::Scorer;
use spanwise_ops::Precision;
use spanwise_program::signals;
use spanwise_spans::{best_spans, in_sample, task_exact_match};
use spanwise_training::log::DevMetrics;

/// Dev questions answered while training where nothing is chosen by it, from all over the file. All
/// of them are answered by predict: these show whether a run gets anywhere, to ±0.04, in a quarter of
/// the time or less.
pub(crate) const QUESTIONS: usize = 128;

/// Dev questions answered before training, to see that they can be.
pub(crate) const FIRST_QUESTIONS: usize = 4;

/// The dev split, and how its windows go through the model.
#[derive(Clone, Copy)]
pub(crate) struct Dev<'a> {
    pub(crate) windows: &'a WindowFile,
    pub(crate) references: &'a Questions,
    pub(crate) layout: &'a Layout,
    pub(crate) device: &'a Device,
    pub(crate) precision: Precision,
    /// The longest answer in characters.
    pub(crate) longest_answer: usize,
    /// Whether the model learns that a window does not answer a question.
    pub(crate) knows_no_answer: bool,
    pub(crate) tokens_per_pass: usize,
}

/// Returns whether [`evaluate`] finds something to measure: a dev question with a window that has
/// its answer.
pub(crate) fn is_measurable(dev: Dev) -> bool {
    let is_labelled = |question: usize| {
        let question = dev.references.questions.get(question);
        question.is_some_and(|question| !question.answers().is_empty())
    };
    dev.windows.evaluation_windows().any(|window| {
        let answer = dev.windows.answer(window.question);
        let answer = answer.and_then(|a| answer_range(dev.windows, dev.layout, &window, &a));
        is_labelled(window.question) && answer.is_some()
    })
}

/// Returns loss and task exact match on `count` labelled dev questions, evenly spread, without
/// dropout; a signal that is kept ends it. `None` where there is none, or no window has its answer.
/// Unanswerable questions count where the model learns from such.
pub(crate) fn evaluate(model: &SpanModel, dev: Dev, count: usize) -> Result<Option<DevMetrics>> {
    let questions = dev.references.questions.iter().enumerate();
    let labelled = questions.filter(|(_, question)| match question.reference {
        Reference::Unknown => false,
        Reference::Unanswerable => dev.knows_no_answer,
        Reference::Spans(_) => true,
    });
    let labelled: Vec<usize> = labelled.map(|(question, _)| question).collect();
    let questions = count.min(labelled.len());
    let mut is_sampled = vec![false; dev.references.questions.len()];
    for (index, question) in labelled.iter().enumerate() {
        is_sampled[*question] = in_sample(index, questions, labelled.len());
    }
    let windows = dev
        .windows
        .evaluation_windows()
        .filter(|window| is_sampled.get(window.question) == Some(&true));
    let model = model.valid();
    let device = dev.device.clone().without_autodiff();
    let scorer = Scorer {
        model: &model,
        device: &device,
        layout: dev.layout,
        precision: dev.precision,
        tokens_per_pass: dev.tokens_per_pass,
    };
    let mut exact = 0;
    let loss = scorer.score(dev.windows, windows, |scored| {
        let question = &dev.references.questions[scored.question];
        let paragraph = Characters::new(dev.references.paragraph(question));
        let best = best_spans(scored.scores.view(), dev.longest_answer, 1);
        let null = dev.knows_no_answer.then_some(scored.whole.null);
        let best = best.first().filter(|best| null <= Some(best.score));
        let answer = best.and_then(|span| paragraph.get(span.range()));
        let references = question.answers().iter().map(|answer| &*answer.text);
        let is_exact = match answer {
            Some(answer) => task_exact_match(answer, references),
            None => question.reference == Reference::Unanswerable,
        };
        exact += usize::from(is_exact);
        signals::check("")
    })?;
    let loss = loss.value();
    Ok((!loss.is_nan()).then(|| DevMetrics {
        loss,
        exact_match: exact as f64 / questions as f64,
        questions,
    }))
}

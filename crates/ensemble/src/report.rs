//! What members and their combinations are worth on dev.

use anyhow::{Context, Result};
use spanwise_artifact::Characters;
use spanwise_artifact::ensemble::{EnsembleReport, EnsembleScores};
use spanwise_artifact::questions::{Question, Questions};
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{EnsembleMethod, EnsembleJob};

use crate::combine::{Members, equal, votes, weighted};
use crate::fit::{self, Known};

/// Parts of dev: what is fitted is measured on the part it was not fitted on.
const FOLDS: usize = 5;

/// Every member's weight under `method`; `None` where it has no weights.
pub fn weights(
    method: EnsembleMethod,
    members: &Members,
    dev: Option<&Questions>,
) -> Result<Option<Vec<f64>>> {
    let fitted = |fit: fn(&[&Known]) -> Vec<f64>| -> Result<Option<Vec<f64>>> {
        let known = known(members, dev.context("fitting weights takes dev questions")?);
        let known: Vec<&Known> = known.iter().flatten().collect();
        Ok(Some(fit(&known)))
    };
    match method {
        EnsembleMethod::Mean => Ok(Some(equal(members.count()))),
        EnsembleMethod::Calibrated => fitted(fit::calibrated),
        EnsembleMethod::Weighted => fitted(fit::weighted),
        EnsembleMethod::Vote => Ok(None),
    }
}

/// Dev questions with their scores; `None` for one without a known answer.
fn known<'a>(members: &'a Members, dev: &Questions) -> Vec<Option<Known<'a>>> {
    let of = |(index, question): (usize, &Question)| {
        let answer = question.answers.first()?.range();
        Some(Known {
            members: members.get(index),
            start: answer.start,
            end: answer.end - 1,
        })
    };
    dev.questions.iter().enumerate().map(of).collect()
}

/// Measures members and all methods on dev. `weights`: of the method in use.
pub fn measure(
    members: &Members,
    dev: &Questions,
    settings: &EnsembleJob,
    weights: Option<Vec<f64>>,
) -> EnsembleReport {
    let longest = settings.max_answer_length;
    let best = |scores: ScoresView| scores.best_spans(longest, 1).pop();
    let exact = |answer: &dyn Fn(usize) -> Option<Span>| {
        let right = dev
            .questions
            .iter()
            .enumerate()
            .filter(|(index, question)| {
                let paragraph = Characters::new(dev.paragraph(question));
                let answer = answer(*index).and_then(|span| paragraph.get(span.range()));
                let equals = |answer: &str, reference: &str| {
                    answer.replace(',', "") == reference.replace(',', "")
                };
                answer.is_some_and(|answer| {
                    question
                        .answers
                        .iter()
                        .any(|reference| equals(answer, &reference.text))
                })
            });
        right.count() as f64 / dev.questions.len().max(1) as f64
    };
    let combined = |weights: &dyn Fn(usize) -> Vec<f64>| {
        exact(&|index| best(weighted(&members.get(index), &weights(index)).view()))
    };
    let known = known(members, dev);
    // Questions about one paragraph belong together: they share what is hard about it.
    let fold = |index: usize| dev.questions[index].paragraph % FOLDS;
    let cross_validated = |fit: fn(&[&Known]) -> Vec<f64>| {
        let fitted: Vec<Vec<f64>> = (0..FOLDS)
            .map(|left_out| {
                let rest = known.iter().enumerate();
                let rest = rest.filter(|(index, _)| fold(*index) != left_out);
                fit(&rest
                    .filter_map(|(_, known)| known.as_ref())
                    .collect::<Vec<_>>())
            })
            .collect();
        combined(&|index| match &fitted[fold(index)] {
            none if none.is_empty() => equal(members.count()),
            weights => weights.clone(),
        })
    };
    let single: Vec<f64> = (0..members.count())
        .map(|member| exact(&|index| best(members.get(index)[member])))
        .collect();
    let mean_member = single.iter().sum::<f64>() / single.len() as f64;
    let mut scores = EnsembleScores {
        members: single,
        mean_member,
        mean: combined(&|_| equal(members.count())),
        calibrated: cross_validated(fit::calibrated),
        weighted: cross_validated(fit::weighted),
        vote: exact(&|index| votes(&members.get(index), longest).first().copied()),
        gain: 0.0,
    };
    let used = match settings.method {
        EnsembleMethod::Mean => scores.mean,
        EnsembleMethod::Calibrated => scores.calibrated,
        EnsembleMethod::Weighted => scores.weighted,
        EnsembleMethod::Vote => scores.vote,
    };
    scores.gain = used - mean_member;
    EnsembleReport {
        questions: dev.questions.len(),
        task_exact_match: scores,
        weights,
    }
}

//! When a question is left unanswered: where no answer scores higher than the best span, by more than
//! a threshold that is fitted on dev.

use anyhow::Result;
use spanwise_artifact::answers::{FittedThreshold, Gain, HeldOutThresholds};
use spanwise_artifact::settings::FitNull;
use spanwise_spans::holdout;

use crate::fit::Fitted;
use crate::split::{CHARACTERS, PARTS, ScoredSplit};

/// A labelled question, as the threshold sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    /// How much higher no answer scores than the best span.
    difference: f32,
    /// What the span scores as the answer.
    answered: f32,
    /// What no answer scores.
    unanswered: f32,
}

impl Candidate {
    fn score(self, threshold: f64) -> f64 {
        f64::from(if f64::from(self.difference) > threshold {
            self.unanswered
        } else {
            self.answered
        })
    }
}

/// Fits the threshold on the labelled questions of dev, to what `to` says; `None` without any.
///
/// # Errors
/// Fails if dev cannot be read.
pub fn fit(dev: &ScoredSplit, fitted: &Fitted, to: FitNull) -> Result<Option<FittedThreshold>> {
    let (mut candidates, mut paragraphs) = (Vec::new(), Vec::new());
    dev.in_order(
        CHARACTERS,
        |_, questions| {
            let labelled = questions.iter().filter(|question| question.is_labelled());
            let labelled = labelled.map(|question| {
                let span = fitted.span(question);
                let score = |answer: &str| {
                    let score = question.score(answer);
                    let f1 = score.f1.filter(|_| to == FitNull::FitF1);
                    f1.unwrap_or(score.exact_match) as f32
                };
                let candidate = Candidate {
                    difference: span.null_score_diff.unwrap_or(f32::INFINITY),
                    answered: score(question.slice(&span.range)),
                    unanswered: score(""),
                };
                (candidate, question.question.paragraph as u32)
            });
            Ok(labelled.collect::<Vec<_>>())
        },
        |labelled| {
            for (candidate, paragraph) in labelled {
                candidates.push(candidate);
                paragraphs.push(paragraph);
            }
            Ok(())
        },
    )?;
    if candidates.is_empty() {
        return Ok(None);
    }
    // Questions about one paragraph are held out together.
    let parts = holdout::parts(paragraphs, PARTS);
    Ok(Some(choose(&candidates, &parts)))
}

/// Returns the best threshold, and whether it is to be applied.
fn choose(candidates: &[Candidate], parts: &[usize]) -> FittedThreshold {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        candidates[a]
            .difference
            .total_cmp(&candidates[b].difference)
    });
    let measured = holdout::are_held_out(parts).then(|| measure(candidates, parts, &order));
    FittedThreshold {
        best: best(order.iter().map(|&index| candidates[index])),
        applied: measured.is_some_and(|measured| measured.over_zero.mean >= 0.0),
        measured,
    }
}

/// Returns what thresholds that are fitted without a part score on it. `order` has the candidates'
/// indices by their differences.
fn measure(candidates: &[Candidate], parts: &[usize], order: &[usize]) -> HeldOutThresholds {
    let without = |part: usize| {
        let others = order.iter().filter(|&&index| parts[index] != part);
        best(others.map(|&index| candidates[index]))
    };
    let thresholds: Vec<f64> = (0..PARTS).map(without).collect();
    let held_out: Vec<f64> = candidates
        .iter()
        .zip(parts)
        .map(|(candidate, &part)| candidate.score(thresholds[part]))
        .collect();
    let over = |other: &dyn Fn(&Candidate) -> f64| {
        let differences = held_out.iter().zip(candidates);
        gain(differences.map(|(score, candidate)| score - other(candidate)))
    };
    HeldOutThresholds {
        held_out: held_out.iter().sum::<f64>() / held_out.len() as f64,
        over_zero: over(&|candidate| candidate.score(0.0)),
        over_always_answer: over(&|candidate| candidate.answered.into()),
        over_always_null: over(&|candidate| candidate.unanswered.into()),
    }
}

/// Returns the threshold under which candidates, whose differences ascend, score most: midway between
/// two differences; of several the one nearest to 0.
fn best(candidates: impl Iterator<Item = Candidate>) -> f64 {
    // How far a threshold lies from all differences where it is beside them.
    const BESIDE: f64 = 1.0;
    let candidates: Vec<Candidate> = candidates.collect();
    let finite = candidates
        .iter()
        .map(|candidate| f64::from(candidate.difference));
    let finite: Vec<f64> = finite.filter(|difference| difference.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else {
        return 0.0;
    };
    // With a threshold below all differences no question is answered.
    let mut score: f64 = candidates.iter().map(|one| f64::from(one.unanswered)).sum();
    let mut best = (score, f64::min(first - BESIDE, 0.0));
    for (index, one) in candidates.iter().enumerate().take(finite.len()) {
        score += f64::from(one.answered) - f64::from(one.unanswered);
        let here = finite[index];
        let next = finite.get(index + 1).copied();
        // The questions of one difference are answered together, or none of them.
        if next == Some(here) {
            continue;
        }
        let threshold = match next {
            // Zero is as good as any other number between them.
            Some(next) if here <= 0.0 && 0.0 < next => 0.0,
            Some(next) => f64::midpoint(here, next),
            None => f64::max(last + BESIDE, 0.0),
        };
        let (highest, nearest) = best;
        let is_better = score > highest + 1e-9
            || (score > highest - 1e-9 && threshold.abs() < f64::abs(nearest));
        if is_better {
            best = (score, threshold);
        }
    }
    best.1
}

/// Returns the mean of two paired differences or more.
fn gain(differences: impl Iterator<Item = f64>) -> Gain {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for difference in differences {
        count += 1.0;
        sum += difference;
        squares += difference * difference;
    }
    let mean = sum / count;
    let variance = (squares - count * mean * mean).max(0.0) / (count - 1.0);
    let error = (variance / count).sqrt();
    Gain {
        mean,
        // Rounding leaves a little of equal differences.
        standard_error: (error > 1e-9).then_some(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(difference: f32, answered: f32, unanswered: f32) -> Candidate {
        Candidate {
            difference,
            answered,
            unanswered,
        }
    }

    #[test]
    fn the_threshold_is_midway_or_zero() {
        fn check(candidates: &[(f32, f32, f32)], expected: f64) {
            let candidates = candidates.iter().map(|&(d, a, u)| candidate(d, a, u));
            assert_eq!(best(candidates), expected);
        }
        check(&[], 0.0);
        // Answered and right below, unanswerable above.
        check(&[(1.0, 1.0, 0.0), (4.0, 0.0, 1.0)], 2.5);
        check(&[(-4.0, 1.0, 0.0), (-1.0, 0.0, 1.0)], -2.5);
        check(&[(-4.0, 1.0, 0.0), (1.0, 0.0, 1.0)], 0.0);
        // All are unanswerable, or none.
        check(&[(2.0, 0.0, 1.0), (4.0, 0.0, 1.0)], 0.0);
        check(&[(-2.0, 0.0, 1.0), (4.0, 0.0, 1.0)], -3.0);
        check(&[(-2.0, 1.0, 0.0), (-1.0, 1.0, 0.0)], 0.0);
        check(&[(2.0, 1.0, 0.0), (4.0, 1.0, 0.0)], 5.0);
        // Questions of one difference are answered together.
        check(&[(1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 0.0, 1.0)], 0.0);
        // Where nothing supports a span, no threshold helps.
        check(&[(f32::INFINITY, 1.0, 0.0)], 0.0);
    }

    #[test]
    fn gains_are_measured_on_parts_that_were_held_out() {
        // In each part half are answered below 1 and the others unanswerable above 3.
        let candidates: Vec<Candidate> = (0..40)
            .map(|index| match index % 2 {
                0 => candidate(1.0, 1.0, 0.0),
                _ => candidate(3.0, 0.0, 1.0),
            })
            .collect();
        let parts: Vec<usize> = (0..40).map(|index| index / 8).collect();
        let found = choose(&candidates, &parts);
        assert_eq!((found.best, found.applied), (2.0, true));
        let found = found.measured.unwrap();
        assert_eq!(found.held_out, 1.0);
        assert_eq!(found.over_zero.mean, 0.5);
        assert_eq!(found.over_always_answer.mean, 0.5);
        assert_eq!(found.over_always_null.mean, 0.5);
        let error = (0.25f64 * 40.0 / 39.0 / 40.0).sqrt();
        assert!((found.over_zero.standard_error.unwrap() - error).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_held_out_is_not_applied() {
        let candidates = [candidate(1.0, 1.0, 0.0), candidate(3.0, 0.0, 1.0)];
        let found = choose(&candidates, &[0, 0]);
        assert_eq!(
            (found.best, found.applied, found.measured),
            (2.0, false, None)
        );
    }

    proptest! {
        #[test]
        fn no_threshold_scores_more(
            candidates in prop::collection::vec((-5i8..5, 0u8..3, any::<bool>()), 1..20),
        ) {
            let mut candidates: Vec<Candidate> = candidates
                .into_iter()
                .map(|(difference, score, unanswerable)| {
                    let score = f32::from(score) / 2.0;
                    let (answered, unanswered) = if unanswerable { (0.0, 1.0) } else { (score, 0.0) };
                    candidate(difference.into(), answered, unanswered)
                })
                .collect();
            candidates.sort_by(|a, b| a.difference.total_cmp(&b.difference));
            let threshold = best(candidates.iter().copied());
            let total = |threshold| -> f64 {
                candidates.iter().map(|candidate| candidate.score(threshold)).sum()
            };
            for other in -13..13 {
                prop_assert!(total(threshold) >= total(f64::from(other) / 2.0) - 1e-6);
            }
        }
    }
}

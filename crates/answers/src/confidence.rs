//! How probable an answer is: its share of a softmax over all spans of the paragraph and no answer,
//! at a temperature that is fitted on dev.

use anyhow::Result;
use spanwise_artifact::answers::{Confidence, ConfidenceBin, Risk};
use spanwise_artifact::scores::ScoresView;
use spanwise_spans::{holdout, in_sample};

use crate::fit::Fitted;
use crate::split::{CHARACTERS, PARTS, ScoredSplit};

/// Temperatures that are tried: four between every power of two and the next.
const TEMPERATURES: usize = 25;

/// Labelled questions that the temperature is fitted on at most, spread evenly: it is one number.
const QUESTIONS: usize = 20_000;

/// Bins of the expected calibration error.
const BINS: usize = 10;

/// Points of the risk-coverage curve.
const POINTS: usize = 10;

/// The loss at every temperature that is tried.
pub type Losses = [f32; TEMPERATURES];

fn temperature(index: usize) -> f64 {
    // From 1/4 to 16.
    2f64.powf(index as f64 / 4.0 - 2.0)
}

/// Returns the probability of a score among all spans and, where its score is given, no answer.
pub fn probability(scores: ScoresView, null: Option<f32>, score: f32, temperature: f64) -> f64 {
    let of = |score: f32| f64::from(score) / temperature;
    let others = log_sum_of_spans(scores, temperature);
    let null = null.map_or(f64::NEG_INFINITY, of);
    let largest = others.max(null);
    if largest == f64::NEG_INFINITY {
        return 1.0;
    }
    let sum = ((others - largest).exp() + (null - largest).exp()).ln() + largest;
    // A pooled score is that of several spans at temperature 1.
    (of(score) - sum).exp().min(1.0)
}

/// Returns ln Σ exp(score / temperature) over all spans, minus infinity where there is none.
fn log_sum_of_spans(scores: ScoresView, temperature: f64) -> f64 {
    let largest = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (start, end) = (largest(scores.start), largest(scores.end));
    let share = |score: f32, largest: f32| (f64::from(score - largest) / temperature).exp();
    let (mut starts, mut sum) = (0.0, 0.0);
    for (&start_score, &end_score) in scores.start.iter().zip(scores.end) {
        if start_score > f32::NEG_INFINITY {
            starts += share(start_score, start);
        }
        if end_score > f32::NEG_INFINITY {
            sum += share(end_score, end) * starts;
        }
    }
    sum.ln() + (f64::from(start) + f64::from(end)) / temperature
}

/// The temperature, and those that are fitted without each part of dev.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Temperatures {
    /// Fitted on all of dev; `None` where nothing is fitted.
    all: Option<f64>,
    /// Fitted without each part.
    without: Vec<f64>,
    /// The part of every dev question; [`NO_PART`] of one that is not labelled.
    parts: Vec<u8>,
}

/// Of questions that nothing is fitted to or measured on.
const NO_PART: u8 = u8::MAX;

impl Temperatures {
    /// Fits temperatures on the labelled questions of dev: under the best, it is most likely that
    /// just these answers are exact. Nothing is fitted where nothing can be held out, to measure
    /// probabilities on.
    ///
    /// # Errors
    /// Fails if dev cannot be read.
    pub fn fit(dev: &ScoredSplit, fitted: &Fitted) -> Result<Self> {
        let mut labelled = Vec::new();
        let mut losses: Vec<(u32, Losses)> = Vec::new();
        let all = dev.len();
        let sample = sample(dev, QUESTIONS)?;
        dev.in_order(
            CHARACTERS,
            |first, questions| {
                let questions = questions.iter().enumerate();
                let labelled = questions.filter(|(_, question)| question.is_labelled());
                let some = labelled.map(|(index, question)| {
                    let index = first + index;
                    let is_fitted_on = in_sample(index, sample, all);
                    let losses = is_fitted_on.then(|| fitted.losses(question)).flatten();
                    (index as u32, question.question.paragraph as u32, losses)
                });
                Ok(some.collect::<Vec<_>>())
            },
            |some| {
                for (index, paragraph, of_question) in some {
                    labelled.push((index, paragraph));
                    losses.extend(of_question.map(|losses| (index, losses)));
                }
                Ok(())
            },
        )?;
        let of_labelled = holdout::parts(labelled.iter().map(|(_, paragraph)| *paragraph), PARTS);
        if losses.is_empty() || !holdout::are_held_out(&of_labelled) {
            return Ok(Self::default());
        }
        let mut parts = vec![NO_PART; all];
        for ((question, _), part) in labelled.into_iter().zip(of_labelled) {
            parts[question as usize] = part as u8;
        }
        let best = |part: Option<usize>| {
            let mut sums = [0f64; TEMPERATURES];
            let mut count = 0;
            for (question, losses) in &losses {
                if part != Some(usize::from(parts[*question as usize])) {
                    count += 1;
                    for (sum, loss) in sums.iter_mut().zip(losses) {
                        *sum += f64::from(*loss);
                    }
                }
            }
            let least = (0..TEMPERATURES).min_by(|&a, &b| sums[a].total_cmp(&sums[b]));
            // Where no score supports an answer elsewhere, scores are left as they are.
            least.filter(|_| count > 0).map_or(1.0, temperature)
        };
        Ok(Self {
            all: Some(best(None)),
            without: (0..PARTS).map(|part| best(Some(part))).collect(),
            parts,
        })
    }

    /// The temperature that is fitted on all of dev; `None` where nothing is fitted.
    pub fn fitted(&self) -> Option<f64> {
        self.all
    }

    /// The temperature of answers.
    pub fn applied(&self) -> f64 {
        self.all.unwrap_or(1.0)
    }

    /// The temperature that a dev question is measured with: it is not fitted on its part.
    pub fn held_out(&self, question: usize) -> f64 {
        let part = self.parts.get(question).map(|&part| usize::from(part));
        let of_part = part.and_then(|part| self.without.get(part));
        of_part.copied().unwrap_or(self.applied())
    }
}

/// Returns the loss of an answer's probability at every temperature that is tried: how unlikely it
/// makes it that the answer is exact, or that it is not.
pub fn losses(scores: ScoresView, null: Option<f32>, score: f32, is_exact: bool) -> Losses {
    // No probability is so near to 0 or 1 that one question decides.
    const NEAREST: f64 = 1e-6;
    std::array::from_fn(|index| {
        let probability = probability(scores, null, score, temperature(index));
        let right = if is_exact {
            probability
        } else {
            1.0 - probability
        };
        -right.clamp(NEAREST, 1.0 - NEAREST).ln() as f32
    })
}

/// Probabilities of labelled questions' answers, and whether these are exact.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    answers: Vec<(f32, bool)>,
}

impl Calibration {
    /// Counts an answer.
    pub fn add(&mut self, probability: f32, is_exact: bool) {
        self.answers.push((probability, is_exact));
    }

    /// Returns how far the probabilities can be trusted; `None` without an answer. `temperature`: the
    /// fitted one.
    pub fn measure(&mut self, temperature: Option<f64>) -> Option<Confidence> {
        self.answers.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let answers = &self.answers;
        if answers.is_empty() {
            return None;
        }
        let bin = |probability: f32| ((probability * BINS as f32) as usize).min(BINS - 1);
        let bins = answers.chunk_by(|(a, _), (b, _)| bin(*a) == bin(*b));
        let bins: Vec<ConfidenceBin> = bins
            .map(|answers| {
                let count = answers.len() as f64;
                let sum: f64 = answers.iter().map(|(p, _)| f64::from(*p)).sum();
                ConfidenceBin {
                    questions: answers.len(),
                    probability: sum / count,
                    exact_match: exact(answers) as f64 / count,
                }
            })
            .collect();
        let distance =
            |bin: &ConfidenceBin| bin.questions as f64 * (bin.probability - bin.exact_match).abs();
        let error = bins.iter().map(distance).sum::<f64>() / answers.len() as f64;
        let risk = |point: usize| {
            let count = (point * answers.len()).div_ceil(POINTS);
            let answered = &answers[answers.len() - count..];
            Risk {
                coverage: count as f64 / answers.len() as f64,
                risk: 1.0 - exact(answered) as f64 / count as f64,
                probability: answered[0].0.into(),
            }
        };
        Some(Confidence {
            temperature,
            expected_calibration_error: error,
            risk_coverage: (1..=POINTS).map(risk).collect(),
            bins,
        })
    }
}

/// Returns how many of all questions, evenly spread, have about `labelled` labelled ones among them.
fn sample(dev: &ScoredSplit, labelled: usize) -> Result<usize> {
    let all = dev.len();
    if all <= labelled {
        return Ok(all);
    }
    let mut found = 0;
    dev.in_order(
        CHARACTERS,
        |_, questions| Ok(questions.iter().filter(|one| one.is_labelled()).count()),
        |count| {
            found += count;
            Ok(())
        },
    )?;
    Ok((labelled * all / found.max(1)).min(all))
}

fn exact(answers: &[(f32, bool)]) -> usize {
    answers.iter().filter(|(_, is_exact)| *is_exact).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::scores::Scores;
    use spanwise_artifact::settings::AnswersTable;
    use spanwise_artifact::{Answer, Question, Reference};

    use super::*;
    use crate::fit::Defaults;
    use crate::testing::TestSplit;

    const NONE: f32 = f32::NEG_INFINITY;

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn probabilities_are_shares_of_all_spans_and_no_answer() {
        let two = 2f32.ln();
        // Spans of weight 1 and 1, 2 and 4, 2: start before end.
        let (start, end) = ([0.0, two], [0.0, two]);
        let scores = ScoresView {
            start: &start,
            end: &end,
        };
        let of = |null, score, temperature| probability(scores, null, score, temperature);
        assert_near(of(None, two + two, 1.0), 4.0 / 7.0);
        assert_near(of(Some(0.0), two + two, 1.0), 0.5);
        assert_near(of(Some(0.0), 0.0, 1.0), 1.0 / 8.0);
        let root = 2f64.sqrt();
        assert_near(of(None, two + two, 2.0), 2.0 / (1.0 + root + 2.0));
        let empty = ScoresView {
            start: &[NONE],
            end: &[NONE],
        };
        assert_near(probability(empty, Some(3.0), 3.0, 1.0), 1.0);
        assert_near(probability(empty, None, 3.0, 1.0), 1.0);
        // The best start lies so far behind the best end that no span has any share of their sum.
        let far = ScoresView {
            start: &[0.0, 5000.0],
            end: &[5000.0, 0.0],
        };
        assert!(probability(far, None, 5000.0, 0.25).is_finite());
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one(
            scores in prop::collection::vec((-5i8..5, -5i8..5, prop::bool::weighted(0.2)), 1..12),
            null in -5i8..5,
            temperature in 0.25f64..16.0,
        ) {
            let value = |none: bool, score: i8| if none { NONE } else { f32::from(score) };
            let start: Vec<f32> = scores.iter().map(|s| value(s.2, s.0)).collect();
            let end: Vec<f32> = scores.iter().map(|s| value(s.2, s.1)).collect();
            let view = ScoresView { start: &start, end: &end };
            let null = f32::from(null);
            let of = |score| probability(view, Some(null), score, temperature);
            let mut sum = of(null);
            for first in 0..start.len() {
                for end in &end[first..] {
                    if start[first] + end > NONE {
                        sum += of(start[first] + end);
                    }
                }
            }
            prop_assert!((sum - 1.0).abs() < 1e-4, "{}", sum);
        }
    }

    #[test]
    fn what_is_held_out_is_measured_with_another_temperature_or_none() {
        let unlabelled = |paragraph| {
            let question = Question {
                id: String::new(),
                paragraph,
                text: String::new(),
                reference: Reference::Unknown,
            };
            (question, Scores::none(2))
        };
        let question = |paragraph: usize, is_right: bool| {
            let mut scores = Scores::none(2);
            (scores.start[0], scores.end[0]) = (3.0, 3.0);
            (scores.start[1], scores.end[1]) = (0.0, 0.0);
            let (text, start) = if is_right { ("甲", 0) } else { ("乙", 1) };
            let question = Question {
                id: String::new(),
                paragraph,
                text: String::new(),
                reference: Reference::Spans(vec![Answer {
                    text: text.to_owned(),
                    start,
                }]),
            };
            (question, scores)
        };
        let temperatures = |questions: &[(Question, Scores)]| {
            let dev = TestSplit::new("甲乙", questions);
            let defaults = Defaults {
                longest: 30,
                unanswerable: false,
            };
            let settings = AnswersTable::default();
            let fitted = Fitted::on(Some(&dev.open()), &settings, defaults).unwrap();
            fitted.temperatures
        };
        // Right once in two: the scores are far too confident.
        let apart: Vec<_> = (0..10)
            .map(|index| question(index, index % 2 == 0))
            .collect();
        let found = temperatures(&apart);
        assert!(found.applied() > 2.0, "{found:?}");
        assert!(found.held_out(0) > 2.0, "{found:?}");
        // Two paragraphs among many that nothing is known of are in two parts all the same.
        let few = (0..20).map(|index| match index {
            3 => question(3, true),
            8 => question(8, false),
            _ => unlabelled(index),
        });
        let found = temperatures(&few.collect::<Vec<_>>());
        assert_ne!(found.held_out(3), found.held_out(8), "{found:?}");
        assert_eq!(found.held_out(0), found.applied());
        // With one paragraph nothing is left to measure on.
        let together: Vec<_> = (0..10).map(|index| question(0, index % 2 == 0)).collect();
        assert_eq!(temperatures(&together), Temperatures::default());
        assert_eq!(temperatures(&[]).applied(), 1.0);
    }

    #[test]
    fn labelled_questions_are_sampled_and_not_the_others() {
        let question = |paragraph: usize| Question {
            id: String::new(),
            paragraph,
            text: String::new(),
            reference: match paragraph % 5 {
                0 => Reference::Unanswerable,
                _ => Reference::Unknown,
            },
        };
        let questions: Vec<_> = (0..20)
            .map(|one| (question(one), Scores::none(2)))
            .collect();
        let dev = TestSplit::new("甲乙", &questions);
        for (labelled, expected) in [(20, 20), (4, 20), (2, 10), (1, 5)] {
            assert_eq!(sample(&dev.open(), labelled).unwrap(), expected);
        }
    }

    #[test]
    fn calibration_is_measured_in_bins_and_risk_by_coverage() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.measure(None), None);
        for (probability, is_exact) in [
            (0.95, true),
            (0.91, true),
            (0.55, true),
            (0.51, false),
            (0.05, false),
        ] {
            calibration.add(probability, is_exact);
        }
        let found = calibration.measure(Some(2.0)).unwrap();
        assert_eq!(found.temperature, Some(2.0));
        let bins = found.bins.iter();
        let bins: Vec<_> = bins.map(|bin| (bin.questions, bin.exact_match)).collect();
        assert_eq!(bins, [(1, 0.0), (2, 0.5), (2, 1.0)]);
        let expected = (1.0 * 0.05 + 2.0 * 0.03 + 2.0 * 0.07) / 5.0;
        assert_near(found.expected_calibration_error, expected);
        let risks: Vec<_> = found
            .risk_coverage
            .iter()
            .map(|r| (r.coverage, r.risk))
            .collect();
        assert_eq!(risks.len(), POINTS);
        assert_eq!((risks[0], risks[5]), ((0.2, 0.0), (0.6, 0.0)));
        assert_near(risks[7].1, 0.25);
        assert_near(risks[9].1, 0.4);
        assert_near(found.risk_coverage[9].probability, 0.05);
    }
}

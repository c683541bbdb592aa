//! Weights of the members that make dev's reference answers as likely as possible.

use spanwise_artifact::scores::{Scores, ScoresView};
use spanwise_spans::covering;
use spanwise_spans::softmax::log_sum_exp;

use crate::labelled::LabelledQuestion;

/// Returns a weight per member, the inverse of its temperature (Guo et al., 2017), fitted to the
/// member alone and divided by the number of members. Empty without questions.
pub fn calibrated(dev: &[&LabelledQuestion]) -> Vec<f64> {
    let members = members(dev);
    let fit = |member| {
        let mut weight = [1.0];
        let loss = Loss::new(
            dev.iter().map(|question| vec![question.members[member]]),
            dev,
        );
        loss.minimise(&mut weight, 0);
        weight[0] / members as f64
    };
    (0..members).map(fit).collect()
}

/// Returns a weight per member, all fitted together. A member that adds nothing gets 0. Empty
/// without questions.
pub fn weighted(dev: &[&LabelledQuestion]) -> Vec<f64> {
    let mut weights = calibrated(dev);
    let loss = Loss::new(dev.iter().map(|question| question.members.clone()), dev);
    for _ in 0..SWEEPS {
        for member in 0..weights.len() {
            loss.minimise(&mut weights, member);
        }
    }
    weights
}

/// The largest weight of a member: a model's scores hardly ever need to be scaled up by more.
const LARGEST_WEIGHT: f64 = 4.0;

/// Number of times that every weight is fitted with the others as they are.
const SWEEPS: usize = 8;

fn members(dev: &[&LabelledQuestion]) -> usize {
    dev.first().map_or(0, |question| question.members.len())
}

/// The mean cross-entropy of reference answers under a softmax over the characters of the weighted
/// scores. The references of a question count in equal parts.
struct Loss {
    members: usize,
    choices: Vec<Choice>,
}

/// The start or end scores of one question.
struct Choice {
    /// `[candidate, member]`
    scores: Vec<f64>,
    /// Indices of the references' boundaries among the candidates.
    references: Vec<usize>,
}

impl Loss {
    /// `scores` holds the members' scores of every question of `dev`.
    fn new<'a>(
        scores: impl Iterator<Item = Vec<ScoresView<'a>>>,
        dev: &[&LabelledQuestion],
    ) -> Self {
        let mut choices = Vec::new();
        let mut members = 0;
        for (scores, question) in scores.zip(dev) {
            members = scores.len();
            let covered: Vec<Scores> = scores.into_iter().map(covering).collect();
            let references = || {
                question
                    .references
                    .iter()
                    .map(spanwise_artifact::Answer::range)
            };
            let (starts, lasts) = (
                references().map(|range| range.start).collect(),
                references().map(|range| range.end - 1).collect(),
            );
            choices.extend(Choice::new(
                covered.iter().map(|scores| &scores.start[..]).collect(),
                starts,
            ));
            choices.extend(Choice::new(
                covered.iter().map(|scores| &scores.end[..]).collect(),
                lasts,
            ));
        }
        Self { members, choices }
    }

    fn at(&self, weights: &[f64]) -> f64 {
        let loss = |choice: &Choice| {
            let scores: Vec<f64> = choice
                .scores
                .chunks(self.members)
                .map(|scores| scores.iter().zip(weights).map(|(s, w)| s * w).sum())
                .collect();
            let references = choice.references.iter().map(|&index| scores[index]);
            log_sum_exp(&scores) - references.sum::<f64>() / choice.references.len() as f64
        };
        self.choices.iter().map(loss).sum::<f64>() / self.choices.len().max(1) as f64
    }

    /// Sets one member's weight to the best between 0 and [`LARGEST_WEIGHT`], with the others as
    /// they are.
    fn minimise(&self, weights: &mut [f64], member: usize) {
        // The loss is convex in every weight, so golden-section search finds its minimum.
        const GOLDEN: f64 = 0.618_033_988_749_894_8;
        let mut at = |weight: f64| {
            weights[member] = weight;
            self.at(weights)
        };
        let (mut low, mut high) = (0.0, LARGEST_WEIGHT);
        while high - low > 1e-3 * LARGEST_WEIGHT {
            let (left, right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
            if at(left) < at(right) {
                high = right;
            } else {
                low = left;
            }
        }
        weights[member] = f64::midpoint(low, high);
    }
}

impl Choice {
    /// `members` holds one column of scores per member. `None` where no reference's boundary is a
    /// candidate of every member.
    fn new(members: Vec<&[f32]>, references: Vec<usize>) -> Option<Self> {
        let is_candidate =
            |character: &usize| members.iter().all(|scores| scores[*character].is_finite());
        let candidates: Vec<usize> = (0..members[0].len()).filter(is_candidate).collect();
        let references: Vec<usize> = references
            .iter()
            .filter_map(|character| candidates.binary_search(character).ok())
            .collect();
        let of_members = |&character: &usize| {
            members
                .iter()
                .map(move |scores| f64::from(scores[character]))
        };
        (!references.is_empty()).then(|| Self {
            scores: candidates.iter().flat_map(of_members).collect(),
            references,
        })
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::Answer;

    use super::*;

    const CHARACTERS: usize = 10;

    /// Scores of three members for questions whose answer is one character. The first member is
    /// right three times in four and far too confident; the second is always right and not
    /// confident enough; the third is right by chance.
    fn scores() -> Vec<[Scores; 3]> {
        (0..200usize)
            .map(|question| {
                let answer = question % CHARACTERS;
                let wrong = (answer + 1 + question % 7) % CHARACTERS;
                let peak = |character: usize, height: f32| {
                    let mut column = vec![0.0; CHARACTERS];
                    column[character] = height;
                    Scores {
                        start: column.clone(),
                        end: column,
                    }
                };
                let first = if question % 4 == 0 { wrong } else { answer };
                [
                    peak(first, 20.0),
                    peak(answer, 1.0),
                    peak(question / CHARACTERS % CHARACTERS, 3.0),
                ]
            })
            .collect()
    }

    fn reference(start: usize) -> Vec<Answer> {
        let text = "甲".to_owned();
        vec![Answer { text, start }]
    }

    /// Checks the weights that are fitted to [`scores`].
    fn check(test: impl Fn(&[&LabelledQuestion])) {
        let scores = scores();
        let references: Vec<Vec<Answer>> = (0..scores.len())
            .map(|question| reference(question % CHARACTERS))
            .collect();
        let questions: Vec<LabelledQuestion> = scores
            .iter()
            .zip(&references)
            .map(|(scores, references)| LabelledQuestion {
                members: scores.iter().map(Scores::view).collect(),
                paragraph: "甲甲甲甲甲甲甲甲甲甲",
                group: 0,
                references,
            })
            .collect();
        test(&questions.iter().collect::<Vec<_>>());
    }

    #[test]
    fn calibration_finds_the_temperature() {
        check(|dev| {
            let weights = calibrated(dev);
            // Right three times in four among ten: the peak should be ln(0.75 / (0.25 / 9)) high,
            // over 3 members.
            let expected = (0.75f64 / (0.25 / 9.0)).ln() / 20.0 / 3.0;
            assert!(
                (weights[0] - expected).abs() < 0.01,
                "{weights:?}, {expected}"
            );
            assert!(weights[1] * 3.0 > 3.9, "always right: the largest weight");
            assert!(weights[2] < 0.05, "{weights:?}");
        });
    }

    #[test]
    fn weights_go_to_members_that_are_right() {
        check(|dev| {
            let loss = Loss::new(dev.iter().map(|question| question.members.clone()), dev);
            let weights = weighted(dev);
            assert!(weights[1] > 3.9 && weights[2] < 0.1, "{weights:?}");
            for others in [calibrated(dev), vec![1.0 / 3.0; 3], vec![0.0, 4.0, 0.0]] {
                assert!(loss.at(&weights) <= loss.at(&others) + 1e-6);
            }
        });
    }

    #[test]
    fn references_count_in_equal_parts() {
        let column = vec![0.0, 2.0, 1.0];
        let scores = Scores {
            start: column.clone(),
            end: column,
        };
        let loss = |references: &[Answer]| {
            let question = LabelledQuestion {
                members: vec![scores.view()],
                paragraph: "甲甲甲",
                group: 0,
                references,
            };
            let dev = [&question];
            Loss::new([question.members.clone()].into_iter(), &dev).at(&[1.0])
        };
        let (first, second) = (reference(1), reference(2));
        let both = [first.clone(), second.clone()].concat();
        assert!((loss(&both) - f64::midpoint(loss(&first), loss(&second))).abs() < 1e-12);
        assert!(loss(&first) < loss(&second));
    }

    #[test]
    fn nothing_is_fitted_to_no_questions() {
        assert!(calibrated(&[]).is_empty());
        assert!(weighted(&[]).is_empty());
    }
}

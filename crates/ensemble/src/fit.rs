//! Weights of the members that make dev's reference answers as likely as possible.
//!
//! All that is fitted at once is evaluated in one pass over dev, so that its scores need not be
//! held.

use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::scores::Scores;
use spanwise_spans::covering;
use spanwise_spans::softmax::log_sum_exp;

use crate::combine::equal;
use crate::dev::{Dev, Labelled};

/// The questions that weights are fitted to: all of dev, or those outside one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// All of dev.
    All,
    /// All but those of this part.
    Without(usize),
}

impl Questions {
    fn contain(self, question: &Labelled) -> bool {
        self != Self::Without(question.part)
    }
}

/// The weights that are fitted to some questions, one a member.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The inverse of each member's temperature (Guo et al., 2017), fitted to the member alone, and
    /// divided by the number of members.
    pub calibrated: Vec<f64>,
    /// All weights fitted together. A member that adds nothing gets next to none.
    pub weighted: Vec<f64>,
}

/// The largest weight of a member: a model's scores hardly ever need to be scaled up by more.
const LARGEST_WEIGHT: f64 = 4.0;

/// Number of times that every weight is fitted with the others as they are.
const SWEEPS: usize = 8;

/// Returns the weights fitted to each of these selections of dev's questions. Where a selection has
/// none, all members count alike.
///
/// # Errors
/// Fails if the scores cannot be read.
pub fn fit(dev: &Dev, selections: &[Questions]) -> Result<Vec<Fitted>> {
    let members = dev.members().count();
    let mut searches = Vec::new();
    for &questions in selections {
        searches.extend(
            (0..members).map(|member| Search::new(questions, Members::One(member), 0, vec![1.0])),
        );
    }
    minimise(dev, &mut searches)?;
    let mut fitted: Vec<Fitted> = searches
        .chunks(members)
        .map(|searches| {
            let weight = |search: &Search| search.weights[0] / members as f64;
            let calibrated: Vec<f64> = searches.iter().map(weight).collect();
            Fitted {
                weighted: calibrated.clone(),
                calibrated,
            }
        })
        .collect();

    // The weights with which each member's was last fitted: with the same ones it stays.
    let mut last = vec![vec![Vec::new(); selections.len()]; members];
    for _ in 0..SWEEPS {
        for (member, last) in last.iter_mut().enumerate() {
            let (mut searches, mut indices) = (Vec::new(), Vec::new());
            for (index, &questions) in selections.iter().enumerate() {
                let weights = &fitted[index].weighted;
                if last[index] != *weights {
                    searches.push(Search::new(
                        questions,
                        Members::All,
                        member,
                        weights.clone(),
                    ));
                    indices.push(index);
                }
            }
            minimise(dev, &mut searches)?;
            for (search, index) in searches.into_iter().zip(indices) {
                last[index].clone_from(&search.weights);
                fitted[index].weighted = search.weights;
            }
        }
    }
    for (fitted, &questions) in fitted.iter_mut().zip(selections) {
        if dev.answered_in(questions) == 0 {
            fitted.calibrated = equal(members);
            fitted.weighted = equal(members);
        }
    }
    Ok(fitted)
}

/// Whose scores a loss is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    All,
    One(usize),
}

/// A golden-section search for the best of one weight between 0 and [`LARGEST_WEIGHT`], with the
/// others as they are. The loss is convex in every weight.
struct Search {
    questions: Questions,
    members: Members,
    /// Index of the weight.
    weight: usize,
    weights: Vec<f64>,
    low: f64,
    high: f64,
    /// The losses at [`Self::left`] and [`Self::right`], where they are known.
    losses: [Option<f64>; 2],
}

const GOLDEN: f64 = 0.618_033_988_749_894_8;

impl Search {
    fn new(questions: Questions, members: Members, weight: usize, weights: Vec<f64>) -> Self {
        Self {
            questions,
            members,
            weight,
            weights,
            low: 0.0,
            high: LARGEST_WEIGHT,
            losses: [None; 2],
        }
    }

    fn left(&self) -> f64 {
        self.high - GOLDEN * (self.high - self.low)
    }

    fn right(&self) -> f64 {
        self.low + GOLDEN * (self.high - self.low)
    }

    fn is_done(&self) -> bool {
        self.high - self.low <= 1e-3 * LARGEST_WEIGHT
    }

    /// Leaves out what lies beyond the worse of the two points. The better is one of the next two.
    fn narrow(&mut self) {
        let [left, right] = self.losses;
        if left < right {
            self.high = self.right();
            self.losses = [None, left];
        } else {
            self.low = self.left();
            self.losses = [right, None];
        }
    }
}

/// Sets the weight of every search to the best.
fn minimise(dev: &Dev, searches: &mut [Search]) -> Result<()> {
    loop {
        let mut points = Vec::new();
        let mut unknown = Vec::new();
        for (index, search) in searches.iter().enumerate() {
            for (side, at) in [search.left(), search.right()].into_iter().enumerate() {
                if !search.is_done() && search.losses[side].is_none() {
                    let mut weights = search.weights.clone();
                    weights[search.weight] = at;
                    points.push(Point {
                        questions: search.questions,
                        members: search.members,
                        weights,
                    });
                    unknown.push((index, side));
                }
            }
        }
        if points.is_empty() {
            break;
        }
        for ((index, side), loss) in unknown.into_iter().zip(losses(dev, &points)?) {
            searches[index].losses[side] = Some(loss);
        }
        for search in searches.iter_mut().filter(|search| !search.is_done()) {
            search.narrow();
        }
    }
    for search in searches {
        search.weights[search.weight] = f64::midpoint(search.low, search.high);
    }
    Ok(())
}

/// Weights at which a loss is evaluated.
struct Point {
    questions: Questions,
    members: Members,
    weights: Vec<f64>,
}

/// Returns at every point the mean cross-entropy of reference answers under a softmax over the
/// characters of the weighted scores. The references of a question count in equal parts.
fn losses(dev: &Dev, points: &[Point]) -> Result<Vec<f64>> {
    let of_some = |questions: &mut dyn Iterator<Item = Labelled>| {
        let mut losses = vec![Vec::new(); points.len()];
        let mut sums = Vec::new();
        for question in questions {
            let covered: Vec<Scores> = question.members.iter().copied().map(covering).collect();
            let mut choices: Option<(Members, Vec<Choice>)> = None;
            for (point, losses) in points.iter().zip(&mut losses) {
                if !point.questions.contain(&question) {
                    continue;
                }
                // Points of the same members mostly follow each other.
                let of_members = match choices.take() {
                    Some((members, choices)) if members == point.members => choices,
                    _ => Choice::of(&covered, point.members, question.references),
                };
                let loss = |choice: &Choice| choice.loss(&point.weights, &mut sums);
                losses.extend(of_members.iter().map(loss));
                choices = Some((point.members, of_members));
            }
        }
        Ok(losses)
    };
    let mut sums = vec![(0.0, 0usize); points.len()];
    dev.in_order(of_some, |losses: Vec<Vec<f64>>| {
        for ((sum, count), losses) in sums.iter_mut().zip(losses) {
            // One after the other: a sum's last digits depend on the order.
            *count += losses.len();
            *sum = losses.into_iter().fold(*sum, |sum, loss| sum + loss);
        }
    })?;
    let means = sums.into_iter();
    Ok(means
        .map(|(sum, count)| sum / count.max(1) as f64)
        .collect())
}

/// The start or end scores of one question.
struct Choice<'a> {
    /// Of every member the scores of the candidates.
    members: Vec<&'a [f32]>,
    /// Indices of the references' boundaries among the candidates.
    references: Vec<usize>,
}

impl<'a> Choice<'a> {
    /// Returns the choice of a start and that of an end, as far as some reference's boundary is a
    /// candidate of every member. Scores are covered: what is no candidate of a member is before its
    /// first start, or behind its last end.
    fn of(covered: &'a [Scores], members: Members, references: &[[u32; 2]]) -> Vec<Self> {
        let covered = match members {
            Members::All => covered,
            Members::One(member) => &covered[member..=member],
        };
        let count = |scores: &[f32]| scores.iter().filter(|score| score.is_finite()).count();
        let length = covered[0].start.len();
        let starts = covered.iter().map(|scores| count(&scores.start)).min();
        let ends = covered.iter().map(|scores| count(&scores.end)).min();
        let starts = length - starts.unwrap_or(0)..length;
        let ends = 0..ends.unwrap_or(0);
        let boundaries = |side: usize, candidates: &Range<usize>| {
            let boundaries = references
                .iter()
                .map(|boundaries| boundaries[side] as usize);
            let boundaries = boundaries.filter(|character| candidates.contains(character));
            boundaries
                .map(|character| character - candidates.start)
                .collect()
        };
        let start = Self {
            references: boundaries(0, &starts),
            members: covered
                .iter()
                .map(|scores| &scores.start[starts.clone()])
                .collect(),
        };
        let end = Self {
            references: boundaries(1, &ends),
            members: covered
                .iter()
                .map(|scores| &scores.end[ends.clone()])
                .collect(),
        };
        let choices = [start, end].into_iter();
        choices
            .filter(|choice| !choice.references.is_empty())
            .collect()
    }

    /// `sums` is used for what is computed on the way.
    fn loss(&self, weights: &[f64], sums: &mut Vec<f64>) -> f64 {
        sums.clear();
        sums.resize(self.members[0].len(), 0.0);
        for (scores, weight) in self.members.iter().zip(weights) {
            for (sum, score) in sums.iter_mut().zip(*scores) {
                *sum += f64::from(*score) * weight;
            }
        }
        let references = self.references.iter().map(|&index| sums[index]);
        log_sum_exp(sums) - references.sum::<f64>() / self.references.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::{Answer, Reference};

    use super::*;
    use crate::testing::{TestQuestion, with_dev};

    const CHARACTERS: usize = 10;

    /// Scores of three members for questions whose answer is one character. The first member is
    /// right three times in four and far too confident; the second is always right and not
    /// confident enough; the third is right by chance.
    fn questions() -> Vec<TestQuestion> {
        let question = |question: usize| {
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
            let first = if question.is_multiple_of(4) {
                wrong
            } else {
                answer
            };
            TestQuestion {
                members: vec![
                    peak(first, 20.0),
                    peak(answer, 1.0),
                    peak(question / CHARACTERS % CHARACTERS, 3.0),
                ],
                paragraph: question / 3,
                references: Reference::Spans(vec![reference(answer)]),
            }
        };
        (0..200).map(question).collect()
    }

    fn reference(start: usize) -> Answer {
        let text = "甲".to_owned();
        Answer { text, start }
    }

    const PARAGRAPH: &str = "甲甲甲甲甲甲甲甲甲甲";

    fn loss(dev: &Dev, weights: &[f64]) -> f64 {
        let point = Point {
            questions: Questions::All,
            members: Members::All,
            weights: weights.to_vec(),
        };
        losses(dev, &[point]).unwrap()[0]
    }

    #[test]
    fn calibration_finds_the_temperature() {
        with_dev(PARAGRAPH, &questions(), |dev| {
            let weights = &fit(dev, &[Questions::All]).unwrap()[0].calibrated;
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
        with_dev(PARAGRAPH, &questions(), |dev| {
            let fitted = &fit(dev, &[Questions::All]).unwrap()[0];
            let weights = &fitted.weighted;
            assert!(weights[1] > 3.9 && weights[2] < 0.1, "{weights:?}");
            let others = [vec![1.0 / 3.0; 3], vec![0.0, 4.0, 0.0]];
            for others in others.iter().chain([&fitted.calibrated]) {
                assert!(loss(dev, weights) <= loss(dev, others) + 1e-6);
            }
        });
    }

    /// Golden-section search as it is written in books, with both losses evaluated anew.
    fn by_the_book(dev: &Dev, weights: &mut [f64], weight: usize) {
        let mut at = |value: f64| {
            weights[weight] = value;
            loss(dev, weights)
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
        weights[weight] = f64::midpoint(low, high);
    }

    #[test]
    fn searches_at_once_find_what_each_finds_alone() {
        with_dev(PARAGRAPH, &questions(), |dev| {
            let selections: Vec<Questions> = (0..crate::dev::PARTS)
                .map(Questions::Without)
                .chain([Questions::All])
                .collect();
            let together = fit(dev, &selections).unwrap();
            for (selection, fitted) in selections.iter().zip(&together) {
                assert_eq!(fit(dev, &[*selection]).unwrap()[0], *fitted);
            }
            let all = &together[crate::dev::PARTS];
            let mut weights = all.calibrated.clone();
            for _ in 0..SWEEPS {
                (0..weights.len()).for_each(|member| by_the_book(dev, &mut weights, member));
            }
            assert_eq!(all.weighted, weights);
        });
    }

    #[test]
    fn references_count_in_equal_parts() {
        let column = vec![0.0, 2.0, 1.0];
        let scores = Scores {
            start: column.clone(),
            end: column,
        };
        let loss = |references: &[usize]| {
            let question = TestQuestion {
                members: vec![scores.clone()],
                paragraph: 0,
                references: Reference::Spans(references.iter().copied().map(reference).collect()),
            };
            let mut found = 0.0;
            with_dev("甲甲甲", &[question], |dev| found = loss(dev, &[1.0]));
            found
        };
        assert!((loss(&[1, 2]) - f64::midpoint(loss(&[1]), loss(&[2]))).abs() < 1e-12);
        assert!(loss(&[1]) < loss(&[2]));
    }

    #[test]
    fn without_questions_all_members_count_alike() {
        // All are about one paragraph, so that one part has all of them.
        let questions: Vec<TestQuestion> = questions()
            .into_iter()
            .map(|question| TestQuestion {
                paragraph: 0,
                ..question
            })
            .collect();
        with_dev(PARAGRAPH, &questions, |dev| {
            let fitted = &fit(dev, &[Questions::Without(0)]).unwrap()[0];
            assert_eq!(
                (&fitted.calibrated, &fitted.weighted),
                (&equal(3), &equal(3))
            );
        });
    }
}

//! How much each member counts: weights that make the known answers of dev as likely as possible.

use spanwise_artifact::scores::{Scores, ScoresView};

/// A question with a known answer: every member's scores, and the answer's first and last character.
pub struct Known<'a> {
    /// Of every member.
    pub members: Vec<ScoresView<'a>>,
    /// First character.
    pub start: usize,
    /// Last character, inclusive.
    pub end: usize,
}

/// Start or end scores of one question: per candidate character one score a member, and the answer's place.
struct Choice {
    scores: Vec<f64>,
    answer: usize,
}

/// What is minimised: the mean cross-entropy of answers under softmax over the characters of the weighted scores.
struct Surprise {
    members: usize,
    choices: Vec<Choice>,
}

impl Surprise {
    fn new(known: &[&Known]) -> Self {
        let members = known.first().map_or(0, |known| known.members.len());
        let mut choices = Vec::new();
        for known in known {
            let covering: Vec<Scores> = known.members.iter().map(ScoresView::covering).collect();
            let starts: Vec<&[f32]> = covering.iter().map(|scores| &scores.start[..]).collect();
            let ends: Vec<&[f32]> = covering.iter().map(|scores| &scores.end[..]).collect();
            for (columns, answer) in [(starts, known.start), (ends, known.end)] {
                let candidate =
                    |place: usize| columns.iter().all(|scores| scores[place].is_finite());
                if !candidate(answer) {
                    continue;
                }
                let places = (0..columns[0].len()).filter(|&place| candidate(place));
                let places: Vec<usize> = places.collect();
                choices.push(Choice {
                    scores: places
                        .iter()
                        .flat_map(|&place| {
                            columns.iter().map(move |scores| f64::from(scores[place]))
                        })
                        .collect(),
                    answer: places.partition_point(|&place| place < answer),
                });
            }
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
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            sum.ln() + largest - scores[choice.answer]
        };
        self.choices.iter().map(loss).sum::<f64>() / self.choices.len().max(1) as f64
    }

    /// The best weight of one member with the others as they are, between 0 and `most`.
    fn best(&self, weights: &mut [f64], member: usize, most: f64) {
        // The loss is convex in every weight, so a section search finds its least.
        const GOLDEN: f64 = 0.618_033_988_749_894_8;
        let mut at = |weight: f64| {
            weights[member] = weight;
            self.at(weights)
        };
        let (mut low, mut high) = (0.0, most);
        while high - low > 1e-3 * most {
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

/// Largest weight of a single member: models are hardly ever too unsure by more.
const MOST: f64 = 4.0;

/// Times every member's weight is fitted again.
const SWEEPS: usize = 8;

/// A weight a member, the inverse of its temperature (Guo et al., 2017), each fitted by itself, and together a mean.
pub fn calibrated(known: &[&Known]) -> Vec<f64> {
    let members = known.first().map_or(0, |known| known.members.len());
    (0..members)
        .map(|member| {
            let alone: Vec<Known> = known
                .iter()
                .map(|known| Known {
                    members: vec![known.members[member]],
                    ..**known
                })
                .collect();
            let surprise = Surprise::new(&alone.iter().collect::<Vec<_>>());
            let mut weight = [1.0];
            surprise.best(&mut weight, 0, MOST);
            weight[0] / members as f64
        })
        .collect()
}

/// A weight a member, all fitted together. A member that adds nothing gets none.
pub fn weighted(known: &[&Known]) -> Vec<f64> {
    let mut weights = calibrated(known);
    let surprise = Surprise::new(known);
    for _ in 0..SWEEPS {
        for member in 0..weights.len() {
            surprise.best(&mut weights, member, MOST);
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions of ten characters. The first member knows the answer three times in four but is far too sure; the
    /// second always knows it, and is too shy; the third knows nothing.
    fn members() -> Vec<[Scores; 3]> {
        (0..200usize)
            .map(|index| {
                let answer = index % 10;
                let wrong = (answer + 1 + index % 7) % 10;
                let peak = |place: usize, height: f32| {
                    let mut column = vec![0.0; 10];
                    column[place] = height;
                    Scores {
                        start: column.clone(),
                        end: column,
                    }
                };
                let first = if index % 4 == 0 { wrong } else { answer };
                [
                    peak(first, 20.0),
                    peak(answer, 1.0),
                    peak(index / 10 % 10, 3.0),
                ]
            })
            .collect()
    }

    fn known(members: &[[Scores; 3]]) -> Vec<Known<'_>> {
        let known = members.iter().enumerate().map(|(index, scores)| Known {
            members: scores.iter().map(Scores::view).collect(),
            start: index % 10,
            end: index % 10,
        });
        known.collect()
    }

    #[test]
    fn calibration_finds_the_temperature() {
        let members = members();
        let known = known(&members);
        let weights = calibrated(&known.iter().collect::<Vec<_>>());
        // Right three times in four among ten: the peak should be ln(0.75 / (0.25 / 9)) high, over 3 members.
        let expected = (0.75f64 / (0.25 / 9.0)).ln() / 20.0 / 3.0;
        assert!(
            (weights[0] - expected).abs() < 0.01,
            "{weights:?}, {expected}"
        );
        assert!(weights[1] * 3.0 > 3.9, "always right: as sure as allowed");
        assert!(weights[2] < 0.05, "{weights:?}");
    }

    #[test]
    fn weights_go_to_those_who_know() {
        let members = members();
        let known = known(&members);
        let known: Vec<&Known> = known.iter().collect();
        let surprise = Surprise::new(&known);
        let weights = weighted(&known);
        assert!(weights[1] > 3.9 && weights[2] < 0.1, "{weights:?}");
        for others in [calibrated(&known), vec![1.0 / 3.0; 3], vec![0.0, 4.0, 0.0]] {
            assert!(surprise.at(&weights) <= surprise.at(&others) + 1e-6);
        }
    }
}

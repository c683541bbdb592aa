//! `report.html`: how good the answers are, and where they go wrong. One file that loads nothing
//! else.

use std::ops::Range;

use anyhow::{Context, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use spanwise_artifact::answers::{Candidate, SplitMetrics};
use spanwise_spans::in_sample;

use crate::split::{Answered, AnsweredSplit};

/// Number of wrong answers shown of a split; where there are more, those shown are spread evenly.
const SHOWN: usize = 200;

/// Characters of the paragraph shown on either side of a highlighted one.
const AROUND: usize = 40;

/// Length in characters of the shortest reference of each group.
const LENGTHS: [usize; 5] = [1, 3, 5, 9, 17];

/// The report, split by split.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    splits: Vec<SplitReport>,
}

#[derive(Debug, Serialize)]
struct SplitReport {
    name: &'static str,
    answers: usize,
    empty: usize,
    /// `None` where no question has a reference answer.
    labelled: Option<LabelledReport>,
}

/// What the page says of a split with reference answers.
#[derive(Debug, Serialize)]
struct LabelledReport {
    metrics: SplitMetrics,
    outcomes: Vec<Bar>,
    by_length: Vec<Bar>,
    by_margin: Vec<Bar>,
    /// Number of wrong answers.
    wrong: usize,
    /// Some of them.
    shown: Vec<WrongAnswer>,
}

/// A share of some questions.
#[derive(Debug, PartialEq, Serialize)]
struct Bar {
    label: String,
    count: usize,
    of: usize,
    share: f64,
}

/// A wrong answer.
#[derive(Debug, Serialize)]
struct WrongAnswer {
    id: String,
    question: String,
    answer: String,
    reference: String,
    outcome: &'static str,
    excerpt: Vec<Piece>,
    candidates: Vec<Candidate>,
}

/// A piece of a paragraph and how it is highlighted: a CSS class, empty for none.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    class: &'static str,
}

/// How an answer relates to the references: exact by the task's definition, or where it lies beside
/// the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Exact,
    TooLong,
    TooShort,
    Shifted,
    Elsewhere,
    Empty,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Exact,
        Outcome::TooLong,
        Outcome::TooShort,
        Outcome::Shifted,
        Outcome::Elsewhere,
        Outcome::Empty,
    ];

    fn of(is_exact: bool, answer: &Range<usize>, reference: &Range<usize>) -> Self {
        let holds = |outer: &Range<usize>, inner: &Range<usize>| {
            outer.start <= inner.start && inner.end <= outer.end
        };
        if is_exact {
            Outcome::Exact
        } else if answer.is_empty() {
            Outcome::Empty
        } else if holds(answer, reference) {
            Outcome::TooLong
        } else if holds(reference, answer) {
            Outcome::TooShort
        } else if answer.start < reference.end && reference.start < answer.end {
            Outcome::Shifted
        } else {
            Outcome::Elsewhere
        }
    }

    fn label(self) -> &'static str {
        match self {
            Outcome::Exact => "exact",
            Outcome::TooLong => "too long: the reference and more",
            Outcome::TooShort => "too short: part of the reference",
            Outcome::Shifted => "shifted: overlaps the reference",
            Outcome::Elsewhere => "elsewhere in the paragraph",
            Outcome::Empty => "empty",
        }
    }
}

/// An answered question with a reference answer.
struct Labelled<'a> {
    answered: &'a Answered<'a>,
    /// The first reference's characters.
    reference: Range<usize>,
    outcome: Outcome,
}

impl Report {
    /// Returns the report of these splits.
    pub fn of(splits: &[AnsweredSplit]) -> Self {
        let splits = splits.iter().map(|split| SplitReport {
            name: split.split.name(),
            answers: split.answers.len(),
            empty: split.empty(),
            labelled: split
                .metrics
                .as_ref()
                .map(|metrics| LabelledReport::of(&split.answers, metrics.clone())),
        });
        Self {
            splits: splits.collect(),
        }
    }

    /// Returns the page.
    pub fn render(&self) -> Result<String> {
        let mut environment = Environment::new();
        // Whatever ends in .html is escaped.
        environment.add_template("report.html", include_str!("report.html"))?;
        let template = environment.get_template("report.html")?;
        template.render(Serde(self)).context("render report.html")
    }
}

impl LabelledReport {
    fn of(answers: &[Answered], metrics: SplitMetrics) -> Self {
        let labelled = answers.iter().filter_map(|answered| {
            let reference = answered.question.question.answers.first()?.range();
            let is_exact = answered.question.is_exact(&answered.record.answer);
            let outcome = Outcome::of(is_exact, &answered.range, &reference);
            Some(Labelled {
                answered,
                reference,
                outcome,
            })
        });
        let labelled: Vec<Labelled> = labelled.collect();
        let wrong: Vec<&Labelled> = labelled
            .iter()
            .filter(|one| one.outcome != Outcome::Exact)
            .collect();
        let shown = SHOWN.min(wrong.len());
        let is_shown = |index| in_sample(index, shown, wrong.len());
        Self {
            metrics,
            outcomes: outcomes(&labelled),
            by_length: by_length(&labelled),
            by_margin: by_margin(&labelled),
            wrong: wrong.len(),
            shown: (0..wrong.len())
                .filter(|index| is_shown(*index))
                .map(|index| WrongAnswer::of(wrong[index]))
                .collect(),
        }
    }
}

/// How many answers there are of every kind.
fn outcomes(labelled: &[Labelled]) -> Vec<Bar> {
    let bars = Outcome::ALL.map(|outcome| {
        let count = labelled.iter().filter(|one| one.outcome == outcome).count();
        Bar::new(outcome.label().to_owned(), count, labelled.len())
    });
    bars.into_iter().filter(|bar| bar.count > 0).collect()
}

/// Exact answers by the length of the reference.
fn by_length(labelled: &[Labelled]) -> Vec<Bar> {
    let ends = LENGTHS[1..]
        .iter()
        .map(|&next| Some(next - 1))
        .chain([None]);
    let groups = LENGTHS.into_iter().zip(ends).map(|(shortest, longest)| {
        let fits = |one: &&Labelled| {
            let length = one.reference.len();
            length >= shortest && longest.is_none_or(|longest| length <= longest)
        };
        let label = match longest {
            Some(longest) => format!("{shortest} to {longest} characters"),
            None => format!("{shortest} characters and more"),
        };
        exact_share(label, labelled.iter().filter(fits))
    });
    groups.filter(|bar| bar.of > 0).collect()
}

/// Exact answers by the margin of the best candidate's score over the second's, in quarters.
fn by_margin(labelled: &[Labelled]) -> Vec<Bar> {
    let mut by_margin: Vec<(f32, &Labelled)> = labelled
        .iter()
        .filter_map(|one| match &one.answered.record.candidates[..] {
            [best, second, ..] => Some((best.score? - second.score?, one)),
            _ => None,
        })
        .collect();
    by_margin.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let labels = [
        "least certain quarter",
        "second quarter",
        "third quarter",
        "most certain quarter",
    ];
    let quarter = |index: usize| index * by_margin.len() / labels.len();
    let bars = labels.iter().enumerate().map(|(index, label)| {
        let part = &by_margin[quarter(index)..quarter(index + 1)];
        exact_share((*label).to_owned(), part.iter().map(|(_, one)| *one))
    });
    bars.filter(|bar| bar.of > 0).collect()
}

fn exact_share<'a>(label: String, labelled: impl Iterator<Item = &'a Labelled<'a>>) -> Bar {
    let (mut exact, mut all) = (0, 0);
    for one in labelled {
        all += 1;
        exact += usize::from(one.outcome == Outcome::Exact);
    }
    Bar::new(label, exact, all)
}

impl Bar {
    fn new(label: String, count: usize, of: usize) -> Self {
        let share = count as f64 / of.max(1) as f64;
        Self {
            label,
            count,
            of,
            share,
        }
    }
}

impl WrongAnswer {
    fn of(labelled: &Labelled) -> Self {
        let Answered {
            question,
            range,
            record,
        } = labelled.answered;
        let characters: Vec<char> = question.paragraph.chars().collect();
        Self {
            id: record.id.clone(),
            question: record.question.clone(),
            answer: record.answer.clone(),
            reference: characters[labelled.reference.clone()].iter().collect(),
            outcome: labelled.outcome.label(),
            excerpt: excerpt(&characters, range, &labelled.reference),
            candidates: record.candidates.clone(),
        }
    }
}

/// Returns the paragraph around answer and reference with both highlighted; what lies farther away
/// is left out.
fn excerpt(paragraph: &[char], answer: &Range<usize>, reference: &Range<usize>) -> Vec<Piece> {
    let near = |range: &Range<usize>, index: usize| {
        !range.is_empty() && index + AROUND >= range.start && index < range.end + AROUND
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, character) in paragraph.iter().enumerate() {
        let shown = near(answer, index) || near(reference, index);
        let class = match (answer.contains(&index), reference.contains(&index)) {
            _ if !shown => "gap",
            (true, true) => "both",
            (true, false) => "answer",
            (false, true) => "reference",
            (false, false) => "",
        };
        match pieces.last_mut() {
            Some(last) if last.class == class && shown => last.text.push(*character),
            Some(last) if last.class == class => {}
            _ => pieces.push(Piece {
                text: if shown {
                    character.to_string()
                } else {
                    "…".to_owned()
                },
                class,
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spanwise_artifact::answers::{AnswerRecord, Effect, FittedLength};
    use spanwise_artifact::scores::ScoresView;
    use spanwise_artifact::settings::Rule;
    use spanwise_artifact::{Answer, Characters, Question, Split};

    use super::*;
    use crate::metrics;
    use crate::split::ScoredQuestion;

    const PARAGRAPH: &str = "李白是唐朝的詩人。<b>杜甫</b>也是";

    #[test]
    fn outcomes_by_position() {
        fn check(answer: Range<usize>, expected: Outcome) {
            let reference = 0..2;
            let found = Outcome::of(answer == reference, &answer, &reference);
            assert_eq!(found, expected, "{answer:?}");
        }
        check(0..2, Outcome::Exact);
        check(0..3, Outcome::TooLong);
        check(1..2, Outcome::TooShort);
        check(1..3, Outcome::Shifted);
        check(2..3, Outcome::Elsewhere);
        check(0..0, Outcome::Empty);
        let same_text_elsewhere = Outcome::of(true, &(5..7), &(0..2));
        assert_eq!(same_text_elsewhere, Outcome::Exact);
    }

    #[test]
    fn excerpts_highlight_both_and_leave_out_what_is_far() {
        let pieces = |length: usize, answer: Range<usize>, reference: Range<usize>| {
            let paragraph: Vec<char> = std::iter::repeat_n('一', length).collect();
            let pieces = excerpt(&paragraph, &answer, &reference);
            let piece = |piece: Piece| (piece.text.chars().count(), piece.class);
            pieces.into_iter().map(piece).collect::<Vec<_>>()
        };
        assert_eq!(
            pieces(10, 2..5, 4..7),
            [
                (2, ""),
                (2, "answer"),
                (1, "both"),
                (2, "reference"),
                (3, "")
            ]
        );
        assert_eq!(
            pieces(300, 100..101, 250..252),
            [
                (1, "gap"),
                (AROUND, ""),
                (1, "answer"),
                (AROUND, ""),
                (1, "gap"),
                (AROUND, ""),
                (2, "reference"),
                (AROUND, ""),
                (1, "gap")
            ]
        );
        assert_eq!(
            pieces(50, 0..0, 1..2),
            [(1, ""), (1, "reference"), (AROUND, ""), (1, "gap")]
        );
    }

    #[test]
    fn the_page_counts_groups_and_escapes() {
        fn question(reference: Option<Range<usize>>) -> Question {
            let answer = |range: Range<usize>| Answer {
                text: slice(&range),
                start: range.start,
            };
            Question {
                id: "1".to_owned(),
                paragraph: 0,
                text: "誰?".to_owned(),
                answers: reference.map(answer).into_iter().collect(),
            }
        }
        fn answered<'a>(
            question: &'a Question,
            range: Range<usize>,
            scores: &[f32],
        ) -> Answered<'a> {
            let answer = slice(&range);
            let references: Vec<&str> = question.answers.iter().map(|a| &*a.text).collect();
            let candidates = scores.iter().map(|&score| Candidate {
                text: "李白".to_owned(),
                start: 0,
                end: 2,
                score: Some(score),
            });
            Answered {
                question: ScoredQuestion {
                    question,
                    paragraph: PARAGRAPH,
                    scores: ScoresView {
                        start: &[],
                        end: &[],
                    },
                    ranked: None,
                },
                range,
                record: AnswerRecord {
                    split: Split::Dev,
                    id: question.id.clone(),
                    question: question.text.clone(),
                    metrics: metrics::of_answer(&answer, &references),
                    references: references.into_iter().map(str::to_owned).collect(),
                    answer,
                    candidates: candidates.collect(),
                },
            }
        }
        let (first, tag, none) = (question(Some(0..2)), question(Some(9..16)), question(None));
        let (confident, unsure) = ([9.0, 1.0], [2.0, 1.5]);
        let answers = vec![
            answered(&first, 0..2, &confident),
            answered(&tag, 0..2, &unsure),
            answered(&first, 0..0, &[]),
        ];
        let effect = Effect {
            applied: true,
            changed: 7,
            ..Effect::default()
        };
        let metrics = SplitMetrics {
            max_answer_length: Some(FittedLength {
                characters: 17,
                held_out_gain: 0.0,
                effect,
            }),
            rules: BTreeMap::from(Rule::ALL.map(|rule| (rule, Effect::default()))),
            ..metrics::of_split(answers.iter().map(|answered| &answered.record))
        };
        let splits = [
            AnsweredSplit {
                split: Split::Dev,
                answers,
                metrics: Some(metrics),
            },
            AnsweredSplit {
                split: Split::Test,
                answers: vec![answered(&none, 0..2, &confident)],
                metrics: None,
            },
        ];
        let report = Report::of(&splits);

        let labelled = report.splits[0].labelled.as_ref().unwrap();
        let counts = |bars: &[Bar]| {
            bars.iter()
                .map(|bar| (bar.count, bar.of))
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&labelled.outcomes), [(1, 3), (1, 3), (1, 3)]);
        assert_eq!(counts(&labelled.by_length), [(1, 2), (0, 1)]);
        assert_eq!(counts(&labelled.by_margin), [(0, 1), (1, 1)]);
        assert_eq!((labelled.wrong, labelled.shown.len()), (2, 2));

        let page = report.render().unwrap();
        assert!(
            page.contains("<mark class=\"reference\">&lt;b&gt;杜甫&lt;&#x2f;</mark>"),
            "{page}"
        );
        assert!(page.contains("task exact match"), "{page}");
        assert!(page.contains("least certain quarter") || page.contains("second quarter"));
        assert!(!page.contains("<b>杜甫"), "texts are escaped");
        assert!(page.contains("at most 17 characters") && page.contains("brackets"));
        let position = |rule| page.find(rule).expect(rule);
        assert!(
            position("<td>punctuation") < position("<td>brackets"),
            "rules are in the order in which they are applied"
        );
    }

    fn slice(range: &Range<usize>) -> String {
        let characters = Characters::new(PARAGRAPH);
        characters.get(range.clone()).unwrap().to_owned()
    }
}

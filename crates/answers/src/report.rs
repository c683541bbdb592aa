//! `report.html`: how good the answers are, where they go wrong, and what that looks like. One file that loads nothing
//! else.

use std::ops::Range;

use anyhow::{Context, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use spanwise_artifact::Split;
use spanwise_artifact::answers::{Candidate, QuestionMetrics, SplitMetrics};
use spanwise_artifact::questions::in_sample;

/// Wrong answers shown of a split; with more, these are spread evenly over it.
const SHOWN: usize = 200;

/// Characters of the paragraph shown on either side of what is marked in it.
const AROUND: usize = 40;

/// Shortest references of each group, in characters.
const LENGTHS: [usize; 5] = [1, 3, 5, 9, 17];

/// One answered question.
pub struct Case<'a> {
    /// The input's id.
    pub id: &'a str,
    /// The question.
    pub question: &'a str,
    /// The text it is about.
    pub paragraph: &'a str,
    /// The answer's characters in it; empty for none.
    pub answer: Range<usize>,
    /// The first reference's, where there is one.
    pub reference: Option<Range<usize>>,
    /// Best first, before repairs.
    pub candidates: &'a [Candidate],
    /// Where there is a reference.
    pub marks: Option<QuestionMetrics>,
}

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
    /// For labelled splits.
    measured: Option<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    measures: SplitMetrics,
    outcomes: Vec<Bar>,
    by_length: Vec<Bar>,
    by_certainty: Vec<Bar>,
    wrong: usize,
    shown: Vec<Shown>,
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
struct Shown {
    id: String,
    question: String,
    answer: String,
    reference: String,
    outcome: &'static str,
    excerpt: Vec<Piece>,
    candidates: Vec<Candidate>,
}

/// A piece of a paragraph and how it is marked: a CSS class, empty for none.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    class: &'static str,
}

/// How an answer relates to the first reference.
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

    fn of(answer: &Range<usize>, reference: &Range<usize>, marks: QuestionMetrics) -> Self {
        let holds = |outer: &Range<usize>, inner: &Range<usize>| {
            outer.start <= inner.start && inner.end <= outer.end
        };
        if marks.task_exact_match == 1.0 {
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

/// A case with a reference.
struct Marked<'a> {
    case: &'a Case<'a>,
    reference: Range<usize>,
    outcome: Outcome,
}

impl Report {
    /// Adds a split, with what is measured on it where it is labelled.
    pub fn add(&mut self, split: Split, cases: &[Case], measures: Option<&SplitMetrics>) {
        self.splits.push(SplitReport {
            name: split.name(),
            answers: cases.len(),
            empty: cases.iter().filter(|case| case.answer.is_empty()).count(),
            measured: measures.map(|measures| measured(cases, measures.clone())),
        });
    }

    /// The page.
    pub fn render(&self) -> Result<String> {
        let mut environment = Environment::new();
        // Whatever ends in .html is escaped.
        environment.add_template("report.html", include_str!("report.html"))?;
        let template = environment.get_template("report.html")?;
        template.render(Serde(self)).context("render report.html")
    }
}

fn measured(cases: &[Case], measures: SplitMetrics) -> Measured {
    let marked: Vec<Marked> = cases
        .iter()
        .filter_map(|case| {
            let (reference, marks) = (case.reference.clone()?, case.marks?);
            let outcome = Outcome::of(&case.answer, &reference, marks);
            Some(Marked {
                case,
                reference,
                outcome,
            })
        })
        .collect();
    let wrong: Vec<&Marked> = marked
        .iter()
        .filter(|marked| marked.outcome != Outcome::Exact)
        .collect();
    let shown = SHOWN.min(wrong.len());
    Measured {
        measures,
        outcomes: outcomes(&marked),
        by_length: by_length(&marked),
        by_certainty: by_certainty(&marked),
        wrong: wrong.len(),
        shown: wrong
            .iter()
            .enumerate()
            .filter(|(index, _)| in_sample(*index, shown, wrong.len()))
            .map(|(_, marked)| show(marked))
            .collect(),
    }
}

/// How many answers there are of every kind.
fn outcomes(marked: &[Marked]) -> Vec<Bar> {
    let bars = Outcome::ALL.map(|outcome| {
        let count = marked.iter().filter(|one| one.outcome == outcome).count();
        bar(outcome.label().to_owned(), count, marked.len())
    });
    bars.into_iter().filter(|bar| bar.count > 0).collect()
}

/// Exact answers by the length of the reference.
fn by_length(marked: &[Marked]) -> Vec<Bar> {
    let ends = LENGTHS[1..]
        .iter()
        .map(|&next| Some(next - 1))
        .chain([None]);
    let groups = LENGTHS.into_iter().zip(ends).map(|(shortest, longest)| {
        let fits = |one: &&Marked| {
            let length = one.reference.len();
            length >= shortest && longest.is_none_or(|longest| length <= longest)
        };
        let label = match longest {
            Some(longest) => format!("{shortest} to {longest} characters"),
            None => format!("{shortest} characters and more"),
        };
        exact_share(label, marked.iter().filter(fits))
    });
    groups.filter(|bar| bar.of > 0).collect()
}

/// Exact answers by how far the best candidate's score is ahead of the second's, in quarters.
fn by_certainty(marked: &[Marked]) -> Vec<Bar> {
    let mut ranked: Vec<(f32, &Marked)> = marked
        .iter()
        .filter_map(|one| match one.case.candidates {
            [best, second, ..] => Some((best.score? - second.score?, one)),
            _ => None,
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let labels = [
        "least certain quarter",
        "second quarter",
        "third quarter",
        "most certain quarter",
    ];
    let quarter = |index: usize| index * ranked.len() / labels.len();
    let bars = labels.iter().enumerate().map(|(index, label)| {
        let part = &ranked[quarter(index)..quarter(index + 1)];
        exact_share((*label).to_owned(), part.iter().map(|(_, one)| *one))
    });
    bars.filter(|bar| bar.of > 0).collect()
}

fn exact_share<'a>(label: String, marked: impl Iterator<Item = &'a Marked<'a>>) -> Bar {
    let (mut exact, mut all) = (0, 0);
    for one in marked {
        all += 1;
        exact += usize::from(one.outcome == Outcome::Exact);
    }
    bar(label, exact, all)
}

fn bar(label: String, count: usize, of: usize) -> Bar {
    let share = count as f64 / of.max(1) as f64;
    Bar {
        label,
        count,
        of,
        share,
    }
}

fn show(marked: &Marked) -> Shown {
    let characters: Vec<char> = marked.case.paragraph.chars().collect();
    let text = |range: &Range<usize>| characters[range.clone()].iter().collect::<String>();
    Shown {
        id: marked.case.id.to_owned(),
        question: marked.case.question.to_owned(),
        answer: text(&marked.case.answer),
        reference: text(&marked.reference),
        outcome: marked.outcome.label(),
        excerpt: excerpt(&characters, &marked.case.answer, &marked.reference),
        candidates: marked.case.candidates.to_vec(),
    }
}

/// The paragraph around answer and reference, both marked; what lies farther away is left out.
fn excerpt(paragraph: &[char], answer: &Range<usize>, reference: &Range<usize>) -> Vec<Piece> {
    let near = |range: &Range<usize>, place: usize| {
        !range.is_empty() && place + AROUND >= range.start && place < range.end + AROUND
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for (place, character) in paragraph.iter().enumerate() {
        let shown = near(answer, place) || near(reference, place);
        let class = match (answer.contains(&place), reference.contains(&place)) {
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

    use spanwise_artifact::answers::{Effect, FittedLength};
    use spanwise_artifact::settings::Rule;

    use super::*;
    use crate::metrics;

    const PARAGRAPH: &str = "李白是唐朝的詩人。<b>杜甫</b>也是";

    fn marks(task_exact_match: f64) -> QuestionMetrics {
        QuestionMetrics {
            task_exact_match,
            any_reference_exact_match: task_exact_match,
            cmrc_exact_match: task_exact_match,
            cmrc_f1: task_exact_match,
        }
    }

    fn candidates(scores: &[f32]) -> Vec<Candidate> {
        let candidate = |&score: &f32| Candidate {
            text: "李白".to_owned(),
            start: 0,
            end: 2,
            score: Some(score),
        };
        scores.iter().map(candidate).collect()
    }

    fn case(answer: Range<usize>, reference: Range<usize>, candidates: &[Candidate]) -> Case<'_> {
        let exact = f64::from(answer == reference);
        Case {
            id: "1",
            question: "誰?",
            paragraph: PARAGRAPH,
            answer,
            reference: Some(reference),
            candidates,
            marks: Some(marks(exact)),
        }
    }

    #[test]
    fn outcomes_by_place() {
        let cases = [
            (0..2, 0..2, Outcome::Exact),
            (0..3, 0..2, Outcome::TooLong),
            (1..2, 0..2, Outcome::TooShort),
            (1..3, 0..2, Outcome::Shifted),
            (2..3, 0..2, Outcome::Elsewhere),
            (0..0, 0..2, Outcome::Empty),
        ];
        for (answer, reference, expected) in cases {
            let exact = f64::from(answer == reference);
            assert_eq!(
                Outcome::of(&answer, &reference, marks(exact)),
                expected,
                "{answer:?}"
            );
        }
        assert_eq!(
            Outcome::of(&(5..7), &(0..2), marks(1.0)),
            Outcome::Exact,
            "the same text at another place counts"
        );
    }

    #[test]
    fn excerpts_mark_both_and_leave_out_what_is_far() {
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
        let (sure, unsure) = (candidates(&[9.0, 1.0]), candidates(&[2.0, 1.5]));
        let cases = [
            case(0..2, 0..2, &sure),
            case(0..2, 9..16, &unsure),
            case(0..0, 0..2, &[]),
        ];
        let marked = cases.iter().map(|case| ("", case.marks));
        let effect = Effect {
            applied: true,
            changed: 7,
            ..Effect::default()
        };
        let measures = SplitMetrics {
            max_answer_length: Some(FittedLength {
                characters: 17,
                held_out_gain: 0.0,
                effect,
            }),
            rules: BTreeMap::from(Rule::ALL.map(|rule| (rule, Effect::default()))),
            ..metrics::of_split(marked)
        };
        let mut report = Report::default();
        report.add(Split::Dev, &cases, Some(&measures));
        let unlabelled = Case {
            reference: None,
            marks: None,
            ..case(0..2, 0..2, &sure)
        };
        report.add(Split::Test, &[unlabelled], None);

        let measured = report.splits[0].measured.as_ref().unwrap();
        let counts = |bars: &[Bar]| {
            bars.iter()
                .map(|bar| (bar.count, bar.of))
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&measured.outcomes), [(1, 3), (1, 3), (1, 3)]);
        assert_eq!(counts(&measured.by_length), [(1, 2), (0, 1)]);
        assert_eq!(counts(&measured.by_certainty), [(0, 1), (1, 1)]);
        assert_eq!((measured.wrong, measured.shown.len()), (2, 2));

        let page = report.render().unwrap();
        assert!(
            page.contains("<mark class=\"reference\">&lt;b&gt;杜甫&lt;&#x2f;</mark>"),
            "{page}"
        );
        assert!(page.contains("least certain quarter") || page.contains("second quarter"));
        assert!(!page.contains("<b>杜甫"), "texts are escaped");
        assert!(page.contains("at most 17 characters") && page.contains("brackets"));
        let place = |rule| page.find(rule).expect(rule);
        assert!(
            place("<td>punctuation") < place("<td>brackets"),
            "rules stand in the order they are applied"
        );
    }
}

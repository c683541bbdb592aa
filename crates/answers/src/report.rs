//! `report.html`: how good the answers are, and where they go wrong. One file that loads nothing
//! else, runs nothing, and stays small however many questions there are and however long their
//! texts.

use std::ops::Range;

use anyhow::{Context, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use spanwise_artifact::answers::{AnswerRecord, Confidence, QuestionMetrics, SplitMetrics};
use spanwise_artifact::{Answer, Split};
use spanwise_spans::in_sample;

use crate::metrics::Headline;
use crate::split::ScoredQuestion;

/// Number of wrong answers shown of a split; where there are more, those shown are spread evenly.
const SHOWN: usize = 200;

/// Characters of the paragraph shown on either side of a highlighted range.
const AROUND: usize = 40;

/// Characters shown at either end of a highlighted range.
const INSIDE: usize = 100;

/// Characters shown of any other text.
const TEXT: usize = 200;

/// Candidates shown of a wrong answer.
const CANDIDATES: usize = 10;

/// Length in characters of the shortest reference of each group.
const LENGTHS: [usize; 5] = [1, 3, 5, 9, 17];

/// The report, split by split.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What the page shows of each split.
    pub splits: Vec<SplitReport>,
}

/// What the page shows of a split.
#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    name: &'static str,
    /// The metric in use.
    metric: String,
    answers: usize,
    empty: usize,
    /// The longest answer in characters; `None` where there is no limit.
    max_answer_length: Option<usize>,
    /// `None` where no question is labelled.
    labelled: Option<LabelledReport>,
}

/// What the page says of a split with labelled questions.
#[derive(Debug, Clone, Serialize)]
struct LabelledReport {
    metrics: SplitMetrics,
    outcomes: Vec<Bar>,
    by_length: Vec<Bar>,
    by_probability: Vec<Bar>,
    by_coverage: Vec<Bar>,
    /// Number of wrong answers.
    wrong: usize,
    /// Some of them.
    shown: Vec<WrongAnswer>,
}

/// A share of some questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bar {
    label: String,
    count: usize,
    of: usize,
    share: f64,
}

/// A wrong answer, as the page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct WrongAnswer {
    id: String,
    question: String,
    answer: String,
    reference: String,
    outcome: &'static str,
    excerpt: Vec<Piece>,
    /// How probable the answer is; `None` where no score supports it.
    probability: Option<f32>,
    /// How much higher no answer scores, where questions may be left unanswered.
    null_score_diff: Option<f32>,
    candidates: Vec<ShownCandidate>,
    /// Number of candidates, of which some are shown.
    all_candidates: usize,
}

#[derive(Debug, Clone, Serialize)]
struct ShownCandidate {
    text: String,
    score: Option<f32>,
}

/// A piece of a paragraph and how it is highlighted: a CSS class, empty for none.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Piece {
    text: String,
    class: &'static str,
}

/// How an answer relates to the references: exact by the metric in use, or where it lies beside the
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Exact,
    TooLong,
    TooShort,
    Shifted,
    Elsewhere,
    Empty,
    Unanswerable,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::Exact,
        Outcome::TooLong,
        Outcome::TooShort,
        Outcome::Shifted,
        Outcome::Elsewhere,
        Outcome::Empty,
        Outcome::Unanswerable,
    ];

    fn of(is_exact: bool, answer: &Range<usize>, reference: &Range<usize>) -> Self {
        let holds = |outer: &Range<usize>, inner: &Range<usize>| {
            outer.start <= inner.start && inner.end <= outer.end
        };
        if is_exact {
            Outcome::Exact
        } else if reference.is_empty() {
            Outcome::Unanswerable
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
            Outcome::Unanswerable => "an answer where there is none",
        }
    }
}

/// What is counted of an answer to a labelled question.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The answer's scores.
    pub metrics: QuestionMetrics,
    /// Length of the shortest reference in characters; 0 where there is none.
    pub shortest_reference: usize,
    outcome: Outcome,
    /// Length of the first reference in characters; 0 where there is none.
    reference: usize,
}

impl Labelled {
    /// Returns what is counted of an answer, which has these characters; `None` for an unlabelled
    /// question.
    pub fn of(
        question: &ScoredQuestion,
        range: &Range<usize>,
        record: &AnswerRecord,
    ) -> Option<Self> {
        let references = question.question.answers();
        let reference = references.first().map_or(0..0, Answer::range);
        let lengths = references.iter().map(|reference| reference.range().len());
        Some(Self {
            metrics: record.metrics?,
            shortest_reference: lengths.min().unwrap_or(0),
            outcome: Outcome::of(question.is_exact(&record.answer), range, &reference),
            reference: reference.len(),
        })
    }
}

/// What is counted of all answers to labelled questions.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    labelled: usize,
    /// By [`Outcome::ALL`].
    outcomes: [usize; Outcome::ALL.len()],
    /// Exact answers, and all, by [`LENGTHS`].
    by_length: [(usize, usize); LENGTHS.len()],
    /// Indices of the questions that are answered wrong.
    wrong: Vec<u32>,
}

impl Statistics {
    /// Counts the answer to the question with this index.
    pub fn add(&mut self, question: usize, labelled: &Labelled) {
        let is_exact = labelled.outcome == Outcome::Exact;
        self.labelled += 1;
        for (outcome, count) in Outcome::ALL.into_iter().zip(&mut self.outcomes) {
            *count += usize::from(outcome == labelled.outcome);
        }
        let group = LENGTHS
            .iter()
            .rposition(|&shortest| labelled.reference >= shortest);
        if let Some((exact, all)) = group.map(|group| &mut self.by_length[group]) {
            *exact += usize::from(is_exact);
            *all += 1;
        }
        if !is_exact {
            self.wrong.push(question as u32);
        }
    }

    /// Returns the indices of the questions whose wrong answers are shown.
    pub fn shown(&self) -> impl Iterator<Item = usize> {
        let shown = SHOWN.min(self.wrong.len());
        let wrong = self.wrong.iter().enumerate();
        let wrong = wrong.filter(move |(index, _)| in_sample(*index, shown, self.wrong.len()));
        wrong.map(|(_, &question)| question as usize)
    }

    /// How many answers there are of every kind.
    fn outcomes(&self) -> Vec<Bar> {
        let outcomes = Outcome::ALL.into_iter().zip(self.outcomes);
        let outcomes = outcomes.filter(|(_, count)| *count > 0);
        let bar = |(outcome, count): (Outcome, _)| {
            Bar::new(outcome.label().to_owned(), count, self.labelled)
        };
        outcomes.map(bar).collect()
    }

    /// Exact answers by the length of the reference.
    fn by_length(&self) -> Vec<Bar> {
        let longest = LENGTHS[1..].iter().map(|next| Some(next - 1));
        let groups = LENGTHS.into_iter().zip(longest.chain([None]));
        let bars = groups
            .zip(self.by_length)
            .map(|((shortest, longest), (exact, all))| {
                let label = match longest {
                    Some(longest) => format!("{shortest} to {longest} characters"),
                    None => format!("{shortest} characters and more"),
                };
                Bar::new(label, exact, all)
            });
        bars.filter(|bar| bar.of > 0).collect()
    }
}

/// Exact answers by their probability.
fn by_probability(confidence: &Confidence) -> Vec<Bar> {
    let bars = confidence.bins.iter().map(|bin| {
        let exact = (bin.exact_match * bin.questions as f64).round() as usize;
        let label = format!("probability {:.2} on average", bin.probability);
        Bar::new(label, exact, bin.questions)
    });
    bars.collect()
}

/// Exact answers among the most probable ones.
fn by_coverage(confidence: &Confidence, questions: usize) -> Vec<Bar> {
    let bars = confidence.risk_coverage.iter().map(|point| {
        let answered = (point.coverage * questions as f64).round() as usize;
        let exact = ((1.0 - point.risk) * answered as f64).round() as usize;
        let label = format!(
            "{:.0} %, of probability {:.2} and more",
            100.0 * point.coverage,
            point.probability
        );
        Bar::new(label, exact, answered)
    });
    bars.collect()
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

impl SplitReport {
    /// Returns what the page shows of a split. `labelled`: its metrics, what was counted, and the
    /// wrong answers that are shown; `None` where no question is labelled.
    pub fn new(
        split: Split,
        headline: Headline,
        answers: usize,
        empty: usize,
        max_answer_length: Option<usize>,
        labelled: Option<(&SplitMetrics, &Statistics, Vec<WrongAnswer>)>,
    ) -> Self {
        let labelled = labelled.map(|(metrics, statistics, shown)| {
            let confidence = metrics.confidence.as_ref();
            let by_coverage =
                confidence.map(|confidence| by_coverage(confidence, metrics.questions));
            LabelledReport {
                metrics: metrics.clone(),
                outcomes: statistics.outcomes(),
                by_length: statistics.by_length(),
                by_probability: confidence.map(by_probability).unwrap_or_default(),
                by_coverage: by_coverage.unwrap_or_default(),
                wrong: statistics.wrong.len(),
                shown,
            }
        });
        Self {
            name: split.name(),
            metric: headline.title(),
            answers,
            empty,
            max_answer_length,
            labelled,
        }
    }
}

impl Report {
    /// Returns the page.
    ///
    /// # Errors
    /// Fails if the template cannot be rendered.
    pub fn render(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.add_filter("visible", visible);
        // Whatever ends in .html is escaped.
        environment.add_template("report.html", TEMPLATE)?;
        let template = environment.get_template("report.html")?;
        template.render(Serde(self)).context("render report.html")
    }
}

const TEMPLATE: &str = include_str!("report.html");

/// Returns a text with its control characters as symbols, so that none of them moves, hides or
/// turns what stands around it.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // The symbols of the C0 controls are in their order.
            '\0'..='\u{1f}' => visible.extend(char::from_u32(0x2400 + u32::from(character))),
            '\u{7f}' => visible.push('\u{2421}'),
            // C1 controls; direction, invisible and line-breaking format characters.
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => visible.extend(character.escape_unicode()),
            _ => visible.push(character),
        }
    }
    visible
}

impl WrongAnswer {
    /// Returns what the page shows of an answer, which has these characters of its paragraph.
    pub fn of(question: &ScoredQuestion, range: &Range<usize>, record: &AnswerRecord) -> Self {
        let characters: Vec<char> = question.paragraph.chars().collect();
        let reference = question.question.answers().first();
        let reference = reference.map_or(0..0, Answer::range);
        let is_exact = question.is_exact(&record.answer);
        let candidates = record.candidates.iter().take(CANDIDATES);
        Self {
            id: beginning(&record.id),
            question: beginning(&record.question),
            answer: beginning(&record.answer),
            reference: beginning(record.references.first().map_or("", |first| first)),
            outcome: Outcome::of(is_exact, range, &reference).label(),
            excerpt: excerpt(&characters, range, &reference),
            probability: record.probability,
            null_score_diff: record.null_score_diff,
            candidates: candidates
                .map(|candidate| ShownCandidate {
                    text: beginning(&candidate.text),
                    score: candidate.score,
                })
                .collect(),
            all_candidates: record.candidates.len(),
        }
    }
}

/// Returns the beginning of a text, and how much is left out.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((byte, _)) => {
            let (shown, rest) = text.split_at(byte);
            format!("{shown}… ({} more characters)", rest.chars().count())
        }
    }
}

/// Returns the paragraph around answer and reference with both highlighted; what lies farther away,
/// and the middle of a long one, is left out.
fn excerpt(paragraph: &[char], answer: &Range<usize>, reference: &Range<usize>) -> Vec<Piece> {
    let near = |range: &Range<usize>, index: usize| {
        let (first, last) = (range.start + INSIDE, range.end.saturating_sub(INSIDE));
        let is_around = index + AROUND >= range.start && index < range.end + AROUND;
        !range.is_empty() && is_around && (index < first || index >= last)
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

    use spanwise_artifact::answers::{Candidate, ConfidenceBin, Effect, FittedLength, Risk};
    use spanwise_artifact::scores::{ScoresView, Whole};
    use spanwise_artifact::settings::Rule;
    use spanwise_artifact::{Characters, Question, Reference};

    use super::*;
    use crate::metrics;
    use crate::testing::TASK;

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
        assert_eq!(Outcome::of(false, &(2..3), &(0..0)), Outcome::Unanswerable);
        assert_eq!(Outcome::of(true, &(0..0), &(0..0)), Outcome::Exact);
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
            pieces(500, 100..400, 101..102),
            [
                (1, "gap"),
                (AROUND, ""),
                (1, "answer"),
                (1, "both"),
                (INSIDE - 2, "answer"),
                (1, "gap"),
                (INSIDE, "answer"),
                (AROUND, ""),
                (1, "gap")
            ]
        );
        assert_eq!(
            pieces(50, 0..0, 1..2),
            [(1, ""), (1, "reference"), (AROUND, ""), (1, "gap")]
        );
    }

    fn question(reference: Option<Range<usize>>) -> Question {
        let answer = |range: Range<usize>| Answer {
            text: slice(&range),
            start: range.start,
        };
        Question {
            id: "1".to_owned(),
            paragraph: 0,
            text: "誰?".to_owned(),
            reference: Vec::from_iter(reference.map(answer)).into(),
        }
    }

    fn slice(range: &Range<usize>) -> String {
        let characters = Characters::new(PARAGRAPH);
        characters.get(range.clone()).unwrap().to_owned()
    }

    fn record(question: &Question, answer: &str, scores: &[f32]) -> AnswerRecord {
        let references: Vec<&str> = question.answers().iter().map(|a| &*a.text).collect();
        let candidates = scores.iter().map(|&score| Candidate {
            text: "李白".to_owned(),
            start: 0,
            end: 2,
            score: Some(score),
        });
        AnswerRecord {
            split: Split::Dev,
            id: question.id.clone(),
            question: question.text.clone(),
            metrics: TASK.of_answer(answer, question),
            probability: Some(0.5),
            null_score_diff: None,
            is_impossible: false,
            references: references.into_iter().map(str::to_owned).collect(),
            answer: answer.to_owned(),
            candidates: candidates.collect(),
        }
    }

    fn scored<'a>(question: &'a Question, paragraph: &'a str) -> ScoredQuestion<'a> {
        ScoredQuestion {
            question,
            paragraph,
            scores: ScoresView {
                start: &[],
                end: &[],
            },
            ranked: None,
            whole: Whole::NONE,
            headline: TASK,
        }
    }

    #[test]
    fn the_page_counts_groups_and_escapes() {
        let (first, tag) = (question(Some(0..2)), question(Some(9..16)));
        let (confident, unsure) = ([9.0, 1.0], [2.0, 1.5]);
        let mut statistics = Statistics::default();
        let mut sums = TASK.sums();
        let mut shown = Vec::new();
        let answers: [(&Question, Range<usize>, &[f32]); 3] = [
            (&first, 0..2, &confident),
            (&tag, 0..2, &unsure),
            (&first, 0..0, &[]),
        ];
        for (index, (question, range, scores)) in answers.into_iter().enumerate() {
            let record = record(question, &slice(&range), scores);
            let scored = scored(question, PARAGRAPH);
            let labelled = Labelled::of(&scored, &range, &record).unwrap();
            metrics::add(&mut sums, Some(&labelled.metrics), false, range.is_empty());
            statistics.add(index, &labelled);
            if index > 0 {
                shown.push(WrongAnswer::of(&scored, &range, &record));
            }
        }
        assert!(
            Labelled::of(
                &scored(&question(None), PARAGRAPH),
                &(0..2),
                &record(&question(None), "李白", &confident)
            )
            .is_none()
        );
        assert_eq!(statistics.shown().collect::<Vec<_>>(), [1, 2]);
        let effect = Effect {
            applied: true,
            changed: 7,
            ..Effect::default()
        };
        let risk = Risk {
            coverage: 1.0,
            risk: 2.0 / 3.0,
            probability: 0.5,
        };
        let bin = ConfidenceBin {
            questions: 3,
            probability: 0.5,
            exact_match: 1.0 / 3.0,
        };
        let metrics = SplitMetrics {
            confidence: Some(Confidence {
                temperature: None,
                expected_calibration_error: 0.5 - 1.0 / 3.0,
                bins: vec![bin],
                risk_coverage: vec![risk],
            }),
            unlabelled: 5,
            longer_than_max_answer_length: 1,
            max_answer_length: Some(FittedLength {
                characters: 17,
                held_out_gain: Some(0.0),
                effect,
            }),
            rules: BTreeMap::from(Rule::ALL.map(|rule| (rule, Effect::default()))),
            ..metrics::means(sums).unwrap()
        };
        let labelled = Some((&metrics, &statistics, shown));
        let report = Report {
            splits: vec![
                SplitReport::new(Split::Dev, TASK, 8, 1, Some(17), labelled),
                SplitReport::new(Split::Test, TASK, 4, 0, Some(17), None),
            ],
        };

        let labelled = report.splits[0].labelled.as_ref().unwrap();
        let counts = |bars: &[Bar]| {
            bars.iter()
                .map(|bar| (bar.count, bar.of))
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&labelled.outcomes), [(1, 3), (1, 3), (1, 3)]);
        assert_eq!(counts(&labelled.by_length), [(1, 2), (0, 1)]);
        assert_eq!(counts(&labelled.by_probability), [(1, 3)]);
        assert_eq!(counts(&labelled.by_coverage), [(1, 3)]);
        assert_eq!((labelled.wrong, labelled.shown.len()), (2, 2));

        let page = report.render().unwrap();
        for expected in [
            "<mark class=\"reference\">&lt;b&gt;杜甫&lt;&#x2f;</mark>",
            "task exact match",
            "at most 17 characters",
            "brackets",
            "Listed are 2 of 2 wrong answers to 3 questions.",
            "Nothing is known of the answers to 5 of 8 questions",
            "1 of 3 answers is longer than <code>max_answer_length</code>, 17 characters",
            "4 answers, 0 of them empty. None of them is listed",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        assert!(page.contains("expected calibration error of 0.167"));
        assert!(!page.contains("<b>杜甫"), "texts are escaped");
        let position = |rule| page.find(rule).expect(rule);
        assert!(
            position("<td>punctuation") < position("<td>brackets"),
            "rules are in the order in which they are applied"
        );
    }

    /// A page of many wrong answers about one text, which is its question's, paragraph's, answer's,
    /// candidates' and id's.
    fn hostile_page(text: &str, wrong: usize) -> String {
        let question = Question {
            id: text.to_owned(),
            text: text.to_owned(),
            reference: Reference::Spans(vec![Answer {
                text: text.to_owned(),
                start: 0,
            }]),
            ..question(None)
        };
        let length = text.chars().count();
        let scored = scored(&question, text);
        let mut record = record(&question, text, &[1.0; 1000]);
        for candidate in &mut record.candidates {
            candidate.text = text.to_owned();
        }
        record.answer.push_str("not exact");
        let labelled = Labelled::of(&scored, &(0..length), &record).unwrap();
        let mut statistics = Statistics::default();
        (0..wrong).for_each(|index| statistics.add(index, &labelled));
        let shown = statistics.shown();
        let shown = shown.map(|_| WrongAnswer::of(&scored, &(0..length), &record));
        let shown = shown.collect();
        let metrics = SplitMetrics {
            questions: wrong,
            ..TASK.sums()
        };
        let labelled = Some((&metrics, &statistics, shown));
        let split = SplitReport::new(Split::Dev, TASK, wrong, 0, None, labelled);
        let splits = vec![split.clone(), split];
        Report { splits }.render().unwrap()
    }

    #[test]
    fn the_page_stays_small_whatever_it_reports_on() {
        // A slash takes the most bytes when it is escaped.
        let page = hostile_page(&"/".repeat(100_000), 1000);
        assert!(page.len() < 20_000_000, "{} bytes", page.len());
        assert!(
            page.contains("Listed are 200 of 1000 wrong answers to 1000 questions, spread evenly")
        );
        assert!(page.contains("10 of 1000 candidates"));
        assert!(page.contains("… (99800 more characters)"));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let page = hostile_page(
            "\u{202e}</bdi><script>alert(1)</script>{{ 7*7 }}{% raw %}\0\x1b[31m\n\u{85}\u{2028}\u{7f}",
            1,
        );
        let body = &page[page.find("<h1>").unwrap()..];
        assert!(!body.contains("<script") && !body.contains("style="));
        let hidden = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{85}\u{2028}".contains(c);
        assert!(!body.contains(hidden), "{body}");
        let shown = "<bdi>\\u{202e}&lt;&#x2f;bdi&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;{{ 7*7 }}{% raw %}␀␛[31m␊\\u{85}\\u{2028}␡";
        // Question, answer, reference, excerpt, id and a thousand candidates, of which ten are shown.
        assert_eq!(body.matches(&format!("{shown}</bdi>")).count(), 2 * 13);
        let text = shown.trim_start_matches("<bdi>");
        assert_eq!(body.matches(text).count(), 2 * 15);
    }

    #[test]
    fn the_page_loads_and_runs_nothing() {
        use base64::Engine;
        use base64::prelude::BASE64_STANDARD;
        use sha2::{Digest, Sha256};

        let page = Report::default().render().unwrap();
        let between = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).expect(start);
            rest.split_once(end).expect(end).0
        };
        let style = between("<style>", "</style>");
        let digest = BASE64_STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            between("http-equiv=\"Content-Security-Policy\" content=\"", "\""),
            format!(
                "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
            ),
            "a change of the styles changes their digest in report.html"
        );
        assert!(!page.contains("<script") && !page.contains("style="));
    }
}

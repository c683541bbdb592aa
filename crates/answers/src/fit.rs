//! What is fitted on dev and then applied to every split: the longest answer, which repairs help,
//! when a question is left unanswered, and how probable an answer is.

use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::answers::{Candidate, FittedThreshold, NullMetrics};
use spanwise_artifact::settings::{
    AnswersTable, Decoding, LengthLimit, NullThreshold, Rule, RuleSwitch,
};
use spanwise_spans::span_score;

use crate::confidence::{self, Temperatures};
use crate::decode::Decoder;
use crate::length::{self, Choice};
use crate::null;
use crate::rules::{self, Effects};
use crate::split::{CHARACTERS, ScoredQuestion, ScoredSplit};

/// How questions are answered.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// How candidates are chosen.
    pub decoder: Decoder,
    /// The longest answer, where the pipeline file leaves it to dev and dev has questions with
    /// references.
    pub length: Option<Choice>,
    /// The threshold, where the pipeline file leaves it to dev and dev has labelled questions.
    pub null: Option<FittedThreshold>,
    /// Temperatures of probabilities.
    pub temperatures: Temperatures,
    /// How much higher no answer must score than the best span for a question to be left
    /// unanswered; `None` where every question is answered.
    threshold: Option<f64>,
    /// Of every rule whether it is applied.
    applied: [bool; Rule::ALL.len()],
}

/// What the data says where the settings leave something open.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The longest answer in characters.
    pub longest: usize,
    /// Whether questions of train or dev are unanswerable.
    pub unanswerable: bool,
}

/// The best span of a question.
#[derive(Debug, Clone)]
pub struct Best {
    /// Its characters in the paragraph after repairs; empty where there is none.
    pub range: Range<usize>,
    /// The candidates before repairs, best first.
    pub candidates: Vec<Candidate>,
    /// The span's score, start and end together; `None` for a fallback that no score supports.
    pub score: Option<f32>,
    /// How much higher no answer scores.
    pub null_score_diff: Option<f32>,
}

/// The answer to a question.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Its characters in the paragraph, empty where the question is left unanswered.
    pub range: Range<usize>,
    /// The candidates before repairs, best first.
    pub candidates: Vec<Candidate>,
    /// As in [`AnswerRecord`](spanwise_artifact::answers::AnswerRecord).
    pub null_score_diff: Option<f32>,
    /// The score of what is answered, a span or nothing; `None` where no score supports it.
    pub score: Option<f32>,
}

impl Fitted {
    /// Fits what the settings leave to dev, to the metric in use. Without labelled questions the
    /// longest limit applies, a threshold of 0, and only the repairs that are always on.
    ///
    /// # Errors
    /// Fails if dev cannot be read.
    pub fn on(
        dev: Option<&ScoredSplit>,
        settings: &AnswersTable,
        defaults: Defaults,
    ) -> Result<Self> {
        let mut fitted = Self {
            decoder: Decoder::new(settings, defaults.longest),
            length: None,
            null: None,
            temperatures: Temperatures::default(),
            threshold: None,
            applied: Rule::ALL.map(|rule| settings.rules.switch(rule) == RuleSwitch::On),
        };
        if let (Some(LengthLimit::Fitted(_)), Some(dev)) = (settings.max_answer_length, dev) {
            fitted.length = length::fit(dev, fitted.decoder)?;
        }
        if let Some(length) = &fitted.length {
            fitted.decoder.max_answer_length = length.applied();
        }
        if let Some(dev) = dev {
            fitted.fit_rules(dev, settings)?;
        }
        fitted.threshold = match settings.null_score_diff_threshold {
            None => defaults.unanswerable.then_some(0.0),
            Some(NullThreshold::Difference(threshold)) => Some(threshold),
            Some(NullThreshold::Fitted(to)) => {
                if let Some(dev) = dev {
                    fitted.null = null::fit(dev, &fitted, to)?;
                }
                let applied = fitted.null.filter(|null| null.applied);
                Some(applied.map_or(0.0, |null| null.best))
            }
        };
        if let Some(dev) = dev {
            fitted.temperatures = Temperatures::fit(dev, &fitted)?;
        }
        Ok(fitted)
    }

    /// Logs what the settings leave to dev and dev cannot tell.
    pub fn log_unfitted(&self, settings: &AnswersTable) {
        let is_fitted = matches!(settings.max_answer_length, Some(LengthLimit::Fitted(_)));
        if is_fitted && self.length.is_none() {
            tracing::info!(
                "max_answer_length is {}: no dev question has a reference answer to fit it on",
                self.decoder.max_answer_length
            );
        }
        let threshold = settings.null_score_diff_threshold;
        if matches!(threshold, Some(NullThreshold::Fitted(_))) && self.null.is_none() {
            tracing::info!(
                "null_score_diff_threshold is 0: no dev question is labelled to fit it on"
            );
        }
    }

    /// Decides which of the repairs that are left to dev are applied.
    fn fit_rules(&mut self, dev: &ScoredSplit, settings: &AnswersTable) -> Result<()> {
        let switches = Rule::ALL.map(|rule| settings.rules.switch(rule));
        if !switches.contains(&RuleSwitch::Fit) {
            return Ok(());
        }
        let decoder = self.decoder;
        let mut effects = Effects::new(switches);
        dev.in_order(
            CHARACTERS,
            |_, questions| {
                let mut effects = Effects::new(switches);
                for question in questions
                    .iter()
                    .filter(|question| question.has_references())
                {
                    if let Some(best) = decoder.best(question).filter(|b| b.start < b.end) {
                        effects.count(question, best.start..best.end);
                    }
                }
                Ok(effects)
            },
            |some| {
                effects.add(&some);
                Ok(())
            },
        )?;
        let applied = effects.applied();
        self.applied = Rule::ALL.map(|rule| applied[&rule].applied);
        Ok(())
    }

    /// Returns a question's best span.
    pub fn span(&self, question: &ScoredQuestion) -> Best {
        let candidates = self.decoder.candidates(question);
        let best = candidates.first();
        let range = best.map_or(0..0, |best| best.start..best.end);
        let score = best.and_then(|best| best.score).map(|score| {
            // Ranked spans have votes for scores.
            let scores = question.ranked.is_some().then_some(question.scores);
            scores.map_or(score, |scores| span_score(scores, range.clone()))
        });
        let score = score.filter(|score| score.is_finite());
        let null = question.null_score();
        Best {
            range: self.repaired(question, range),
            candidates,
            score,
            null_score_diff: score.zip(null).map(|(score, null)| null - score),
        }
    }

    /// Returns a question's answer.
    pub fn answer(&self, question: &ScoredQuestion) -> Decided {
        let best = self.span(question);
        let null_score_diff = best.null_score_diff.filter(|_| self.threshold.is_some());
        let is_unanswered = self
            .threshold
            .is_some_and(|threshold| match null_score_diff {
                Some(difference) => f64::from(difference) > threshold,
                // No score supports the span.
                None => best.score.is_none(),
            });
        Decided {
            range: if is_unanswered { 0..0 } else { best.range },
            candidates: best.candidates,
            null_score_diff,
            score: if is_unanswered {
                question.null_score()
            } else {
                best.score
            },
        }
    }

    /// Returns the probability of an answer with this score.
    pub fn probability(&self, question: &ScoredQuestion, score: f32, temperature: f64) -> f32 {
        let null = self.null_of(question);
        confidence::probability(question.scores, null, score, temperature) as f32
    }

    /// Returns the losses of an answer's probability at every temperature; `None` where no score
    /// supports it.
    pub fn losses(&self, question: &ScoredQuestion) -> Option<confidence::Losses> {
        let answer = self.answer(question);
        let is_exact = question.is_exact(question.slice(&answer.range));
        let null = self.null_of(question);
        Some(confidence::losses(
            question.scores,
            null,
            answer.score?,
            is_exact,
        ))
    }

    /// The score of no answer, where questions may be left unanswered.
    fn null_of(&self, question: &ScoredQuestion) -> Option<f32> {
        self.threshold.and(question.null_score())
    }

    /// Whether questions may be left unanswered.
    pub fn knows_no_answer(&self) -> bool {
        self.threshold.is_some()
    }

    /// When questions are left unanswered; `None` where none is.
    pub fn null_metrics(&self) -> Option<NullMetrics> {
        let threshold = self.threshold?;
        Some(NullMetrics {
            threshold,
            fitted: self.null,
        })
    }

    fn repaired(&self, question: &ScoredQuestion, range: Range<usize>) -> Range<usize> {
        if range.is_empty() || !self.applied.contains(&true) {
            return range;
        }
        let paragraph: Vec<char> = question.paragraph.chars().collect();
        let rules = Rule::ALL.into_iter().zip(self.applied);
        let rules = rules.filter(|(_, applied)| *applied);
        rules.fold(range, |answer, (rule, _)| {
            rules::repair(rule, &paragraph, answer)
        })
    }

    /// The longest answer in characters; `None` where there is no limit.
    pub fn max_answer_length(&self) -> Option<usize> {
        let is_limited = self.decoder.decoding == Decoding::Joint;
        is_limited.then_some(self.decoder.max_answer_length)
    }

    /// Returns the switches that apply the same rules again, to count their effects.
    pub fn switches(&self) -> [RuleSwitch; Rule::ALL.len()] {
        self.applied.map(|applied| {
            if applied {
                RuleSwitch::On
            } else {
                RuleSwitch::Off
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::{Scores, ScoresView, Span, Whole};
    use spanwise_artifact::settings::{Fit, FitNull, RulesTable};
    use spanwise_artifact::{Answer, Question, Reference};

    use super::*;
    use crate::testing::{TASK, TestSplit};

    const DEFAULTS: Defaults = Defaults {
        longest: 40,
        unanswerable: false,
    };
    const PARAGRAPH: &str = "讀《史記》，共1998年";

    /// A question whose best span is `best`, the next best its first character.
    fn question(best: Range<usize>, reference: &str) -> (Question, Scores) {
        let mut scores = Scores::none(PARAGRAPH.chars().count());
        scores.start[best.start] = 1.0;
        scores.end[best.end - 1] = 1.0;
        scores.end[best.start] = f32::max(scores.end[best.start], 0.5);
        let question = Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference: Reference::Spans(vec![Answer {
                text: reference.to_owned(),
                start: PARAGRAPH[..PARAGRAPH.find(reference).unwrap()]
                    .chars()
                    .count(),
            }]),
        };
        (question, scores)
    }

    fn fitted(dev: &[(Question, Scores)], settings: &AnswersTable) -> Fitted {
        let dev = TestSplit::new(PARAGRAPH, dev);
        Fitted::on(Some(&dev.open()), settings, DEFAULTS).unwrap()
    }

    fn settings(titles: RuleSwitch, units: RuleSwitch) -> AnswersTable {
        AnswersTable {
            rules: RulesTable {
                titles,
                units,
                ..RulesTable::default()
            },
            ..AnswersTable::default()
        }
    }

    #[test]
    fn a_rule_is_applied_where_it_helps_on_dev_or_is_on() {
        use RuleSwitch::{Fit, Off, On};
        let questions = [
            question(2..4, "《史記》"),
            question(7..11, "1998"),
            question(7..11, "1998"),
        ];
        fn check(dev: &[(Question, Scores)], switches: [RuleSwitch; 2], expected: &[Rule]) {
            let fitted = fitted(dev, &settings(switches[0], switches[1]));
            let applied = Rule::ALL.into_iter().zip(fitted.applied);
            let applied = applied.filter_map(|(rule, applied)| applied.then_some(rule));
            assert_eq!(applied.collect::<Vec<_>>(), expected, "{switches:?}");
        }
        check(&questions, [Fit, Fit], &[Rule::Titles]);
        check(&questions, [Off, On], &[Rule::Units]);
        check(&questions, [On, On], &[Rule::Titles, Rule::Units]);
        // Without dev nothing helps, and what is on stays on.
        check(&[], [Fit, On], &[Rule::Units]);
    }

    #[test]
    fn without_labelled_questions_the_longest_limit_applies() {
        let mut unlabelled = question(7..11, "1998");
        unlabelled.0.reference = Reference::Unknown;
        let settings = AnswersTable {
            max_answer_length: Some(LengthLimit::Fitted(Fit::Fit)),
            ..AnswersTable::default()
        };
        let on_none = Fitted::on(None, &settings, DEFAULTS).unwrap();
        for fitted in [on_none, fitted(&[unlabelled], &settings)] {
            assert_eq!(fitted.length, None);
            assert_eq!(fitted.max_answer_length(), Some(40));
        }
    }

    #[test]
    fn a_length_that_the_pipeline_file_sets_is_not_fitted() {
        let dev = [question(7..11, "1")];
        let settings = AnswersTable {
            max_answer_length: Some(LengthLimit::Characters(2)),
            ..AnswersTable::default()
        };
        let fitted = fitted(&dev, &settings);
        assert_eq!(fitted.length, None);
        let (question, scores) = &dev[0];
        let question = ScoredQuestion {
            question,
            paragraph: PARAGRAPH,
            scores: scores.view(),
            ranked: None,
            whole: Whole::NONE,
            headline: TASK,
        };
        assert_eq!(fitted.answer(&question).range, 7..8);
    }

    #[test]
    fn a_question_is_left_unanswered_where_no_answer_scores_higher() {
        let (question, scores) = question(7..11, "1998");
        let check = |threshold, unanswerable, null: f32, expected: Range<usize>| {
            let settings = AnswersTable {
                null_score_diff_threshold: threshold,
                ..AnswersTable::default()
            };
            let defaults = Defaults {
                unanswerable,
                ..DEFAULTS
            };
            let fitted = Fitted::on(None, &settings, defaults).unwrap();
            let found = fitted.answer(&ScoredQuestion {
                question: &question,
                paragraph: PARAGRAPH,
                scores: scores.view(),
                ranked: None,
                whole: Whole::with_null(null),
                headline: TASK,
            });
            assert_eq!(found.range, expected, "{threshold:?} {unanswerable} {null}");
            let score = if expected.is_empty() { null } else { 2.0 };
            assert_eq!(found.score, Some(score));
            assert_eq!(found.null_score_diff.is_some(), fitted.knows_no_answer());
        };
        // The span scores 2.
        check(None, false, 9.0, 7..11);
        check(None, true, 1.9, 7..11);
        check(None, true, 2.0, 7..11);
        check(None, true, 2.1, 0..0);
        let at = |difference| Some(NullThreshold::Difference(difference));
        check(at(1.0), false, 2.5, 7..11);
        check(at(1.0), false, 3.5, 0..0);
        check(at(-1.0), false, 1.5, 0..0);
        // Without dev nothing is fitted.
        check(Some(NullThreshold::Fitted(FitNull::Fit)), true, 2.1, 0..0);
    }

    #[test]
    fn where_no_score_supports_a_span_there_is_no_answer() {
        let (question, _) = question(7..11, "1998");
        let none = vec![f32::NEG_INFINITY; PARAGRAPH.chars().count()];
        let answer = |unanswerable, whole| {
            let defaults = Defaults {
                unanswerable,
                ..DEFAULTS
            };
            let fitted = Fitted::on(None, &AnswersTable::default(), defaults).unwrap();
            let found = fitted.answer(&ScoredQuestion {
                question: &question,
                paragraph: PARAGRAPH,
                scores: ScoresView {
                    start: &none,
                    end: &none,
                },
                ranked: None,
                whole,
                headline: TASK,
            });
            (found.range, found.score)
        };
        assert_eq!(answer(false, Whole::NONE), (0..none.len(), None));
        assert_eq!(answer(true, Whole::with_null(1.0)), (0..0, Some(1.0)));
        assert_eq!(answer(true, Whole::NONE), (0..0, None));
    }

    #[test]
    fn votes_are_no_scores() {
        let (question, scores) = question(7..11, "1998");
        let votes = [Span {
            start: 7,
            end: 11,
            score: 3.0,
        }];
        let defaults = Defaults {
            unanswerable: true,
            ..DEFAULTS
        };
        let fitted = Fitted::on(None, &AnswersTable::default(), defaults).unwrap();
        let found = fitted.answer(&ScoredQuestion {
            question: &question,
            paragraph: PARAGRAPH,
            scores: scores.view(),
            ranked: Some(&votes),
            whole: Whole::with_null(1.5),
            headline: TASK,
        });
        assert_eq!(found.null_score_diff, Some(-0.5));
        assert_eq!(found.score, Some(2.0));
    }
}

//! What is fitted on dev and then applied to every split: the longest answer and which repairs
//! help.

use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::answers::Candidate;
use spanwise_artifact::settings::{AnswersTable, Decoding, LengthLimit, Rule, RuleSwitch};

use crate::decode::Decoder;
use crate::length::{self, Choice};
use crate::rules::{self, Effects};
use crate::split::{CHARACTERS, ScoredQuestion, ScoredSplit};

/// How questions are answered.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// How candidates are chosen.
    pub decoder: Decoder,
    /// The longest answer, where the pipeline file leaves it to dev and dev has labelled questions.
    pub length: Option<Choice>,
    /// Of every rule whether it is applied.
    applied: [bool; Rule::ALL.len()],
}

impl Fitted {
    /// Fits what the settings leave to dev, to the task's exact match. Without labelled questions
    /// the longest limit applies, and only the repairs that are always on.
    ///
    /// # Errors
    /// Fails if dev cannot be read.
    pub fn on(dev: Option<&ScoredSplit>, settings: &AnswersTable) -> Result<Self> {
        let mut decoder = Decoder::new(settings);
        let mut length = None;
        if let (LengthLimit::Fitted(_), Some(dev)) = (settings.max_answer_length, dev) {
            length = length::fit(dev, decoder)?;
        }
        if let Some(length) = &length {
            decoder.max_answer_length = length.applied();
        }
        let switches = Rule::ALL.map(|rule| settings.rules.switch(rule));
        let mut effects = Effects::new(switches);
        if let Some(dev) = dev.filter(|_| switches.contains(&RuleSwitch::Fit)) {
            dev.in_order(
                CHARACTERS,
                |_, questions| {
                    let mut effects = Effects::new(switches);
                    for question in questions.iter().filter(|question| question.is_labelled()) {
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
        }
        let applied = effects.applied();
        Ok(Self {
            decoder,
            length,
            applied: Rule::ALL.map(|rule| applied[&rule].applied),
        })
    }

    /// Returns the answer's characters in the paragraph, empty where the question is left
    /// unanswered, and the candidates before repairs.
    pub fn answer(&self, question: &ScoredQuestion) -> (Range<usize>, Vec<Candidate>) {
        let candidates = self.decoder.candidates(question);
        let best = candidates.first().map_or(0..0, |best| best.start..best.end);
        if best.is_empty() {
            return (best, candidates);
        }
        let paragraph: Vec<char> = question.paragraph.chars().collect();
        let rules = Rule::ALL.into_iter().zip(self.applied);
        let rules = rules.filter(|(_, applied)| *applied);
        let repaired = rules.fold(best, |answer, (rule, _)| {
            rules::repair(rule, &paragraph, answer)
        });
        (repaired, candidates)
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
    use spanwise_artifact::scores::Scores;
    use spanwise_artifact::settings::{Fit, RulesTable};
    use spanwise_artifact::{Answer, Question, Reference};

    use super::*;
    use crate::testing::TestSplit;

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
        Fitted::on(Some(&dev.open()), settings).unwrap()
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
            max_answer_length: LengthLimit::Fitted(Fit::Fit),
            ..AnswersTable::default()
        };
        let on_none = Fitted::on(None, &settings).unwrap();
        for fitted in [on_none, fitted(&[unlabelled], &settings)] {
            assert_eq!(fitted.length, None);
            assert_eq!(
                fitted.max_answer_length(),
                Some(LengthLimit::LONGEST_FITTED)
            );
        }
    }

    #[test]
    fn a_length_that_the_pipeline_file_sets_is_not_fitted() {
        let dev = [question(7..11, "1")];
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Characters(2),
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
        };
        assert_eq!(fitted.answer(&question).0, 7..8);
    }
}

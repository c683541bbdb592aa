//! What is fitted on dev and then applied to every split: the longest answer and which repairs
//! help.

use std::collections::BTreeMap;
use std::ops::Range;

use spanwise_artifact::answers::{Candidate, Effect, FittedLength};
use spanwise_artifact::settings::{AnswersTable, LengthLimit, Rule, RuleSwitch};

use crate::decode::Decoder;
use crate::length;
use crate::rules::{self, Repairable};
use crate::split::{ScoredQuestion, ScoredSplit};

/// How questions are answered.
#[derive(Debug, Clone)]
pub struct Fitted {
    decoder: Decoder,
    /// The longest answer, where the pipeline file leaves it to dev.
    length: Option<FittedLength>,
    /// The repairs that are applied, in order.
    rules: Vec<Rule>,
}

impl Fitted {
    /// Fits what the settings leave to dev, to the task's exact match. Without labelled questions
    /// the longest limit applies, and only the repairs that are always on.
    pub fn on(dev: Option<&ScoredSplit>, settings: &AnswersTable) -> Self {
        let dev: Vec<ScoredQuestion> = dev
            .into_iter()
            .flat_map(ScoredSplit::questions)
            .filter(ScoredQuestion::is_labelled)
            .collect();
        Self::on_labelled(&dev, settings)
    }

    fn on_labelled(dev: &[ScoredQuestion], settings: &AnswersTable) -> Self {
        let mut decoder = Decoder::new(settings);
        let mut length = None;
        if let LengthLimit::Fitted(_) = settings.max_answer_length {
            let fitted = length::fit(dev, decoder);
            decoder.max_answer_length = length::applied(&fitted);
            length = Some(fitted);
        }
        let effects = rules::effects(repairable(dev, decoder), |rule, effect| {
            match settings.rules.switch(rule) {
                RuleSwitch::Off => false,
                RuleSwitch::On => true,
                RuleSwitch::Fit => effect.fixed > effect.broken,
            }
        });
        let rules = effects.into_iter().filter(|(_, effect)| effect.applied);
        Self {
            decoder,
            length,
            rules: rules.map(|(rule, _)| rule).collect(),
        }
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
        let repaired = self.rules.iter().fold(best, |answer, rule| {
            rules::repair(*rule, &paragraph, answer)
        });
        (repaired, candidates)
    }

    /// Returns the fitted longest answer with its effect on labelled questions; `None` where the
    /// pipeline file sets it.
    pub fn length_on(&self, labelled: &[ScoredQuestion]) -> Option<FittedLength> {
        let fitted = self.length?;
        let effect = Effect {
            applied: fitted.effect.applied,
            ..length::effect(labelled, self.decoder, fitted.characters)
        };
        Some(FittedLength { effect, ..fitted })
    }

    /// Returns the effect of every rule on labelled questions.
    pub fn rules_on(&self, labelled: &[ScoredQuestion]) -> BTreeMap<Rule, Effect> {
        rules::effects(repairable(labelled, self.decoder), |rule, _| {
            self.rules.contains(&rule)
        })
    }
}

/// The answers before repairs, without the empty ones.
fn repairable<'a>(questions: &'a [ScoredQuestion], decoder: Decoder) -> Vec<Repairable<'a>> {
    let answers = questions.iter().filter_map(|question| {
        let best = decoder.best(question)?;
        (best.start < best.end).then(|| Repairable {
            question,
            paragraph: question.paragraph.chars().collect(),
            answer: best.start..best.end,
        })
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::Scores;
    use spanwise_artifact::settings::{Fit, RulesTable};
    use spanwise_artifact::{Answer, Question};

    use super::*;

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
            answers: vec![Answer {
                text: reference.to_owned(),
                start: 0,
            }],
        };
        (question, scores)
    }

    fn scored(questions: &[(Question, Scores)]) -> Vec<ScoredQuestion<'_>> {
        let scored = questions.iter().map(|(question, scores)| ScoredQuestion {
            question,
            paragraph: PARAGRAPH,
            scores: scores.view(),
            ranked: None,
        });
        scored.collect()
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
        let dev = scored(&questions);
        fn check(dev: &[ScoredQuestion], switches: [RuleSwitch; 2], expected: &[Rule]) {
            let fitted = Fitted::on_labelled(dev, &settings(switches[0], switches[1]));
            assert_eq!(fitted.rules, expected, "{switches:?}");
        }
        check(&dev, [Fit, Fit], &[Rule::Titles]);
        check(&dev, [Off, On], &[Rule::Units]);
        check(&dev, [On, On], &[Rule::Titles, Rule::Units]);
        // Without dev nothing helps, and what is on stays on.
        check(&[], [Fit, On], &[Rule::Units]);
    }

    #[test]
    fn nothing_is_fitted_on_another_split() {
        let dev = [question(2..4, "《史記》"), question(7..11, "1998年")];
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Fitted(Fit::Fit),
            ..settings(RuleSwitch::Fit, RuleSwitch::Off)
        };
        let fitted = Fitted::on_labelled(&scored(&dev), &settings);
        // On these the rule breaks more than it fixes and a limit of one character would be best.
        let test = [question(2..4, "史"), question(7..11, "1")];
        let test = scored(&test);
        assert_eq!(fitted.answer(&test[0]).0, 1..5);
        let titles = Effect {
            applied: true,
            changed: 1,
            fixed: 0,
            broken: 0,
        };
        assert_eq!(fitted.rules_on(&test)[&Rule::Titles], titles);
        let length = fitted.length_on(&test).unwrap();
        assert_eq!(length.characters, LengthLimit::LONGEST_FITTED);
        assert_eq!(length.effect.changed, 0);
    }

    #[test]
    fn a_length_that_the_pipeline_file_sets_is_not_fitted() {
        let dev = [question(7..11, "1")];
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Characters(2),
            ..AnswersTable::default()
        };
        let fitted = Fitted::on_labelled(&scored(&dev), &settings);
        assert_eq!(fitted.length_on(&scored(&dev)), None);
        assert_eq!(fitted.answer(&scored(&dev)[0]).0, 7..8);
    }
}

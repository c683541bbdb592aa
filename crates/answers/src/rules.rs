//! Small repairs of an answer's ends. Each moves the boundaries within the paragraph, so that the
//! result is still a substring of it.

use std::collections::BTreeMap;
use std::ops::Range;

use spanwise_artifact::answers::Effect;
use spanwise_artifact::settings::{Rule, RuleSwitch};

use crate::split::ScoredQuestion;

const BRACKETS: [(char, char); 9] = [
    ('（', '）'),
    ('(', ')'),
    ('《', '》'),
    ('〈', '〉'),
    ('「', '」'),
    ('『', '』'),
    ('【', '】'),
    ('[', ']'),
    ('“', '”'),
];

const PUNCTUATION: &str = "，。、；：！？,.;:!? \u{3000}";

const UNITS: [&str; 32] = [
    "世紀", "世纪", "年代", "公里", "公尺", "公分", "公斤", "公噸", "公頃", "英里", "英尺", "美元",
    "萬", "億", "年", "月", "日", "號", "歲", "人", "名", "位", "個", "次", "度", "元", "米", "座",
    "天", "小時", "分鐘", "%",
];

/// Returns the repaired character range of an answer, which is never empty.
pub fn repair(rule: Rule, paragraph: &[char], answer: Range<usize>) -> Range<usize> {
    let repaired = match rule {
        Rule::Punctuation => punctuation(paragraph, answer.clone()),
        Rule::Brackets => brackets(paragraph, answer.clone()),
        Rule::Titles => titles(paragraph, answer.clone()),
        Rule::Units => units(paragraph, answer.clone()),
    };
    if repaired.is_empty() {
        answer
    } else {
        repaired
    }
}

fn punctuation(paragraph: &[char], mut answer: Range<usize>) -> Range<usize> {
    let is_punctuation = |index: usize| PUNCTUATION.contains(paragraph[index]);
    while !answer.is_empty() && is_punctuation(answer.end - 1) {
        answer.end -= 1;
    }
    while !answer.is_empty() && is_punctuation(answer.start) {
        answer.start += 1;
    }
    answer
}

fn brackets(paragraph: &[char], mut answer: Range<usize>) -> Range<usize> {
    for (open, close) in BRACKETS {
        let text = &paragraph[answer.clone()];
        // The depth at the end, and the lowest before it.
        let (depth, lowest) = text.iter().fold((0i32, 0i32), |(depth, lowest), &c| {
            let depth = depth + i32::from(c == open) - i32::from(c == close);
            (depth, lowest.min(depth))
        });
        let (unclosed, unopened) = (depth - lowest, -lowest);
        if unclosed == 1 {
            if paragraph.get(answer.end) == Some(&close) {
                answer.end += 1;
            } else if text.first() == Some(&open) {
                answer.start += 1;
            } else if text.last() == Some(&open) {
                answer.end -= 1;
            }
        } else if unopened == 1 {
            if answer.start > 0 && paragraph[answer.start - 1] == open {
                answer.start -= 1;
            } else if text.last() == Some(&close) {
                answer.end -= 1;
            } else if text.first() == Some(&close) {
                answer.start += 1;
            }
        }
    }
    answer
}

fn titles(paragraph: &[char], answer: Range<usize>) -> Range<usize> {
    let enclosed = answer.start > 0
        && paragraph[answer.start - 1] == '《'
        && paragraph.get(answer.end) == Some(&'》');
    if enclosed {
        answer.start - 1..answer.end + 1
    } else {
        answer
    }
}

fn units(paragraph: &[char], answer: Range<usize>) -> Range<usize> {
    let is_digit = |c: &char| c.is_ascii_digit() || "〇一二三四五六七八九十百千萬億".contains(*c);
    if !answer.clone().all(|index| is_digit(&paragraph[index])) {
        return answer;
    }
    let rest = &paragraph[answer.end..];
    let follows = |unit: &&&str| {
        let length = unit.chars().count();
        rest.len() >= length && unit.chars().eq(rest[..length].iter().copied())
    };
    // The list begins with the longest.
    let unit = UNITS.iter().find(follows);
    answer.start..answer.end + unit.map_or(0, |unit| unit.chars().count())
}

/// What every rule does to answers, each after the rules that were applied before it.
///
/// Whether a rule whose switch is `fit` is applied is known in the end only. Until then the answers
/// with and without it are both followed.
#[derive(Debug, Clone)]
pub struct Effects {
    switches: [RuleSwitch; Rule::ALL.len()],
    /// Of every rule its effect, for every choice of the fitted rules before it: `0` or `1` a rule,
    /// the digits of a binary number.
    effects: [Vec<Effect>; Rule::ALL.len()],
}

impl Effects {
    /// Starts without answers.
    pub fn new(switches: [RuleSwitch; Rule::ALL.len()]) -> Self {
        let mut choices = 1;
        let effects = switches.map(|switch| {
            let effects = vec![Effect::default(); choices];
            choices *= if switch == RuleSwitch::Fit { 2 } else { 1 };
            effects
        });
        Self { switches, effects }
    }

    /// Counts the answer of a labelled question, which is not empty.
    pub fn count(&mut self, question: &ScoredQuestion, answer: Range<usize>) {
        let paragraph: Vec<char> = question.paragraph.chars().collect();
        let is_exact = |range: &Range<usize>| {
            let text: String = paragraph[range.clone()].iter().collect();
            question.is_exact(&text)
        };
        let exact = is_exact(&answer);
        let mut answers = vec![(answer, exact)];
        for (index, rule) in Rule::ALL.into_iter().enumerate() {
            let mut next = Vec::new();
            for (choice, (before, was_exact)) in answers.into_iter().enumerate() {
                let after = repair(rule, &paragraph, before.clone());
                let changes = before != after;
                let exact = if changes { is_exact(&after) } else { was_exact };
                self.effects[index][choice].count(changes, was_exact, exact);
                let (without, with) = ((before, was_exact), (after, exact));
                match self.switches[index] {
                    RuleSwitch::Off => next.push(without),
                    RuleSwitch::On => next.push(with),
                    RuleSwitch::Fit => next.extend([without, with]),
                }
            }
            answers = next;
        }
    }

    /// Adds what was counted elsewhere with the same switches.
    pub fn add(&mut self, other: &Self) {
        let effects = self.effects.iter_mut().flatten();
        for (effect, other) in effects.zip(other.effects.iter().flatten()) {
            add(effect, *other);
        }
    }

    /// Returns the effect of every rule, and whether it is applied: one whose switch is `fit` where
    /// it fixes more than it breaks.
    pub fn applied(&self) -> BTreeMap<Rule, Effect> {
        let mut choice = 0;
        let rules = Rule::ALL.into_iter().zip(self.switches).zip(&self.effects);
        let rules = rules.map(|((rule, switch), effects)| {
            let mut effect = effects[choice];
            effect.applied = match switch {
                RuleSwitch::Off => false,
                RuleSwitch::On => true,
                RuleSwitch::Fit => {
                    let helps = effect.fixed > effect.broken;
                    choice = 2 * choice + usize::from(helps);
                    helps
                }
            };
            (rule, effect)
        });
        rules.collect()
    }
}

/// Adds the counts of one effect to another.
pub fn add(effect: &mut Effect, other: Effect) {
    effect.changed += other.changed;
    effect.fixed += other.fixed;
    effect.broken += other.broken;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::scores::{ScoresView, Whole};
    use spanwise_artifact::{Answer, Question, Reference};

    use super::*;
    use crate::testing::TASK;

    /// Repairs the answer between `|` and `|`.
    fn repaired(rule: Rule, text: &str) -> String {
        let parts: Vec<Vec<char>> = text.split('|').map(|part| part.chars().collect()).collect();
        let start = parts[0].len();
        let answer = start..start + parts[1].len();
        let paragraph = parts.concat();
        paragraph[repair(rule, &paragraph, answer)].iter().collect()
    }

    #[test]
    fn repairs() {
        for (rule, text, expected) in [
            (Rule::Punctuation, "在|，北京。|是", "北京"),
            (Rule::Punctuation, "在|。|是", "。"),
            (Rule::Punctuation, "在|3.5|是", "3.5"),
            (Rule::Brackets, "在|北京（京|）是", "北京（京）"),
            (Rule::Brackets, "在（|京）城|是", "（京）城"),
            (Rule::Brackets, "在|（北京|是）", "北京"),
            (Rule::Brackets, "在|北京」|是", "北京"),
            (Rule::Brackets, "在|「北京」|是", "「北京」"),
            (Rule::Brackets, "在「|北京|」是", "北京"),
            (Rule::Titles, "讀《|史記|》了", "《史記》"),
            (Rule::Titles, "讀《|史|記》了", "史"),
            (Rule::Units, "在|1998|年初", "1998年"),
            (Rule::Units, "在|十九|世紀末", "十九世紀"),
            (Rule::Units, "在|1998年|初", "1998年"),
            (Rule::Units, "在|北京|人", "北京"),
            (Rule::Units, "共|12|", "12"),
        ] {
            assert_eq!(repaired(rule, text), expected, "{rule:?} of {text}");
        }
    }

    #[test]
    fn effects_are_counted_after_the_rules_applied_before() {
        let text = "讀《史記》，共1998年";
        let question = |reference: &str| Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference: Reference::Spans(vec![Answer {
                text: reference.to_owned(),
                start: 0,
            }]),
        };
        let questions = ["《史記》", "1998", "1998"].map(question);
        // Titles' and units' switch; the others are off.
        let effects = |titles, units| {
            let switches = Rule::ALL.map(|rule| match rule {
                Rule::Titles => titles,
                Rule::Units => units,
                _ => RuleSwitch::Off,
            });
            let mut all = Effects::new(switches);
            for (question, answer) in questions.iter().zip([2..4, 7..11, 7..11]) {
                let mut one = Effects::new(switches);
                one.count(
                    &ScoredQuestion {
                        question,
                        paragraph: text,
                        scores: ScoresView {
                            start: &[],
                            end: &[],
                        },
                        ranked: None,
                        whole: Whole::NONE,
                        headline: TASK,
                    },
                    answer,
                );
                all.add(&one);
            }
            all.applied()
        };
        let effect = |applied, changed, fixed, broken| Effect {
            applied,
            changed,
            fixed,
            broken,
        };
        use RuleSwitch::{Fit, Off, On};
        let helps = effects(Fit, Fit);
        assert_eq!(helps[&Rule::Titles], effect(true, 1, 1, 0));
        assert_eq!(helps[&Rule::Units], effect(false, 2, 0, 2));
        assert_eq!(helps[&Rule::Brackets], effect(false, 0, 0, 0));
        assert_eq!(effects(On, On)[&Rule::Units], effect(true, 2, 0, 2));
        assert_eq!(effects(Off, Off)[&Rule::Titles], effect(false, 1, 1, 0));
    }

    #[test]
    fn a_fitted_rule_is_measured_after_those_that_turn_out_to_help() {
        // Without the full stop, titles are found: what is off leaves nothing for the next rule.
        let text = "讀《史記。》";
        let question = Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference: Reference::Spans(vec![Answer {
                text: "史記".to_owned(),
                start: 2,
            }]),
        };
        let scored = ScoredQuestion {
            question: &question,
            paragraph: text,
            scores: ScoresView {
                start: &[],
                end: &[],
            },
            ranked: None,
            whole: Whole::NONE,
            headline: TASK,
        };
        for (punctuation, expected) in [(RuleSwitch::Fit, 0), (RuleSwitch::Off, 1)] {
            let mut effects = Effects::new(Rule::ALL.map(|rule| match rule {
                Rule::Punctuation => punctuation,
                _ => RuleSwitch::Fit,
            }));
            effects.count(&scored, 2..5);
            let found = effects.applied();
            assert_eq!(found[&Rule::Titles].changed, expected, "{punctuation:?}");
        }
    }

    proptest! {
        #[test]
        fn a_repaired_answer_is_part_of_the_paragraph(text in "[《》（）「，。年1一a]{1,20}", start in 0usize..20, length in 1usize..20) {
            let paragraph: Vec<char> = text.chars().collect();
            let start = start % paragraph.len();
            let end = (start + length).min(paragraph.len());
            for rule in Rule::ALL {
                let repaired = repair(rule, &paragraph, start..end);
                prop_assert!(!repaired.is_empty() && repaired.end <= paragraph.len());
                prop_assert!(repaired.start <= end && repaired.end >= start);
            }
        }
    }
}

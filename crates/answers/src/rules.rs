//! Small repairs of an answer's ends. Each moves the boundaries within the paragraph, so that the
//! result is still a substring of it.

use std::collections::BTreeMap;
use std::ops::Range;

use spanwise_artifact::answers::Effect;
use spanwise_artifact::settings::Rule;

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

/// A non-empty answer of a labelled question.
pub struct Repairable<'a> {
    /// The question.
    pub question: &'a ScoredQuestion<'a>,
    /// Its paragraph's characters.
    pub paragraph: Vec<char>,
    /// The answer's characters.
    pub answer: Range<usize>,
}

/// Returns what every rule does to answers, each after the rules that were applied before it.
/// `applies` decides from a rule's effect whether it is applied.
pub fn effects(
    mut answers: Vec<Repairable>,
    applies: impl Fn(Rule, &Effect) -> bool,
) -> BTreeMap<Rule, Effect> {
    let mut effects = BTreeMap::new();
    for rule in Rule::ALL {
        let mut effect = Effect::default();
        let mut repaired = Vec::with_capacity(answers.len());
        for Repairable {
            question,
            paragraph,
            answer,
        } in &answers
        {
            let new = repair(rule, paragraph, answer.clone());
            let is_exact = |range: &Range<usize>| {
                let text: String = paragraph[range.clone()].iter().collect();
                question.is_exact(&text)
            };
            effect.count(new != *answer, is_exact(answer), is_exact(&new));
            repaired.push(new);
        }
        effect.applied = applies(rule, &effect);
        if effect.applied {
            for (answer, new) in answers.iter_mut().zip(repaired) {
                answer.answer = new;
            }
        }
        effects.insert(rule, effect);
    }
    effects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::scores::ScoresView;
    use spanwise_artifact::{Answer, Question};

    use super::*;

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
            answers: vec![Answer {
                text: reference.to_owned(),
                start: 0,
            }],
        };
        let questions = ["《史記》", "1998", "1998"].map(question);
        let scored = questions.each_ref().map(|question| ScoredQuestion {
            question,
            paragraph: text,
            scores: ScoresView {
                start: &[],
                end: &[],
            },
            ranked: None,
        });
        let answers = || {
            let ranges = [2..4, 7..11, 7..11];
            let answers = scored.iter().zip(ranges);
            let answers = answers.map(|(question, answer)| Repairable {
                question,
                paragraph: text.chars().collect(),
                answer,
            });
            answers.collect()
        };
        let effect = |applied, changed, fixed, broken| Effect {
            applied,
            changed,
            fixed,
            broken,
        };
        let helps = effects(answers(), |_, effect| effect.fixed > effect.broken);
        assert_eq!(helps[&Rule::Titles], effect(true, 1, 1, 0));
        assert_eq!(helps[&Rule::Units], effect(false, 2, 0, 2));
        assert_eq!(helps[&Rule::Brackets], effect(false, 0, 0, 0));
        let all = effects(answers(), |_, _| true);
        assert_eq!(all[&Rule::Units], effect(true, 2, 0, 2));
        let none = effects(answers(), |_, _| false);
        assert_eq!(none[&Rule::Titles], effect(false, 1, 1, 0));
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

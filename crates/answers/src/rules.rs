//! Small repairs of an answer's ends. Each moves the boundaries within the paragraph, so that what comes out is
//! still a substring of it.

use std::collections::BTreeMap;
use std::ops::Range;

use spanwise_artifact::answers::Effect;
use spanwise_artifact::settings::{Rule, RulesTable, RuleSwitch};

use crate::metrics::task_exact_match;

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

/// Applying a rule.
pub trait Repair {
    /// The repaired character range of an answer, which is never empty.
    fn repair(self, paragraph: &[char], answer: Range<usize>) -> Range<usize>;
}

impl Repair for Rule {
    fn repair(self, paragraph: &[char], answer: Range<usize>) -> Range<usize> {
        let repaired = match self {
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
}

fn punctuation(paragraph: &[char], mut answer: Range<usize>) -> Range<usize> {
    let is_punctuation = |place: usize| PUNCTUATION.contains(paragraph[place]);
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
        // The depth at the end, and the lowest on the way.
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
    if !answer.clone().all(|place| is_digit(&paragraph[place])) {
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

/// An answer to learn from: its paragraph, its range and its reference.
pub struct Known<'a> {
    /// The paragraph's characters.
    pub paragraph: &'a [char],
    /// The answer's characters.
    pub answer: Range<usize>,
    /// What it should be.
    pub reference: &'a str,
}

/// What every rule does to answers with a known reference, each after those applied before it, and which are to be
/// applied: those switched on, and of those to be fitted the ones that fix more than they break.
pub fn fit(settings: &RulesTable, mut known: Vec<Known>) -> BTreeMap<Rule, Effect> {
    let mut effects = BTreeMap::new();
    for rule in Rule::ALL {
        let mut effect = Effect::default();
        let mut repaired = Vec::with_capacity(known.len());
        for Known {
            paragraph,
            answer,
            reference,
        } in &known
        {
            let new = rule.repair(paragraph, answer.clone());
            let right = |range: &Range<usize>| {
                let text: String = paragraph[range.clone()].iter().collect();
                task_exact_match(&text, reference) == 1.0
            };
            effect.count(new != *answer, right(answer), right(&new));
            repaired.push(new);
        }
        effect.applied = match settings.switch(rule) {
            RuleSwitch::Off => false,
            RuleSwitch::On => true,
            RuleSwitch::Fit => effect.fixed > effect.broken,
        };
        if effect.applied {
            for (known, new) in known.iter_mut().zip(repaired) {
                known.answer = new;
            }
        }
        effects.insert(rule, effect);
    }
    effects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Repairs what stands between `|` and `|`.
    fn repaired(rule: Rule, text: &str) -> String {
        let parts: Vec<Vec<char>> = text.split('|').map(|part| part.chars().collect()).collect();
        let start = parts[0].len();
        let answer = start..start + parts[1].len();
        let paragraph = parts.concat();
        paragraph[rule.repair(&paragraph, answer)].iter().collect()
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
    fn a_rule_to_be_fitted_applies_where_it_helps() {
        let paragraph: Vec<char> = "讀《史記》共1998年".chars().collect();
        let known = || {
            let known = |answer: Range<usize>, reference| Known {
                paragraph: &paragraph,
                answer,
                reference,
            };
            vec![
                known(2..4, "《史記》"),
                known(6..10, "1998"),
                known(6..10, "1998"),
            ]
        };
        let settings = RulesTable {
            titles: RuleSwitch::Fit,
            units: RuleSwitch::Fit,
            ..Default::default()
        };
        let effects = fit(&settings, known());
        let effect = |applied, changed, fixed, broken| Effect {
            applied,
            changed,
            fixed,
            broken,
        };
        assert_eq!(effects[&Rule::Titles], effect(true, 1, 1, 0));
        assert_eq!(effects[&Rule::Units], effect(false, 2, 0, 2));
        assert_eq!(effects[&Rule::Brackets], effect(false, 0, 0, 0));
        let forced = RulesTable {
            units: RuleSwitch::On,
            ..Default::default()
        };
        assert!(fit(&forced, known())[&Rule::Units].applied);
        assert!(!fit(&RulesTable::default(), known())[&Rule::Titles].applied);
    }

    proptest! {
        #[test]
        fn a_repaired_answer_is_part_of_the_paragraph(text in "[《》（）「，。年1一a]{1,20}", start in 0usize..20, length in 1usize..20) {
            let paragraph: Vec<char> = text.chars().collect();
            let start = start % paragraph.len();
            let end = (start + length).min(paragraph.len());
            for rule in Rule::ALL {
                let repaired = rule.repair(&paragraph, start..end);
                prop_assert!(!repaired.is_empty() && repaired.end <= paragraph.len());
                prop_assert!(repaired.start <= end && repaired.end >= start);
            }
        }
    }
}

//! What `[answers]` may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Problem, Settings};
use crate::named::named;

/// From scores to answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnswersTable {
    /// The definition of exact match and F1 that is measured and fitted to. Without it: of the
    /// course's layout `"task"`, of Chinese `"cmrc"`, of Korean `"korquad"`, of Arabic and Hindi
    /// `"mlqa"`, of any other language `"squad2"` where questions are unanswerable and else
    /// `"squad"`. An unanswerable question is answered right by an empty answer, whatever the
    /// definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The language of the answers, for the metric `"mlqa"`. Without it that of most letters of the
    /// questions: `"ar"`, `"hi"`, `"zh"`, or else `"en"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<MlqaLanguage>,
    /// How a span is chosen from start and end scores.
    pub decoding: Decoding,
    /// A question is left unanswered where the score of no answer exceeds that of the best span by
    /// more than this; `"fit"` and `"fit_f1"`: chosen on dev. Without it 0 where questions of train
    /// or dev are unanswerable, and every question is answered where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_score_diff_threshold: Option<NullThreshold>,
    /// Longest answer in characters, with joint decoding; `"fit"`: chosen on dev. Without it, as long
    /// as 99 of 100 training answers are at most, but no less than 30; 100 without training answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_answer_length: Option<LengthLimit>,
    /// Candidates kept for each question in `answers.jsonl` and `nbest.json`, whose probabilities
    /// are a softmax over them.
    #[schemars(range(min = 1, max = 1000))]
    pub n_best_size: usize,
    /// Pool the scores of candidates with the same text at several positions of the paragraph, with
    /// joint decoding.
    pub pool_duplicates: bool,
    /// Repairs of an answer's ends.
    pub rules: RulesTable,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of characters or \"fit\"")]
pub enum LengthLimit {
    /// That many characters.
    Characters(#[schemars(range(min = 1, max = 100_000))] usize),
    /// Chosen on dev.
    Fitted(Fit),
}

/// The word `"fit"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The length, of all up to 400 and the one that holds without this setting, which is the
    /// longest, that answers most dev questions exactly; the longest without dev, and where the
    /// choice loses on parts of dev that it was not made on, or there are none.
    Fit,
}

/// When a question is left unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, \"fit\" or \"fit_f1\"")]
pub enum NullThreshold {
    /// Where the score of no answer exceeds the best span's by more than this.
    Difference(#[schemars(range(min = -1_000_000, max = 1_000_000))] f64),
    /// By what is best on dev.
    Fitted(FitNull),
}

/// What a threshold is fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FitNull {
    /// Exact match on dev; 0 without labelled questions, or where the choice loses against 0 on
    /// parts of dev that it was not made on.
    Fit,
    /// Likewise, F1; exact match where the metric has no F1.
    FitF1,
}

/// Repairs of an answer's ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesTable {
    /// Remove punctuation at either end.
    pub punctuation: RuleSwitch,
    /// Extend to the partner of an unpaired bracket, or remove the bracket.
    pub brackets: RuleSwitch,
    /// Extend an answer that is the whole of a title to the 《》 around it.
    pub titles: RuleSwitch,
    /// Extend a number to the unit behind it.
    pub units: RuleSwitch,
}

named! {
    /// A repair of an answer's ends. Rules are applied in the order of the variants.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub enum Rule {
        /// See [`RulesTable::punctuation`].
        Punctuation = "punctuation",
        /// See [`RulesTable::brackets`].
        Brackets = "brackets",
        /// See [`RulesTable::titles`].
        Titles = "titles",
        /// See [`RulesTable::units`].
        Units = "units",
    }
}

impl RulesTable {
    /// The switch of one rule.
    pub fn switch(&self, rule: Rule) -> RuleSwitch {
        match rule {
            Rule::Punctuation => self.punctuation,
            Rule::Brackets => self.brackets,
            Rule::Titles => self.titles,
            Rule::Units => self.units,
        }
    }
}

/// Whether a repair rule is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleSwitch {
    /// Never.
    #[default]
    Off,
    /// Always.
    On,
    /// If it fixes more dev answers than it breaks.
    Fit,
}

impl Default for AnswersTable {
    fn default() -> Self {
        Self {
            metric: None,
            language: None,
            decoding: Decoding::Joint,
            null_score_diff_threshold: None,
            max_answer_length: None,
            n_best_size: 20,
            pool_duplicates: false,
            rules: RulesTable::default(),
        }
    }
}

/// How a span is chosen from start and end scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// The best pair of a start and an end that is not before it, within the longest answer.
    Joint,
    /// The best start and the best end on their own, as in the course's sample program; the answer
    /// is empty where the end is before the start.
    Independent,
    /// The best start and the best end of one window on their own: of the window in which they have
    /// the highest sum. The answer is empty where the end is before the start. As in the course's
    /// sample program, but among the paragraph's tokens alone. Not for several members, of which
    /// each has windows of its own.
    #[serde(rename = "window")]
    BestWindow,
}

named! {
    /// A published definition of exact match and, but for the task's, of F1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
    pub enum Metric {
        /// The course's exact match: equal to a reference after deleting ASCII commas.
        Task = "task",
        /// SQuAD 1.1's.
        Squad = "squad",
        /// SQuAD 2.0's, which scores empty answers to questions that have none.
        Squad2 = "squad2",
        /// CMRC 2018's, for Chinese; DRCD is scored with it, too.
        Cmrc = "cmrc",
        /// MLQA's, by the answers' language.
        Mlqa = "mlqa",
        /// KorQuAD 1.0's, for Korean.
        Korquad = "korquad",
    }
}

impl Metric {
    /// Its name in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Squad => "SQuAD",
            Self::Squad2 => "SQuAD 2.0",
            Self::Cmrc => "CMRC",
            Self::Mlqa => "MLQA",
            Self::Korquad => "KorQuAD",
        }
    }
}

named! {
    /// A language whose articles and words MLQA's metric knows.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
    pub enum MlqaLanguage {
        /// Arabic.
        Arabic = "ar",
        /// German.
        German = "de",
        /// English.
        English = "en",
        /// Spanish.
        Spanish = "es",
        /// Hindi.
        Hindi = "hi",
        /// Vietnamese.
        Vietnamese = "vi",
        /// Chinese.
        Chinese = "zh",
    }
}

impl Settings for AnswersTable {
    fn problems(&self) -> Vec<Problem> {
        Checks::of("answers", self).finish()
    }
}

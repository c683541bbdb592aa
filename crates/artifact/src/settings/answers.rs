//! What `[answers]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Problem};

/// `[answers]`: from scores to strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswersSettings {
    /// How a span is chosen.
    pub decoding: Decoding,
    /// Longest answer, joint decoding only.
    pub max_answer_length: LengthLimit,
    /// Candidates kept per question in `answers.jsonl`.
    pub n_best_size: usize,
    /// Pool the scores of candidates with the same text, which the paragraph has at several places; joint decoding
    /// only.
    pub pool_duplicates: bool,
    /// Repairs of an answer's ends.
    pub rules: RuleSettings,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of characters or \"fit\"")]
pub enum LengthLimit {
    /// So many characters.
    Characters(usize),
    /// What answers most of dev exactly, up to [`LengthLimit::LONGEST_FITTED`]; that where there is no dev, or where
    /// fitting loses on parts of dev that were not fitted on.
    Fitted(Fit),
}

/// The word `"fit"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As dev likes it best.
    Fit,
}

impl LengthLimit {
    /// The longest limit that is tried on dev, in characters.
    pub const LONGEST_FITTED: usize = 40;

    /// The limit in characters, as far as it is known before dev is answered.
    pub fn longest(self) -> usize {
        match self {
            Self::Characters(count) => count,
            Self::Fitted(_) => Self::LONGEST_FITTED,
        }
    }
}

/// `[answers.rules]`: repairs of an answer's ends, each off, on, or on where it fixes more dev answers than it breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// Punctuation at either end goes.
    pub punctuation: RuleSwitch,
    /// A bracket without its partner takes it in, or goes.
    pub brackets: RuleSwitch,
    /// A title that fills its 《》 takes them in.
    pub titles: RuleSwitch,
    /// A number takes in the unit behind it.
    pub units: RuleSwitch,
}

/// A repair of an answer's ends. Rules are applied in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// See [`RuleSettings::punctuation`].
    Punctuation,
    /// See [`RuleSettings::brackets`].
    Brackets,
    /// See [`RuleSettings::titles`].
    Titles,
    /// See [`RuleSettings::units`].
    Units,
}

impl Rule {
    /// All rules, in the order in which they are applied.
    pub const ALL: [Rule; 4] = [Rule::Punctuation, Rule::Brackets, Rule::Titles, Rule::Units];
}

impl RuleSettings {
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

/// Whether a rule is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSwitch {
    /// Never.
    #[default]
    Off,
    /// Always.
    On,
    /// Where it fixes more dev answers than it breaks.
    Fit,
}

impl Default for AnswersSettings {
    fn default() -> Self {
        Self {
            decoding: Decoding::Joint,
            max_answer_length: LengthLimit::Characters(30),
            n_best_size: 5,
            pool_duplicates: false,
            rules: RuleSettings::default(),
        }
    }
}

impl AnswersSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("answers", Vec::new());
        checks.require(
            self.max_answer_length.longest() >= 1,
            "max_answer_length",
            self.max_answer_length.longest(),
            "1 or more characters, or \"fit\"",
        );
        checks.require(
            self.n_best_size >= 1,
            "n_best_size",
            self.n_best_size,
            "1 or more candidates",
        );
        checks.1
    }
}

/// How a span is chosen from start and end scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// The best pair with start ≤ end within the length cap.
    Joint,
    /// Best start and best end on their own, as in the course's sample program: empty where end < start.
    Independent,
}

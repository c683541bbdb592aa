//! One record of each layout, and what is wrong with a field, in the user's words.
//!
//! Ends of answers are inclusive in the course layout alone, and only in this file.

use serde_json::{Map, Value};
use spanwise_artifact::Paragraph;

use crate::input::excerpt;

/// A question as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id; a number is kept as the file writes it.
    pub id: String,
    /// Index into the file's paragraphs, as claimed.
    pub paragraph: usize,
    /// The question.
    pub question: String,
    /// Its reference answers, as claimed, or what is wrong with one.
    pub answers: Vec<Result<Claim, String>>,
    /// Whether its paragraph is said not to answer it.
    pub is_impossible: bool,
    /// Whether it has a list of answers that is empty, and no `is_impossible`: so `datasets` has the
    /// unanswerable questions of SQuAD 2.0, and the unlabelled ones of other sets.
    pub has_empty_answers: bool,
}

/// An answer as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    /// The substring.
    pub text: String,
    /// Where it stands in the paragraph.
    pub start: Start,
    /// One past its last character, where the layout has it.
    pub end: Option<usize>,
}

/// Where an answer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this character.
    At(usize),
    /// Where its text is; the paragraph must have it once.
    Only,
    /// Where its text is first.
    First,
}

/// A record that does not have the layout's fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its id, or its position in the file where it has none.
    pub id: String,
    /// What was found.
    pub reason: String,
}

/// A question of the course layout.
pub(crate) fn course(fields: &Map<String, Value>) -> Result<Record, String> {
    let fields = Fields(fields);
    Ok(Record {
        id: fields.id("id")?,
        paragraph: fields.whole_number("paragraph_id")?,
        question: fields.string("question_text")?.to_owned(),
        answers: course_answer(fields).transpose().into_iter().collect(),
        is_impossible: false,
        has_empty_answers: false,
    })
}

fn course_answer(fields: Fields<'_>) -> Result<Option<Claim>, String> {
    let [text, start, last] =
        ["answer_text", "answer_start", "answer_end"].map(|key| fields.optional(key));
    match (text, start, last) {
        (None, None, None) => Ok(None),
        (Some(text), Some(start), Some(last)) => Ok(Some(Claim {
            text: string("answer_text", text)?.to_owned(),
            start: Start::At(whole_number("answer_start", start)?),
            end: Some(whole_number("answer_end", last)?.saturating_add(1)),
        })),
        _ => Err(
            "answer_text, answer_start and answer_end must all be given or all be null".to_owned(),
        ),
    }
}

/// A question of the SQuAD layout, about the paragraph that it stands below.
pub(crate) fn squad(fields: &Map<String, Value>, paragraph: usize) -> Result<Record, String> {
    let fields = Fields(fields);
    let mut record = Record {
        id: fields.id("id")?,
        paragraph,
        question: fields.string("question")?.to_owned(),
        answers: answers(fields, "answer_start"),
        is_impossible: false,
        has_empty_answers: false,
    };
    mark_impossible(&mut record, fields);
    record.has_empty_answers = has_empty_answers(&record, fields);
    Ok(record)
}

/// A question of CMRC 2018's original layout, about the paragraph that it stands below. Its answers
/// have no offsets: in the SQuAD-style files of the same questions, they are where the text is
/// first.
pub(crate) fn cmrc(fields: &Map<String, Value>, paragraph: usize) -> Result<Record, String> {
    let fields = Fields(fields);
    let first = |claim: Claim| Claim {
        start: Start::First,
        ..claim
    };
    let answers = answers(fields, "answer_start").into_iter();
    Ok(Record {
        id: fields.id("query_id")?,
        paragraph,
        question: fields.string("query_text")?.to_owned(),
        answers: answers.map(|answer| answer.map(first)).collect(),
        is_impossible: false,
        has_empty_answers: false,
    })
}

/// The columns of a table of questions that are read.
pub(crate) const COLUMNS: [&str; 12] = [
    "id",
    "title",
    "context",
    "paragraph",
    "question",
    "answers",
    "answers.text",
    "answers.answer_start",
    "answer_text",
    "answer",
    "answer_start",
    "is_impossible",
];

/// Whether these columns are those of a table of questions with their contexts.
pub(crate) fn are_of_questions<'a>(columns: impl Iterator<Item = &'a str> + Clone) -> bool {
    let has = |key: &str| columns.clone().any(|column| column == key);
    has("question") && (has("context") || has("paragraph"))
}

/// The text and the title of what a question that has its own context is about.
pub(crate) fn context(fields: &Map<String, Value>) -> Result<(&str, Option<&str>), String> {
    let fields = Fields(fields);
    let keys = ["context", "paragraph"].into_iter();
    let mut keys = keys.filter(|&key| fields.0.contains_key(key));
    let key = keys.next().unwrap_or("context");
    let article = match fields.optional("title") {
        None => None,
        Some(article) => title(string("title", article)?),
    };
    Ok((fields.string(key)?, article))
}

/// A question with its own context, which is the file's paragraph of this number.
pub(crate) fn flat(fields: &Map<String, Value>, paragraph: usize) -> Result<Record, String> {
    let fields = Fields(fields);
    let mut record = Record {
        id: fields.id("id")?,
        paragraph,
        question: fields.string("question")?.to_owned(),
        answers: flat_answers(fields),
        is_impossible: false,
        has_empty_answers: false,
    };
    mark_impossible(&mut record, fields);
    record.has_empty_answers = has_empty_answers(&record, fields);
    Ok(record)
}

/// Whether a record has a list of answers that is empty, and nothing that says what that means.
fn has_empty_answers(record: &Record, fields: Fields<'_>) -> bool {
    let mut lists = ["answers", "answers.text"].into_iter();
    let has_list = lists.any(|key| fields.optional(key).is_some());
    let says_nothing = fields.optional("is_impossible").is_none();
    says_nothing && has_list && record.answers.is_empty()
}

fn flat_answers(fields: Fields<'_>) -> Vec<Result<Claim, String>> {
    if fields.optional("answers").is_some() {
        return answers(fields, "answer_start");
    }
    if let Some(texts) = fields.optional("answers.text") {
        return pairs(texts, fields.optional("answers.answer_start"));
    }
    let single = ["answer_text", "answer"].into_iter();
    let mut single = single.filter_map(|key| Some((key, fields.optional(key)?)));
    let Some((key, text)) = single.next() else {
        return match fields.optional("answer_start") {
            Some(_) => vec![Err("answer_start is given, but no answer_text".to_owned())],
            None => Vec::new(),
        };
    };
    let start = fields.optional("answer_start");
    vec![string(key, text).and_then(|text| claim(text, "answer_start", start))]
}

/// Says of a record what its `is_impossible` says.
fn mark_impossible(record: &mut Record, fields: Fields<'_>) {
    let is_impossible = match fields.optional("is_impossible") {
        None => return,
        Some(Value::Bool(is_impossible)) => *is_impossible,
        Some(other) => match other.as_f64() {
            Some(0.0) => false,
            Some(1.0) => true,
            _ => {
                let other = of_json(other);
                let wrong = format!("is_impossible is {other}: must be true or false");
                record.answers.push(Err(wrong));
                return;
            }
        },
    };
    record.is_impossible = is_impossible;
    if is_impossible && !record.answers.is_empty() {
        let wrong = "is_impossible is true, but there are answers";
        record.answers.push(Err(wrong.to_owned()));
    }
}

/// A question of the native layout.
pub(crate) fn native(value: &Value) -> Result<Record, String> {
    let fields = Fields::of(value)?;
    let mut record = Record {
        id: fields.string("id")?.to_owned(),
        paragraph: fields.whole_number("paragraph")?,
        question: fields.string("text")?.to_owned(),
        answers: answers(fields, "start"),
        is_impossible: false,
        has_empty_answers: false,
    };
    mark_impossible(&mut record, fields);
    Ok(record)
}

/// A paragraph of the native layout.
pub(crate) fn native_paragraph(value: &Value) -> Result<Paragraph, String> {
    let fields = Fields::of(value)?;
    let article = match fields.optional("article") {
        None => None,
        Some(article) => title(string("article", article)?),
    };
    Ok(Paragraph {
        text: fields.string("text")?.to_owned(),
        article: article.map(str::to_owned),
    })
}

/// An article's title. An empty one, which annotation tools write, is none.
pub(crate) fn title(text: &str) -> Option<&str> {
    (!text.trim().is_empty()).then_some(text)
}

/// The id of a record, where it has a usable one.
pub(crate) fn id_of(fields: &Map<String, Value>) -> Option<String> {
    let key = ID_KEYS.into_iter().find(|&key| fields.contains_key(key))?;
    Fields(fields).id(key).ok()
}

/// The keys of ids, whose numbers are kept as they are written.
pub(crate) const ID_KEYS: [&str; 2] = ["id", "query_id"];

/// The answers of a record: a list of texts, or of objects with a text and, under the key `start`,
/// its first character; or one object with a list of each.
fn answers(fields: Fields<'_>, start: &str) -> Vec<Result<Claim, String>> {
    let list = match fields.optional("answers") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(Value::Object(columns)) => {
            let columns = Fields(columns);
            return match columns.optional("text") {
                None => Vec::new(),
                Some(texts) => pairs(texts, columns.optional(start)),
            };
        }
        Some(other) => {
            let other = of_json(other);
            return vec![Err(format!("answers is {other}: must be a list"))];
        }
    };
    let answer = |value: &Value| match value {
        Value::String(text) => claim(text, start, None),
        Value::Object(answer) => {
            let answer = Fields(answer);
            claim(answer.string("text")?, start, answer.optional(start))
        }
        other => Err(format!(
            "an answer is wrong: it is {}: must be an object or a string",
            of_json(other)
        )),
    };
    list.iter().map(answer).collect()
}

/// Answers whose texts and first characters stand in two lists, or one of each alone.
fn pairs(texts: &Value, starts: Option<&Value>) -> Vec<Result<Claim, String>> {
    let list = |value: &Value| match value {
        Value::Array(list) => list.clone(),
        single => vec![single.clone()],
    };
    let texts = list(texts);
    let starts = starts.map_or_else(|| vec![Value::Null; texts.len()], list);
    if texts.len() != starts.len() {
        let (texts, starts) = (texts.len(), starts.len());
        return vec![Err(format!(
            "answers has {texts} of text, but {starts} of answer_start"
        ))];
    }
    let answer = |(text, start): (&Value, &Value)| {
        let start = Some(start).filter(|start| !start.is_null());
        claim(string("an answer's text", text)?, "answer_start", start)
    };
    texts.iter().zip(&starts).map(answer).collect()
}

/// An answer that starts where the field `key` says.
fn claim(text: &str, key: &str, start: Option<&Value>) -> Result<Claim, String> {
    let start = match start {
        None => Start::Only,
        Some(start) => Start::At(whole_number(key, start)?),
    };
    Ok(Claim {
        text: text.to_owned(),
        start,
        end: None,
    })
}

/// The fields of a record.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(format!("it is {}: must be an object", of_json(other))),
        }
    }

    fn required(self, key: &str) -> Result<&'a Value, String> {
        self.0.get(key).ok_or_else(|| format!("{key} is missing"))
    }

    /// A field that may be missing or null.
    fn optional(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn string(self, key: &str) -> Result<&'a str, String> {
        string(key, self.required(key)?)
    }

    fn whole_number(self, key: &str) -> Result<usize, String> {
        whole_number(key, self.required(key)?)
    }

    /// The id, of which numbers have become their text.
    fn id(self, key: &str) -> Result<String, String> {
        match self.required(key)? {
            Value::String(id) if !id.is_empty() => Ok(id.clone()),
            other => Err(format!(
                "the id is {}: must be a string or a number",
                of_json(other)
            )),
        }
    }
}

fn string<'a>(key: &str, value: &'a Value) -> Result<&'a str, String> {
    let wrong = || format!("{key} is {}: must be a string", of_json(value));
    value.as_str().ok_or_else(wrong)
}

/// From here on, not every whole number is a number of 64 bits with a point.
const EXACT: f64 = (1_u64 << 53) as f64;

fn whole_number(key: &str, value: &Value) -> Result<usize, String> {
    let whole = value.as_u64().or_else(|| {
        // What has been a column of numbers may have a point: 4.0 is 4.
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as u64)
    });
    let whole = whole.and_then(|whole| usize::try_from(whole).ok());
    whole.ok_or_else(|| format!("{key} is {}: must be a whole number", of_json(value)))
}

/// A value in messages.
pub fn of_json(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => excerpt(text).to_string(),
        other => other.to_string(),
    }
}

//! One record of each layout, and what is wrong with a field, in the user's words.
//!
//! Ends of answers are inclusive in the course layout alone, and only in this file.

use serde_json::{Map, Value};
use spanwise_artifact::Paragraph;

use crate::input::excerpt;

/// A question as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id; a number is kept as its decimal digits.
    pub id: String,
    /// Index into the file's paragraphs, as claimed.
    pub paragraph: usize,
    /// The question.
    pub question: String,
    /// Its reference answers, as claimed, or what is wrong with one.
    pub answers: Vec<Result<Claim, String>>,
}

/// An answer as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    /// The substring.
    pub text: String,
    /// Its first character.
    pub start: usize,
    /// One past its last character, where the layout has it.
    pub end: Option<usize>,
}

/// A record that does not have the layout's fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its id, or its number in the file where it has none.
    pub id: String,
    /// What was found.
    pub reason: String,
}

/// A question of the course layout.
pub(crate) fn course(value: &Value) -> Result<Record, String> {
    let fields = Fields::of(value)?;
    Ok(Record {
        id: fields.id()?,
        paragraph: fields.whole_number("paragraph_id")?,
        question: fields.string("question_text")?.to_owned(),
        answers: course_answer(fields).transpose().into_iter().collect(),
    })
}

fn course_answer(fields: Fields<'_>) -> Result<Option<Claim>, String> {
    let [text, start, last] =
        ["answer_text", "answer_start", "answer_end"].map(|key| fields.optional(key));
    match (text, start, last) {
        (None, None, None) => Ok(None),
        (Some(text), Some(start), Some(last)) => Ok(Some(Claim {
            text: string("answer_text", text)?.to_owned(),
            start: whole_number("answer_start", start)?,
            end: Some(whole_number("answer_end", last)?.saturating_add(1)),
        })),
        _ => Err(
            "answer_text, answer_start and answer_end must all be given or all be null".to_owned(),
        ),
    }
}

/// A question of the SQuAD layout, about the paragraph that it stands below.
pub(crate) fn squad(value: &Value, paragraph: usize) -> Result<Record, String> {
    let fields = Fields::of(value)?;
    Ok(Record {
        id: fields.id()?,
        paragraph,
        question: fields.string("question")?.to_owned(),
        answers: answers(fields, "answer_start"),
    })
}

/// A question of the native layout.
pub(crate) fn native(value: &Value) -> Result<Record, String> {
    let fields = Fields::of(value)?;
    Ok(Record {
        id: fields.string("id")?.to_owned(),
        paragraph: fields.whole_number("paragraph")?,
        question: fields.string("text")?.to_owned(),
        answers: answers(fields, "start"),
    })
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
pub(crate) fn id_of(value: &Value) -> Option<String> {
    id(value.get("id")?).ok()
}

/// The answers in a list of objects with a text and, under the key `start`, its first character.
fn answers(fields: Fields<'_>, start: &str) -> Vec<Result<Claim, String>> {
    let list = match fields.optional("answers") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            let other = of_json(other);
            return vec![Err(format!("answers is {other}: must be a list"))];
        }
    };
    let answer = |value: &Value| {
        let fields = Fields::of(value).map_err(|found| format!("an answer is wrong: {found}"))?;
        Ok(Claim {
            text: fields.string("text")?.to_owned(),
            start: fields.whole_number(start)?,
            end: None,
        })
    };
    list.iter().map(answer).collect()
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

    fn id(self) -> Result<String, String> {
        id(self.required("id")?)
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

fn id(value: &Value) -> Result<String, String> {
    let exact = |number: f64| number.fract() == 0.0 && number.abs() < EXACT;
    match value {
        Value::String(id) if !id.is_empty() => Ok(id.clone()),
        Value::Number(id) if !id.is_f64() || id.as_f64().is_some_and(exact) => Ok(id.to_string()),
        other => Err(format!(
            "the id is {}: must be a string or a whole number",
            of_json(other)
        )),
    }
}

/// A value in messages.
fn of_json(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => excerpt(text).to_string(),
        other => other.to_string(),
    }
}

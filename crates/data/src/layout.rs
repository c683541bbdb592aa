//! The input layouts. Ends of answers are inclusive in the course layout alone, and only in this
//! file.
//!
//! - course: `{"questions": [{id, paragraph_id, question_text, answer_text, answer_start,
//!   answer_end}], "paragraphs": [text]}`, `answer_end` inclusive, the last three `null` for an
//!   unlabelled question
//! - SQuAD (DRCD, CMRC 2018): `{"data": [{"paragraphs": [{"context", "qas": [{id, question,
//!   "answers": [{text, answer_start}]}]}]}]}`
//! - native, as this stage writes it: `<name>.questions.jsonl` and, beside it,
//!   `<name>.paragraphs.jsonl`, each with a [`Question`] or a [`Paragraph`] on every line
//!
//! Course and SQuAD layout are told apart by content, the native one by its name.

use std::fmt::Write;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use spanwise_artifact::{Paragraph, Question, UserError};

/// A file's content in this project's terms, not yet checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The texts, in input order.
    pub paragraphs: Vec<Paragraph>,
    /// The questions, in input order; those that lack a field or have one of the wrong type as an
    /// error.
    pub records: Vec<Result<Record, Malformed>>,
}

/// A question as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id; a number is kept as its decimal digits.
    pub id: String,
    /// Index into the file's paragraphs, as claimed.
    pub paragraph: usize,
    /// The question.
    pub question: String,
    /// Its reference answers, as claimed.
    pub answers: Vec<Claim>,
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

/// Parses a file of course or SQuAD layout. `name` is the file's name in messages.
///
/// # Errors
/// Fails if the file has neither layout. A record that lacks a field is an error of its own in the
/// document.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Document, UserError> {
    let text = text(name, bytes)?;
    let value: Value = serde_json::from_str(text).map_err(|error| {
        if text.trim().is_empty() {
            UserError::new(format!("{name} is empty"))
        } else if error.is_eof() {
            UserError::new(format!(
                "{name} ends in the middle of its JSON, at line {}: it is truncated",
                error.line()
            ))
            .hint("copy or download the file again")
        } else {
            UserError::new(format!("{name} is not JSON: {error}"))
        }
    })?;
    match (
        value.get("questions"),
        value.get("paragraphs"),
        value.get("data"),
    ) {
        (Some(Value::Array(questions)), Some(Value::Array(paragraphs)), _) => {
            course(name, questions, paragraphs)
        }
        (_, _, Some(Value::Array(articles))) => squad(name, articles),
        _ => Err(unknown(name, &value)),
    }
}

/// Parses a pair of files in the native layout: questions and the paragraphs they are about.
/// `questions` and `paragraphs` are a file's name in messages and its content.
///
/// # Errors
/// Fails if a line is not a record of its file.
pub fn parse_native(
    questions: (&str, &[u8]),
    paragraphs: (&str, &[u8]),
) -> Result<Document, UserError> {
    let records = json_lines::<Question>(questions.0, questions.1)?;
    let record = |question: Question| {
        let answers = question.answers.into_iter().map(|answer| Claim {
            text: answer.text,
            start: answer.start,
            end: None,
        });
        Ok(Record {
            id: question.id,
            paragraph: question.paragraph,
            question: question.text,
            answers: answers.collect(),
        })
    };
    Ok(Document {
        paragraphs: json_lines(paragraphs.0, paragraphs.1)?,
        records: records.into_iter().map(record).collect(),
    })
}

/// A file of one record a line.
fn json_lines<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<Vec<T>, UserError> {
    let record = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| UserError::new(format!("{name}:{}: {error}", index + 1)))
    };
    text(name, bytes)?.lines().enumerate().map(record).collect()
}

/// A file's content as text, without a byte order mark.
fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, UserError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        UserError::new(format!(
            "{name} is not UTF-8: byte {} cannot be read",
            error.valid_up_to()
        ))
        .hint("save the file as UTF-8 and try again")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn unknown(name: &str, value: &Value) -> UserError {
    let found = match value {
        Value::Object(map) => {
            let mut keys = String::from("an object with the keys");
            for key in map.keys().take(6) {
                // Writing to a string cannot fail.
                let _ = write!(keys, " {key:?}");
            }
            keys
        }
        Value::Array(_) => "a list".to_owned(),
        _ => "a single value".to_owned(),
    };
    UserError::new(format!("{name} has an unknown layout: {found}"))
        .hint(
            "expected the course layout (\"questions\" and \"paragraphs\"), the SQuAD layout (\"data\"), \
             or a file named <name>.questions.jsonl",
        )
}

#[derive(Deserialize)]
struct CourseQuestion {
    id: Value,
    paragraph_id: usize,
    question_text: String,
    answer_text: Option<String>,
    answer_start: Option<usize>,
    answer_end: Option<usize>,
}

fn course(name: &str, questions: &[Value], paragraphs: &[Value]) -> Result<Document, UserError> {
    let paragraphs = paragraphs
        .iter()
        .enumerate()
        .map(|(index, text)| match text {
            Value::String(text) => Ok(Paragraph {
                text: text.clone(),
                article: None,
            }),
            other => Err(UserError::new(format!(
                "{name}: paragraph {index} is {other}: must be a string"
            ))),
        })
        .collect::<Result<_, _>>()?;
    let records = questions
        .iter()
        .enumerate()
        .map(|(index, value)| record(index, value, course_record))
        .collect();
    Ok(Document {
        paragraphs,
        records,
    })
}

fn course_record(value: &Value) -> Result<Record, String> {
    let question = CourseQuestion::deserialize(value).map_err(|error| error.to_string())?;
    let answers = match (
        question.answer_text,
        question.answer_start,
        question.answer_end,
    ) {
        (None, None, None) => Vec::new(),
        (Some(text), Some(start), Some(last)) => vec![Claim {
            text,
            start,
            end: Some(last.saturating_add(1)),
        }],
        _ => {
            return Err(
                "answer_text, answer_start and answer_end must all be given or all be null"
                    .to_owned(),
            );
        }
    };
    Ok(Record {
        id: id(&question.id)?,
        paragraph: question.paragraph_id,
        question: question.question_text,
        answers,
    })
}

#[derive(Deserialize)]
struct SquadArticle {
    #[serde(default)]
    title: Option<String>,
    paragraphs: Vec<SquadParagraph>,
}

#[derive(Deserialize)]
struct SquadParagraph {
    context: String,
    qas: Vec<Value>,
}

#[derive(Deserialize)]
struct SquadQuestion {
    id: Value,
    question: String,
    #[serde(default)]
    answers: Vec<SquadAnswer>,
}

#[derive(Deserialize)]
struct SquadAnswer {
    text: String,
    answer_start: usize,
}

fn squad(name: &str, articles: &[Value]) -> Result<Document, UserError> {
    let mut document = Document::default();
    for (index, article) in articles.iter().enumerate() {
        let article = SquadArticle::deserialize(article)
            .map_err(|error| UserError::new(format!("{name}: article {index}: {error}")))?;
        for paragraph in article.paragraphs {
            let number = document.paragraphs.len();
            document.paragraphs.push(Paragraph {
                text: paragraph.context,
                article: article.title.clone(),
            });
            for value in &paragraph.qas {
                let index = document.records.len();
                document
                    .records
                    .push(record(index, value, |value| squad_record(value, number)));
            }
        }
    }
    Ok(document)
}

fn squad_record(value: &Value, paragraph: usize) -> Result<Record, String> {
    let question = SquadQuestion::deserialize(value).map_err(|error| error.to_string())?;
    let answers = question
        .answers
        .into_iter()
        .map(|answer| Claim {
            text: answer.text,
            start: answer.answer_start,
            end: None,
        })
        .collect();
    Ok(Record {
        id: id(&question.id)?,
        paragraph,
        question: question.question,
        answers,
    })
}

fn record(
    index: usize,
    value: &Value,
    parse: impl FnOnce(&Value) -> Result<Record, String>,
) -> Result<Record, Malformed> {
    parse(value).map_err(|reason| {
        let id = value.get("id").and_then(|value| id(value).ok());
        Malformed {
            id: id.unwrap_or_else(|| format!("number {} in the file", index + 1)),
            reason,
        }
    })
}

fn id(value: &Value) -> Result<String, String> {
    match value {
        Value::String(id) if !id.is_empty() => Ok(id.clone()),
        Value::Number(id) => Ok(id.to_string()),
        other => Err(format!("the id is {other}: must be a string or a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        parse("f.json", bytes).expect_err("must be refused").message
    }

    #[test]
    fn unreadable_files_are_refused_in_one_sentence() {
        assert_eq!(
            error(b"\xa4\xa4\xa4\xe5"),
            "f.json is not UTF-8: byte 0 cannot be read"
        );
        assert_eq!(error(b"  \n"), "f.json is empty");
        assert_eq!(
            error(br#"{"questions": [], "para"#),
            "f.json ends in the middle of its JSON, at line 1: it is truncated"
        );
        assert!(error(b"id,answer\n1,x\n").starts_with("f.json is not JSON: "));
        assert_eq!(
            error(br#"{"rows": [], "version": 1}"#),
            "f.json has an unknown layout: an object with the keys \"rows\" \"version\""
        );
        assert_eq!(error(b"[1, 2]"), "f.json has an unknown layout: a list");
        assert_eq!(
            error(br#"{"questions": [], "paragraphs": [3]}"#),
            "f.json: paragraph 0 is 3: must be a string"
        );
    }

    #[test]
    fn all_layouts_are_read_as_the_same_records() {
        let course = r#"{"questions": [{"id": 7, "paragraph_id": 0, "question_text": "誰?", "answer_text": "李白",
            "answer_start": 2, "answer_end": 3}], "paragraphs": ["詩人李白"]}"#;
        let squad = r#"{"version": "1.3", "data": [{"title": "t", "id": "1", "paragraphs": [{"id": "1-1", "context":
            "詩人李白", "qas": [{"id": "7", "question": "誰?", "answers": [{"id": "1", "text": "李白", "answer_start": 2}]}]}]}]}"#;
        let course = parse("course", course.as_bytes()).unwrap();
        let mut squad = parse("squad", squad.as_bytes()).unwrap();
        let questions = r#"{"id": "7", "paragraph": 0, "text": "誰?", "answers": [{"text": "李白", "start": 2}]}"#;
        let paragraphs = "{\"text\": \"詩人李白\", \"article\": \"t\"}\n";
        let native = parse_native(
            ("t.questions.jsonl", questions.as_bytes()),
            ("t.paragraphs.jsonl", paragraphs.as_bytes()),
        );
        assert_eq!(native.unwrap(), squad);
        squad.records[0].as_mut().unwrap().answers[0].end = Some(4);
        assert_eq!(squad.paragraphs[0].article.take().as_deref(), Some("t"));
        assert_eq!(course, squad);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let check = |questions: &[u8], paragraphs: &[u8], expected: &str| {
            let error = parse_native(("q", questions), ("p", paragraphs)).unwrap_err();
            assert!(error.message.starts_with(expected), "{}", error.message);
        };
        check(b"{\"id\": \"1\"}\n", b"", "q:1: missing field `paragraph`");
        check(
            b"",
            b"{\"text\": \"t\"}\n{\"text\"\n",
            "p:2: EOF while parsing",
        );
        check(b"\xff", b"", "q is not UTF-8");
    }

    #[test]
    fn a_malformed_record_is_named() {
        let text = r#"{"questions": [{"id": 1, "paragraph_id": 0}, {"paragraph_id": 0}, {"id": 2, "paragraph_id": 0,
            "question_text": "q", "answer_text": "a", "answer_start": null, "answer_end": null}], "paragraphs": []}"#;
        let document = parse("f", text.as_bytes()).unwrap();
        let malformed: Vec<_> = document
            .records
            .iter()
            .map(|record| record.as_ref().unwrap_err())
            .collect();
        assert_eq!(
            (&*malformed[0].id, &*malformed[0].reason),
            ("1", "missing field `question_text`")
        );
        assert_eq!(malformed[1].id, "number 2 in the file");
        assert!(malformed[2].reason.contains("or all be null"));
    }
}

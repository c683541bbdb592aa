//! The input layouts.
//!
//! - course: `{"questions": [{id, paragraph_id, question_text, answer_text, answer_start,
//!   answer_end}], "paragraphs": [text]}`, `answer_end` inclusive, the last three `null` for an
//!   unlabelled question
//! - SQuAD (DRCD, CMRC 2018): `{"data": [{"paragraphs": [{"context", "qas": [{id, question,
//!   "answers": [{text, answer_start}]}]}]}]}`
//! - native, as this stage writes it: `<name>.questions.jsonl` and, beside it,
//!   `<name>.paragraphs.jsonl`, each with a [`Question`](spanwise_artifact::Question) or a
//!   [`Paragraph`] on every line
//!
//! Course and SQuAD layout are told apart by content, the native one by its name.
//!
//! A JSON file is read once for its [`Shape`], once for its paragraphs and once for its questions,
//! since it may have them in either order. One record is in memory at a time.

use std::fmt::Display;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use anyhow::Result;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::Value;
use spanwise_artifact::{Paragraph, UserError};

use crate::input::{NotUtf8, TextReader, excerpt};
use crate::json::{Look, Looking};
use crate::record::{self, Malformed, Record, title};

/// What is done with each paragraph of a file.
pub type ParagraphSink<'a> = dyn FnMut(Paragraph) -> Result<()> + 'a;

/// What is done with each question of a file.
pub type RecordSink<'a> = dyn FnMut(Result<Record, Malformed>) -> Result<()> + 'a;

/// The layout of a JSON file, and what has to be known before its paragraphs are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The course layout.
    Course,
    /// The SQuAD layout.
    Squad {
        /// The title of each article, where it has one: it may stand behind the article's
        /// paragraphs.
        titles: Vec<Option<Arc<str>>>,
    },
}

impl Shape {
    /// Looks through a whole file of course or SQuAD layout. `name` is the file's name in messages.
    ///
    /// # Errors
    /// Fails if the file is not JSON or has neither layout.
    pub fn of(name: &str, mut reader: TextReader<impl Read>) -> Result<Self> {
        let mut outline = Outline::default();
        let mut json = serde_json::Deserializer::from_reader(&mut reader);
        let seen = Looking(&mut outline).deserialize(&mut json);
        if let Err(error) = seen.and_then(|()| json.end()) {
            return Err(not_json(name, error, reader.is_blank()).into());
        }
        if let Some(key) = outline.repeated {
            return Err(repeated(name, &key).into());
        }
        match (outline.questions, outline.paragraphs, outline.data) {
            (Some(Kind::List), Some(Kind::List), _) => Ok(Self::Course),
            (_, _, Some(Kind::List)) => Ok(Self::Squad {
                titles: outline.titles,
            }),
            _ => Err(unknown(name, &outline.found).into()),
        }
    }

    /// Reads the paragraphs of a file, in input order.
    ///
    /// # Errors
    /// Fails if one is not text or lacks what the layout asks for, or if `sink` fails.
    pub fn read_paragraphs(
        &self,
        name: &str,
        reader: TextReader<impl Read>,
        sink: &mut ParagraphSink<'_>,
    ) -> Result<()> {
        self.walk(name, reader, Wanted::Paragraphs(sink))
    }

    /// Reads the questions of a file, in input order; those that lack a field or have one of the
    /// wrong type as [`Malformed`].
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if `sink` fails.
    pub fn read_records(
        &self,
        name: &str,
        reader: TextReader<impl Read>,
        sink: &mut RecordSink<'_>,
    ) -> Result<()> {
        self.walk(name, reader, Wanted::Records(sink))
    }

    fn walk(
        &self,
        name: &str,
        mut reader: TextReader<impl Read>,
        wanted: Wanted<'_, '_>,
    ) -> Result<()> {
        let mut walk = Walk {
            shape: self,
            wanted,
            articles: 0,
            paragraphs: 0,
            records: 0,
            stopped: None,
        };
        let node = Node {
            walk: &mut walk,
            place: Place::File,
        };
        let result = node.deserialize(&mut serde_json::Deserializer::from_reader(&mut reader));
        match (result, walk.stopped) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(Stopped::Failed(error))) => Err(error),
            (Err(_), Some(Stopped::Wrong(what))) => {
                Err(UserError::new(format!("{name}: {what}")).into())
            }
            (Err(error), None) => Err(not_json(name, error, reader.is_blank()).into()),
        }
    }
}

/// Reads a file of paragraphs in the native layout.
///
/// # Errors
/// Fails if a line is not a paragraph, or if `sink` fails.
pub fn read_native_paragraphs(
    name: &str,
    reader: TextReader<impl Read>,
    sink: &mut ParagraphSink<'_>,
) -> Result<()> {
    json_lines(name, reader, record::native_paragraph, sink)
}

/// Reads a file of questions in the native layout.
///
/// # Errors
/// Fails if a line is not a question, or if `sink` fails.
pub fn read_native_records(
    name: &str,
    reader: TextReader<impl Read>,
    sink: &mut RecordSink<'_>,
) -> Result<()> {
    json_lines(name, reader, record::native, &mut |record| sink(Ok(record)))
}

/// Reads a file of one record a line.
fn json_lines<T>(
    name: &str,
    mut reader: TextReader<impl Read>,
    parse: impl Fn(&Value) -> Result<T, String>,
    sink: &mut dyn FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let read = reader.read_line(&mut line);
        if read.map_err(|error| unreadable(name, &error))? == 0 {
            break;
        }
        let wrong = |reason: String| UserError::new(format!("{name}:{number}: {reason}"));
        let value = serde_json::from_str(&line).map_err(|error| wrong(in_line(&line, &error)))?;
        sink(parse(&value).map_err(wrong)?)?;
    }
    Ok(())
}

/// What is wrong with the JSON of one line.
fn in_line(line: &str, error: &serde_json::Error) -> String {
    if line.trim().is_empty() {
        "the line is empty".to_owned()
    } else if error.is_eof() {
        "the line ends in the middle of its JSON".to_owned()
    } else {
        syntax(error)
    }
}

/// Why a file is not JSON, in words that do not name a type of ours.
fn not_json(name: &str, error: serde_json::Error, blank: bool) -> UserError {
    if error.is_io() {
        return unreadable(name, &io::Error::from(error));
    }
    if error.is_eof() && blank {
        return UserError::new(format!("{name} is empty"));
    }
    if error.is_eof() {
        return UserError::new(format!(
            "{name} ends in the middle of its JSON, at line {}: it is truncated",
            error.line()
        ))
        .hint("copy or download the file again");
    }
    UserError::new(format!("{name} is not JSON: {}", syntax(&error)))
}

/// What is wrong with JSON, and where.
fn syntax(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!("at line {} column {}", error.line(), error.column());
    if message.starts_with("recursion limit exceeded") {
        format!("it is nested too deep {place}")
    } else if message.starts_with("number out of range") {
        format!("a number is too large {place}")
    } else {
        message
    }
}

fn unreadable(name: &str, error: &io::Error) -> UserError {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    match source {
        Some(NotUtf8 { byte }) => {
            UserError::new(format!("{name} is not UTF-8: byte {byte} cannot be read"))
                .hint("save the file as UTF-8 and try again")
        }
        None => UserError::new(format!("cannot read {name}: {error}")),
    }
}

fn unknown(name: &str, found: &str) -> UserError {
    UserError::new(format!("{name} has an unknown layout: {found}")).hint(
        "expected the course layout (\"questions\" and \"paragraphs\"), the SQuAD layout (\"data\"), \
         or a file named <name>.questions.jsonl",
    )
}

fn repeated(name: &str, key: &str) -> UserError {
    UserError::new(format!("{name} has {key:?} twice in one object"))
}

/// What a file has at its top.
#[derive(Default)]
struct Outline {
    questions: Option<Kind>,
    paragraphs: Option<Kind>,
    data: Option<Kind>,
    titles: Vec<Option<Arc<str>>>,
    repeated: Option<String>,
    /// What the file is, for people.
    found: String,
}

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Other,
}

impl Look for &mut Outline {
    type Found = ();

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = String::new();
        let mut count = 0;
        while let Some(key) = map.next_key::<String>()? {
            let slot = match &*key {
                "questions" => Some(&mut self.questions),
                "paragraphs" => Some(&mut self.paragraphs),
                "data" => Some(&mut self.data),
                _ => None,
            };
            let titles = (key == "data").then_some(&mut self.titles);
            let kind = map.next_value_seed(Looking(MaybeArticles(titles)))?;
            if slot.is_some_and(|slot| slot.replace(kind).is_some()) {
                self.repeated = Some(key.clone());
            }
            count += 1;
            if count <= 6 {
                keys = format!("{keys} {}", excerpt(&key));
            }
        }
        self.found = match count {
            0 => "an object without keys".to_owned(),
            _ => format!("an object with the keys{keys}"),
        };
        Ok(())
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        "a list".clone_into(&mut self.found);
        Ok(())
    }

    fn other<E>(self, _: &dyn Display) -> Result<(), E> {
        "a single value".clone_into(&mut self.found);
        Ok(())
    }
}

/// Sees what kind a value is, and the titles in it where it may be a list of articles.
struct MaybeArticles<'a>(Option<&'a mut Vec<Option<Arc<str>>>>);

impl Look for MaybeArticles<'_> {
    type Found = Kind;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let Some(titles) = self.0 else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Kind::List);
        };
        while let Some(found) = list.next_element_seed(Looking(MaybeArticle))? {
            let last = titles.last().and_then(Option::as_ref);
            // Files may have one title for all their articles.
            let same = last.filter(|last| Some(&***last) == found.as_deref());
            titles.push(same.cloned().or_else(|| found.map(Arc::from)));
        }
        Ok(Kind::List)
    }

    fn other<E>(self, _: &dyn Display) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
}

/// The title of what may be an article.
struct MaybeArticle;

impl Look for MaybeArticle {
    type Found = Option<String>;

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "title" {
                found = map.next_value_seed(Looking(MaybeTitle))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn other<E>(self, _: &dyn Display) -> Result<Option<String>, E> {
        Ok(None)
    }
}

/// What may be a title.
struct MaybeTitle;

impl Look for MaybeTitle {
    type Found = Option<String>;

    fn text<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(title(text).map(str::to_owned))
    }

    fn other<E>(self, _: &dyn Display) -> Result<Option<String>, E> {
        Ok(None)
    }
}

/// A file of known shape on its way from the first byte to the last.
struct Walk<'a, 'b> {
    shape: &'a Shape,
    wanted: Wanted<'a, 'b>,
    /// How many of each have been seen.
    articles: usize,
    paragraphs: usize,
    records: usize,
    stopped: Option<Stopped>,
}

/// What a walk hands out.
enum Wanted<'a, 'b> {
    Paragraphs(&'a mut ParagraphSink<'b>),
    Records(&'a mut RecordSink<'b>),
}

/// Why a walk stopped, where the file is JSON.
enum Stopped {
    /// The file does not have its layout.
    Wrong(String),
    /// What was handed out could not be used.
    Failed(anyhow::Error),
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    /// The list of a course file's paragraphs.
    Texts,
    Text,
    Articles,
    Article,
    Title,
    Paragraphs,
    Paragraph,
    Context,
    Questions,
    Question,
    /// Somewhere that says nothing.
    Elsewhere,
}

impl Place {
    /// Where the value of a key stands.
    fn of_key(self, key: &str, shape: &Shape) -> Self {
        match (self, key, shape) {
            (Self::File, "questions", Shape::Course)
            | (Self::Paragraph, "qas", Shape::Squad { .. }) => Self::Questions,
            (Self::File, "paragraphs", Shape::Course) => Self::Texts,
            (Self::File, "data", Shape::Squad { .. }) => Self::Articles,
            (Self::Article, "title", _) => Self::Title,
            (Self::Article, "paragraphs", _) => Self::Paragraphs,
            (Self::Paragraph, "context", _) => Self::Context,
            _ => Self::Elsewhere,
        }
    }

    /// Where the items of a list stand.
    fn of_item(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Articles => Some(Self::Article),
            Self::Paragraphs => Some(Self::Paragraph),
            Self::Questions => Some(Self::Question),
            _ => None,
        }
    }

    /// The keys that an object here must have.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Article => &["paragraphs"],
            Self::Paragraph => &["context", "qas"],
            _ => &[],
        }
    }

    /// What must be here.
    fn expected(self) -> &'static str {
        match self {
            Self::Texts | Self::Articles | Self::Paragraphs | Self::Questions => "a list",
            Self::Text | Self::Title | Self::Context => "a string",
            _ => "an object",
        }
    }
}

impl Walk<'_, '_> {
    /// Whether anything that is wanted stands at a place, or below it.
    fn wants(&self, place: Place) -> bool {
        match self.wanted {
            Wanted::Paragraphs(_) => !matches!(place, Place::Question | Place::Elsewhere),
            Wanted::Records(_) => !matches!(
                place,
                Place::Texts | Place::Title | Place::Context | Place::Elsewhere
            ),
        }
    }

    /// What a place is called in messages.
    fn name(&self, place: Place) -> String {
        let article = format!("article {}", self.articles);
        let paragraph = format!("paragraph {}", self.paragraphs);
        match place {
            Place::File => "the file".to_owned(),
            Place::Text => paragraph,
            Place::Texts => "\"paragraphs\"".to_owned(),
            Place::Articles => "\"data\"".to_owned(),
            Place::Article => article,
            Place::Title => format!("{article}: the title"),
            Place::Paragraphs => format!("{article}: \"paragraphs\""),
            Place::Paragraph => format!("{article}: {paragraph}"),
            Place::Context => format!("{article}: the context of {paragraph}"),
            Place::Questions if *self.shape == Shape::Course => "\"questions\"".to_owned(),
            Place::Questions => format!("{article}: \"qas\" of {paragraph}"),
            Place::Question | Place::Elsewhere => format!("question {}", self.records),
        }
    }

    fn stop<E: de::Error>(&mut self, stopped: Stopped) -> E {
        self.stopped = Some(stopped);
        E::custom("stopped")
    }

    fn paragraph(&mut self, text: &str) -> Result<()> {
        let article = match self.shape {
            Shape::Course => None,
            Shape::Squad { titles } => titles.get(self.articles).cloned().flatten(),
        };
        if let Wanted::Paragraphs(sink) = &mut self.wanted {
            sink(Paragraph {
                text: text.to_owned(),
                article: article.as_deref().map(str::to_owned),
            })?;
        }
        Ok(())
    }

    fn record(&mut self, value: &Value) -> Result<()> {
        let record = match self.shape {
            Shape::Course => record::course(value),
            Shape::Squad { .. } => record::squad(value, self.paragraphs),
        };
        let record = record.map_err(|reason| Malformed {
            id: record::id_of(value)
                .unwrap_or_else(|| format!("number {} in the file", self.records + 1)),
            reason,
        });
        if let Wanted::Records(sink) = &mut self.wanted {
            sink(record)?;
        }
        Ok(())
    }
}

/// The next value of a walk.
struct Node<'w, 'a, 'b> {
    walk: &'w mut Walk<'a, 'b>,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.walk.wants(self.place) {
            IgnoredAny::deserialize(deserializer)?;
        } else if self.place == Place::Question {
            let value = Value::deserialize(deserializer)?;
            let result = self.walk.record(&value);
            result.map_err(|error| self.walk.stop(Stopped::Failed(error)))?;
        } else {
            deserializer.deserialize_any(Looking(Node {
                walk: &mut *self.walk,
                place: self.place,
            }))?;
        }
        match self.place {
            Place::Article => self.walk.articles += 1,
            Place::Text | Place::Paragraph => self.walk.paragraphs += 1,
            Place::Question => self.walk.records += 1,
            _ => {}
        }
        Ok(())
    }
}

impl Look for Node<'_, '_, '_> {
    type Found = ();

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, place } = self;
        let mut seen = Vec::new();
        if place.expected() != "an object" {
            return wrong_kind(walk, place, &"an object");
        }
        while let Some(key) = map.next_key::<String>()? {
            let below = place.of_key(&key, walk.shape);
            if below != Place::Elsewhere {
                if seen.contains(&key) {
                    let what = format!("{} has {key:?} twice", walk.name(place));
                    return Err(walk.stop(Stopped::Wrong(what)));
                }
                seen.push(key);
            }
            map.next_value_seed(Node {
                walk: &mut *walk,
                place: below,
            })?;
        }
        let missing = |key: &&&str| !seen.iter().any(|seen| seen == **key);
        if let Some(key) = place.required().iter().find(missing) {
            let what = format!("{} has no {key:?}", walk.name(place));
            return Err(walk.stop(Stopped::Wrong(what)));
        }
        Ok(())
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { walk, place } = self;
        let Some(place) = place.of_item() else {
            return wrong_kind(walk, place, &"a list");
        };
        while list
            .next_element_seed(Node {
                walk: &mut *walk,
                place,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn text<E: de::Error>(self, text: &str) -> Result<(), E> {
        let Self { walk, place } = self;
        match place {
            Place::Title => Ok(()),
            Place::Text | Place::Context => {
                let result = walk.paragraph(text);
                result.map_err(|error| walk.stop(Stopped::Failed(error)))
            }
            _ => wrong_kind(walk, place, &excerpt(text)),
        }
    }

    fn other<E: de::Error>(self, found: &dyn Display) -> Result<(), E> {
        if self.place == Place::Title && found.to_string() == "null" {
            return Ok(());
        }
        wrong_kind(self.walk, self.place, found)
    }
}

/// A value of the wrong kind.
fn wrong_kind<E: de::Error>(
    walk: &mut Walk<'_, '_>,
    place: Place,
    found: &dyn Display,
) -> Result<(), E> {
    let (name, expected) = (walk.name(place), place.expected());
    let what = format!("{name} is {found}: must be {expected}");
    Err(walk.stop(Stopped::Wrong(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Claim;

    /// A file's content.
    #[derive(Debug, Default, PartialEq)]
    struct Document {
        paragraphs: Vec<Paragraph>,
        records: Vec<Result<Record, Malformed>>,
    }

    impl Document {
        fn paragraph(&mut self) -> impl FnMut(Paragraph) -> Result<()> {
            |paragraph| {
                self.paragraphs.push(paragraph);
                Ok(())
            }
        }

        fn record(&mut self) -> impl FnMut(Result<Record, Malformed>) -> Result<()> {
            |record| {
                self.records.push(record);
                Ok(())
            }
        }
    }

    fn parse(name: &str, bytes: &[u8]) -> Result<Document> {
        let shape = Shape::of(name, TextReader::new(bytes))?;
        let mut document = Document::default();
        shape.read_paragraphs(name, TextReader::new(bytes), &mut document.paragraph())?;
        shape.read_records(name, TextReader::new(bytes), &mut document.record())?;
        Ok(document)
    }

    fn parse_native(questions: &[u8], paragraphs: &[u8]) -> Result<Document> {
        let mut document = Document::default();
        let (questions, paragraphs) = (TextReader::new(questions), TextReader::new(paragraphs));
        read_native_paragraphs("p", paragraphs, &mut document.paragraph())?;
        read_native_records("q", questions, &mut document.record())?;
        Ok(document)
    }

    fn error(bytes: &[u8]) -> String {
        let error = parse("f.json", bytes).expect_err("must be refused");
        assert!(error.is::<UserError>(), "{error:#}");
        error.to_string()
    }

    #[test]
    fn unreadable_files_are_refused_in_one_sentence() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(error(bytes), expected);
        check(
            b"\xa4\xa4\xa4\xe5",
            "f.json is not UTF-8: byte 0 cannot be read",
        );
        check(b"", "f.json is empty");
        check(b"\xef\xbb\xbf  \n", "f.json is empty");
        check(
            br#"{"questions": [], "para"#,
            "f.json ends in the middle of its JSON, at line 1: it is truncated",
        );
        check(
            b"id,answer\n1,x\n",
            "f.json is not JSON: expected value at line 1 column 1",
        );
        check(
            b"{\"data\": []}\n{\"data\": []}\n",
            "f.json is not JSON: trailing characters at line 2 column 1",
        );
        check(
            br#"{"rows": [], "version": 1}"#,
            "f.json has an unknown layout: an object with the keys \"rows\" \"version\"",
        );
        check(
            b"{}",
            "f.json has an unknown layout: an object without keys",
        );
        check(b"[1, 2]", "f.json has an unknown layout: a list");
        check(b"1", "f.json has an unknown layout: a single value");
        check(
            br#"{"data": [], "data": []}"#,
            "f.json has \"data\" twice in one object",
        );
    }

    #[test]
    fn what_does_not_fit_its_layout_is_named() {
        let check = |text: &str, expected: &str| assert_eq!(error(text.as_bytes()), expected);
        check(
            r#"{"questions": [], "paragraphs": ["a", 3]}"#,
            "f.json: paragraph 1 is 3: must be a string",
        );
        let squad = |article: &str, expected: &str| {
            check(&format!("{{\"data\": [{article}]}}"), expected);
        };
        squad("7", "f.json: article 0 is 7: must be an object");
        squad("{}", "f.json: article 0 has no \"paragraphs\"");
        squad(
            r#"{"paragraphs": []}, {"paragraphs": {}}"#,
            "f.json: article 1: \"paragraphs\" is an object: must be a list",
        );
        squad(
            r#"{"title": 1, "paragraphs": []}"#,
            "f.json: article 0: the title is 1: must be a string",
        );
        squad(
            r#"{"paragraphs": [{"context": "", "qas": []}, {"qas": []}]}"#,
            "f.json: article 0: paragraph 1 has no \"context\"",
        );
        squad(
            r#"{"paragraphs": [{"context": ""}]}"#,
            "f.json: article 0: paragraph 0 has no \"qas\"",
        );
        squad(
            r#"{"paragraphs": [{"context": null, "qas": []}]}"#,
            "f.json: article 0: the context of paragraph 0 is null: must be a string",
        );
        squad(
            r#"{"paragraphs": [{"context": "a", "context": "b", "qas": []}]}"#,
            "f.json: article 0: paragraph 0 has \"context\" twice",
        );
        squad(
            r#"{"paragraphs": [{"context": "a", "qas": "q"}]}"#,
            "f.json: article 0: \"qas\" of paragraph 0 is \"q\": must be a list",
        );
    }

    #[test]
    fn deep_nesting_and_large_numbers_are_refused_where_they_count() {
        let deep = "[".repeat(100_000);
        let closed = deep.clone() + &"]".repeat(100_000);
        let course = |field: &str| {
            let text = format!(
                "{{\"x\": {field}, \"questions\": [{{\"id\": 1, \"x\": {field}}}], \"paragraphs\": []}}"
            );
            error(text.as_bytes())
        };
        assert_eq!(
            error(deep.as_bytes()),
            "f.json ends in the middle of its JSON, at line 1: it is truncated"
        );
        assert_eq!(
            error(closed.as_bytes()),
            "f.json has an unknown layout: a list"
        );
        let check = |found: String, expected: &str| {
            assert!(found.starts_with(expected), "{found}");
            assert!(found.len() < 120, "{found}");
        };
        check(course(&closed), "f.json is not JSON: it is nested too deep");
        check(course("1e400"), "f.json is not JSON: a number is too large");
        let ignored = format!("{{\"x\": {closed}, \"y\": -7, \"data\": []}}");
        assert!(parse("f", ignored.as_bytes()).is_ok());
    }

    #[test]
    fn all_layouts_are_read_as_the_same_records() {
        let course = r#"{"questions": [{"id": 7, "paragraph_id": 0, "question_text": "誰?", "answer_text": "李白",
            "answer_start": 2, "answer_end": 3}], "paragraphs": ["詩人李白"]}"#;
        let squad = r#"{"version": "1.3", "data": [{"title": "t", "id": "1", "paragraphs": [{"id": "1-1", "context":
            "詩人李白", "qas": [{"id": "7", "question": "誰?", "answers": [{"id": "1", "text": "李白", "answer_start": 2}]}]}]}]}"#;
        // As SQuAD 2.0 has it, and with the title last.
        let reversed = r#"{"data": [{"paragraphs": [{"qas": [{"answers": [{"answer_start": 2.0, "text": "李白"}],
            "question": "誰?", "id": "7"}], "context": "詩人李白"}], "title": "t"}]}"#;
        let course = parse("course", course.as_bytes()).unwrap();
        let mut squad = parse("squad", squad.as_bytes()).unwrap();
        assert_eq!(parse("reversed", reversed.as_bytes()).unwrap(), squad);
        let questions = r#"{"id": "7", "paragraph": 0, "text": "誰?", "answers": [{"text": "李白", "start": 2}]}"#;
        let paragraphs = "{\"text\": \"詩人李白\", \"article\": \"t\"}\n";
        let native = parse_native(questions.as_bytes(), paragraphs.as_bytes());
        assert_eq!(native.unwrap(), squad);
        let answer = &mut squad.records[0].as_mut().unwrap().answers[0];
        answer.as_mut().unwrap().end = Some(4);
        assert_eq!(squad.paragraphs[0].article.take().as_deref(), Some("t"));
        assert_eq!(course, squad);
    }

    #[test]
    fn an_empty_title_is_none() {
        let text = r#"{"data": [{"title": " ", "paragraphs": [{"context": "a", "qas": []}]}, {"title": "t", "paragraphs": [
            {"context": "b", "qas": []}]}, {"title": null, "paragraphs": [{"context": "c", "qas": []}]}]}"#;
        let document = parse("f", text.as_bytes()).unwrap();
        let titles = document.paragraphs.iter();
        let titles: Vec<_> = titles.map(|one| one.article.as_deref()).collect();
        assert_eq!(titles, [None, Some("t"), None]);
        let native = parse_native(b"", b"{\"text\": \"a\", \"article\": \"\"}").unwrap();
        assert_eq!(native.paragraphs[0].article, None);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let check = |questions: &[u8], paragraphs: &[u8], expected: &str| {
            let error = parse_native(questions, paragraphs).unwrap_err();
            assert!(error.is::<UserError>(), "{error:#}");
            assert_eq!(error.to_string(), expected);
        };
        check(b"{\"id\": \"1\"}\n", b"", "q:1: paragraph is missing");
        check(b"{\"id\": 1}\n", b"", "q:1: id is 1: must be a string");
        check(b"[]\n", b"", "q:1: it is a list: must be an object");
        check(
            b"",
            b"{\"text\": \"t\"}\r\n{\"text\"\n",
            "p:2: the line ends in the middle of its JSON",
        );
        check(b"", b"{\"text\": \"t\"}\n\n", "p:2: the line is empty");
        check(
            b"",
            b"{\"text\": \"t\", \"article\": 3}",
            "p:1: article is 3: must be a string",
        );
        check(b"\xff", b"", "q is not UTF-8: byte 0 cannot be read");
    }

    #[test]
    fn a_malformed_record_is_named() {
        let check = |record: &str, id: &str, reason: &str| {
            let text = format!("{{\"questions\": [{record}], \"paragraphs\": []}}");
            let document = parse("f", text.as_bytes()).unwrap();
            let found = document.records[0].as_ref().unwrap_err();
            assert_eq!((&*found.id, &*found.reason), (id, reason));
        };
        check(
            r#"{"id": 1, "paragraph_id": 0}"#,
            "1",
            "question_text is missing",
        );
        check(
            r#"{"paragraph_id": 0}"#,
            "number 1 in the file",
            "id is missing",
        );
        check("3", "number 1 in the file", "it is 3: must be an object");
        check(
            r#"{"id": [[[]]], "paragraph_id": 0}"#,
            "number 1 in the file",
            "the id is a list: must be a string or a whole number",
        );
        check(
            r#"{"id": 123456789012345678901234567890, "paragraph_id": 0}"#,
            "number 1 in the file",
            "the id is 1.2345678901234568e+29: must be a string or a whole number",
        );
        check(
            r#"{"id": "a", "paragraph_id": -1}"#,
            "a",
            "paragraph_id is -1: must be a whole number",
        );
        check(
            r#"{"id": "a", "paragraph_id": 0.5}"#,
            "a",
            "paragraph_id is 0.5: must be a whole number",
        );
        check(
            r#"{"id": "a", "paragraph_id": 0, "question_text": null}"#,
            "a",
            "question_text is null: must be a string",
        );
    }

    #[test]
    fn a_malformed_answer_is_apart_from_its_question() {
        let answers = |answers: &str| {
            let text = format!(
                "{{\"data\": [{{\"paragraphs\": [{{\"context\": \"c\", \"qas\": [{{\"id\": \"a\", \"question\": \"q\" \
                 {answers}}}]}}]}}]}}"
            );
            let document = parse("f", text.as_bytes()).unwrap();
            let record = document.records.into_iter().next().unwrap();
            record.unwrap().answers
        };
        let wrong = |text: &str, expected: &str| {
            assert_eq!(answers(text), [Err(expected.to_owned())]);
        };
        assert_eq!(answers(""), []);
        assert_eq!(answers(r#", "answers": null"#), []);
        wrong(r#", "answers": "x""#, "answers is \"x\": must be a list");
        wrong(
            r#", "answers": ["x"]"#,
            "an answer is wrong: it is \"x\": must be an object",
        );
        wrong(r#", "answers": [{"text": "x"}]"#, "answer_start is missing");
        wrong(
            r#", "answers": [{"text": "x", "answer_start": 4.5}]"#,
            "answer_start is 4.5: must be a whole number",
        );
        wrong(
            r#", "answers": [{"text": "x", "answer_start": 18446744073709551616}]"#,
            "answer_start is 1.8446744073709552e+19: must be a whole number",
        );
        let claim = Claim {
            text: "x".to_owned(),
            start: 4,
            end: None,
        };
        assert_eq!(
            answers(r#", "answers": [{"text": "x", "answer_start": 4.0}]"#),
            [Ok(claim)]
        );
        let course = r#"{"questions": [{"id": 2, "paragraph_id": 0, "question_text": "q", "answer_text": "a",
            "answer_start": null, "answer_end": null}], "paragraphs": []}"#;
        let course = parse("f", course.as_bytes()).unwrap();
        let answers = &course.records[0].as_ref().unwrap().answers;
        assert!(answers[0].as_ref().unwrap_err().ends_with("or all be null"));
    }
}

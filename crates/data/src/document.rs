//! One JSON document, from its first byte to its last: its paragraphs, or its questions.
//!
//! It is read once for each, since a file may have them in either order. One record is in memory at
//! a time.

use std::fmt::Display;
use std::io::Read;
use std::sync::Arc;

use anyhow::Result;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::{Map, Value};
use spanwise_artifact::{Paragraph, UserError};

use crate::flat::{self, Entry, EntrySink, Position};
use crate::input::{TextReader, excerpt};
use crate::json::{Look, Looking, RecordFields};
use crate::layout::{ParagraphSink, RecordSink, not_json};
use crate::record::{self, Malformed, Record, title};

/// What a JSON document is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Two lists, of questions and of paragraphs: the course layout.
    Course,
    /// A list of articles, each with its paragraphs: the SQuAD layout.
    Articles {
        /// The title of each article, where it has one: it may stand behind the article's
        /// paragraphs.
        titles: Vec<Option<Arc<str>>>,
    },
    /// A list of paragraphs, each with its questions.
    Paragraphs,
    /// A list of paragraphs, each with its questions, under the names of CMRC 2018.
    CmrcParagraphs,
    /// A list of questions, each with its context.
    Records,
    /// One question with its context.
    Record,
}

impl Shape {
    /// Reads the paragraphs of a file, in input order.
    ///
    /// # Errors
    /// Fails if one is not text or lacks what the layout asks for, or if `sink` fails.
    pub(crate) fn read_paragraphs(
        &self,
        name: &str,
        reader: TextReader<impl Read>,
        sink: &mut ParagraphSink<'_>,
    ) -> Result<()> {
        match self {
            Self::Records | Self::Record => {
                let mut sink = flat::paragraphs(sink);
                self.walk(name, reader, Wanted::Flat(&mut sink))
            }
            _ => self.walk(name, reader, Wanted::Paragraphs(sink)),
        }
    }

    /// Reads the questions of a file, in input order; those that lack a field or have one of the
    /// wrong type as [`Malformed`].
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if `sink` fails.
    pub(crate) fn read_records(
        &self,
        name: &str,
        reader: TextReader<impl Read>,
        sink: &mut RecordSink<'_>,
    ) -> Result<()> {
        match self {
            Self::Records | Self::Record => {
                let mut sink = flat::records(sink);
                self.walk(name, reader, Wanted::Flat(&mut sink))
            }
            _ => self.walk(name, reader, Wanted::Records(sink)),
        }
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
            text: None,
            title: None,
            stopped: None,
        };
        let node = Node {
            walk: &mut walk,
            place: match self {
                Self::Record => Place::Record,
                _ => Place::File,
            },
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

/// A document of known shape on its way from the first byte to the last.
struct Walk<'a, 'b> {
    shape: &'a Shape,
    wanted: Wanted<'a, 'b>,
    /// How many of each have been seen.
    articles: usize,
    paragraphs: usize,
    records: usize,
    /// The paragraph's text and title so far, where it stands in no article.
    text: Option<String>,
    title: Option<String>,
    stopped: Option<Stopped>,
}

/// What a walk hands out.
enum Wanted<'a, 'b> {
    Paragraphs(&'a mut ParagraphSink<'b>),
    Records(&'a mut RecordSink<'b>),
    /// The fields of questions that have their own context.
    Flat(&'a mut EntrySink<'b>),
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
    /// A list of paragraphs.
    Paragraphs,
    Paragraph,
    Context,
    Questions,
    Question,
    /// A list of questions with their contexts.
    Records,
    Record,
    /// Somewhere that says nothing.
    Elsewhere,
}

impl Place {
    /// Where the value of a key stands.
    fn of_key(self, key: &str, shape: &Shape) -> Self {
        match (self, key, shape) {
            (Self::File, "questions", Shape::Course) | (Self::Paragraph, "qas", _) => {
                Self::Questions
            }
            (Self::File, "paragraphs", Shape::Course) => Self::Texts,
            (Self::File, "data", shape) => Self::list_of(shape),
            (Self::Article, "paragraphs", _) => Self::Paragraphs,
            (Self::Article, "title", _)
            | (Self::Paragraph, "title", Shape::Paragraphs | Shape::CmrcParagraphs) => Self::Title,
            (Self::Paragraph, "context_text", Shape::CmrcParagraphs) => Self::Context,
            (Self::Paragraph, "context", Shape::Articles { .. } | Shape::Paragraphs) => {
                Self::Context
            }
            _ => Self::Elsewhere,
        }
    }

    /// Where the list stands that a document of this shape is, or has under `data`.
    fn list_of(shape: &Shape) -> Self {
        match shape {
            Shape::Articles { .. } => Self::Articles,
            Shape::Paragraphs | Shape::CmrcParagraphs => Self::Paragraphs,
            Shape::Records => Self::Records,
            Shape::Course | Shape::Record => Self::Elsewhere,
        }
    }

    /// Where the items of a list stand.
    fn of_item(self, shape: &Shape) -> Option<Self> {
        match self {
            Self::File => Self::list_of(shape).of_item(shape),
            Self::Texts => Some(Self::Text),
            Self::Articles => Some(Self::Article),
            Self::Paragraphs => Some(Self::Paragraph),
            Self::Questions => Some(Self::Question),
            Self::Records => Some(Self::Record),
            _ => None,
        }
    }

    /// The keys that an object here must have.
    fn required(self, shape: &Shape) -> &'static [&'static str] {
        match (self, shape) {
            (Self::Article, _) => &["paragraphs"],
            (Self::Paragraph, Shape::CmrcParagraphs) => &["context_text", "qas"],
            (Self::Paragraph, _) => &["context", "qas"],
            _ => &[],
        }
    }

    /// What must be here.
    fn expected(self) -> &'static str {
        match self {
            Self::Texts | Self::Articles | Self::Paragraphs | Self::Questions | Self::Records => {
                "a list"
            }
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
            Wanted::Flat(_) => place != Place::Elsewhere,
        }
    }

    /// What a place is called in messages.
    fn name(&self, place: Place) -> String {
        let article = format!("article {}", self.articles);
        let paragraph = format!("paragraph {}", self.paragraphs);
        let below = match self.shape {
            Shape::Articles { .. } => format!("{article}: "),
            _ => String::new(),
        };
        match place {
            Place::File => "the file".to_owned(),
            Place::Text => paragraph,
            Place::Texts => "\"paragraphs\"".to_owned(),
            Place::Articles | Place::Records => "\"data\"".to_owned(),
            Place::Article => article,
            Place::Title if below.is_empty() => format!("the title of {paragraph}"),
            Place::Title => format!("{below}the title"),
            Place::Paragraphs if below.is_empty() => "\"data\"".to_owned(),
            Place::Paragraphs => format!("{below}\"paragraphs\""),
            Place::Paragraph => format!("{below}{paragraph}"),
            Place::Context => format!("{below}the context of {paragraph}"),
            Place::Questions if *self.shape == Shape::Course => "\"questions\"".to_owned(),
            Place::Questions => format!("{below}\"qas\" of {paragraph}"),
            Place::Question | Place::Record | Place::Elsewhere => {
                format!("question {}", self.records)
            }
        }
    }

    fn stop<E: de::Error>(&mut self, stopped: Stopped) -> E {
        self.stopped = Some(stopped);
        E::custom("stopped")
    }

    /// Goes on with a paragraph's text.
    fn text(&mut self, text: &str) -> Result<()> {
        match self.shape {
            Shape::Articles { titles } => {
                let article = titles.get(self.articles).cloned().flatten();
                self.paragraph(text.to_owned(), article.as_deref().map(str::to_owned))
            }
            Shape::Paragraphs | Shape::CmrcParagraphs => {
                // The title may be behind it.
                self.text = Some(text.to_owned());
                Ok(())
            }
            _ => self.paragraph(text.to_owned(), None),
        }
    }

    fn paragraph(&mut self, text: String, article: Option<String>) -> Result<()> {
        if let Wanted::Paragraphs(sink) = &mut self.wanted {
            sink(Paragraph { text, article })?;
        }
        Ok(())
    }

    fn record(&mut self, fields: Result<Map<String, Value>, String>) -> Result<()> {
        let position = Position::Number(self.records + 1);
        match &mut self.wanted {
            Wanted::Flat(sink) => sink(Entry { fields, position }),
            Wanted::Paragraphs(_) => Ok(()),
            Wanted::Records(sink) => {
                let fields = fields.as_ref().map_err(Clone::clone);
                let id = fields
                    .as_ref()
                    .ok()
                    .and_then(|fields| record::id_of(fields));
                let record: Result<Record, String> = fields.and_then(|fields| match self.shape {
                    Shape::Course => record::course(fields),
                    Shape::CmrcParagraphs => record::cmrc(fields, self.paragraphs),
                    _ => record::squad(fields, self.paragraphs),
                });
                sink(record.map_err(|reason| Malformed {
                    id: id.unwrap_or_else(|| position.to_string()),
                    reason,
                }))
            }
        }
    }

    /// Ends a value.
    fn end(&mut self, place: Place) -> Result<()> {
        match place {
            Place::Article => self.articles += 1,
            Place::Text => self.paragraphs += 1,
            Place::Paragraph => {
                let title = self.title.take();
                if let Some(text) = self.text.take() {
                    self.paragraph(text, title)?;
                }
                self.paragraphs += 1;
            }
            Place::Question | Place::Record => self.records += 1,
            _ => {}
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
        } else if matches!(self.place, Place::Question | Place::Record) {
            let fields = deserializer.deserialize_any(Looking(RecordFields))?;
            let result = self.walk.record(fields);
            result.map_err(|error| self.walk.stop(Stopped::Failed(error)))?;
        } else {
            deserializer.deserialize_any(Looking(Node {
                walk: &mut *self.walk,
                place: self.place,
            }))?;
        }
        let result = self.walk.end(self.place);
        result.map_err(|error| self.walk.stop(Stopped::Failed(error)))
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
        if let Some(key) = place.required(walk.shape).iter().find(missing) {
            let what = format!("{} has no {key:?}", walk.name(place));
            return Err(walk.stop(Stopped::Wrong(what)));
        }
        Ok(())
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { walk, place } = self;
        let Some(place) = place.of_item(walk.shape) else {
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
            Place::Title => {
                walk.title = title(text).map(str::to_owned);
                Ok(())
            }
            Place::Text | Place::Context => {
                let result = walk.text(text);
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

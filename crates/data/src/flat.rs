//! Questions that have their own contexts: each distinct context of a file is one paragraph.

use std::collections::HashMap;
use std::fmt;

use anyhow::Result;
use serde_json::{Map, Value};
use spanwise_artifact::{Paragraph, fingerprint};

use crate::layout::{ParagraphSink, RecordSink};
use crate::record::{self, Malformed};

/// A question as it stands in a file.
pub(crate) struct Entry {
    /// Its fields, or what is wrong with it as a whole.
    pub(crate) fields: Result<Map<String, Value>, String>,
    /// Where it is.
    pub(crate) position: Position,
}

/// What is done with each question of a file.
pub(crate) type EntrySink<'a> = dyn FnMut(Entry) -> Result<()> + 'a;

/// Where a question without an id is, in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    /// Counted from 1.
    Number(usize),
    /// The line that it starts on, counted from 1.
    Line(u64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "number {number} in the file"),
            Self::Line(line) => write!(f, "on line {line}"),
        }
    }
}

/// Hands the distinct contexts to `sink`.
pub(crate) fn paragraphs(sink: &mut ParagraphSink<'_>) -> impl FnMut(Entry) -> Result<()> {
    let mut contexts = Contexts::default();
    move |entry| {
        let context = entry.fields.as_ref().map(record::context);
        // What is wrong with a record is said where questions are read.
        let Ok(Ok((text, title))) = context else {
            return Ok(());
        };
        let (_, is_new) = contexts.number(text, title);
        if is_new {
            sink(Paragraph {
                text: text.to_owned(),
                article: title.map(str::to_owned),
            })?;
        }
        Ok(())
    }
}

/// Hands the questions to `sink`.
pub(crate) fn records(sink: &mut RecordSink<'_>) -> impl FnMut(Entry) -> Result<()> {
    let mut contexts = Contexts::default();
    move |Entry { fields, position }| {
        let id = fields.as_ref().ok().and_then(record::id_of);
        let record = fields.and_then(|fields| {
            let (text, title) = record::context(&fields)?;
            let (paragraph, _) = contexts.number(text, title);
            record::flat(&fields, paragraph)
        });
        sink(record.map_err(|reason| Malformed {
            id: id.unwrap_or_else(|| position.to_string()),
            reason,
        }))
    }
}

/// The distinct contexts of a file so far, known by digests.
#[derive(Default)]
struct Contexts {
    numbers: HashMap<[u8; 16], u32>,
}

impl Contexts {
    /// The number of a context among the distinct ones, and whether it is new.
    fn number(&mut self, text: &str, title: Option<&str>) -> (usize, bool) {
        let [text, title] = [text, title.unwrap_or("")].map(|text| blake3::hash(text.as_bytes()));
        let both = [*text.as_bytes(), *title.as_bytes()].concat();
        let next = self.numbers.len();
        let number = *self
            .numbers
            .entry(fingerprint::short(&both))
            .or_insert(next as u32);
        (number as usize, number as usize == next)
    }
}

//! Files of one record a line, and the bound of a record's bytes.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use anyhow::Result;
use serde::de::DeserializeSeed;
use serde_json::Value;
use spanwise_artifact::UserError;

use crate::flat::{Entry, EntrySink, Position};
use crate::input::TextReader;
use crate::json::{Looking, RecordFields};
use crate::layout::{ParagraphSink, RecordSink, syntax, unreadable};
use crate::record;

/// Longest record of a file of lines or rows, in bytes. A quote that is not closed would make one
/// of the rest of the file.
pub(crate) const LONGEST_RECORD: u64 = 64 << 20;

/// Reads a file of JSON lines, each a question with its context; empty lines are passed over.
///
/// # Errors
/// Fails if the file cannot be read, or if `sink` fails.
pub(crate) fn read(
    name: &str,
    mut reader: TextReader<impl Read>,
    sink: &mut EntrySink<'_>,
) -> Result<()> {
    let mut line = String::new();
    for number in 1.. {
        let whole = next_line(&mut reader, &mut line);
        let fields = match whole.map_err(|error| unreadable(name, &error))? {
            Line::End => break,
            Line::Whole if line.trim().is_empty() => continue,
            Line::TooLong => Err(too_long()),
            Line::Whole => {
                let mut json = serde_json::Deserializer::from_str(&line);
                let fields = Looking(RecordFields).deserialize(&mut json);
                let fields = fields.and_then(|fields| json.end().map(|()| fields));
                fields.unwrap_or_else(|error| Err(in_line(&line, &error)))
            }
        };
        let position = Position::Line(number);
        sink(Entry { fields, position })?;
    }
    Ok(())
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
    native(name, reader, record::native_paragraph, sink)
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
    native(name, reader, record::native, &mut |record| sink(Ok(record)))
}

/// Reads a file that a program writes: what is no record is no bad record, but another file.
fn native<T>(
    name: &str,
    mut reader: TextReader<impl Read>,
    parse: impl Fn(&Value) -> Result<T, String>,
    sink: &mut dyn FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut line = String::new();
    for number in 1.. {
        let wrong = |reason: String| UserError::new(format!("{name}:{number}: {reason}"));
        let whole = next_line(&mut reader, &mut line);
        match whole.map_err(|error| unreadable(name, &error))? {
            Line::End => break,
            Line::TooLong => return Err(wrong(too_long()).into()),
            Line::Whole => {}
        }
        let value = serde_json::from_str(&line).map_err(|error| wrong(in_line(&line, &error)))?;
        sink(parse(&value).map_err(wrong)?)?;
    }
    Ok(())
}

/// What was read of a line.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    /// There is none any more.
    End,
}

/// Reads the next line in place of the last one.
fn next_line(reader: &mut TextReader<impl Read>, line: &mut String) -> io::Result<Line> {
    let mut bytes = std::mem::take(line).into_bytes();
    bytes.clear();
    if reader.take(LONGEST_RECORD).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(Line::End);
    }
    let is_cut = bytes.len() as u64 == LONGEST_RECORD && !bytes.ends_with(b"\n");
    if is_cut {
        reader.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    *line = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(Line::Whole)
}

/// What is wrong with a line or a row that is too long to be one.
pub(crate) fn too_long() -> String {
    format!("it is longer than {} MiB", LONGEST_RECORD >> 20)
}

/// What is wrong with the JSON of one line.
fn in_line(line: &str, error: &serde_json::Error) -> String {
    if line.trim().is_empty() {
        "the line is empty".to_owned()
    } else if error.is_eof() {
        "the line ends in the middle of its JSON".to_owned()
    } else {
        // The line's number is said already; that of JSON is always 1.
        syntax(error).replace(" at line 1 column ", " at column ")
    }
}

/// More than [`LONGEST_RECORD`] bytes were read for one record.
#[derive(Debug, thiserror::Error)]
#[error("a record is too long")]
pub(crate) struct TooLong;

/// A reader that fails where more than [`LONGEST_RECORD`] bytes are read for one record.
pub(crate) struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// Sets a bound back at the end of each record.
pub(crate) struct Bound(Rc<Cell<u64>>);

impl<R> Bounded<R> {
    /// A reader with its bound.
    pub(crate) fn new(inner: R) -> (Self, Bound) {
        let left = Rc::new(Cell::new(LONGEST_RECORD));
        let bound = Bound(Rc::clone(&left));
        (Self { inner, left }, bound)
    }
}

impl Bound {
    /// Starts with the next record.
    pub(crate) fn next_record(&self) {
        self.0.set(LONGEST_RECORD);
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        let left = self.left.get().checked_sub(read as u64);
        let left = left.ok_or_else(|| io::Error::other(TooLong))?;
        self.left.set(left);
        Ok(read)
    }
}

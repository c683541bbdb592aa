//! Tables of questions with their contexts: rows below a header, as pandas and spreadsheets write
//! them.

use std::error::Error;
use std::io::{self, BufRead, Read};

use anyhow::Result;
use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Number, Value};
use spanwise_artifact::UserError;

use crate::flat::{Entry, EntrySink, Position};
use crate::input::{TextReader, excerpt};
use crate::layout::{unknown, unreadable};
use crate::lines::{Bounded, LONGEST_RECORD, TooLong};
use crate::literal;
use crate::record::{self, COLUMNS};
use crate::rows::{Misquoted, Rows};

/// What separates the cells of a table, and what its columns are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    delimiter: u8,
    /// The columns that are read, and `None` for each other one.
    columns: Vec<Option<&'static str>>,
}

/// What may separate cells.
const DELIMITERS: [u8; 3] = [b',', b'\t', b';'];

/// Longest header, in bytes.
const LONGEST_HEADER: u64 = 1 << 16;

impl Table {
    /// Looks at a file's header. `name` is the file's name in messages.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if this is not the header of a table of questions.
    pub(crate) fn of(name: &str, reader: TextReader<impl Read>) -> Result<Self> {
        let mut header = Vec::new();
        let mut reader = reader.take(LONGEST_HEADER);
        while header.trim_ascii().is_empty() {
            header.clear();
            let read = reader.read_until(b'\n', &mut header);
            if read.map_err(|error| unreadable(name, &error))? == 0 {
                break;
            }
        }
        for delimiter in DELIMITERS {
            let mut rows = ReaderBuilder::new();
            rows.delimiter(delimiter).has_headers(false);
            let mut row = StringRecord::new();
            // A header that is cut inside a character is none.
            let found = rows.from_reader(&*header).read_record(&mut row);
            if !found.unwrap_or(false) {
                continue;
            }
            let cells = || row.iter().map(str::trim);
            if !record::are_of_questions(cells()) {
                continue;
            }
            let known = |cell: &str| COLUMNS.into_iter().find(|column| *column == cell);
            let columns: Vec<_> = cells().map(known).collect();
            for column in COLUMNS {
                let times = columns.iter().filter(|&&found| found == Some(column));
                if times.count() > 1 {
                    let twice = format!("{name} has the column {column:?} twice");
                    return Err(UserError::new(twice).into());
                }
            }
            if !columns.contains(&Some("id")) {
                return Err(without_ids(name).into());
            }
            return Ok(Self { delimiter, columns });
        }
        let header = String::from_utf8_lossy(&header);
        let found = format!("text that begins with {}", excerpt(header.trim()));
        Err(unknown(name, &found).into())
    }

    /// What it is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.delimiter {
            b'\t' => "a table (TSV)",
            b';' => "a table (CSV with semicolons)",
            _ => "a table (CSV)",
        }
    }

    /// Reads the rows, in order.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if `sink` fails.
    pub(crate) fn read(
        &self,
        name: &str,
        reader: TextReader<impl Read>,
        sink: &mut EntrySink<'_>,
    ) -> Result<()> {
        let (reader, bound) = Bounded::new(reader);
        let mut rows = Rows::new(self.delimiter, reader);
        let mut row = StringRecord::new();
        let mut is_header = true;
        loop {
            bound.next_record();
            match rows.read(&mut row) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(not_rows(name, rows.line(), error).into()),
            }
            if is_header {
                // Lines of white space before the header are no header.
                is_header = row.iter().all(|cell| cell.trim().is_empty());
                continue;
            }
            sink(Entry {
                fields: self.fields(&row),
                position: Position::Line(rows.line()),
            })?;
        }
    }

    fn fields(&self, row: &StringRecord) -> Result<Map<String, Value>, String> {
        if row.len() != self.columns.len() {
            let (found, expected) = (row.len(), self.columns.len());
            return Err(format!(
                "it has {found} cells: must be {expected}, as the header has"
            ));
        }
        let cells = self.columns.iter().zip(row);
        let known = cells.filter_map(|(column, cell)| Some(((*column)?, cell)));
        let fields = known.filter_map(|(column, cell)| {
            let value = value(column, cell)?;
            Some((column.to_owned(), value))
        });
        Ok(fields.collect())
    }
}

/// The error of a table without a column of ids.
pub(crate) fn without_ids(name: &str) -> UserError {
    UserError::new(format!("{name} has no column \"id\""))
        .hint("give each question an id of its own: answers are written under it")
}

fn not_rows(name: &str, line: u64, error: csv::Error) -> UserError {
    if let Some(error) = Misquoted::of(&error) {
        return misquoted(name, error);
    }
    let is_too_long = |error: &io::Error| {
        let source = error.get_ref();
        source.is_some_and(<dyn Error + Send + Sync>::is::<TooLong>)
    };
    match error.into_kind() {
        csv::ErrorKind::Io(error) if is_too_long(&error) => {
            let longest = LONGEST_RECORD >> 20;
            UserError::new(format!(
                "{name}: the row on line {line} is longer than {longest} MiB"
            ))
            .hint("a quote that is not closed makes one row of all that follows")
        }
        csv::ErrorKind::Io(error) => unreadable(name, &error),
        other => UserError::new(format!("{name}: the row on line {line}: {other:?}")),
    }
}

/// The error of a file whose quotes do not pair up.
pub fn misquoted(name: &str, error: Misquoted) -> UserError {
    UserError::new(format!("{name}: {error}"))
        .hint("a cell that begins with \" ends with one; inside it, \"\" stands for a quote")
}

/// The value in a cell; `None` for an empty one where that says nothing.
fn value(column: &str, cell: &str) -> Option<Value> {
    let text = || Value::String(cell.to_owned());
    let trimmed = cell.trim();
    Some(match column {
        "id" | "context" | "paragraph" | "question" => text(),
        _ if trimmed.is_empty() => return None,
        "answer_start" => trimmed
            .parse::<Number>()
            .map_or_else(|_| text(), Value::from),
        "is_impossible" => match &*trimmed.to_ascii_lowercase() {
            "true" | "1" | "1.0" => true.into(),
            "false" | "0" | "0.0" => false.into(),
            _ => text(),
        },
        "answers" | "answers.text" | "answers.answer_start" => {
            let json = serde_json::from_str(trimmed).ok();
            json.or_else(|| literal::parse(trimmed))
                .unwrap_or_else(text)
        }
        _ => text(),
    })
}

//! A table of questions as a JSON object with a list for each column, or with an object for each, as
//! pandas writes them.
//!
//! What belongs to one question stands far apart in such a file. It is read once more than others,
//! and its columns are written into a file each, from which the questions are then put together: as
//! much disk as the file takes, and one question at a time in memory.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use fs_err::File;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use spanwise_artifact::UserError;
use tempfile::TempDir;

use crate::flat::{Entry, EntrySink, Position};
use crate::input::TextReader;
use crate::json::{self, Look, Looking};
use crate::layout::{not_json, syntax};
use crate::record::{COLUMNS, ID_KEYS};
use crate::table::without_ids;

/// The columns of a file, each in a file of its own with a value on each line.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Where the files are, under the names of the columns.
    directory: Arc<TempDir>,
    names: Vec<&'static str>,
    rows: usize,
}

impl Columns {
    /// Takes a file apart, into files below `space`. `name` is the file's name in messages.
    ///
    /// # Errors
    /// Fails if the file cannot be read, a column's cannot be written, or the columns are not of
    /// the same questions.
    pub(crate) fn split(
        name: &str,
        mut reader: TextReader<impl Read>,
        space: &Path,
    ) -> Result<Self> {
        let directory = tempfile::tempdir_in(space)?;
        let mut split = Split {
            directory: directory.path(),
            columns: Vec::new(),
            failed: None,
        };
        let mut json = serde_json::Deserializer::from_reader(&mut reader);
        let seen = Looking(&mut split).deserialize(&mut json);
        let Split {
            columns, failed, ..
        } = split;
        match (seen, failed) {
            (Ok(()), _) => {}
            (Err(_), Some(error)) => return Err(error),
            (Err(error), None) => return Err(not_json(name, error, false).into()),
        }
        let Some(ids) = columns.iter().find(|column| column.name == "id") else {
            return Err(without_ids(name).into());
        };
        for column in &columns {
            let other = column.name;
            if column.rows != ids.rows {
                let (rows, expected) = (column.rows, ids.rows);
                return Err(UserError::new(format!(
                    "{name}: the column {other:?} has {rows} values: must be {expected}, as \"id\" has"
                ))
                .into());
            }
            if column.keys.finalize() != ids.keys.finalize() {
                return Err(UserError::new(format!(
                    "{name}: the column {other:?} has other keys than \"id\", or in another order"
                ))
                .into());
            }
        }
        Ok(Self {
            rows: ids.rows,
            names: columns.iter().map(|column| column.name).collect(),
            directory: Arc::new(directory),
        })
    }

    /// Reads the questions, in order.
    ///
    /// # Errors
    /// Fails if a column's file cannot be read, or if `sink` fails.
    pub(crate) fn read(&self, sink: &mut EntrySink<'_>) -> Result<()> {
        let open = |name: &&'static str| {
            let file = File::open(self.directory.path().join(name))?;
            Ok((*name, BufReader::new(file)))
        };
        let columns: Result<Vec<_>> = self.names.iter().map(open).collect();
        let mut columns = columns?;
        let mut line = String::new();
        for row in 0..self.rows {
            let mut fields = Ok(Map::new());
            for (name, lines) in &mut columns {
                line.clear();
                lines.read_line(&mut line)?;
                fields = fields.and_then(|mut fields: Map<String, Value>| {
                    fields.insert((*name).to_owned(), value(name, &line)?);
                    Ok(fields)
                });
            }
            let position = Position::Number(row + 1);
            sink(Entry { fields, position })?;
        }
        Ok(())
    }
}

/// The value of a column on a line.
fn value(column: &str, line: &str) -> Result<Value, String> {
    let wrong = |error| format!("{column} cannot be read: {}", syntax(&error));
    if ID_KEYS.contains(&column) {
        let raw: &RawValue = serde_json::from_str(line).map_err(wrong)?;
        json::id(raw)
    } else {
        serde_json::from_str(line).map_err(wrong)
    }
}

/// A file that is taken apart.
struct Split<'a> {
    directory: &'a Path,
    columns: Vec<Column>,
    /// Why a column could not be written.
    failed: Option<anyhow::Error>,
}

/// A column that was written.
struct Column {
    name: &'static str,
    rows: usize,
    /// Digest of its keys, where it is an object.
    keys: blake3::Hasher,
}

impl Look for &mut Split<'_> {
    type Found = ();

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let Some(name) = COLUMNS.into_iter().find(|column| *column == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let file = File::create(self.directory.join(name));
            let mut written = Written {
                column: Column {
                    name,
                    rows: 0,
                    keys: blake3::Hasher::new(),
                },
                file: BufWriter::new(file.map_err(|error| self.fail(error))?),
            };
            let result = map.next_value_seed(Looking(&mut written))?;
            let result = result.and_then(|()| Ok(written.file.flush()?));
            result.map_err(|error| self.fail(error))?;
            self.columns.push(written.column);
        }
        Ok(())
    }

    fn other<E>(self, _: &dyn std::fmt::Display) -> Result<(), E> {
        Ok(())
    }
}

impl Split<'_> {
    fn fail<E: de::Error>(&mut self, error: impl Into<anyhow::Error>) -> E {
        self.failed = Some(error.into());
        E::custom("stopped")
    }
}

/// A column that is being written.
struct Written {
    column: Column,
    file: BufWriter<File>,
}

impl Written {
    fn push(&mut self, value: &RawValue) -> Result<()> {
        self.column.rows += 1;
        // Only between tokens are there line ends.
        let text = value.get().replace(['\n', '\r'], " ");
        self.file.write_all(text.as_bytes())?;
        Ok(self.file.write_all(b"\n")?)
    }
}

impl Look for &mut Written {
    type Found = Result<()>;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Result<()>, A::Error> {
        let mut result = Ok(());
        while let Some(value) = list.next_element::<Box<RawValue>>()? {
            result = result.and_then(|()| self.push(&value));
        }
        Ok(result)
    }

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Result<()>, A::Error> {
        let mut result = Ok(());
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            self.column.keys.update(&(key.len() as u64).to_le_bytes());
            self.column.keys.update(key.as_bytes());
            result = result.and_then(|()| self.push(&value));
        }
        Ok(result)
    }

    fn other<E>(self, _: &dyn std::fmt::Display) -> Result<Result<()>, E> {
        // It has no rows, which its column's length says.
        Ok(Ok(()))
    }
}

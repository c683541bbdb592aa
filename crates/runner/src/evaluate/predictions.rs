//! Files of predictions: `{id: answer}` or the CSV of a submission; and of probabilities.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;

use anyhow::{Result, ensure};
use csv::StringRecord;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use spanwise_artifact::UserError;
use spanwise_data::input::{InputFile, TextReader, excerpt};
use spanwise_data::record::of_json;
use spanwise_data::rows::{Misquoted, Rows};
use spanwise_data::table::misquoted;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Predictions {
    /// The file's name in messages.
    pub(super) name: String,
    answers: HashMap<Box<str>, Prediction>,
    first: Option<Box<str>>,
    /// Number of answers that were asked for.
    used: usize,
}

#[derive(Debug)]
struct Prediction {
    answer: Box<str>,
    is_used: bool,
}

impl Predictions {
    /// Reads a file of either kind; JSON begins with a brace.
    ///
    /// # Errors
    /// Fails if it is neither, or has a question twice or something that is no text for its answer.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let (name, mut reader) = open(path)?;
        let first = reader.first().map_err(|error| unreadable(&name, &error))?;
        let mut predictions = Self {
            answers: HashMap::new(),
            first: None,
            used: 0,
            name: name.clone(),
        };
        if first == Some(b'{') {
            json(&name, reader, &mut |id, value| {
                let found = match value {
                    Value::String(answer) => return predictions.add(id, answer),
                    other => of_json(&other),
                };
                let id = excerpt(&id);
                let message = format!("{name}: the answer to question {id} is {found}");
                Err(UserError::new(format!("{message}: must be a string"))
                    .hint("\"\" stands for no answer"))
            })?;
        } else {
            csv(&name, reader, &mut |id, answer| predictions.add(id, answer))?;
        }
        Ok(predictions)
    }

    fn add(&mut self, id: String, answer: String) -> Result<(), UserError> {
        if self.first.is_none() {
            self.first = Some(id.clone().into());
        }
        let prediction = Prediction {
            answer: answer.into(),
            is_used: false,
        };
        match self.answers.insert(id.clone().into(), prediction) {
            None => Ok(()),
            Some(_) => Err(twice(&self.name, &id)),
        }
    }

    /// Returns the answer to a question.
    pub(super) fn answer(&mut self, id: &str) -> Option<&str> {
        let prediction = self.answers.get_mut(id)?;
        self.used += usize::from(!prediction.is_used);
        prediction.is_used = true;
        Some(&prediction.answer)
    }

    /// Number of questions that have been asked for.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Number of questions that have not been asked for.
    pub(super) fn superfluous(&self) -> usize {
        self.answers.len() - self.used
    }

    /// The first question of the file.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}

/// How likely each question has no answer, or any number that is the higher the likelier it is.
#[derive(Debug)]
pub(super) struct Probabilities {
    name: String,
    /// Position in the file, and the number.
    by_id: HashMap<Box<str>, (usize, f64)>,
}

impl Probabilities {
    /// Reads `{id: number}`.
    ///
    /// # Errors
    /// Fails if the file is something else, or has a question twice.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let (name, mut reader) = open(path)?;
        let first = reader.first().map_err(|error| unreadable(&name, &error))?;
        ensure!(
            first == Some(b'{'),
            UserError::new(format!("{name} is no object of numbers by question"))
        );
        let mut by_id = HashMap::new();
        json(&name, reader, &mut |id, value| {
            let Some(number) = value.as_f64() else {
                let (id, found) = (excerpt(&id), of_json(&value));
                return Err(UserError::new(format!(
                    "{name}: the probability of question {id} is {found}: must be a number"
                )));
            };
            let position = by_id.len();
            match by_id.insert(id.clone().into(), (position, number)) {
                None => Ok(()),
                Some(_) => Err(twice(&name, &id)),
            }
        })?;
        Ok(Self { name, by_id })
    }

    /// Returns the position in the file of a question that is answered, and its number.
    ///
    /// # Errors
    /// Fails if the file does not have it.
    pub(super) fn of(&self, id: &str) -> Result<(usize, f64)> {
        let found = self.by_id.get(id).copied();
        let missing = || UserError::new(format!("{} lacks question {}", self.name, excerpt(id)));
        Ok(found.ok_or_else(missing)?)
    }
}

fn open(path: &Path) -> Result<(String, TextReader<Box<dyn Read>>)> {
    let file = InputFile::new(&path.display().to_string(), path.to_owned())?;
    Ok((file.shown(), file.open()?))
}

fn unreadable(name: &str, error: &dyn fmt::Display) -> UserError {
    UserError::new(format!("cannot read {name}: {error}"))
}

fn twice(name: &str, id: &str) -> UserError {
    UserError::new(format!("{name} has question {} twice", excerpt(id)))
}

/// What is done with a question and what a file has for it.
type Sink<'a, T> = dyn FnMut(String, T) -> Result<(), UserError> + 'a;

/// Reads the entries of a JSON object one by one, in the file's order.
fn json(name: &str, reader: impl Read, sink: &mut Sink<'_, Value>) -> Result<(), UserError> {
    let mut stopped = None;
    let entries = Entries {
        sink,
        stopped: &mut stopped,
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let result = json.deserialize_map(entries).and_then(|()| json.end());
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(unreadable(name, &error)),
        (None, Err(error)) => Err(UserError::new(format!("{name} is not JSON: {error}"))),
    }
}

/// The entries of an object on their way to the sink.
struct Entries<'a, 'b> {
    sink: &'a mut Sink<'b, Value>,
    stopped: &'a mut Option<UserError>,
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((id, value)) = map.next_entry::<String, Value>()? {
            if let Err(error) = (self.sink)(id, value) {
                *self.stopped = Some(error);
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Longest header of a submission, in bytes.
const LONGEST_HEADER: u64 = 1 << 12;

/// Reads the rows of a submission.
fn csv(name: &str, mut reader: impl BufRead, sink: &mut Sink<'_, String>) -> Result<(), UserError> {
    let wrong = |error: csv::Error| match (Misquoted::of(&error), error.kind()) {
        (Some(error), _) => misquoted(name, error),
        (None, csv::ErrorKind::Io(error)) => unreadable(name, error),
        (None, _) => UserError::new(format!("{name}: {error}")),
    };
    // Looked at before the rows: of another kind of file, their quotes are not what is wrong.
    let mut header = Vec::new();
    let mut beginning = reader.by_ref().take(LONGEST_HEADER);
    // Empty lines before it are none of the rows.
    while matches!(header.last(), None | Some(b'\n')) && header.trim_ascii().is_empty() {
        let read = beginning.read_until(b'\n', &mut header);
        if read.map_err(|error| unreadable(name, &error))? == 0 {
            break;
        }
    }
    let found = String::from_utf8_lossy(&header);
    let found = found.trim_start_matches(['\r', '\n']);
    let found = found.split(['\r', '\n']).next().unwrap_or_default();
    let cells = found.split(',').map(|cell| cell.trim().trim_matches('"'));
    if !cells.map(str::to_ascii_lowercase).eq(["id", "answer"]) {
        let found = excerpt(found).to_string();
        return Err(UserError::new(format!(
            "{name} is neither a JSON object nor a submission: its first line is {found}"
        ))
        .hint("expected {\"id\": \"answer\"}, or a CSV file with the columns ID,Answer"));
    }
    let mut rows = Rows::new(b',', header.as_slice().chain(reader));
    let mut row = StringRecord::new();
    rows.read(&mut row).map_err(wrong)?;
    while rows.read(&mut row).map_err(wrong)? {
        let (Some(id), Some(answer), 2) = (row.get(0), row.get(1), row.len()) else {
            let (line, found) = (rows.line(), row.len());
            return Err(UserError::new(format!(
                "{name}:{line}: {found} columns: must be 2"
            )));
        };
        sink(id.to_owned(), answer.to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Predictions> {
        let file = tempfile::NamedTempFile::new()?;
        fs_err::write(file.path(), text)?;
        Predictions::read(file.path())
    }

    #[test]
    fn answers_are_read_from_json_and_csv() -> Result<()> {
        fn check(text: &str, expected: &[(&str, &str)]) -> Result<()> {
            let mut found = read(text.as_bytes())?;
            for &(id, answer) in expected {
                assert_eq!(found.answer(id), Some(answer), "{text}");
                found.answer(id); // counted once
            }
            assert_eq!(
                (found.used(), found.superfluous()),
                (expected.len(), 0),
                "{text}"
            );
            assert_eq!(found.first(), expected.first().map(|(id, _)| *id));
            assert_eq!(found.answer("none"), None);
            Ok(())
        }
        check("{}", &[])?;
        check(
            " \n{\"b\": \"李白\", \"a\": \"\"}\n",
            &[("b", "李白"), ("a", "")],
        )?;
        check("\u{feff}{\"a\": \"x\\ud842\\udfb7\"}", &[("a", "x𠮷")])?;
        check(
            "ID,Answer\n0,李白\n1,\n2,\"a, \"\"b\"\"\"\n",
            &[("0", "李白"), ("1", ""), ("2", "a, \"b\"")],
        )?;
        check("\r\n\nID,Answer\n1,a\n", &[("1", "a")])?;
        // What data frames take for no value is text.
        check(
            "\u{feff}id,answer\r\n1,NaN\r\n2,NA\r\n3, null\r\n",
            &[("1", "NaN"), ("2", "NA"), ("3", " null")],
        )
    }

    #[test]
    fn wrong_files_are_refused() {
        fn check(text: &[u8], expected: &str) {
            let error = read(text).expect_err(expected);
            assert!(error.is::<UserError>(), "{error:#}");
            let found = error.to_string();
            assert!(found.contains(expected), "{found}");
        }
        check(
            b"{\"a\": null}",
            "the answer to question \"a\" is null: must be a string",
        );
        check(b"{\"a\": [\"x\"]}", "is a list: must be a string");
        check(
            b"{\"a\": NaN}",
            "is not JSON: expected value at line 1 column 7",
        );
        check(b"{\"a\": \"x\", \"a\": \"y\"}", "has question \"a\" twice");
        check(b"{\"a\": \"x\"", "is not JSON: EOF");
        check(b"{\"a\": \"x\"} 1", "is not JSON: trailing characters");
        check(b"{\"a\": \"\xff\"}", "byte 7 cannot be read as UTF-8");
        check(b"ID,Answer\n1,\xff\n", "cannot be read as UTF-8");
        check(
            b"",
            "neither a JSON object nor a submission: its first line is",
        );
        check(b"[]", "its first line is \"[]\"");
        check(b"1,x\n", "its first line is \"1,x\"");
        // As R writes tables.
        check(b"\"ID\";\"Answer\"\n1;\"x\"\n", "its first line is");
        check(
            b"\"ID\",\"Answer\"\n1,\"x\" y\n",
            "goes on behind its closing quote",
        );
        check(b"ID,Answer\n1,x\n2\n", ":3: 1 columns: must be 2");
        check(
            b"ID,Answer\n1,x\n2,\"y\n3,z\n",
            ": a quote in the row on line 3 is not closed",
        );
        check(b"ID,Answer\n1,x\n1,y\n", "has question \"1\" twice");
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        check(deep.as_bytes(), "recursion limit exceeded");
    }

    #[test]
    fn probabilities_keep_their_order() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs_err::write(file.path(), "{\"b\": 0.5, \"a\": -3, \"c\": 1e-9}")?;
        let found = Probabilities::read(file.path())?;
        assert_eq!(found.of("a")?, (1, -3.0));
        assert_eq!(found.of("c")?, (2, 1e-9));
        let error = found.of("d").expect_err("missing").to_string();
        assert!(error.ends_with(" lacks question \"d\""), "{error}");
        for wrong in [
            "{\"a\": \"0.5\"}",
            "{\"a\": NaN}",
            "{\"a\": 1, \"a\": 2}",
            "[0.5]",
            "",
        ] {
            fs_err::write(file.path(), wrong)?;
            assert!(Probabilities::read(file.path()).is_err(), "{wrong}");
        }
        Ok(())
    }
}

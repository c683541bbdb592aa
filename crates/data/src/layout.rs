//! The input layouts, and which of them a file has.
//!
//! - course: `{"questions": [{id, paragraph_id, question_text, answer_text, answer_start,
//!   answer_end}], "paragraphs": [text]}`, `answer_end` inclusive, the last three `null` for an
//!   unlabelled question
//! - SQuAD (DRCD, CMRC 2018, KorQuAD, GermanQuAD, MLQA, XQuAD): `{"data": [{"paragraphs":
//!   [{"context", "qas": [{id, question, "answers": [{text, answer_start}], is_impossible}]}]}]}`,
//!   and SimpleTransformers', which is a list of these paragraphs
//! - CMRC 2018's original one: `[{"context_text", "qas": [{query_id, query_text, "answers":
//!   [text]}]}]`
//! - questions with their contexts, as `datasets` and pandas have them: in a JSON list, in JSON
//!   lines, in columns, or in a table with a header
//! - native, as this stage writes it: `<name>.questions.jsonl` and, beside it,
//!   `<name>.paragraphs.jsonl`, each with a [`Question`](spanwise_artifact::Question) or a
//!   [`Paragraph`] on every line
//!
//! They are told apart by content, the native one by its name.

use std::fmt;
use std::io;
use std::path::Path;

use anyhow::Result;
use spanwise_artifact::{Paragraph, UserError};

use crate::columns::Columns;
use crate::document::Shape;
use crate::flat;
use crate::input::{InputFile, NotUtf8};
use crate::lines;
use crate::outline::{self, Json};
use crate::record::{Malformed, Record};
use crate::table::Table;

/// What is done with each paragraph of a file.
pub type ParagraphSink<'a> = dyn FnMut(Paragraph) -> Result<()> + 'a;

/// What is done with each question of a file.
pub type RecordSink<'a> = dyn FnMut(Result<Record, Malformed>) -> Result<()> + 'a;

/// The layout of a file.
#[derive(Debug, Clone)]
pub enum Layout {
    /// One JSON document.
    Document(Shape),
    /// A question with its context on each line.
    Lines,
    /// A list for each column, in a JSON object.
    Columns(Columns),
    /// Rows below a header.
    Table(Table),
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document(Shape::Course) => "course layout",
            Self::Document(Shape::Articles { .. }) => "SQuAD layout",
            Self::Document(Shape::Paragraphs) => "SimpleTransformers' layout",
            Self::Document(Shape::CmrcParagraphs) => "CMRC 2018's original layout",
            Self::Document(Shape::Records) => "a JSON list of questions with contexts",
            Self::Document(Shape::Record) | Self::Lines => "JSON lines of questions with contexts",
            Self::Columns(_) => "JSON columns of questions with contexts",
            Self::Table(table) => return write!(f, "{} of questions with contexts", table.kind()),
        })
    }
}

impl Layout {
    /// Finds a file's layout. What cannot be read in order is put in order below `space`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or has no layout that is known.
    pub fn of(file: &InputFile, space: &Path) -> Result<Self> {
        let name = file.shown();
        let mut reader = file.open()?;
        let first = reader.first();
        let first = first.map_err(|error| unreadable(&name, &error))?;
        if !matches!(first, None | Some(b'{' | b'[')) {
            return Ok(Self::Table(Table::of(&name, reader)?));
        }
        Ok(match outline::look(&name, reader)? {
            Json::Document(shape) => Self::Document(shape),
            Json::Lines => Self::Lines,
            Json::Columns => Self::Columns(Columns::split(&name, file.open()?, space)?),
        })
    }

    /// Reads the paragraphs of a file, in input order.
    ///
    /// # Errors
    /// Fails if one is not text or lacks what the layout asks for, or if `sink` fails.
    pub fn read_paragraphs(&self, file: &InputFile, sink: &mut ParagraphSink<'_>) -> Result<()> {
        let name = file.shown();
        match self {
            Self::Document(shape) => shape.read_paragraphs(&name, file.open()?, sink),
            Self::Lines => lines::read(&name, file.open()?, &mut flat::paragraphs(sink)),
            Self::Columns(columns) => columns.read(&mut flat::paragraphs(sink)),
            Self::Table(table) => table.read(&name, file.open()?, &mut flat::paragraphs(sink)),
        }
    }

    /// Reads the questions of a file, in input order; those that lack a field or have one of the
    /// wrong type as [`Malformed`].
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if `sink` fails.
    pub fn read_records(&self, file: &InputFile, sink: &mut RecordSink<'_>) -> Result<()> {
        let name = file.shown();
        match self {
            Self::Document(shape) => shape.read_records(&name, file.open()?, sink),
            Self::Lines => lines::read(&name, file.open()?, &mut flat::records(sink)),
            Self::Columns(columns) => columns.read(&mut flat::records(sink)),
            Self::Table(table) => table.read(&name, file.open()?, &mut flat::records(sink)),
        }
    }
}

/// Why a file is not JSON, in words that do not name a type of ours.
pub(crate) fn not_json(name: &str, error: serde_json::Error, blank: bool) -> UserError {
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
pub(crate) fn syntax(error: &serde_json::Error) -> String {
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

pub(crate) fn unreadable(name: &str, error: &io::Error) -> UserError {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    match source {
        Some(NotUtf8 { byte }) => {
            UserError::new(format!("{name} is not UTF-8: byte {byte} cannot be read"))
                .hint("save the file as UTF-8 and try again")
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            UserError::new(format!("{name} ends in the middle of its gzip data"))
                .hint("copy or download the file again; nothing may follow the compressed data")
        }
        // What the decompressor says of bytes that are none of its own.
        None if matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        ) =>
        {
            UserError::new(format!("{name} has damaged gzip data: {error}"))
                .hint("copy or download the file again; nothing may follow the compressed data")
        }
        None => UserError::new(format!("cannot read {name}: {error}")),
    }
}

/// What a file is that has no layout that is known.
pub(crate) fn unknown(name: &str, found: &str) -> UserError {
    UserError::new(format!("{name} has an unknown layout: {found}")).hint(
        "expected the SQuAD layout or one of its relatives, questions with their contexts (\"id\", \
         \"context\", \"question\", \"answers\") in JSON or in a table with a header, or the course \
         layout: docs/data.md shows each",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::input::TextReader;
    use crate::record::{Claim, Start};

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

    /// Reads a file of this name in messages.
    fn parse(name: &str, bytes: &[u8]) -> Result<Document> {
        Ok(parse_with_layout(name, bytes)?.1)
    }

    /// A table without an answer has no list that is empty, as other layouts have.
    fn without_empty_lists(mut document: Document) -> Document {
        for record in document.records.iter_mut().flatten() {
            record.has_empty_answers = false;
        }
        document
    }

    fn parse_with_layout(name: &str, bytes: &[u8]) -> Result<(Layout, Document)> {
        let space = tempfile::tempdir()?;
        let path = space.path().join("file");
        fs_err::write(&path, bytes)?;
        let file = InputFile::new(name, path)?;
        let layout = Layout::of(&file, space.path())?;
        let mut document = Document::default();
        layout.read_paragraphs(&file, &mut document.paragraph())?;
        layout.read_records(&file, &mut document.record())?;
        Ok((layout, document))
    }

    fn parse_native(questions: &[u8], paragraphs: &[u8]) -> Result<Document> {
        let mut document = Document::default();
        let (questions, paragraphs) = (TextReader::new(questions), TextReader::new(paragraphs));
        lines::read_native_paragraphs("p", paragraphs, &mut document.paragraph())?;
        lines::read_native_records("q", questions, &mut document.record())?;
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
            "f.json has an unknown layout: text that begins with \"id,answer\"",
        );
        check(
            b"{\"id\": 1}\n{\"id\": 2}\n",
            "f.json has an unknown layout: an object with the keys \"id\"",
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
        check(
            br#"[{"text": 1, "label": 2}]"#,
            "f.json has an unknown layout: a list, and first in it an object with the keys \"text\" \
             \"label\"",
        );
        check(
            b"1",
            "f.json has an unknown layout: text that begins with \"1\"",
        );
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
        let lines = format!(
            "{{\"context\": \"c\", \"question\": \"q\"}}\n{{\"context\": {closed}, \"question\": \"q\"}}"
        );
        let lines = parse("f", lines.as_bytes()).unwrap();
        let reason = &lines.records[1].as_ref().unwrap_err().reason;
        assert!(reason.starts_with("it is nested too deep"), "{reason}");
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
            "the id is a list: must be a string or a number",
        );
        check(
            r#"{"id": null, "paragraph_id": 0}"#,
            "number 1 in the file",
            "the id is null: must be a string or a number",
        );
        check(
            r#"{"id": "", "paragraph_id": 0}"#,
            "number 1 in the file",
            "the id is \"\": must be a string or a number",
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
            r#", "answers": [3]"#,
            "an answer is wrong: it is 3: must be an object or a string",
        );
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
            start: Start::At(4),
            end: None,
        };
        assert_eq!(
            answers(r#", "answers": [{"text": "x", "answer_start": 4.0}]"#),
            [Ok(claim)]
        );
        let only = Claim {
            text: "x".to_owned(),
            start: Start::Only,
            end: None,
        };
        assert_eq!(answers(r#", "answers": [{"text": "x"}]"#), [Ok(only)]);
        wrong(
            r#", "is_impossible": "no", "answers": []"#,
            "is_impossible is \"no\": must be true or false",
        );
        wrong(
            r#", "answers": {"text": ["x"], "answer_start": [1, 2]}"#,
            "answers has 1 of text, but 2 of answer_start",
        );
        let both = answers(r#", "is_impossible": true, "answers": [{"text": "x"}]"#);
        let contradiction = "is_impossible is true, but there are answers".to_owned();
        assert_eq!(both[1], Err(contradiction));
        let course = r#"{"questions": [{"id": 2, "paragraph_id": 0, "question_text": "q", "answer_text": "a",
            "answer_start": null, "answer_end": null}], "paragraphs": []}"#;
        let course = parse("f", course.as_bytes()).unwrap();
        let answers = &course.records[0].as_ref().unwrap().answers;
        assert!(answers[0].as_ref().unwrap_err().ends_with("or all be null"));
    }

    /// Three questions about two contexts, in every layout that has a context with each question.
    const FLAT: [(&str, &str); 8] = [
        (
            "a JSON list of questions with contexts",
            r#"[{"id": "a", "title": "t", "context": "詩人李白", "question": "誰?", "answers": {"text": ["李白"], "answer_start": [2]}},
                {"id": "007", "title": "t", "context": "李白李", "question": "何?", "answers": {"text": [], "answer_start": []}},
                {"id": 12345678901234567890123, "title": "t", "context": "詩人李白", "question": "何人?", "answers": {"text": ["詩", "人"], "answer_start": [0.0, 1]}}]"#,
        ),
        (
            "a JSON list of questions with contexts",
            r#"{"version": "0.1", "data": [{"answers": [{"text": "李白", "answer_start": 2}], "id": "a", "title": "t", "context": "詩人李白", "question": "誰?"},
                {"id": "007", "title": "t", "context": "李白李", "question": "何?", "answers": null},
                {"id": 12345678901234567890123, "title": "t", "context": "詩人李白", "question": "何人?", "answers":
                [{"text": "詩", "answer_start": 0}, {"text": "人", "answer_start": 1}]}]}"#,
        ),
        (
            "JSON lines of questions with contexts",
            r#"
            {"id": "a", "title": "t", "paragraph": "詩人李白", "question": "誰?", "answer_text": "李白", "answer_start": 2.0}

            {"id": "007", "title": "t", "paragraph": "李白李", "question": "何?", "answer_text": null, "answer_start": null}
            {"id": 12345678901234567890123, "title": "t", "paragraph": "詩人李白", "question": "何人?", "answers": {"text": ["詩", "人"], "answer_start": [0, 1]}}"#,
        ),
        (
            "JSON columns of questions with contexts",
            r#"{"id": ["a", "007", 12345678901234567890123], "title": ["t", "t", "t"], "context": ["詩人李白", "李白李", "詩人李白"],
                "question": ["誰?", "何?", "何人?"], "label": 3, "answers": [{"text": ["李白"], "answer_start":
                [2]}, {"text": [], "answer_start": []}, {"text": ["詩", "人"], "answer_start": [0, 1]}]}"#,
        ),
        (
            "JSON columns of questions with contexts",
            r#"{"id": {"0": "a", "1": "007", "2": 12345678901234567890123}, "title": {"0": "t", "1": "t", "2": "t"},
                "context": {"0": "詩人李白", "1": "李白李", "2": "詩人李白"}, "question": {"0": "誰?", "1": "何?", "2": "何人?"},
                "answers.text": {"0": ["李白"], "1": null, "2": ["詩", "人"]}, "answers.answer_start": {"0": [2], "1": null, "2": [0, 1]}}"#,
        ),
        (
            "a table (CSV) of questions with contexts",
            "\u{feff},id,title,context,question,answers\r\n\
             0,a,t,詩人李白,誰?,\"{'text': array(['李白'], dtype=object), 'answer_start': array([2])}\"\r\n\
             1,007,t,李白李,何?,\"{'text': [], 'answer_start': []}\"\r\n\
             2,12345678901234567890123,t,詩人李白,何人?,\"{\"\"text\"\": [\"\"詩\"\", \"\"人\"\"], \"\"answer_start\"\": [0, 1]}\"\r\n",
        ),
        (
            "a table (TSV) of questions with contexts",
            "\t\t\nquestion\tcontext\tid\ttitle\tanswers.text\tanswers.answer_start\n\
             誰?\t詩人李白\ta\tt\t['李白']\t[2]\n\
             何?\t李白李\t007\tt\t\t\n\
             何人?\t詩人李白\t12345678901234567890123\tt\t['詩' '人']\t[0 1]\n",
        ),
        (
            "a table (CSV with semicolons) of questions with contexts",
            "\n  \nid;title;context;question;answers;answer_text;answer_start\n\
             a;t;詩人李白;誰?;;李白;2.0\n\
             007;t;李白李;何?;;;\n\
             12345678901234567890123;t;詩人李白;何人?;\"['詩', {'text': '人', 'answer_start': 1}]\";;\n",
        ),
    ];

    #[test]
    fn questions_with_contexts_are_the_same_in_every_layout() {
        let claim = |text: &str, start| {
            Ok(Claim {
                text: text.to_owned(),
                start,
                end: None,
            })
        };
        let record = |id: &str, paragraph, question: &str, answers| {
            Ok(Record {
                id: id.to_owned(),
                paragraph,
                question: question.to_owned(),
                answers,
                is_impossible: false,
                has_empty_answers: false,
            })
        };
        for (kind, text) in FLAT {
            // Without its start, which a text alone has not.
            let last = if text.contains("['詩', {") {
                Start::Only
            } else {
                Start::At(0)
            };
            let expected = Document {
                paragraphs: ["詩人李白", "李白李"]
                    .map(|text| Paragraph {
                        text: text.to_owned(),
                        article: Some("t".to_owned()),
                    })
                    .into(),
                records: vec![
                    record("a", 0, "誰?", vec![claim("李白", Start::At(2))]),
                    record("007", 1, "何?", Vec::new()),
                    record(
                        "12345678901234567890123",
                        0,
                        "何人?",
                        vec![claim("詩", last), claim("人", Start::At(1))],
                    ),
                ],
            };
            let (layout, document) = parse_with_layout("f", text.as_bytes()).unwrap();
            assert_eq!(without_empty_lists(document), expected, "{text}");
            assert_eq!(layout.to_string(), kind);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(text.as_bytes()).unwrap();
            let gzip = gzip.finish().unwrap();
            assert_eq!(without_empty_lists(parse("f", &gzip).unwrap()), expected);
            let error = parse("f", &gzip[..gzip.len() / 2]).unwrap_err();
            assert_eq!(
                error.to_string(),
                "f ends in the middle of its gzip data",
                "{text}"
            );
        }
    }

    #[test]
    fn paragraphs_without_articles_are_read() {
        let paragraph = |title: &str| {
            format!(
                r#"{{"qas": [{{"id": "7", "question": "誰?", "answers": [{{"text": "李白", "answer_start": 2}}]}}],
                   "context": "詩人李白"{title}}}"#
            )
        };
        let of_article = format!(r#"{{"data": [{{"paragraphs": [{}]}}]}}"#, paragraph(""));
        let expected = parse("f", of_article.as_bytes()).unwrap();
        let list = format!("[{}]", paragraph(""));
        let (layout, found) = parse_with_layout("f", list.as_bytes()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(layout.to_string(), "SimpleTransformers' layout");
        let articles = format!(r#"[{{"paragraphs": [{}]}}]"#, paragraph(""));
        assert_eq!(parse("f", articles.as_bytes()).unwrap(), expected);
        let titled = format!(
            "[{}, {}]",
            paragraph(r#", "title": "t""#),
            paragraph(r#", "title": null"#)
        );
        let titles: Vec<_> = parse("f", titled.as_bytes()).unwrap().paragraphs;
        let titles: Vec<_> = titles.iter().map(|one| one.article.as_deref()).collect();
        assert_eq!(titles, [Some("t"), None]);
        let check = |text: &str, expected: &str| assert_eq!(error(text.as_bytes()), expected);
        check(
            r#"[{"context": "c", "qas": []}, {"context": "d"}]"#,
            "f.json: paragraph 1 has no \"qas\"",
        );
        check(
            r#"[{"context": "c", "qas": []}, {"context": 3, "qas": []}]"#,
            "f.json: the context of paragraph 1 is 3: must be a string",
        );
        check(
            r#"[{"context": "c", "qas": [], "title": 3}]"#,
            "f.json: the title of paragraph 0 is 3: must be a string",
        );
    }

    #[test]
    fn cmrc_2018_is_read_as_it_was_published_first() {
        let text = r#"[{"context_id": "T_0", "context_text": "白李白", "qas": [{"query_text": "誰?", "query_id": "T_0_Q_0",
            "answers": ["白", "李白"]}, {"query_id": 3, "answers": []}], "title": "t"}]"#;
        let (layout, document) = parse_with_layout("f", text.as_bytes()).unwrap();
        assert_eq!(layout.to_string(), "CMRC 2018's original layout");
        assert_eq!(document.paragraphs[0].article.as_deref(), Some("t"));
        let claim = |text: &str| {
            Ok(Claim {
                text: text.to_owned(),
                start: Start::First,
                end: None,
            })
        };
        let expected = Record {
            id: "T_0_Q_0".to_owned(),
            paragraph: 0,
            question: "誰?".to_owned(),
            answers: vec![claim("白"), claim("李白")],
            is_impossible: false,
            has_empty_answers: false,
        };
        assert_eq!(document.records[0], Ok(expected));
        let malformed = document.records[1].as_ref().unwrap_err();
        assert_eq!(&*malformed.id, "3");
        assert_eq!(malformed.reason, "query_text is missing");
    }

    #[test]
    fn ids_keep_what_the_file_says() {
        let check = |id: &str, expected: &str| {
            let record = format!(
                r#"{{"id": {id}, "context": "c", "question": "q", "paragraph_id": 0, "question_text": "q"}}"#
            );
            let course = format!(r#"{{"questions": [{record}], "paragraphs": []}}"#);
            let column = format!(r#"{{"id": [{id}], "context": ["c"], "question": ["q"]}}"#);
            let squad = format!(
                r#"{{"data": [{{"paragraphs": [{{"context": "c", "qas": [{record}]}}]}}]}}"#
            );
            let list = format!("[{record}]");
            for text in [record, course, column, squad, list] {
                let document = parse("f", text.as_bytes()).unwrap();
                assert_eq!(document.records[0].as_ref().unwrap().id, expected, "{text}");
            }
        };
        check(r#""a b""#, "a b");
        check(r#""\u5e74""#, "年");
        check("7", "7");
        check("-7", "-7");
        check("3.0", "3.0");
        check("18446744073709551616", "18446744073709551616");
        let long = "9".repeat(1000);
        check(&long, &long);
        let long = "年".repeat(10_000);
        check(&format!("{long:?}"), &long);
    }

    #[test]
    fn unanswerable_questions_are_read() {
        let squad = r#"{"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"qas": [
            {"question": "q", "id": "1", "answers": [], "is_impossible": true, "plausible_answers":
            [{"text": "c", "answer_start": 0}]}, {"question": "q", "id": "2", "answers": [{"text": "c", "answer_start": 0}],
            "is_impossible": false}, {"question": "q", "id": "3", "answers": []}], "context": "c"}]}]}"#;
        let csv = "id,context,question,answer,is_impossible\n1,c,q,,True\n2,c,q,c,False\n3,c,q,,\n";
        let columns = r#"{"id": [1, 2, 3], "context": ["c", "c", "c"], "question": ["q", "q", "q"],
            "answer": [null, "c", null], "is_impossible": [1, 0.0, null]}"#;
        let native = r#"{"id": "1", "paragraph": 0, "text": "q", "answers": [], "is_impossible": true}
{"id": "2", "paragraph": 0, "text": "q", "answers": [{"text": "c", "start": 0}]}
{"id": "3", "paragraph": 0, "text": "q", "answers": []}"#;
        let documents = [
            parse("f", squad.as_bytes()),
            parse("f", csv.as_bytes()),
            parse("f", columns.as_bytes()),
            parse_native(native.as_bytes(), b""),
        ];
        for document in documents {
            let records = document.unwrap().records;
            let found: Vec<_> = records
                .iter()
                .map(|record| record.as_ref().unwrap())
                .map(|record| (&*record.id, record.answers.len(), record.is_impossible))
                .collect();
            assert_eq!(found, [("1", 0, true), ("2", 1, false), ("3", 0, false)]);
        }
    }

    #[test]
    fn what_a_table_lacks_is_named() {
        let check = |text: &str, expected: &str| assert_eq!(error(text.as_bytes()), expected);
        check("context,question,answer\n", "f.json has no column \"id\"");
        check(
            r#"{"context": [], "question": []}"#,
            "f.json has no column \"id\"",
        );
        check(
            "id,context,question,id\n",
            "f.json has the column \"id\" twice",
        );
        check(
            r#"{"id": [1], "context": ["a", "b"], "question": ["q"]}"#,
            "f.json: the column \"context\" has 2 values: must be 1, as \"id\" has",
        );
        check(
            r#"{"id": {"0": 1}, "context": {"1": "a"}, "question": {"0": "q"}}"#,
            "f.json: the column \"context\" has other keys than \"id\", or in another order",
        );
        check(
            r#"{"id": [1], "context": ["a"], "question": ["q"], "answers": 3}"#,
            "f.json: the column \"answers\" has 0 values: must be 1, as \"id\" has",
        );
        let malformed = |text: &str, number: usize, id: &str, reason: &str| {
            let document = parse("f", text.as_bytes()).unwrap();
            let found = document.records[number].as_ref().unwrap_err();
            assert_eq!((&*found.id, &*found.reason), (id, reason));
        };
        malformed(
            "id,context,question\n1,c,\"q\nq\"\n2,c\n",
            1,
            "on line 4",
            "it has 2 cells: must be 3, as the header has",
        );
        malformed(
            "id,context,question\n,c,q\n",
            0,
            "on line 2",
            "the id is \"\": must be a string or a number",
        );
        malformed(
            "{\"id\": 1, \"context\": \"c\", \"question\": \"q\"}\n\n{\"id\": 2, \"con",
            1,
            "on line 3",
            "the line ends in the middle of its JSON",
        );
        malformed(
            "{\"id\": 1, \"context\": \"c\", \"question\": \"q\"}\n{\"id\": 2, \"context\": 3}",
            1,
            "2",
            "context is 3: must be a string",
        );
        malformed(
            "[{\"id\": 1, \"context\": \"c\", \"question\": \"q\", \"title\": 3}]",
            0,
            "1",
            "title is 3: must be a string",
        );
    }

    #[test]
    fn a_quote_that_is_not_closed_loses_no_questions() {
        // The second row has as many cells as the header, and would be a question.
        assert_eq!(
            error(b"id,context,question\n1,c,q\n2,c,\"who\n3,c,q\n"),
            "f.json: a quote in the row on line 3 is not closed"
        );
    }

    #[test]
    fn a_quote_that_is_not_closed_takes_no_memory() {
        let mut text = "id,context,question\n1,c,q\n2,\"".to_owned();
        text.extend(std::iter::repeat_n("c,q\n3,", (70 << 20) / 6));
        assert_eq!(
            error(text.as_bytes()),
            "f.json: the row on line 3 is longer than 64 MiB"
        );
    }
}

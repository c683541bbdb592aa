//! Rows of a file of cells that commas, tabs or semicolons separate.
//!
//! The library takes quotes as they come: to it, a cell whose quote is not closed goes on to the next
//! quote or to the end of the file, and what lies between is no row any more. Here quotes that do not
//! pair up are an error.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ReaderBuilder, StringRecord};

/// The rows of such a file.
pub struct Rows<R: Read> {
    reader: csv::Reader<Watched<R>>,
    /// The lines on which rows begin that are not yet read.
    starts: Rc<RefCell<VecDeque<u64>>>,
    line: u64,
}

/// Why a file has no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misquoted {
    /// A quote is not closed.
    #[error("a quote in the row on line {0} is not closed")]
    Unclosed(u64),
    /// Behind a cell's closing quote stands more of it.
    #[error("in the row on line {0}, a cell goes on behind its closing quote")]
    GoesOn(u64),
}

impl Misquoted {
    /// The one that reading has failed with.
    pub fn of(error: &csv::Error) -> Option<Self> {
        let csv::ErrorKind::Io(error) = error.kind() else {
            return None;
        };
        let source: &(dyn Error + 'static) = error.get_ref()?;
        source.downcast_ref().copied()
    }
}

impl<R: Read> Rows<R> {
    /// The rows of what `reader` reads, in which this separates cells.
    pub fn new(delimiter: u8, reader: R) -> Self {
        let starts = Rc::default();
        let watched = Watched {
            inner: reader,
            delimiter,
            state: State::NoRow,
            line: 1,
            is_behind_return: false,
            row: 1,
            starts: Rc::clone(&starts),
        };
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter);
        builder.has_headers(false).flexible(true);
        Self {
            reader: builder.from_reader(watched),
            starts,
            line: 1,
        }
    }

    /// The line on which the row begins that was read last, or could not be read. The first is 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next row that is not empty; `false` where there is none.
    ///
    /// # Errors
    /// Fails if the bytes cannot be read or are not text, and where quotes do not pair up.
    pub fn read(&mut self, row: &mut StringRecord) -> csv::Result<bool> {
        let found = self.reader.read_record(row);
        if let Some(line) = self.starts.borrow_mut().pop_front() {
            self.line = line;
        }
        found
    }
}

/// Where in a row a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between rows.
    NoRow,
    /// Where a cell begins.
    Begin,
    /// In a cell without quotes; one inside it is a character.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote that ends the cell, or is the first of two that stand for one.
    Closed,
}

/// Passes bytes on and follows their quotes.
struct Watched<R> {
    inner: R,
    delimiter: u8,
    state: State,
    line: u64,
    /// Whether the last byte was a carriage return: a line feed behind it ends the same line.
    is_behind_return: bool,
    /// The line on which the row begins.
    row: u64,
    starts: Rc<RefCell<VecDeque<u64>>>,
}

impl<R> Watched<R> {
    fn follow(&mut self, byte: u8) -> Result<(), Misquoted> {
        let ends_line = matches!(byte, b'\n' | b'\r');
        if self.state == State::NoRow && !ends_line {
            self.row = self.line;
            self.starts.borrow_mut().push_back(self.row);
            self.state = State::Begin;
        }
        self.state = match self.state {
            State::Quoted if byte == b'"' => State::Closed,
            State::Quoted => State::Quoted,
            _ if ends_line => State::NoRow,
            _ if byte == self.delimiter => State::Begin,
            State::Begin | State::Closed if byte == b'"' => State::Quoted,
            State::Closed => return Err(Misquoted::GoesOn(self.row)),
            _ => State::Plain,
        };
        let continues_line = byte == b'\n' && self.is_behind_return;
        self.line += u64::from(ends_line && !continues_line);
        self.is_behind_return = byte == b'\r';
        Ok(())
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        let followed = to[..read].iter().try_for_each(|&byte| self.follow(byte));
        followed.map_err(io::Error::other)?;
        if read == 0 && !to.is_empty() && self.state == State::Quoted {
            return Err(io::Error::other(Misquoted::Unclosed(self.row)));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<(u64, Vec<String>)>;

    fn read(text: &str) -> csv::Result<Found> {
        let mut rows = Rows::new(b',', text.as_bytes());
        let (mut row, mut found) = (StringRecord::new(), Vec::new());
        while rows.read(&mut row)? {
            found.push((rows.line(), row.iter().map(str::to_owned).collect()));
        }
        Ok(found)
    }

    #[test]
    fn rows_are_read_with_their_lines_whatever_ends_them() {
        fn check(text: &str, expected: &[(u64, &[&str])]) {
            let found = read(text).expect(text);
            let found: Vec<(u64, Vec<&str>)> = found
                .iter()
                .map(|(line, row)| (*line, row.iter().map(String::as_str).collect()))
                .collect();
            let found: Vec<(u64, &[&str])> =
                found.iter().map(|(line, row)| (*line, &row[..])).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        check("", &[]);
        check("\n\r\n", &[]);
        check("a,b", &[(1, &["a", "b"])]);
        check("a,b\nc,d\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d\r\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\rc,d\r", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("\n\na,b\n\n\nc,d", &[(3, &["a", "b"]), (6, &["c", "d"])]);
        check("a,\n1,", &[(1, &["a", ""]), (2, &["1", ""])]);
        check(
            "a,\"b\r\nc\"\r\nd,e",
            &[(1, &["a", "b\r\nc"]), (3, &["d", "e"])],
        );
        check("\"\"\nb", &[(1, &[""]), (2, &["b"])]);
        check("a,\"\"\"\"", &[(1, &["a", "\""])]);
        // A quote inside a cell that does not begin with one is a character.
        check("a,5\"\nb,6\"\n", &[(1, &["a", "5\""]), (2, &["b", "6\""])]);
    }

    #[test]
    fn quotes_that_do_not_pair_up_are_found() {
        fn check(text: &str, expected: Misquoted) {
            let error = read(text).expect_err(text);
            assert_eq!(Misquoted::of(&error), Some(expected), "{text:?}");
        }
        check("\"", Misquoted::Unclosed(1));
        check("a,\"b\n", Misquoted::Unclosed(1));
        check("a,b\n\nc,\"d\ne,f\n", Misquoted::Unclosed(3));
        check("a,b\nc,\"d\"\"\n", Misquoted::Unclosed(2));
        check("a,b\n\"c,d\ne,f\ng,h", Misquoted::Unclosed(2));
        // The quote is closed by the opening one of a later row.
        check("a,b\nc,\"d\ne,\"f\"\n", Misquoted::GoesOn(2));
        check("a,\"b\"c", Misquoted::GoesOn(1));
        // The library would take the space for a part of the cell, and quotes behind it as well.
        check("a,\"b\" ,c", Misquoted::GoesOn(1));
        check("a,\"b\" \"c\nd,e\"", Misquoted::GoesOn(1));
    }
}

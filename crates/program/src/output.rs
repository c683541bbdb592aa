//! Results on standard output, messages on standard error, and what happens where nobody reads them
//! any more.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

/// The reader of standard output has closed it, as `| head` does when it has seen enough: success,
/// quietly.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed by its reader")]
pub struct Closed;

/// Whether an error says no more than that standard output was closed.
pub fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let error = cause.downcast_ref::<io::Error>();
        error
            .and_then(io::Error::get_ref)
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Closed>)
    })
}

/// A text without characters that do something to a terminal or to the order of what is shown:
/// they are written as Rust does, such as `\u{1b}`. Lines and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    let acts = |c: char| {
        let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        reorders || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    if !text.contains(acts) {
        return text.into();
    }
    let escaped = |c: char| {
        if acts(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escaped).collect::<String>().into()
}

/// Writes text as [`plain`] returns it.
pub struct Plain<W>(pub W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatted text comes in whole characters.
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(plain(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard output. Where its reader has closed it, writing fails with [`Closed`], which
/// [`report`](crate::report) takes for success.
pub fn results() -> impl Write {
    Plain(Results(io::stdout()))
}

struct Results<W>(W);

impl<W: Write> Write for Results<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::other(Closed),
        _ => error,
    }
}

/// Standard error. A closed one leaves nobody to tell: writing to it never fails.
pub fn messages() -> impl Write {
    Plain(Messages)
}

/// Writes a line to standard error.
pub fn message(line: impl fmt::Display) {
    // Never fails.
    let _ = writeln!(messages(), "{line}");
}

struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, Result};

    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() -> Result<()> {
        let mut written = Vec::new();
        writeln!(Plain(&mut written), "a\u{1b}[2J\u{7}\r\tb\u{202e}c\u{9b}丣")?;
        let expected = "a\\u{1b}[2J\\u{7}\\u{d}\tb\\u{202e}c\\u{9b}丣\n";
        assert_eq!(String::from_utf8(written)?, expected);
        Ok(())
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() -> Result<()> {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let write = || -> Result<()> {
            writeln!(Results(&writer), "a line").context("print")?;
            Ok(())
        };
        assert!(is_closed(&write().expect_err("nobody reads")));
        let other = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!is_closed(&other), "a pipe to another program");
        Ok(())
    }
}

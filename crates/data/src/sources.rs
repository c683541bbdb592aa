//! The files of a pipeline: what each is, and that no file is taken for two.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spanwise_artifact::{Split, UserError, fingerprint};

use crate::document::Shape;
use crate::input::InputFile;
use crate::layout::{Layout, ParagraphSink, RecordSink};
use crate::lines;

/// A file with questions, or a pair of files in the native layout.
#[derive(Debug, Clone)]
pub struct Source {
    file: InputFile,
    /// The file of its paragraphs, where that is another one.
    beside: Option<InputFile>,
}

/// The layout of a source.
#[derive(Debug, Clone)]
pub enum Format {
    /// One file, whose content says what it is.
    File {
        /// Its layout.
        layout: Layout,
        /// Whether it is compressed.
        is_gzip: bool,
    },
    /// Records on lines, in two files.
    Native,
}

impl Format {
    /// Whether it is the course's layout.
    pub fn is_course(&self) -> bool {
        let Self::File { layout, .. } = self else {
            return false;
        };
        matches!(layout, Layout::Document(Shape::Course))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { layout, is_gzip } => {
                let gzip = if *is_gzip { ", gzip" } else { "" };
                write!(f, "{layout}{gzip}")
            }
            Self::Native => f.write_str("the data stage's own layout"),
        }
    }
}

impl Source {
    /// The file of this name at a path, and the one of its paragraphs where there is one.
    ///
    /// # Errors
    /// Fails if one is not a file.
    pub fn new(
        (name, path): (&str, PathBuf),
        beside: Option<(&str, PathBuf)>,
    ) -> Result<Self, UserError> {
        let beside = beside.map(|(name, path)| InputFile::new(name, path));
        Ok(Self {
            file: InputFile::new(name, path)?,
            beside: beside.transpose()?,
        })
    }

    /// Its name in the pipeline file.
    pub fn name(&self) -> &str {
        self.file.name()
    }

    /// Its name in messages.
    pub fn shown(&self) -> String {
        self.file.shown()
    }

    /// Finds its layout. What cannot be read in order is put in order below `space`.
    ///
    /// # Errors
    /// Fails if it cannot be read or has none that is known.
    pub fn format(&self, space: &Path) -> Result<Format> {
        if self.beside.is_some() {
            return Ok(Format::Native);
        }
        Ok(Format::File {
            layout: Layout::of(&self.file, space)?,
            is_gzip: self.file.is_gzip()?,
        })
    }

    /// Reads its paragraphs, in input order.
    ///
    /// # Errors
    /// Fails if one cannot be read, or if `sink` fails.
    pub fn read_paragraphs(&self, format: &Format, sink: &mut ParagraphSink<'_>) -> Result<()> {
        let file = self.beside.as_ref().unwrap_or(&self.file);
        match format {
            Format::File { layout, .. } => layout.read_paragraphs(file, sink),
            Format::Native => lines::read_native_paragraphs(&file.shown(), file.open()?, sink),
        }
    }

    /// Reads its questions, in input order.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if `sink` fails.
    pub fn read_records(&self, format: &Format, sink: &mut RecordSink<'_>) -> Result<()> {
        let file = &self.file;
        match format {
            Format::File { layout, .. } => layout.read_records(file, sink),
            Format::Native => lines::read_native_records(&file.shown(), file.open()?, sink),
        }
    }

    /// Digest of its content.
    fn content(&self) -> Result<Vec<String>> {
        let files = [Some(&self.file), self.beside.as_ref()];
        let files = files.into_iter().flatten();
        files
            .map(|file| fingerprint::of_file(file.path()))
            .collect()
    }
}

/// Refuses a file that is named twice: within a split, its questions would count twice; in train
/// and elsewhere, what is measured would have been trained on. A copy in another split is a file of
/// its own, which a warning names.
///
/// # Errors
/// Fails if a file is named twice, or cannot be read.
pub fn refuse_repeated(sources: &[(Split, Source)]) -> Result<()> {
    let mut seen: Vec<Seen> = Vec::new();
    for (split, source) in sources {
        let metadata = fs_err::metadata(source.file.path())?;
        let mut next = Seen {
            split: *split,
            source,
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            content: None,
        };
        for earlier in &mut seen {
            let pair = Pair {
                splits: (earlier.split, next.split),
                names: (earlier.source.shown(), next.source.shown()),
            };
            if earlier.file == next.file {
                if pair.is_one_split() || pair.is_trained_on() {
                    return Err(pair.refusal("which are the same file").into());
                }
            } else if earlier.has_content_of(&mut next)? {
                if pair.is_one_split() {
                    return Err(pair.refusal("which are the same, byte for byte").into());
                }
                if pair.is_trained_on() {
                    pair.warn();
                }
            }
        }
        seen.push(next);
    }
    Ok(())
}

/// A source and what it is recognised by.
struct Seen<'a> {
    split: Split,
    source: &'a Source,
    /// Device and number on it.
    file: (u64, u64),
    length: u64,
    /// Digests of its files, where another source is as long.
    content: Option<Vec<String>>,
}

impl Seen<'_> {
    fn has_content_of(&mut self, other: &mut Self) -> Result<bool> {
        Ok(self.length == other.length && self.content()? == other.content()?)
    }

    fn content(&mut self) -> Result<&[String]> {
        match &mut self.content {
            Some(content) => Ok(content),
            empty => Ok(empty.insert(self.source.content()?)),
        }
    }
}

/// Two sources that may be one.
struct Pair {
    splits: (Split, Split),
    names: (String, String),
}

impl Pair {
    fn is_one_split(&self) -> bool {
        self.splits.0 == self.splits.1
    }

    /// Whether one is trained on and the other is not.
    fn is_trained_on(&self) -> bool {
        !self.is_one_split() && self.splits.0 == Split::Train
    }

    fn warn(&self) {
        let (first, second) = (self.splits.0.name(), self.splits.1.name());
        let (one, other) = &self.names;
        tracing::warn!(
            "{one} of {first} and {other} of {second} are the same, byte for byte: what is measured \
             is what was trained on"
        );
    }

    fn refusal(&self, which: &str) -> UserError {
        let (first, second) = (self.splits.0.name(), self.splits.1.name());
        let (one, other) = &self.names;
        let message = match (self.is_one_split(), one == other) {
            (true, true) => format!("data.{first} names {one} twice"),
            (true, false) => format!("data.{first} names {one} and {other}, {which}"),
            (false, true) => format!("data.{first} and data.{second} both name {one}"),
            (false, false) => {
                format!("data.{first} names {one} and data.{second} names {other}, {which}")
            }
        };
        UserError::new(message).hint(if self.is_one_split() {
            "name each file once: questions that are there twice count twice"
        } else {
            "measure on questions that are not trained on: put some of the file's into one of their \
             own, or name no dev file and use ensemble.folds"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_once() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        for (name, content) in [("a", "one"), ("copy", "one"), ("b", "two")] {
            fs_err::write(path(name), content)?;
        }
        fs_err::hard_link(path("a"), path("hard"))?;
        fs_err::os::unix::fs::symlink("a", path("soft"))?;
        let check = |files: &[(Split, &str)], expected: &str| {
            let source = |&(split, name): &(Split, &str)| {
                let source = Source::new((name, path(name)), None);
                (split, source.expect("it is a file"))
            };
            let sources: Vec<_> = files.iter().map(source).collect();
            let found = match refuse_repeated(&sources) {
                Ok(()) => String::new(),
                Err(error) => {
                    assert!(error.is::<UserError>(), "{error:#}");
                    error.to_string()
                }
            };
            assert_eq!(found, expected);
        };
        use Split::{Dev, Test, Train};
        check(&[(Train, "a"), (Dev, "b"), (Test, "b")], "");
        check(&[(Train, "a"), (Dev, "copy"), (Test, "copy")], "");
        check(&[(Train, "a"), (Train, "a")], "data.train names a twice");
        check(
            &[(Train, "a"), (Dev, "a")],
            "data.train and data.dev both name a",
        );
        check(
            &[(Train, "b"), (Train, "a"), (Dev, "b"), (Test, "a")],
            "data.train and data.dev both name b",
        );
        check(
            &[(Train, "a"), (Test, "soft")],
            "data.train names a and data.test names soft, which are the same file",
        );
        check(
            &[(Train, "a"), (Test, "hard")],
            "data.train names a and data.test names hard, which are the same file",
        );
        check(
            &[(Dev, "b"), (Dev, "a"), (Dev, "copy")],
            "data.dev names a and copy, which are the same, byte for byte",
        );
        Ok(())
    }
}

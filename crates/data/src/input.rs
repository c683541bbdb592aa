//! Input files as text, read piece by piece, and how messages show what is in them.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::bufread::MultiGzDecoder;
use fs_err::File;
use spanwise_artifact::UserError;

/// A file that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its name in the pipeline file, which says more than the path that it was resolved to.
    name: String,
    path: PathBuf,
}

impl InputFile {
    /// A file of this name at `path`.
    ///
    /// # Errors
    /// Fails if there is none: a directory, a pipe or a device cannot be read twice.
    pub fn new(name: &str, path: PathBuf) -> Result<Self, UserError> {
        let file = Self {
            name: name.to_owned(),
            path,
        };
        let metadata = fs_err::metadata(&file.path).map_err(|error| file.unreadable(&error))?;
        if metadata.is_file() {
            return Ok(file);
        }
        let message = if metadata.is_dir() {
            format!("{} is a directory, not a file", file.shown())
        } else {
            format!("{} is not a file", file.shown())
        };
        Err(UserError::new(message).hint("name a file: it is read more than once"))
    }

    /// Its name in messages.
    pub fn shown(&self) -> String {
        shown(&self.name)
    }

    /// Its name in the pipeline file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it at its beginning, without its gzip compression where it has one.
    ///
    /// # Errors
    /// Fails if it cannot be read, or if its first bytes are those of a kind of file that is not
    /// text.
    pub fn open(&self) -> Result<TextReader<Box<dyn Read>>> {
        let mut reader = self.bytes()?;
        let beginning = reader.fill_buf().map_err(|error| self.unreadable(&error))?;
        if let Some((_, kind)) = OTHER_KINDS
            .into_iter()
            .find(|(bytes, _)| beginning.starts_with(bytes))
        {
            let shown = self.shown();
            return Err(UserError::new(format!("{shown} is {kind}: must be text"))
                .hint("save it as JSON, CSV or TSV in UTF-8; gzip is read")
                .into());
        }
        Ok(TextReader::new(if beginning.starts_with(GZIP) {
            Box::new(MultiGzDecoder::new(reader))
        } else {
            Box::new(reader)
        }))
    }

    /// Whether it is compressed with gzip, which its first bytes say.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn is_gzip(&self) -> Result<bool> {
        let mut reader = self.bytes()?;
        let beginning = reader.fill_buf().map_err(|error| self.unreadable(&error))?;
        Ok(beginning.starts_with(GZIP))
    }

    fn bytes(&self) -> Result<BufReader<File>> {
        let file = File::open(&self.path).map_err(|error| self.unreadable(&error))?;
        Ok(BufReader::with_capacity(1 << 16, file))
    }

    fn unreadable(&self, error: &io::Error) -> UserError {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        UserError::new(format!("cannot read {}: {reason}", self.shown()))
    }
}

/// The first bytes of a file compressed with gzip: RFC 1952, 2.3.1.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The first bytes of files that hold questions elsewhere, and what they are.
const OTHER_KINDS: [(&[u8], &str); 7] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"\xff\xfe", "UTF-16 and not UTF-8"),
    (b"\xfe\xff", "UTF-16 and not UTF-8"),
];

/// Reads UTF-8, without a byte order mark at its beginning.
pub struct TextReader<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// The text that is not yet consumed, in the buffer.
    text: std::ops::Range<usize>,
    /// End of the bytes in the buffer, which may lie inside a character.
    end: usize,
    /// Position in the file of the buffer's first byte.
    position: u64,
    blank: bool,
}

/// Bytes that are no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8 {
    /// Position of the first of them in the file.
    pub byte: u64,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} cannot be read as UTF-8", self.byte)
    }
}

impl Error for NotUtf8 {}

impl<R: Read> TextReader<R> {
    /// Reads text from `inner`.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; 1 << 16].into(),
            text: 0..0,
            end: 0,
            position: 0,
            blank: true,
        }
    }

    /// Whether what was read so far is white space only.
    pub fn is_blank(&self) -> bool {
        self.blank
    }

    /// The first byte that is not white space, without going past it; `None` where there is none in
    /// the buffer.
    ///
    /// # Errors
    /// Fails if the text cannot be read.
    pub fn first(&mut self) -> io::Result<Option<u8>> {
        let text = self.fill_buf()?;
        Ok(text.trim_ascii_start().first().copied())
    }

    /// Fills the buffer behind the part of a character that is left in it.
    fn refill(&mut self) -> io::Result<()> {
        let at_beginning = self.position == 0 && self.end == 0;
        let rest = self.text.end..self.end;
        self.position += rest.start as u64;
        self.buffer.copy_within(rest.clone(), 0);
        (self.text, self.end) = (0..0, rest.len());
        while self.text.is_empty() {
            let read = match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let bytes = &self.buffer[..self.end + read];
            let text = match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) if error.error_len().is_none() && read > 0 => {
                    std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
                }
                Err(error) => {
                    let byte = self.position + error.valid_up_to() as u64;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, NotUtf8 { byte }));
                }
            };
            self.end += read;
            self.text = 0..text.len();
            if at_beginning && text.starts_with('\u{feff}') {
                self.text.start = '\u{feff}'.len_utf8();
            }
            self.blank &= text[self.text.start..].trim().is_empty();
            if read == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for TextReader<R> {
    #[inline]
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        // A parser of JSON reads byte by byte.
        if let [to] = to
            && let Some(byte) = self.buffer[self.text.clone()].first()
        {
            *to = *byte;
            self.text.start += 1;
            return Ok(1);
        }
        let text = self.fill_buf()?;
        let count = text.len().min(to.len());
        to[..count].copy_from_slice(&text[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for TextReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.text.is_empty() {
            self.refill()?;
        }
        Ok(&self.buffer[self.text.clone()])
    }

    fn consume(&mut self, count: usize) {
        self.text.start += count;
    }
}

/// Longest part of a text of the user's that a message shows, in characters.
const EXCERPT: usize = 60;

/// Longest name or id that a message shows whole, in characters: paths are long.
const NAME: usize = 240;

/// A name or id of the user's in a message: as it is where it can be shown, else quoted and
/// escaped, so that nothing in it acts on a terminal.
pub fn shown(text: &str) -> String {
    let plain = |c: char| {
        let quote = matches!(c, '\'' | '"' | '\\');
        quote || c.escape_debug().next() != Some('\\')
    };
    if text.chars().all(plain) && text.chars().nth(NAME).is_none() && !text.is_empty() {
        text.to_owned()
    } else {
        excerpt(text).to_string()
    }
}

/// The beginning of a text of the user's in a message, quoted and escaped.
pub fn excerpt(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => write!(f, "{:?}…", &text[..end]),
        None => write!(f, "{text:?}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A reader that returns a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(to.len()).min(self.0.len());
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn text_is_read_whole_without_its_mark() {
        let long = "國a𠮷".repeat(1 << 15);
        for text in ["", "a", "國", "𠮷野家", " \n", "a\u{feff}b", &long] {
            for mark in ["", "\u{feff}"] {
                for size in [1, 2, 3, 5, 1 << 16] {
                    let bytes = format!("{mark}{text}");
                    let mut reader = TextReader::new(Drops(bytes.as_bytes(), size));
                    let mut found = String::new();
                    reader.read_to_string(&mut found).unwrap();
                    assert!(found == text, "{size} bytes at a time");
                    assert_eq!(reader.is_blank(), text.trim().is_empty());
                }
            }
        }
    }

    #[test]
    fn the_first_byte_that_is_not_utf8_is_named() {
        let check = |bytes: &[u8], expected: u64| {
            for size in [1, 2, 3, 1 << 16] {
                let mut reader = TextReader::new(Drops(bytes, size));
                let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
                let found = error.get_ref().and_then(|error| error.downcast_ref());
                assert_eq!(found, Some(&NotUtf8 { byte: expected }));
            }
        };
        check(b"\xa4\xa4", 0);
        check(b"ab\xffcd", 2);
        check("國國".as_bytes().split_last().unwrap().1, 3);
        check(b"\xef\xbb\xbf\xff", 3);
        let mut late = vec![b' '; 200_000];
        late.push(0xff);
        check(&late, 200_000);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_quoted() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text), expected);
        check("q1", "q1");
        check("data/我的 \"file\".json", "data/我的 \"file\".json");
        check("", "\"\"");
        check("a\u{1b}[2Jb", "\"a\\u{1b}[2Jb\"");
        check("a\nb", "\"a\\nb\"");
        check("a\u{202e}b", "\"a\\u{202e}b\"");
        let long = "長".repeat(241);
        check(&long, &format!("\"{}\"…", "長".repeat(60)));
        assert_eq!(excerpt("a\u{1b}").to_string(), "\"a\\u{1b}\"");
    }

    #[test]
    fn gzip_is_told_by_content_and_other_kinds_are_named() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("file");
        let read = |bytes: &[u8]| -> Result<String> {
            fs_err::write(&path, bytes)?;
            let mut text = String::new();
            InputFile::new("f", path.clone())?
                .open()?
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let gzip = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let two = [gzip("\u{feff}國"), gzip("a")].concat();
        assert_eq!(read(&two)?, "國a");
        assert_eq!(read("PAR".as_bytes())?, "PAR");
        assert!(read(&two[..two.len() - 9]).is_err());
        let error = read(b"PAR1\0\0").unwrap_err();
        assert!(error.is::<UserError>());
        assert_eq!(error.to_string(), "f is a Parquet file: must be text");
        Ok(())
    }

    #[test]
    fn only_files_are_read() {
        let check = |path: &str, expected: &str| {
            let error = InputFile::new("mine", path.into()).unwrap_err();
            assert_eq!(error.message, expected);
        };
        check("/", "mine is a directory, not a file");
        check("/dev/null", "mine is not a file");
        check("/nowhere/at/all", "cannot read mine: there is no such file");
    }
}

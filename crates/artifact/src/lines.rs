//! Files of JSON lines that are read in any order, a few lines at a time: memory stays level however
//! many there are.

use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err::File;
use serde::de::DeserializeOwned;

use crate::error::damaged;

/// A file of JSON lines whose records are read by index.
pub struct Lines<T> {
    path: PathBuf,
    file: File,
    /// The byte at which each line begins, and the file's length.
    offsets: Vec<u64>,
    record: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Opens a file and finds its lines. What they hold is not looked at.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut offsets = vec![0];
        let mut end = 0;
        loop {
            match reader.skip_until(b'\n')? {
                0 => break,
                bytes => end += bytes as u64,
            }
            offsets.push(end);
        }
        Ok(Self {
            path: path.to_owned(),
            file: reader.into_inner(),
            offsets,
            record: PhantomData,
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads one record.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or the line is no such record.
    pub fn get(&self, index: usize) -> Result<T> {
        self.read(index..index + 1)?.get(0)
    }

    /// Reads consecutive lines, whose records the block parses.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    ///
    /// # Panics
    /// If there are no such lines.
    pub fn read(&self, lines: Range<usize>) -> Result<LineBlock<'_, T>> {
        let first = self.offsets[lines.start];
        let mut bytes = vec![0; (self.offsets[lines.end] - first) as usize];
        let read = self.file.file().read_exact_at(&mut bytes, first);
        read.with_context(|| format!("failed to read {}", self.path.display()))?;
        Ok(LineBlock {
            file: self,
            first: lines.start,
            bytes,
        })
    }
}

/// Consecutive lines of a file, which are parsed when they are asked for.
pub struct LineBlock<'a, T> {
    file: &'a Lines<T>,
    first: usize,
    bytes: Vec<u8>,
}

impl<T: DeserializeOwned> LineBlock<'_, T> {
    /// Parses the record with this index in the block.
    ///
    /// # Errors
    /// Fails if the line is no such record.
    pub fn get(&self, index: usize) -> Result<T> {
        let Lines { path, offsets, .. } = self.file;
        let line = self.first + index;
        let byte = |line: usize| (offsets[line] - offsets[self.first]) as usize;
        let record = serde_json::from_slice(&self.bytes[byte(line)..byte(line + 1)]);
        let record = record.map_err(|error| damaged(path, &format!("line {}: {error}", line + 1)));
        Ok(record?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UserError;
    use crate::jsonl;

    #[test]
    fn lines_are_read_in_any_order() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("numbers.jsonl");
        let mut writer = jsonl::Writer::create(&path)?;
        writer.push(&1)?;
        writer.push(&22)?;
        writer.push_lines(b"333\n")?;
        writer.finish()?;
        let lines = Lines::<u32>::open(&path)?;
        assert_eq!(lines.len(), 3);
        assert_eq!([lines.get(2)?, lines.get(0)?], [333, 1]);
        let block = lines.read(1..3)?;
        assert_eq!([block.get(0)?, block.get(1)?], [22, 333]);

        fs_err::write(&path, "")?;
        assert!(Lines::<u32>::open(&path)?.is_empty());
        // A last line that is cut.
        fs_err::write(&path, "1\n[2")?;
        let error = Lines::<u32>::open(&path)?.get(1).unwrap_err();
        assert!(error.is::<UserError>(), "{error:#}");
        let message = error.to_string();
        assert!(
            message.contains("numbers.jsonl is damaged: line 2"),
            "{message}"
        );
        Ok(())
    }
}

//! How long the pickles of a file are, found without interpreting them.
//!
//! Reference: Python's
//! [`pickletools`](https://github.com/python/cpython/blob/3.13/Lib/pickletools.py), which lists the
//! opcodes.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use fs_err::File;

use crate::pytorch_file::{LONGEST_PICKLE, PytorchFileError};

/// How many pickles the older form of PyTorch's files begins with: magic number, protocol, byte
/// order, state dictionary, keys of the storages.
const PICKLES: usize = 5;

/// What follows an opcode.
enum Argument {
    /// So many bytes.
    Bytes(u64),
    /// Lines of text.
    Lines(usize),
    /// A little-endian length of so many bytes, and that many bytes.
    Counted(usize),
    /// Nothing: the pickle has ended.
    End,
}

impl Argument {
    fn of(opcode: u8) -> Self {
        match opcode {
            b'.' => Self::End,
            b'I' | b'L' | b'F' | b'V' | b'S' | b'g' | b'p' | b'P' => Self::Lines(1),
            b'c' | b'i' => Self::Lines(2),
            b'K' | b'h' | b'q' | 0x80 | 0x82 => Self::Bytes(1),
            b'M' | 0x83 => Self::Bytes(2),
            b'J' | b'j' | b'r' | 0x84 => Self::Bytes(4),
            b'G' | 0x95 => Self::Bytes(8),
            b'U' | b'C' | 0x8a | 0x8c => Self::Counted(1),
            b'T' | b'X' | b'B' | 0x8b => Self::Counted(4),
            0x8d | 0x8e | 0x96 => Self::Counted(8),
            _ => Self::Bytes(0),
        }
    }
}

/// Refuses a file whose pickles are together longer than those of any state dictionary. What is no
/// pickle is not looked at further: the reader of pickles says what is wrong with it.
pub(crate) fn check_lengths(path: &Path) -> Result<(), PytorchFileError> {
    let mut file = BufReader::new(File::open(path)?).take(LONGEST_PICKLE);
    let ended = (0..PICKLES).try_for_each(|_| skip(&mut file));
    match ended {
        Err(_) if file.limit() == 0 => Err(PytorchFileError::LongPickle),
        _ => Ok(()),
    }
}

/// Reads to the end of a pickle.
fn skip(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let mut opcode = [0];
        reader.read_exact(&mut opcode)?;
        match Argument::of(opcode[0]) {
            Argument::End => return Ok(()),
            Argument::Bytes(count) => skip_bytes(reader, count)?,
            Argument::Lines(count) => {
                for _ in 0..count {
                    reader.skip_until(b'\n')?;
                }
            }
            Argument::Counted(width) => {
                let mut count = [0; 8];
                reader.read_exact(&mut count[..width])?;
                skip_bytes(reader, u64::from_le_bytes(count))?;
            }
        }
    }
}

fn skip_bytes(reader: &mut impl BufRead, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink())?;
    if skipped < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

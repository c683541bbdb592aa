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
            opcode::STOP => Self::End,
            opcode::INT
            | opcode::LONG
            | opcode::FLOAT
            | opcode::UNICODE
            | opcode::STRING
            | opcode::GET
            | opcode::PUT
            | opcode::PERSID => Self::Lines(1),
            opcode::GLOBAL | opcode::INST => Self::Lines(2),
            opcode::BININT1 | opcode::BINGET | opcode::BINPUT | opcode::PROTO | opcode::EXT1 => {
                Self::Bytes(1)
            }
            opcode::BININT2 | opcode::EXT2 => Self::Bytes(2),
            opcode::BININT | opcode::LONG_BINGET | opcode::LONG_BINPUT | opcode::EXT4 => {
                Self::Bytes(4)
            }
            opcode::BINFLOAT | opcode::FRAME => Self::Bytes(8),
            opcode::SHORT_BINSTRING
            | opcode::SHORT_BINBYTES
            | opcode::LONG1
            | opcode::SHORT_BINUNICODE => Self::Counted(1),
            opcode::BINSTRING | opcode::BINUNICODE | opcode::BINBYTES | opcode::LONG4 => {
                Self::Counted(4)
            }
            opcode::BINUNICODE8 | opcode::BINBYTES8 | opcode::BYTEARRAY8 => Self::Counted(8),
            _ => Self::Bytes(0),
        }
    }
}

/// The opcodes with an argument, and the last one.
mod opcode {
    pub(super) const STOP: u8 = b'.';

    pub(super) const INT: u8 = b'I';
    pub(super) const LONG: u8 = b'L';
    pub(super) const FLOAT: u8 = b'F';
    pub(super) const UNICODE: u8 = b'V';
    pub(super) const STRING: u8 = b'S';
    pub(super) const GET: u8 = b'g';
    pub(super) const PUT: u8 = b'p';
    pub(super) const PERSID: u8 = b'P';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const INST: u8 = b'i';

    pub(super) const BININT1: u8 = b'K';
    pub(super) const BINGET: u8 = b'h';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const EXT1: u8 = 0x82;
    pub(super) const BININT2: u8 = b'M';
    pub(super) const EXT2: u8 = 0x83;
    pub(super) const BININT: u8 = b'J';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const EXT4: u8 = 0x84;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const FRAME: u8 = 0x95;

    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const SHORT_BINBYTES: u8 = b'C';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINSTRING: u8 = b'T';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const BINBYTES: u8 = b'B';
    pub(super) const LONG4: u8 = 0x8b;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    pub(super) const BINBYTES8: u8 = 0x8e;
    pub(super) const BYTEARRAY8: u8 = 0x96;
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

//! Python's pickle format, as data: nothing is imported, called or executed.
//!
//! A pickle is a program for a stack machine. Where Python would call something, [`Value::Call`] says what
//! would be called; the caller decides what it means. Reference: Python's `pickletools`.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// An integer of more, little-endian two's complement.
    Long(Vec<u8>),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, and text in no known encoding.
    Bytes(Vec<u8>),
    /// A tuple, list or set.
    Sequence(Vec<Value>),
    /// A dictionary, in order.
    Dict(Vec<(Value, Value)>),
    /// A name that Python would import.
    Global(String),
    /// What a function or class named so would make of the arguments, with whatever was then put into it.
    Call {
        /// `module.name`.
        callable: String,
        /// The call's arguments.
        arguments: Vec<Value>,
        /// Items set on the result.
        items: Vec<(Value, Value)>,
    },
    /// A reference to something outside the pickle.
    Persistent(Box<Value>),
}

impl Value {
    /// An integer, as a size.
    pub fn as_usize(&self) -> Result<usize> {
        match self {
            Value::Int(value) => Ok(usize::try_from(*value)?),
            other => bail!("expected a size, found {other:?}"),
        }
    }

    /// The elements of a sequence.
    pub fn as_sequence(&self) -> Result<&[Value]> {
        match self {
            Value::Sequence(values) => Ok(values),
            other => bail!("expected a sequence, found {other:?}"),
        }
    }

    /// The entries of a dictionary, ordered or not.
    pub fn as_items(&self) -> Result<&[(Value, Value)]> {
        match self {
            Value::Dict(items) => Ok(items),
            Value::Call {
                callable, items, ..
            } if callable == "collections.OrderedDict" => Ok(items),
            other => bail!("expected a dictionary, found {other:?}"),
        }
    }
}

/// Reads one pickle, up to and including its end mark.
pub fn read(input: &mut impl BufRead) -> Result<Value> {
    let mut machine = Machine {
        input,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let [operation] = machine.bytes()?;
        if operation == b'.' {
            return machine.pop();
        }
        machine.step(operation)?;
    }
}

struct Machine<'a, R> {
    input: &'a mut R,
    stack: Vec<Value>,
    /// Heights of the stack at open marks.
    marks: Vec<usize>,
    /// Values by number. A container is kept as it was when it got its number, usually empty; weights
    /// files refer back to names and tensors only.
    memo: HashMap<u32, Value>,
}

impl<R: BufRead> Machine<'_, R> {
    fn step(&mut self, operation: u8) -> Result<()> {
        match operation {
            0x80 => drop(self.bytes::<1>()?), // protocol version
            0x95 => drop(self.bytes::<8>()?), // frame length
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let [value] = self.bytes()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.bytes()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.bytes()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.bytes()?;
                let bytes = self.take(length.into())?;
                self.stack.push(long(bytes));
            }
            b'G' => {
                let value = f64::from_be_bytes(self.bytes()?);
                self.stack.push(Value::Float(value));
            }
            b'X' | b'T' | b'B' => {
                let length = u32::from_le_bytes(self.bytes()?);
                self.text(length.into(), operation == b'B')?;
            }
            0x8c | b'U' | b'C' => {
                let [length] = self.bytes()?;
                self.text(length.into(), operation == b'C')?;
            }
            0x8d | 0x8e => {
                let length = u64::from_le_bytes(self.bytes()?);
                self.text(length, operation == 0x8e)?;
            }
            b')' | b']' | 0x8f => self.stack.push(Value::Sequence(Vec::new())),
            b't' | b'l' | 0x91 => {
                let values = self.pop_to_mark()?;
                self.stack.push(Value::Sequence(values));
            }
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                ensure!(self.stack.len() >= count, "the stack is too short");
                let values = self.stack.split_off(self.stack.len() - count);
                self.stack.push(Value::Sequence(values));
            }
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            b'd' => {
                let values = self.pop_to_mark()?;
                self.stack.push(Value::Dict(pairs(values)?));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let values = self.pop_to_mark()?;
                self.set_items(pairs(values)?)?;
            }
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])?;
            }
            b'e' | 0x90 => {
                let values = self.pop_to_mark()?;
                self.append(values)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(format!("{module}.{name}")));
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.stack.push(Value::Global(format!("{module}.{name}")));
                }
                other => bail!("a global is named by {other:?}"),
            },
            b'R' | 0x81 => {
                let arguments = self.pop()?.as_sequence()?.to_vec();
                let Value::Global(callable) = self.pop()? else {
                    bail!("something is called that is not a global")
                };
                let items = Vec::new();
                self.stack.push(Value::Call {
                    callable,
                    arguments,
                    items,
                });
            }
            // State of an object beyond its items, such as a dictionary's `_metadata`: not needed here.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(Value::Persistent(Box::new(id)));
            }
            b'q' => {
                let [index] = self.bytes()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.remember(index)?;
            }
            0x94 => self.remember(u32::try_from(self.memo.len())?)?,
            b'h' => {
                let [index] = self.bytes()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.recall(index)?;
            }
            other => bail!("operation {other:#04x} does not occur in files of weights"),
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input
            .read_exact(&mut bytes)
            .context("the pickle ends too early")?;
        Ok(bytes)
    }

    fn take(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(length).read_to_end(&mut bytes)?;
        ensure!(read as u64 == length, "the pickle ends too early");
        Ok(bytes)
    }

    fn text(&mut self, length: u64, binary: bool) -> Result<()> {
        let bytes = self.take(length)?;
        let value = match String::from_utf8(bytes) {
            Ok(text) if !binary => Value::Text(text),
            Ok(text) => Value::Bytes(text.into_bytes()),
            Err(error) => Value::Bytes(error.into_bytes()),
        };
        self.stack.push(value);
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        Ok(line.trim_end_matches('\n').to_owned())
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().context("the stack is empty")
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().context("there is no mark")?;
        ensure!(mark <= self.stack.len(), "the mark is above the stack");
        Ok(self.stack.split_off(mark))
    }

    fn set_items(&mut self, new: Vec<(Value, Value)>) -> Result<()> {
        match self.stack.last_mut() {
            Some(Value::Dict(items) | Value::Call { items, .. }) => items.extend(new),
            other => bail!("items are set on {other:?}"),
        }
        Ok(())
    }

    fn append(&mut self, new: Vec<Value>) -> Result<()> {
        match self.stack.last_mut() {
            Some(Value::Sequence(values)) => values.extend(new),
            // A list subclass: its elements are not needed here.
            Some(Value::Call { .. }) => {}
            other => bail!("elements are appended to {other:?}"),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let value = self.stack.last().context("the stack is empty")?;
        self.memo.insert(index, value.clone());
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let value = self
            .memo
            .get(&index)
            .with_context(|| format!("nothing is numbered {index}"))?;
        self.stack.push(value.clone());
        Ok(())
    }
}

fn pairs(values: Vec<Value>) -> Result<Vec<(Value, Value)>> {
    ensure!(values.len().is_multiple_of(2), "a key has no value");
    let mut values = values.into_iter();
    Ok(std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect())
}

/// A little-endian two's complement integer of any length.
fn long(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pickle: &[u8], expected: Value) {
        assert_eq!(read(&mut &*pickle).unwrap(), expected);
    }

    #[test]
    fn values() {
        let text = |text: &str| Value::Text(text.to_owned());
        check(b"\x80\x02K\x07.", Value::Int(7));
        check(b"\x80\x02J\xff\xff\xff\xff.", Value::Int(-1));
        check(b"\x80\x02\x8a\x02\x00\x80.", Value::Int(-32768));
        check(b"\x80\x02G\x3f\xf8\0\0\0\0\0\0.", Value::Float(1.5));
        check(
            b"\x80\x02X\x03\0\0\0\xe5\x9c\x8bq\0h\0\x86.",
            Value::Sequence(vec![text("國"), text("國")]),
        );
        check(
            b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0bNu.",
            Value::Dict(vec![(text("a"), Value::Int(1)), (text("b"), Value::None)]),
        );
        check(
            b"\x80\x02]q\0(\x88\x89e.",
            Value::Sequence(vec![Value::Bool(true), Value::Bool(false)]),
        );
    }

    #[test]
    fn calls_are_described_and_not_made() {
        let pickle = b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.";
        let arguments = vec![Value::Text("ls".to_owned())];
        check(
            pickle,
            Value::Call {
                callable: "os.system".to_owned(),
                arguments,
                items: Vec::new(),
            },
        );
    }

    #[test]
    fn broken_pickles_are_refused() {
        for broken in [
            &b""[..],
            b"\x80\x02",
            b".",
            b"\x80\x02X\xff\xff\xff\xffab.",
            b"t.",
            b"\x80\x02h\x05.",
            b"\x80\x02K\x01K\x02s.",
            b"i",
        ] {
            assert!(read(&mut &*broken).is_err(), "{broken:?}");
        }
    }
}

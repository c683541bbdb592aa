//! Flat arrays in a memory-mapped safetensors file, which are loaded as they are read.

use std::collections::HashMap;
use std::io::{BufWriter, IntoInnerError, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use fs_err::File;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

/// A safetensors file open for reading.
pub struct Columns {
    path: PathBuf,
    map: Mmap,
    index: HashMap<String, (Dtype, Range<usize>)>,
}

impl Columns {
    /// Opens `path` and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let map = map(path)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).with_context(|| format!("read {}", path.display()))?;
        let data = header + size_of::<u64>();
        let index = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (start, end) = info.data_offsets;
                (name, (info.dtype, data + start..data + end))
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            index,
        })
    }

    /// The named array of unsigned 32-bit integers.
    pub fn u32s(&self, name: &str) -> Result<&[u32]> {
        self.column(name, Dtype::U32)
    }

    /// The named array of 32-bit floats.
    pub fn f32s(&self, name: &str) -> Result<&[f32]> {
        self.column(name, Dtype::F32)
    }

    fn column<T: bytemuck::AnyBitPattern>(&self, name: &str, dtype: Dtype) -> Result<&[T]> {
        let (found, range) = self
            .index
            .get(name)
            .ok_or_else(|| anyhow!("{} has no array {name}", self.path.display()))?;
        ensure!(
            *found == dtype,
            "{}: array {name} is {found:?}, not {dtype:?}",
            self.path.display()
        );
        bytemuck::try_cast_slice(&self.map[range.clone()])
            .map_err(|error| anyhow!("{}: array {name}: {error}", self.path.display()))
    }
}

/// Maps a file into memory for reading. Pages are read from disk when they are first looked at.
///
/// # Errors
/// Fails if the file cannot be opened or mapped; its content is not looked at.
pub fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path)?;
    #[expect(
        unsafe_code,
        reason = "a map is the only way to read parts of a file of weights without copying all of it"
    )]
    // SAFETY: the bytes must not change while the map lives. What is mapped here is an artifact,
    // which never changes once committed, a file that this process has just written, or a
    // checkpoint of the user, which is read once while a stage runs; whoever rewrites that in place
    // meanwhile breaks the run in any case.
    let map = unsafe { Mmap::map(file.file()) };
    map.with_context(|| format!("map {}", path.display()))
}

/// An array of unsigned 32-bit integers that is written as it grows, to a file without a name.
pub struct GrowingColumn {
    file: BufWriter<File>,
    length: usize,
}

impl GrowingColumn {
    /// Starts an array in a file on the file system of `directory`, which is gone with the value.
    ///
    /// # Errors
    /// Fails if no file can be created there.
    pub fn create(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory)
            .with_context(|| format!("create a file in {}", directory.display()))?;
        let file = File::from_parts(file, directory);
        Ok(Self {
            file: BufWriter::new(file),
            length: 0,
        })
    }

    /// Adds numbers.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn extend(&mut self, values: &[u32]) -> Result<()> {
        self.file.write_all(bytemuck::cast_slice(values))?;
        self.length += values.len();
        Ok(())
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no number.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads some of the numbers.
    ///
    /// # Errors
    /// Fails if there are no such numbers, or the file cannot be read.
    pub fn read(&mut self, range: Range<usize>) -> Result<Vec<u32>> {
        let length = self.length;
        ensure!(
            range.start <= range.end && range.end <= length,
            "numbers {range:?} of {length}"
        );
        self.file.flush()?;
        let mut values = vec![0; range.len()];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        let position = (range.start * size_of::<u32>()) as u64;
        self.file
            .get_ref()
            .file()
            .read_exact_at(bytes, position)
            .context("read an array that is being written")?;
        Ok(values)
    }
}

/// Writes arrays to a safetensors file, byte for byte as the safetensors library does, holding
/// none of them.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write(path: &Path, mut columns: Vec<(&str, GrowingColumn)>) -> Result<()> {
    columns.sort_by_key(|(name, _)| *name);
    let mut end = 0;
    let infos = columns.iter().map(|(name, column)| {
        let start = end;
        end += column.len() * size_of::<u32>();
        let info = TensorInfo {
            dtype: Dtype::U32,
            shape: vec![column.len()],
            data_offsets: (start, end),
        };
        ((*name).to_owned(), info)
    });
    let metadata = Metadata::new(None, infos.collect())?;
    let mut header = serde_json::to_string(&metadata)?;
    // The format allows spaces after the header; with them every array is aligned when mapped.
    let spaces = header.len().next_multiple_of(size_of::<u64>()) - header.len();
    header.extend(std::iter::repeat_n(' ', spaces));
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (_, column) in columns {
        let mut from = column
            .file
            .into_inner()
            .map_err(IntoInnerError::into_error)?;
        from.rewind()?;
        std::io::copy(&mut from, &mut file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn growing_columns_are_written_as_the_library_writes_arrays() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let check = |arrays: &[(&str, &[u32])]| -> Result<()> {
            let mut columns = Vec::new();
            for (name, values) in arrays {
                let mut column = GrowingColumn::create(directory.path())?;
                for value in *values {
                    column.extend(&[*value])?;
                }
                assert_eq!(column.read(0..values.len())?, *values);
                column.extend(&[])?;
                columns.push((*name, column));
            }
            let path = directory.path().join("growing");
            write(&path, columns)?;
            let views = arrays.iter().map(|(name, values)| {
                let bytes = bytemuck::cast_slice(values);
                let view = TensorView::new(Dtype::U32, vec![values.len()], bytes);
                (*name, view.expect("four bytes a number"))
            });
            assert_eq!(fs_err::read(&path)?, safetensors::serialize(views, None)?);
            let opened = Columns::open(&path)?;
            for (name, values) in arrays {
                assert_eq!(opened.u32s(name)?, *values);
            }
            Ok(())
        };
        check(&[])?;
        check(&[("b", &[1, 2, u32::MAX]), ("a", &[]), ("long_name", &[7])])?;
        let many: Vec<u32> = (0..100_000).collect();
        check(&[("many", &many), ("few", &many[..3])])
    }

    #[test]
    fn parts_of_a_growing_column_are_read() -> Result<()> {
        let mut column = GrowingColumn::create(tempfile::tempdir()?.path())?;
        assert!(column.is_empty());
        column.extend(&[1, 2, 3])?;
        assert_eq!(column.read(1..3)?, [2, 3]);
        column.extend(&[4])?;
        assert_eq!((column.read(2..4)?, column.len()), (vec![3, 4], 4));
        assert!(column.read(3..5).is_err());
        Ok(())
    }
}

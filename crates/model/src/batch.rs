//! Rows of tokens as one model input: padded to a rectangle, or one after the other.

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_ops::device::{Implementation, implementation};
use spanwise_ops::{MASKED, PackedRows, Rows};

use crate::pair_template::{Row, input_row};

/// Widths of inputs are multiples of this. oneDNN compiles a program for every shape that it meets
/// and keeps it, and tensors of many sizes fragment the allocator's memory: a run over many texts
/// settles when its shapes repeat.
const WIDTH_STEP: usize = 16;

/// Packed inputs are filled up by at most about one token in so many, for the same reason.
const FILLED_SHARE: usize = 16;

/// One model input. The model computes it in one of two forms, and returns hidden states in the
/// first.
///
/// - A rectangle, `[batch, tokens]`: rows padded to one width.
/// - Packed, `[1, all tokens]`: rows one after the other, so that no padding is computed. Rows that
///   nothing reads fill it up to a length that repeats.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Vocabulary ids, `[batch, tokens]`, or packed.
    pub ids: Tensor<2, Int>,
    /// Token types as the pair template has them, shaped as `ids`.
    pub token_types: Tensor<2, Int>,
    /// Positions in the row, counted from 0: `[1, tokens]`, or packed.
    pub positions: Tensor<2, Int>,
    /// Which tokens attend to one another.
    pub rows: Rows,
    /// Where the rectangle's tokens are in packed ones; `None` where these are a rectangle already.
    unpacking: Option<Tensor<1, Int>>,
    /// The rectangle's mask: 0 for real tokens, [`MASKED`] for padding, `[batch, tokens]`, f32.
    pub mask: Tensor<2>,
    /// Number of real tokens.
    pub tokens: usize,
}

impl Batch {
    /// Returns rows as wide as the [`width`] of the longest.
    pub fn from_rows(rows: &[Row], layout: &Layout, device: &Device) -> Self {
        let longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let width = width(longest, layout.max_length);
        Self::new(rows, width, layout.template.padding_id, device)
    }

    /// Returns rows of `width` tokens, which none exceeds: packed where the device attends to packed
    /// rows, else padded at the end.
    pub fn new(rows: &[Row], width: usize, padding_id: u32, device: &Device) -> Self {
        if implementation(device) == Implementation::Compositions {
            Self::padded(rows, width, padding_id, device)
        } else {
            Self::packed(rows, width, padding_id, device)
        }
    }

    fn padded(rows: &[Row], width: usize, padding_id: u32, device: &Device) -> Self {
        let shape = [rows.len(), width];
        let mut ids = vec![i64::from(padding_id); rows.len() * width];
        let mut token_types = vec![0i64; rows.len() * width];
        for (row, (row_ids, row_types)) in rows.iter().enumerate() {
            for (column, (&id, &token_type)) in row_ids.iter().zip(row_types).enumerate() {
                let cell = row * width + column;
                ids[cell] = i64::from(id);
                token_types[cell] = i64::from(token_type);
            }
        }
        let mask = mask(rows, width, device);
        Self {
            ids: integers(ids, shape, device),
            token_types: integers(token_types, shape, device),
            // Padding gets positions too; nothing attends to it.
            positions: integers((0..width as i64).collect(), [1, width], device),
            rows: Rows::Padded(mask.clone()),
            unpacking: None,
            mask,
            tokens: rows.iter().map(|(ids, _)| ids.len()).sum(),
        }
    }

    fn packed(rows: &[Row], width: usize, padding_id: u32, device: &Device) -> Self {
        let tokens: usize = rows.iter().map(|(ids, _)| ids.len()).sum();
        let length = packed_length(tokens);
        let (mut ids, mut token_types) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let mut positions = Vec::with_capacity(length);
        // Cells of padding show the first token, which changes nothing: losses mask them.
        let mut unpacking = vec![0i64; rows.len() * width];
        for (row, (row_ids, row_types)) in rows.iter().enumerate() {
            for (column, (&id, &token_type)) in row_ids.iter().zip(row_types).enumerate() {
                unpacking[row * width + column] = ids.len() as i64;
                ids.push(i64::from(id));
                token_types.push(i64::from(token_type));
                positions.push(column as i64);
            }
        }
        let lengths = rows.iter().map(|(ids, _)| ids.len());
        let lengths = lengths.chain(filling(length - tokens, width));
        ids.resize(length, i64::from(padding_id));
        token_types.resize(length, 0);
        positions.resize(length, 0);
        let shape = [1, length];
        Self {
            ids: integers(ids, shape, device),
            token_types: integers(token_types, shape, device),
            positions: integers(positions, shape, device),
            rows: Rows::Packed(PackedRows::new(lengths, device)),
            unpacking: Some(integers(unpacking, [rows.len() * width], device)),
            mask: mask(rows, width, device),
            tokens,
        }
    }

    /// Returns hidden states as a rectangle, `[batch, tokens, hidden]`. Those of padding mean
    /// nothing.
    pub fn unpack(&self, hidden: Tensor<3>) -> Tensor<3> {
        let Some(unpacking) = &self.unpacking else {
            return hidden;
        };
        let [batch, width] = self.mask.dims();
        let [_, _, size] = hidden.dims();
        let tokens = hidden.squeeze_dim::<2>(0).select(0, unpacking.clone());
        tokens.reshape([batch, width, size])
    }

    /// Returns every row twice: all of them, then all of them again.
    #[must_use]
    pub fn twice(&self) -> Self {
        let [_, length] = self.ids.dims();
        let twice = |x: &Tensor<2, Int>, along| Tensor::cat(vec![x.clone(), x.clone()], along);
        let mask = Tensor::cat(vec![self.mask.clone(), self.mask.clone()], 0);
        let (along, positions, rows) = match &self.rows {
            Rows::Padded(_) => (0, self.positions.clone(), Rows::Padded(mask.clone())),
            Rows::Packed(rows) => (1, twice(&self.positions, 1), Rows::Packed(rows.twice())),
        };
        Self {
            ids: twice(&self.ids, along),
            token_types: twice(&self.token_types, along),
            positions,
            rows,
            unpacking: self.unpacking.as_ref().map(|unpacking| {
                let again = unpacking.clone().add_scalar(length as i64);
                Tensor::cat(vec![unpacking.clone(), again], 0)
            }),
            mask,
            tokens: 2 * self.tokens,
        }
    }

    /// Returns the inputs of `windows` in the tokenizer's pair template.
    pub fn from_windows(
        file: &WindowFile,
        layout: &Layout,
        windows: &[Window],
        device: &Device,
    ) -> Self {
        let rows: Vec<_> = windows
            .iter()
            .map(|window| input_row(file, layout, window))
            .collect();
        Self::from_rows(&rows, layout, device)
    }
}

fn integers<const D: usize>(
    values: Vec<i64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Returns the mask of rows as a rectangle.
fn mask(rows: &[Row], width: usize, device: &Device) -> Tensor<2> {
    let mut mask = vec![MASKED; rows.len() * width];
    for (cells, (ids, _)) in mask.chunks_mut(width.max(1)).zip(rows) {
        cells[..ids.len()].fill(0.0);
    }
    Tensor::from_data(TensorData::new(mask, [rows.len(), width]), device)
}

/// Returns the lengths of rows of so many tokens together, none longer than `width`, which attention
/// is made for.
fn filling(tokens: usize, width: usize) -> impl Iterator<Item = usize> {
    let width = width.max(1); // of no rows
    let rest = Some(tokens % width).filter(|&rest| rest > 0);
    std::iter::repeat_n(width, tokens / width).chain(rest)
}

/// Returns the length of a packed input of so many tokens.
fn packed_length(tokens: usize) -> usize {
    let step = (tokens / (2 * FILLED_SHARE))
        .next_power_of_two()
        .max(WIDTH_STEP);
    tokens.next_multiple_of(step)
}

/// Returns the width in tokens of an input whose longest row has `longest` tokens, where no row may
/// have more than `limit`.
pub fn width(longest: usize, limit: usize) -> usize {
    longest.next_multiple_of(WIDTH_STEP).min(limit)
}

/// Splits items, sorted by length, into runs for one forward pass each: as many items as fit into
/// `tokens` tokens with every row padded to the run's widest, and at least one. `size` returns the
/// number of an item's rows and their width in tokens.
pub fn split_into_passes<T>(
    items: &[T],
    size: impl Fn(&T) -> (usize, usize),
    tokens: usize,
) -> Vec<&[T]> {
    let mut runs = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let (mut rows, mut widest) = (0, 0);
        let fits = rest.iter().take_while(|item| {
            let (more, width) = size(item);
            rows += more;
            widest = widest.max(width);
            rows * widest <= tokens
        });
        let (run, others) = rest.split_at(fits.count().max(1));
        runs.push(run);
        rest = others;
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FILLED_SHARE, WIDTH_STEP, filling, packed_length, width};

    #[test]
    fn rows_that_fill_up_are_no_wider_than_others() {
        let check = |tokens, width, expected: &[usize]| {
            assert_eq!(filling(tokens, width).collect::<Vec<_>>(), expected);
        };
        check(0, 5, &[]);
        check(0, 0, &[]);
        check(4, 5, &[4]);
        check(10, 5, &[5, 5]);
        check(12, 5, &[5, 5, 2]);
    }

    #[test]
    fn packed_lengths_are_few_and_little_longer() {
        let lengths: BTreeSet<_> = (1..=8192).map(packed_length).collect();
        assert!(lengths.len() <= 10 * FILLED_SHARE, "{}", lengths.len());
        for tokens in 1..=8192 {
            let filled = packed_length(tokens) - tokens;
            assert!(
                filled < WIDTH_STEP.max(tokens.div_ceil(FILLED_SHARE)),
                "{tokens}: {filled}"
            );
        }
    }

    #[test]
    fn widths_are_few_and_wide_enough() {
        let widths: BTreeSet<_> = (1..=250).map(|longest| width(longest, 250)).collect();
        assert_eq!(widths.len(), 250usize.div_ceil(WIDTH_STEP));
        assert!((1..=250).all(|longest| (longest..=250).contains(&width(longest, 250))));
    }
}

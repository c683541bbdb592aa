//! Rows of tokens as one rectangular model input.

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_ops::MASKED;

use crate::pair_template::{Row, input_row};

/// Widths of inputs are multiples of this. oneDNN compiles a program for every shape that it meets
/// and keeps it, and tensors of many sizes fragment the allocator's memory: a run over many texts
/// settles when its shapes repeat.
const WIDTH_STEP: usize = 16;

/// One model input: rows padded to one width.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Vocabulary ids, `[batch, tokens]`.
    pub ids: Tensor<2, Int>,
    /// Token types as the pair template has them, `[batch, tokens]`.
    pub token_types: Tensor<2, Int>,
    /// 0 for real tokens, [`MASKED`] for padding, `[batch, tokens]`, f32.
    pub mask: Tensor<2>,
    /// Number of real tokens.
    pub tokens: usize,
}

impl Batch {
    /// Returns rows padded at the end to the [`width`] of the longest.
    pub fn from_rows(rows: &[Row], layout: &Layout, device: &Device) -> Self {
        let longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let width = width(longest, layout.max_length);
        Self::padded(rows, width, layout.template.padding_id, device)
    }

    /// Returns rows padded at the end to `width` tokens, which none exceeds.
    pub fn padded(rows: &[Row], width: usize, padding_id: u32, device: &Device) -> Self {
        let shape = [rows.len(), width];
        let mut ids = vec![i64::from(padding_id); rows.len() * width];
        let mut token_types = vec![0i64; rows.len() * width];
        let mut mask = vec![MASKED; rows.len() * width];
        for (row, (row_ids, row_types)) in rows.iter().enumerate() {
            for (column, (&id, &token_type)) in row_ids.iter().zip(row_types).enumerate() {
                let cell = row * width + column;
                ids[cell] = i64::from(id);
                token_types[cell] = i64::from(token_type);
                mask[cell] = 0.0;
            }
        }
        Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            token_types: Tensor::from_data(TensorData::new(token_types, shape), device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
            tokens: rows.iter().map(|(ids, _)| ids.len()).sum(),
        }
    }

    /// Returns every row twice: all of them, then all of them again.
    #[must_use]
    pub fn twice(&self) -> Self {
        let integers = |x: &Tensor<2, Int>| Tensor::cat(vec![x.clone(), x.clone()], 0);
        Self {
            ids: integers(&self.ids),
            token_types: integers(&self.token_types),
            mask: Tensor::cat(vec![self.mask.clone(), self.mask.clone()], 0),
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

    use super::{WIDTH_STEP, width};

    #[test]
    fn widths_are_few_and_wide_enough() {
        let widths: BTreeSet<_> = (1..=250).map(|longest| width(longest, 250)).collect();
        assert_eq!(widths.len(), 250usize.div_ceil(WIDTH_STEP));
        assert!((1..=250).all(|longest| (longest..=250).contains(&width(longest, 250))));
    }
}

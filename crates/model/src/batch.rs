//! Windows put together into one rectangular model input.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::windows::{Layout, Special, Window, WindowFile};
use spanwise_ops::MASKED;

/// What widths of inputs are multiples of. oneDNN compiles a program for every shape that it meets and keeps it,
/// and differently sized tensors fragment the allocator's memory: a run over many texts settles when its shapes
/// repeat.
const WIDTH_STEP: usize = 16;

/// Ids and token types of one row, of the same length.
pub type Row = (Vec<u32>, Vec<u32>);

/// One model input: rows padded to one width.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Vocabulary ids, `[batch, tokens]`.
    pub ids: Tensor<2, Int>,
    /// 0 for the question's side, 1 for the paragraph's, `[batch, tokens]`.
    pub token_types: Tensor<2, Int>,
    /// 0 for real tokens, [`MASKED`] for padding, `[batch, tokens]`, f32.
    pub mask: Tensor<2>,
    /// Number of real tokens.
    pub tokens: usize,
}

impl Batch {
    /// Rows padded at the end to the [`width`] of the longest.
    pub fn from_rows(rows: &[Row], layout: &Layout, device: &Device) -> Self {
        let longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let width = width(longest, layout.max_length);
        Self::padded(rows, width, layout.template.padding_id, device)
    }

    /// Rows padded at the end to `width` tokens, which none exceeds.
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

    /// Every row twice: all of them, then all of them again.
    pub fn twice(&self) -> Self {
        let integers = |x: &Tensor<2, Int>| Tensor::cat(vec![x.clone(), x.clone()], 0);
        Self {
            ids: integers(&self.ids),
            token_types: integers(&self.token_types),
            mask: Tensor::cat(vec![self.mask.clone(), self.mask.clone()], 0),
            tokens: 2 * self.tokens,
        }
    }

    /// The inputs of `windows`: the tokenizer's pair template around question and paragraph tokens.
    pub fn from_windows(
        file: &WindowFile,
        layout: &Layout,
        windows: &[Window],
        device: &Device,
    ) -> Self {
        let rows: Vec<_> = windows
            .iter()
            .map(|window| row(file, layout, window))
            .collect();
        Self::from_rows(&rows, layout, device)
    }
}

/// Width in tokens of an input whose longest row has `longest`, and no row may have more than `limit`.
pub fn width(longest: usize, limit: usize) -> usize {
    longest.next_multiple_of(WIDTH_STEP).min(limit)
}

/// One window's input: the pair template around question and paragraph tokens.
pub fn row(file: &WindowFile, layout: &Layout, window: &Window) -> Row {
    let template = &layout.template;
    let question = file.question_tokens(window.question);
    let paragraph = &file.paragraph_tokens(window.question)[window.tokens.clone()];
    let length = template.specials() + question.len() + paragraph.len();
    let (mut ids, mut types) = (Vec::with_capacity(length), Vec::with_capacity(length));
    let mut push = |id: u32, token_type: u32| {
        ids.push(id);
        types.push(token_type);
    };
    let special = |special: &Special| (special.id, special.token_type);
    template
        .before
        .iter()
        .map(special)
        .for_each(|(id, token_type)| push(id, token_type));
    question
        .iter()
        .for_each(|&id| push(id, template.question_type));
    template
        .between
        .iter()
        .map(special)
        .for_each(|(id, token_type)| push(id, token_type));
    paragraph
        .iter()
        .for_each(|&id| push(id, template.paragraph_type));
    template
        .after
        .iter()
        .map(special)
        .for_each(|(id, token_type)| push(id, token_type));
    (ids, types)
}

/// Cuts items, sorted by length, into runs for one forward pass each: as many as fit into `tokens` tokens
/// with each row padded to the run's widest, and at least one. `size`: an item's rows, and their width in
/// tokens.
pub fn within_budget<T>(
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

/// Where a window's input has its question and its paragraph.
pub fn text(file: &WindowFile, layout: &Layout, window: &Window) -> [Range<usize>; 2] {
    let template = &layout.template;
    let question = file.question_tokens(window.question).len();
    [
        (template.before.len(), question),
        (template.paragraph_start(question), window.tokens.len()),
    ]
    .map(|(start, length)| start..start + length)
}

/// Length in tokens of a window's input.
pub fn input_length(file: &WindowFile, layout: &Layout, window: &Window) -> usize {
    layout.template.specials() + file.question_tokens(window.question).len() + window.tokens.len()
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

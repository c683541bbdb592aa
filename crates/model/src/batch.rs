//! Windows put together into one rectangular model input.

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::windows::{Layout, Special, Window, WindowFile};
use spanwise_ops::MASKED;

/// One model input: rows padded to the longest of them.
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
    /// Rows of `(ids, token types)`, padded at the end.
    pub fn from_rows(rows: &[(Vec<u32>, Vec<u32>)], padding_id: u32, device: &Device) -> Self {
        let width = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
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
        Self::from_rows(&rows, layout.template.padding_id, device)
    }
}

/// Ids and token types of one window's input.
fn row(file: &WindowFile, layout: &Layout, window: &Window) -> (Vec<u32>, Vec<u32>) {
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

/// Cuts windows, sorted by length, into runs for one forward pass each: as many as fit into `tokens` tokens
/// with each padded to the run's longest, and at least one.
pub fn within_budget<'a>(
    file: &WindowFile,
    layout: &Layout,
    windows: &'a [Window],
    tokens: usize,
) -> Vec<&'a [Window]> {
    let mut runs = Vec::new();
    let mut rest = windows;
    while !rest.is_empty() {
        let mut longest = 0;
        let fits = rest.iter().enumerate().take_while(|(index, window)| {
            longest = longest.max(input_length(file, layout, window));
            (index + 1) * longest <= tokens
        });
        let (run, others) = rest.split_at(fits.count().max(1));
        runs.push(run);
        rest = others;
    }
    runs
}

/// Length in tokens of a window's input.
pub fn input_length(file: &WindowFile, layout: &Layout, window: &Window) -> usize {
    layout.template.specials() + file.question_tokens(window.question).len() + window.tokens.len()
}

//! The pair template: a window's question and paragraph tokens with the tokenizer's special tokens
//! around them, as the model reads them.

use std::ops::Range;

use spanwise_artifact::windows::{Layout, Special, Window, WindowFile};

/// Ids and token types of one input, of the same length.
pub type Row = (Vec<u32>, Vec<u32>);

/// Returns a window's input: its question and paragraph tokens in the pair template.
pub fn input_row(file: &WindowFile, layout: &Layout, window: &Window) -> Row {
    let template = &layout.template;
    let length = input_length(file, layout, window);
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
    file.question_tokens(window.question)
        .iter()
        .for_each(|&id| push(id, template.question_type));
    template
        .between
        .iter()
        .map(special)
        .for_each(|(id, token_type)| push(id, token_type));
    file.paragraph_tokens(window.question)[window.tokens.clone()]
        .iter()
        .for_each(|&id| push(id, template.paragraph_type));
    template
        .after
        .iter()
        .map(special)
        .for_each(|(id, token_type)| push(id, token_type));
    (ids, types)
}

/// Returns the length in tokens of a window's input.
pub fn input_length(file: &WindowFile, layout: &Layout, window: &Window) -> usize {
    layout.template.specials() + file.question_tokens(window.question).len() + window.tokens.len()
}

/// Returns where the question and the paragraph are in a window's input.
pub fn question_and_paragraph_ranges(
    file: &WindowFile,
    layout: &Layout,
    window: &Window,
) -> [Range<usize>; 2] {
    let template = &layout.template;
    let question = file.question_tokens(window.question).len();
    [
        (template.before.len(), question),
        (template.paragraph_start(question), window.tokens.len()),
    ]
    .map(|(start, length)| start..start + length)
}

/// Returns where an answer of these paragraph tokens is in a window's input, where the window has
/// the whole answer.
pub fn answer_range(
    file: &WindowFile,
    layout: &Layout,
    window: &Window,
    answer: &Range<usize>,
) -> Option<Range<usize>> {
    let is_whole = window.tokens.start <= answer.start && answer.end <= window.tokens.end;
    let [_, paragraph] = question_and_paragraph_ranges(file, layout, window);
    let in_input = |token: usize| paragraph.start + token - window.tokens.start;
    is_whole.then(|| in_input(answer.start)..in_input(answer.end))
}

//! `train.soft_labels`: a share of a boundary's label goes to the tokens beside it.

/// Puts a label into `row` at `position`, with half of `share` on either side where there is a
/// token.
pub fn label(row: &mut [f32], position: usize, share: f64) {
    row[position] = 1.0;
    let beside = [position.checked_sub(1), Some(position + 1)];
    for neighbour in beside.into_iter().flatten() {
        if share > 0.0 && neighbour < row.len() {
            row[neighbour] += (share / 2.0) as f32;
            row[position] -= (share / 2.0) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::label;
    use crate::loss::testing::assert_near;

    #[test]
    fn neighbours_share_the_label() {
        let check = |position, share, expected: [f32; 5]| {
            let mut row = [0.0; 5];
            label(&mut row, position, share);
            assert_near(&row, &expected);
        };
        check(1, 0.0, [0.0, 1.0, 0.0, 0.0, 0.0]);
        check(1, 0.2, [0.1, 0.8, 0.1, 0.0, 0.0]);
        check(0, 0.2, [0.9, 0.1, 0.0, 0.0, 0.0]);
        check(4, 0.2, [0.0, 0.0, 0.0, 0.1, 0.9]);
    }
}

//! Parts of a split that share no group, to be held out in turn: what is fitted on the others is
//! measured on one.

use std::cmp::Reverse;

/// Returns the part of every item, from 0 to `count` - 1. `groups` holds the group of every item.
///
/// Items of one group stay together: questions about one paragraph, or one article, share what is
/// hard about it. Parts are of nearly the same size: groups are assigned from the largest to the
/// smallest, equal ones in ascending order, each to the first of the parts with the fewest items so
/// far.
///
/// # Panics
/// Where there are items and `count` is 0.
pub fn parts<G: Ord>(groups: impl IntoIterator<Item = G>, count: usize) -> Vec<usize> {
    let mut items: Vec<(G, usize)> = groups
        .into_iter()
        .enumerate()
        .map(|(item, group)| (group, item))
        .collect();
    items.sort_unstable();
    let mut groups: Vec<&[(G, usize)]> = items.chunk_by(|(a, _), (b, _)| a == b).collect();
    groups.sort_by_key(|group| Reverse(group.len()));
    let mut sizes = vec![0; count];
    let mut assigned = vec![0; items.len()];
    for group in groups {
        let smallest = (0..count)
            .min_by_key(|&part| sizes[part])
            .expect("a part to assign to");
        sizes[smallest] += group.len();
        for (_, item) in group {
            assigned[*item] = smallest;
        }
    }
    assigned
}

/// Whether something can be fitted without each part and measured on it: items are in two parts or
/// more.
pub fn are_held_out(parts: &[usize]) -> bool {
    parts.iter().any(|part| *part != parts[0])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_group_comes_first_and_ties_are_in_order() {
        assert_eq!(parts(["b", "a", "c", "c"], 2), [1, 1, 0, 0]);
        assert_eq!(parts([0, 1, 2, 3, 4, 5], 3), [0, 1, 2, 0, 1, 2]);
        assert_eq!(parts([7, 7, 7], 5), [0, 0, 0]);
        assert!(!are_held_out(&[0, 0]) && are_held_out(&[0, 0, 1]) && !are_held_out(&[]));
        assert!(parts::<u8>([], 5).is_empty());
    }

    proptest! {
        #[test]
        fn groups_stay_together_and_parts_are_balanced(
            groups in prop::collection::vec(0u8..20, 0..60),
            count in 1usize..6,
        ) {
            let assigned = parts(&groups, count);
            prop_assert_eq!(assigned.len(), groups.len());
            let mut sizes = vec![0usize; count];
            let mut of_group: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
            for (&group, &part) in groups.iter().zip(&assigned) {
                let (first, size) = of_group.entry(group).or_insert((part, 0));
                prop_assert_eq!(*first, part);
                *size += 1;
                sizes[part] += 1;
            }
            let largest = of_group.values().map(|(_, size)| *size).max().unwrap_or(0);
            let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            prop_assert!(spread <= largest, "{:?}", sizes);
        }
    }
}

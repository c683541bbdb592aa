//! How long texts are: a few figures and a histogram.

use std::collections::BTreeMap;

use serde::Serialize;

/// Bars of a histogram, but for the last one, which has all that is longer.
const BARS: usize = 12;

/// Of this share in percent, the longest are put into the last bar.
const LAST: usize = 1;

/// Lengths that are being counted. As many numbers as there are different lengths.
#[derive(Debug, Default)]
pub(super) struct Lengths(BTreeMap<usize, usize>);

/// How often which lengths occur.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Distribution {
    /// Number of texts.
    pub(super) count: usize,
    /// `None` without any text.
    #[serde(flatten)]
    pub(super) figures: Option<Figures>,
    pub(super) histogram: Vec<Bar>,
}

/// What the lengths of some texts are like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) mean: f64,
    pub(super) minimum: usize,
    /// At least half of the texts are at most so long.
    pub(super) median: usize,
    /// At least 95 % of the texts are at most so long.
    pub(super) percentile_95: usize,
    pub(super) maximum: usize,
}

/// The texts of some lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Bar {
    /// The shortest of these lengths.
    pub(super) from: usize,
    /// The longest of them.
    pub(super) to: usize,
    /// Number of texts.
    pub(super) count: usize,
}

impl Lengths {
    pub(super) fn add(&mut self, length: usize) {
        *self.0.entry(length).or_default() += 1;
    }

    pub(super) fn finish(self) -> Distribution {
        let count = self.0.values().sum();
        let (Some((&minimum, _)), Some((&maximum, _))) =
            (self.0.first_key_value(), self.0.last_key_value())
        else {
            return Distribution::default();
        };
        let sum: f64 = (self.0.iter())
            .map(|(&length, &count)| length as f64 * count as f64)
            .sum();
        Distribution {
            count,
            figures: Some(Figures {
                mean: sum / count as f64,
                minimum,
                median: self.percentile(50, count),
                percentile_95: self.percentile(95, count),
                maximum,
            }),
            histogram: self.histogram(minimum, maximum, self.percentile(100 - LAST, count)),
        }
    }

    /// The shortest length that so many percent of all are at most as long as.
    fn percentile(&self, percent: usize, all: usize) -> usize {
        let wanted = (all * percent).div_ceil(100);
        let mut seen = 0;
        let mut lengths = self.0.iter();
        let found = lengths.find(|&(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, |(&length, _)| length)
    }

    /// Bars of equal width up to the length `last`, and one for what is longer.
    fn histogram(&self, minimum: usize, maximum: usize, last: usize) -> Vec<Bar> {
        let width = width(minimum, last);
        let count = |from, to| self.0.range(from..=to).map(|(_, count)| count).sum();
        let mut bars = Vec::new();
        let mut from = minimum / width * width;
        while from <= last {
            let to = from + width - 1;
            let count = count(from, to);
            bars.push(Bar { from, to, count });
            from += width;
        }
        if from <= maximum {
            bars.push(Bar {
                from,
                to: maximum,
                count: count(from, maximum),
            });
        }
        bars
    }
}

/// The least of 1, 2, 5, 10, 20, 50 … of which [`BARS`] bars cover two lengths.
fn width(minimum: usize, maximum: usize) -> usize {
    let mut unit = 1;
    loop {
        for width in [unit, 2 * unit, 5 * unit] {
            if maximum / width - minimum / width < BARS {
                return width;
            }
        }
        unit *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lengths: impl IntoIterator<Item = usize>) -> Distribution {
        let mut counted = Lengths::default();
        for length in lengths {
            counted.add(length);
        }
        counted.finish()
    }

    #[test]
    fn figures_are_those_of_the_sorted_lengths() {
        let check = |lengths: &[usize], expected: (f64, usize, usize, usize, usize)| {
            let found = of(lengths.iter().copied());
            assert_eq!(found.count, lengths.len());
            let found = found.figures.expect("texts");
            let figures = (
                found.mean,
                found.minimum,
                found.median,
                found.percentile_95,
                found.maximum,
            );
            assert_eq!(figures, expected, "{lengths:?}");
        };
        assert_eq!(of([]).figures, None);
        check(&[7], (7.0, 7, 7, 7, 7));
        check(&[3, 0], (1.5, 0, 0, 3, 3));
        check(&[5, 1, 3], (3.0, 1, 3, 5, 5));
        let hundred: Vec<usize> = (1..=100).rev().collect();
        check(&hundred, (50.5, 1, 50, 95, 100));
    }

    #[test]
    fn bars_are_few_and_have_every_text() {
        let check = |lengths: Vec<usize>, expected: &[(usize, usize, usize)]| {
            let found = of(lengths).histogram;
            let found: Vec<_> = found
                .iter()
                .map(|bar| (bar.from, bar.to, bar.count))
                .collect();
            assert_eq!(found, expected);
        };
        check(vec![], &[]);
        check(vec![3, 3, 5], &[(3, 3, 2), (4, 4, 0), (5, 5, 1)]);
        check(
            vec![12, 30],
            &[
                (12, 13, 1),
                (14, 15, 0),
                (16, 17, 0),
                (18, 19, 0),
                (20, 21, 0),
                (22, 23, 0),
                (24, 25, 0),
                (26, 27, 0),
                (28, 29, 0),
                (30, 31, 1),
            ],
        );
        // One of a hundred is far longer than the others.
        let mut far = vec![1; 99];
        far.push(1_000_000);
        check(far, &[(1, 1, 99), (2, 1_000_000, 1)]);
        for most in [1, 10, 99, 1_000, 12_345, 1_000_000, usize::MAX / 2] {
            let found = of([0, most]).histogram;
            assert!(found.len() <= BARS + 1, "{most}: {}", found.len());
            let all: usize = found.iter().map(|bar| bar.count).sum();
            assert_eq!(all, 2, "{most}");
        }
    }
}

//! Work on parts of something large, on all cores, in order.

use anyhow::Result;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Does `work` on all items on all cores, and hands the results to `take` in the items' order. No
/// more results are held than there are cores.
///
/// # Errors
/// The first error of `work` or `take`, in the items' order.
pub fn in_order<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R> + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut items = items.into_iter();
    loop {
        let batch: Vec<T> = items.by_ref().take(rayon::current_num_threads()).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let results: Vec<Result<R>> = batch.into_par_iter().map(&work).collect();
        for result in results {
            take(result?)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn results_come_in_order_until_the_first_error() {
        let mut taken = Vec::new();
        let square = |item: u32| Ok(item * item);
        in_order(0..100, square, |result| {
            taken.push(result);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(taken, (0..100).map(|item| item * item).collect::<Vec<_>>());

        let mut taken = Vec::new();
        let fails = |item: u32| {
            ensure!(item != 50, "fifty");
            Ok(item)
        };
        let error = in_order(0..100, fails, |result| {
            taken.push(result);
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "fifty");
        assert_eq!(taken, (0..50).collect::<Vec<_>>());
    }
}

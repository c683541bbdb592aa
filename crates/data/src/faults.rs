//! Wrong records that are not to be skipped, of all files: the first are shown, all are counted.

use spanwise_artifact::{Split, UserError};

use crate::input::shown;

/// Wrong records that are shown, and files whose wrong records are counted apart.
const SHOWN: usize = 20;

/// The wrong records so far.
#[derive(Default)]
pub struct Faults {
    /// A line for each of the first.
    lines: Vec<String>,
    /// Their number in each file that has any.
    files: Vec<(String, usize)>,
    /// Whether one is of dev or test, whose questions are kept where only a label is wrong.
    is_submitted: bool,
}

impl Faults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Goes on with a wrong record of the file of this name.
    pub fn push(&mut self, split: Split, file: &str, id: &str, fault: &str) {
        let file = shown(file);
        if self.lines.len() < SHOWN {
            let line = format!("{file}: question {}: {fault}", shown(id));
            self.lines.push(line);
        }
        match self.files.last_mut() {
            Some((last, count)) if *last == file => *count += 1,
            _ => self.files.push((file, 1)),
        }
        self.is_submitted |= split != Split::Train;
    }

    /// Ends the last file.
    ///
    /// # Errors
    /// Fails if a record is wrong.
    pub fn finish(self) -> Result<(), UserError> {
        let all: usize = self.files.iter().map(|(_, count)| count).sum();
        let message = match (&*self.lines, all) {
            ([], _) => return Ok(()),
            ([line], 1) => line.clone(),
            (lines, _) => {
                let first = match all - lines.len() {
                    0 => String::new(),
                    _ => format!(", of which these are the first {}", lines.len()),
                };
                let heading = format!("{all} questions are wrong{}{first}", self.by_file());
                [&[heading], lines].concat().join("\n  ")
            }
        };
        Err(UserError::new(message).hint(if self.is_submitted {
            "correct the file, or go on without wrong labels, and without questions that cannot be \
             answered, with data.on_bad_record = \"skip\""
        } else {
            "correct the file, or leave such records out with data.on_bad_record = \"skip\""
        }))
    }

    /// How many each file has, where there are several.
    fn by_file(&self) -> String {
        if self.files.len() < 2 {
            return String::new();
        }
        let count = |(file, count): &(String, usize)| format!("{count} in {file}");
        let mut counts: Vec<String> = self.files.iter().take(SHOWN).map(count).collect();
        if let more @ 1.. = self.files.len() - counts.len() {
            counts.push(format!("others in {more} more files"));
        }
        format!(" ({})", counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_shown_and_all_are_counted() {
        let check = |counts: &[usize], expected: &str| {
            let mut faults = Faults::default();
            for (file, &count) in counts.iter().enumerate() {
                let file = format!("file{file}");
                for id in 0..count {
                    let fault = "the question is empty";
                    faults.push(Split::Train, &file, &id.to_string(), fault);
                }
            }
            let message = faults
                .finish()
                .map_or_else(|error| error.message, |()| String::new());
            let expected: Vec<_> = expected.lines().collect();
            let found: Vec<_> = message.lines().collect();
            let shown = found.len().min(expected.len());
            assert_eq!(found[..shown], expected, "{message}");
            assert!(found.len() <= SHOWN + 1);
        };
        check(&[], "");
        check(&[1], "file0: question 0: the question is empty");
        check(
            &[2],
            "2 questions are wrong\n  file0: question 0: the question is empty\n  file0: question 1: \
             the question is empty",
        );
        check(
            &[30, 0, 5],
            "35 questions are wrong (30 in file0, 5 in file2), of which these are the first 20",
        );
        let many = Faults {
            lines: vec!["one".to_owned(); SHOWN],
            files: vec![("f".to_owned(), 2); 100],
            is_submitted: true,
        };
        let message = many.finish().unwrap_err().message;
        assert!(message.starts_with("200 questions are wrong (2 in f, 2 in f, "));
        assert!(
            message.contains("2 in f, others in 80 more files), of which"),
            "{message}"
        );
    }
}

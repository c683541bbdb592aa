//! `inspect.html`: one file that loads nothing else, runs nothing, and stays small however much data
//! there is and however long its texts.

use anyhow::{Context, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use spanwise_answers::report::visible;

use super::Report;
use super::example::beginning;

const TEMPLATE: &str = include_str!("page.html");

/// Returns the page.
///
/// # Errors
/// Fails if the template cannot be rendered.
pub(super) fn render(report: &Report) -> Result<String> {
    let mut environment = Environment::new();
    environment.add_filter("beginning", beginning);
    environment.add_filter("visible", visible);
    // Whatever ends in .html is escaped.
    environment.add_template("page.html", TEMPLATE)?;
    let template = environment.get_template("page.html")?;
    template
        .render(Serde(report))
        .context("render inspect.html")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};
    use spanwise_artifact::questions::QuestionCounts;
    use spanwise_artifact::settings::WindowsTable;
    use spanwise_artifact::{Answer, Question, Reference};

    use super::super::example::Example;
    use super::super::lengths::Lengths;
    use super::super::measure::SplitNumbers;
    use super::super::shared::Shared;
    use super::super::tokens::{QuestionTokens, TokenNumbers};
    use super::super::{Recognised, Tokenizer, Wrong};
    use super::*;

    /// A page of three splits in which every text is this one, with so many files, wrong records and
    /// lengths.
    fn hostile_page(text: &str, many: usize) -> String {
        let string = || text.to_owned();
        let length = text.chars().count();
        let question = Question {
            id: string(),
            paragraph: 0,
            text: string(),
            reference: Reference::Spans(vec![Answer {
                text: string(),
                start: 0,
            }]),
        };
        let lengths = || {
            let mut lengths = Lengths::default();
            for length in 0..many {
                lengths.add(length * length);
            }
            lengths.finish()
        };
        let split = |name| {
            let counts = QuestionCounts {
                questions: many,
                answered: many,
                rejected: many,
                ..QuestionCounts::default()
            };
            let mut split = SplitNumbers::new(name, counts);
            let recognised = || Recognised {
                file: string(),
                layout: "SQuAD layout".to_owned(),
            };
            split.files = std::iter::repeat_with(recognised).take(many).collect();
            let wrong = || Wrong {
                file: string(),
                id: string(),
                fault: string(),
                is_label: false,
            };
            split.wrong = std::iter::repeat_with(wrong).take(3).collect();
            split.characters.paragraphs = lengths();
            split.tokens = Some(TokenNumbers {
                windows_per_question: lengths(),
                ..TokenNumbers::default()
            });
            let tokens = (0..length).map(|index| (index..index + 1, index % 2 == 0));
            let tokens = QuestionTokens {
                question: 1,
                paragraph: tokens.collect(),
            };
            split.examples = vec![Example::new(&question, text, Some(tokens)); 3];
            split
        };
        let shared = Shared {
            first: "train",
            second: "dev",
            questions: 1,
            paragraphs: 1,
            questions_about_paragraphs: 1,
            files: vec![[string(), string()]; many],
        };
        let report = Report {
            pipeline: Some(string()),
            train_questions: Some(1),
            tokenizer: Some(Tokenizer {
                checkpoint: string(),
                split_characters: false,
                windows: WindowsTable::default(),
                models: 2,
            }),
            splits: ["train", "dev", "test"].map(split).into(),
            shared: vec![shared],
        };
        render(&report).unwrap()
    }

    #[test]
    fn the_page_stays_small_whatever_it_reports_on() {
        // A slash takes the most bytes when it is escaped.
        let page = hostile_page(&"/".repeat(100_000), 1000);
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
        let cut = page.matches("… (99800 more characters)").count();
        assert_eq!(page.matches("more characters)").count(), cut);
        // The pipeline and the checkpoint, files of the same content, files, wrong records, examples.
        assert_eq!(cut, 2 + 2 * 20 + 3 * (20 + 3 * 3 + 3 * 3));
        assert!(page.contains("and 980 more files"));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let text = "\u{202e}</bdi><script>alert(1)</script>{{ 7*7 }}{% raw %}\0\x1b[31m\n\u{85}\u{2028}\u{7f}";
        let page = hostile_page(text, 1);
        let body = &page[page.find("<h1>").unwrap()..];
        assert!(!body.contains("<script") && !body.contains("style="));
        let hidden = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{85}\u{2028}".contains(c);
        assert!(!body.contains(hidden), "{body}");
        let shown = "<bdi>\\u{202e}&lt;&#x2f;bdi&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;{{ 7*7 }}{% raw %}␀␛[31m␊\\u{85}\\u{2028}␡</bdi>";
        // The pipeline and the checkpoint, two files of the same content; of each split a file,
        // three wrong records of three texts, and question, id and answer of three examples.
        assert_eq!(body.matches(shown).count(), 4 + 3 * (1 + 9 + 9));
        assert_eq!(
            body.matches("<bdi>").count(),
            body.matches("</bdi>").count()
        );
    }

    #[test]
    fn the_page_loads_and_runs_nothing() {
        let page = render(&Report::default()).unwrap();
        let between = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).expect(start);
            rest.split_once(end).expect(end).0
        };
        let style = between("<style>", "</style>");
        let digest = BASE64_STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            between("http-equiv=\"Content-Security-Policy\" content=\"", "\""),
            format!(
                "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
            ),
            "a change of the styles changes their digest in page.html"
        );
        assert!(!page.contains("<script") && !page.contains("style="));
    }
}

//! A submission that spreadsheets show and do not run.

use anyhow::Result;

/// Returns a CSV file whose cells are texts to a spreadsheet: one that begins with a character that
/// makes it a formula gets an apostrophe before it. A grader would read the apostrophe as part of
/// the answer, so this file is not the one to hand in.
///
/// # Errors
/// Fails if `csv` is no CSV file.
pub fn safe_csv(csv: &str) -> Result<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(csv.as_bytes());
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in reader.records() {
        let record = record?;
        writer.write_record(record.iter().map(safe_cell))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// The cell, with an apostrophe before it where a spreadsheet would take it for a formula. White
/// space before a formula is skipped by some, and their full-width forms are formulas to others.
fn safe_cell(cell: &str) -> String {
    let first = cell.trim_start_matches([' ', '\u{a0}', '\u{3000}', '\u{feff}']);
    let runs = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if first.starts_with(runs) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_texts_and_all_else_stays() {
        fn check(csv: &str, expected: &str) {
            assert_eq!(safe_csv(csv).expect(csv), expected);
        }
        check("ID,Answer\n1,李白\n", "ID,Answer\n1,李白\n");
        check("1,=1+1\n", "1,'=1+1\n");
        check("+1,-1\n@SUM(A1),－1\n", "'+1,'-1\n'@SUM(A1),'－1\n");
        check(
            "1,\"=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\"\n",
            "1,\"'=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\"\n",
        );
        check("\"\t=1\",\"\r=1\"\n", "'\t=1,\"'\r=1\"\n");
        check("1, =1\n", "1,' =1\n");
        check("1,a=b-c@d\n", "1,a=b-c@d\n");
        check("1,\"a,\nb\"\n", "1,\"a,\nb\"\n");
        check("1,\n2,\"\"\n", "1,\n2,\n");
        check("", "");
    }
}

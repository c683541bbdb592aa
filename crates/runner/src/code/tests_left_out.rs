//! A source file without its unit tests.

/// How a module of unit tests begins, as rustfmt writes it.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// The source without the `#[cfg(test)] mod tests { … }` at its end. The whole source where there
/// is none, where anything follows it, or where it cannot be told: a test too many only makes a
/// stage run again.
pub(super) fn without_tests(source: &str) -> &str {
    end_of_code(source).map_or(source, |end| &source[..end])
}

/// Where the tests at the end begin.
fn end_of_code(source: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut tests = None;
    let mut position = 0;
    while position < source.len() {
        let rest = &source[position..];
        let at_line_start = position == 0 || source[..position].ends_with('\n');
        if depth == 0 && at_line_start && rest.starts_with(TESTS) {
            tests = Some(position);
        }
        position += match rest.as_bytes()[0] {
            b'{' => {
                depth += 1;
                1
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && tests.is_some() {
                    return rest[1..].trim().is_empty().then_some(tests?);
                }
                1
            }
            _ => step(rest, source[..position].chars().next_back())?,
        };
    }
    None
}

/// Length of what `rest` begins with: a comment, a literal, or a single character. `before` is the
/// character before it. `None` where it does not end.
fn step(rest: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let first = rest.chars().next()?;
    match first {
        '/' if rest.starts_with("//") => Some(rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => block_comment(rest),
        '"' => string(rest),
        '\'' => Some(character(rest)),
        // `br"` and `cr"` as well: their first letter is stepped over and no word ends there.
        'r' if !in_word || matches!(before, Some('b' | 'c')) => Some(raw_string(rest)?),
        _ => Some(first.len_utf8()),
    }
}

fn block_comment(rest: &str) -> Option<usize> {
    let mut depth = 0;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            (depth, position) = (depth + 1, position + 2);
        } else if here.starts_with(b"*/") {
            (depth, position) = (depth - 1, position + 2);
            if depth == 0 {
                return Some(position);
            }
        } else {
            position += 1;
        }
    }
    None
}

fn string(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut position = 1;
    loop {
        match bytes.get(position)? {
            b'\\' => position += 2,
            b'"' => return Some(position + 1),
            _ => position += 1,
        }
    }
}

/// A character literal, or only the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let after = escaped + c.len_utf8();
            rest[after..].find('\'').map_or(1, |end| after + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// A raw string, or only its `r` where it is none.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
    let start = 1 + hashes;
    if rest.as_bytes().get(start) != Some(&b'"') {
        return Some(1);
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let length = rest[start + 1..].find(&end)?;
    Some(start + 1 + length + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(without_tests(source), expected, "{source}");
    }

    #[test]
    fn tests_at_the_end_are_left_out() {
        check(
            "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n",
            "fn f() {}\n\n",
        );
        check("#[cfg(test)]\nmod tests {}", "");
        check("fn f() {}\n", "fn f() {}\n");
    }

    #[test]
    fn braces_in_literals_and_comments_are_none() {
        let bodies = [
            r#"const A: &str = "}{{\"{";"#,
            r##"const A: &str = r#"}"{"#;"##,
            r##"const A: &[u8] = br#"{"#; const r: u8 = b'{';"##,
            "const A: char = '{'; const B: char = '\\''; const C: char = '\\u{7b}';",
            "fn f<'a>(_: &'a str) {} // {",
            "/* { /* { */ } */ fn r#type() {}",
            "const A: char = '國'; /// {\nfn f() {}",
        ];
        for body in bodies {
            let code = format!("{body}\n\n");
            let tests = format!("#[cfg(test)]\nmod tests {{\n{body}\n}}\n");
            check(&format!("{code}{tests}"), &code);
        }
    }

    #[test]
    fn in_doubt_everything_counts() {
        let whole = [
            // Code behind the tests.
            "#[cfg(test)]\nmod tests {\n}\nfn f() {}\n",
            // Closed by an indented brace: what follows is code.
            "#[cfg(test)]\nmod tests {\n    }\n    fn f() {\n    }\n",
            // Text, not tests.
            "const A: &str = \"\n#[cfg(test)]\nmod tests {\n}\n\";\n",
            "/*\n#[cfg(test)]\nmod tests {\n}\n*/\n",
            // Below something else.
            "mod a {\n#[cfg(test)]\nmod tests {\n}\n}\n",
            // Built without tests as well.
            "mod tests {\n}\n",
            "#[cfg(not(test))]\nmod tests {\n}\n",
            // Cannot be parsed.
            "fn f() { \"\n#[cfg(test)]\nmod tests {\n}\n",
            "}\n#[cfg(test)]\nmod tests {\n}\n",
        ];
        for source in whole {
            check(source, source);
        }
    }
}

//! Python's notation of values, which pandas and `datasets` put into the cells of tables.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read: answers are lists in an object.
const DEEPEST: usize = 8;

/// Reads what Python's `repr` writes of dictionaries, lists, tuples, strings, numbers, `True`,
/// `False`, `None` and `nan`, and of NumPy's arrays and numbers, such as `{'text': array(['a'],
/// dtype=object)}`. `None` where the text is anything else.
///
/// Syntax: <https://docs.python.org/3/reference/lexical_analysis.html#literals>
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text };
    let value = parser.value(0)?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

/// What is left of a text.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Goes past `expected`, if that is next.
    fn take(&mut self, expected: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Goes past the characters that `is_part` holds for.
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(end);
        self.rest = rest;
        part
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        if depth > DEEPEST {
            return None;
        }
        match self.rest.chars().next()? {
            '{' => self.dictionary(depth),
            '[' => self.list(']', depth),
            '(' => self.list(')', depth),
            '\'' | '"' => self.string().map(Value::String),
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => self.name(depth),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        self.rest = &self.rest[1..];
        let mut map = Map::new();
        while !self.take('}') {
            self.skip_space();
            let key = self.string()?;
            let value = self.take(':').then(|| self.value(depth + 1))??;
            map.insert(key, value);
            self.take(',');
        }
        Some(Value::Object(map))
    }

    /// Items with or without commas: NumPy prints an array without them.
    fn list(&mut self, end: char, depth: usize) -> Option<Value> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.value(depth + 1)?);
            self.take(',');
        }
        Some(Value::Array(items))
    }

    fn number(&mut self) -> Option<Value> {
        let digits = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'));
        // NumPy prints 4.0 as `4.`.
        let digits = digits.strip_suffix('.').unwrap_or(digits);
        digits.parse::<Number>().ok().map(Value::Number)
    }

    /// A constant, or a call such as `array([1], dtype=int32)` and `np.int64(1)`, which is its first
    /// argument.
    fn name(&mut self, depth: usize) -> Option<Value> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
        match name {
            "None" | "nan" => return Some(Value::Null),
            "True" => return Some(true.into()),
            "False" => return Some(false.into()),
            _ if name.is_empty() || !self.take('(') => return None,
            _ => {}
        }
        let value = self.value(depth + 1)?;
        while self.take(',') {
            self.skip_space();
            let argument = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            if argument.is_empty() || !self.take('=') {
                return None;
            }
            self.skip_space();
            match self.rest.chars().next()? {
                '\'' | '"' => drop(self.string()?),
                '(' => drop(self.value(depth + 1)?),
                _ => drop(self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))),
            }
        }
        self.take(')').then_some(value)
    }

    fn string(&mut self) -> Option<String> {
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|c| matches!(c, '\'' | '"'))?;
        let mut text = String::new();
        let mut characters = self.rest[1..].chars();
        loop {
            match characters.next()? {
                c if c == quote => break,
                '\\' => escape(&mut characters, &mut text)?,
                c => text.push(c),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }
}

/// Reads what follows a backslash.
fn escape(characters: &mut std::str::Chars<'_>, text: &mut String) -> Option<()> {
    let escaped = characters.next()?;
    let digits = match escaped {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    let character = match escaped {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '\\' | '\'' | '"' => escaped,
        'x' | 'u' | 'U' => {
            let code = characters.as_str().get(..digits)?;
            *characters = characters.as_str()[digits..].chars();
            let is_hexadecimal = code.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(code, 16).ok();
            char::from_u32(code.filter(|_| is_hexadecimal)?)?
        }
        other => {
            // As Python leaves it.
            text.push('\\');
            other
        }
    };
    text.push(character);
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_pandas_and_datasets_write_is_read() {
        let check = |text: &str, expected: Value| {
            let found = parse(text);
            assert_eq!(found.as_ref(), Some(&expected), "{text}");
        };
        check(
            "{'text': ['1926年'], 'answer_start': [4]}",
            json!({"text": ["1926年"], "answer_start": [4]}),
        );
        check(
            "{'text': array(['a', \"it's\"],\n      dtype=object), 'answer_start': array([515,  20], dtype=int32)}",
            json!({"text": ["a", "it's"], "answer_start": [515, 20]}),
        );
        check(
            "{'text': array(['a'], dtype='<U5'), 'answer_start': array([4.])}",
            json!({"text": ["a"], "answer_start": [4]}),
        );
        check(
            "{'text': array([], dtype=object), 'answer_start': array([], shape=(0, 1), dtype=int32)}",
            json!({"text": [], "answer_start": []}),
        );
        check(
            "[{'text': 'a', 'answer_start': np.int64(4)}, {'text': 'b', 'answer_start': None}]",
            json!([{"text": "a", "answer_start": 4}, {"text": "b", "answer_start": null}]),
        );
        check("['a' 'b'\n 'c']", json!(["a", "b", "c"]));
        check(
            "(1, -2.5, 1e3, nan, True, False,)",
            json!([1, -2.5, 1e3, null, true, false]),
        );
        check(
            r#"'\\ \' \" \n \t \x41 \u5e74 \U00020bb7 \d'"#,
            json!("\\ ' \" \n \t A 年 𠮷 \\d"),
        );
    }

    #[test]
    fn what_is_no_literal_is_none() {
        let deep = "[".repeat(100_000);
        let texts = [
            "",
            "[",
            "{",
            "{'a'",
            "{'a':}",
            "{1: 2}",
            "'a",
            "a",
            "1 2",
            "[1, 2",
            "print('a'",
            "f()",
            "'\\ud800'",
            "'\\x4'",
            "'\\u+123'",
            "'\\",
            "inf",
            "--1",
            "array([1], dtype=",
            "1_000",
            &deep,
            "f(1, 2)",
            "'\\x年'",
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text:.20}");
        }
    }
}

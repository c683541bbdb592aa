//! Values that parse but cannot work.

use std::fmt;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

/// What a job's settings are read as: a table of the pipeline file, or such a table and what the
/// runner adds to it.
pub trait Settings {
    /// Values out of bounds; empty for settings that a stage can work with.
    fn problems(&self) -> Vec<Problem>;
}

/// A value that parses but cannot work. It prints as `train.epochs = 0: must be at least 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, such as `train.learning_rate`.
    pub key: String,
    /// The value found.
    pub found: String,
    /// What is wrong with it: a sentence without subject, such as `must be at least 1`.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {}: {}", self.key, self.found, self.reason)
    }
}

/// Collects the problems of one table.
pub struct Checks {
    table: &'static str,
    problems: Vec<Problem>,
}

impl Checks {
    /// Checks a table against the bounds that its keys declare.
    pub fn of<T: JsonSchema + Serialize>(table: &'static str, values: &T) -> Self {
        let mut checks = Self {
            table,
            problems: Vec::new(),
        };
        // Serialization of a table of plain values cannot fail.
        let values = serde_json::to_value(values).unwrap_or_default();
        let schema = SchemaSettings::default()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<T>();
        let keys = schema.get("properties").and_then(Value::as_object);
        for (key, bounds) in keys.into_iter().flatten() {
            // A key without a value is not serialized at all.
            if let Some(value) = values.get(key)
                && let Some(reason) = reason(bounds, value)
            {
                let found = match value {
                    Value::Null => "nan or inf".to_owned(),
                    value => value.to_string(),
                };
                checks.require(false, key, found, &reason);
            }
        }
        checks
    }

    /// Notes a problem with `key`, whose value is `found`, unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, found: impl fmt::Display, reason: &str) {
        if !holds {
            self.problems.push(Problem {
                key: format!("{}.{key}", self.table),
                found: found.to_string(),
                reason: reason.to_owned(),
            });
        }
    }

    /// Notes a problem where a batch is to be cut into parts larger than itself.
    pub(super) fn micro_batch(&mut self, batch_size: usize, micro_batch_size: usize) {
        self.require(
            micro_batch_size <= batch_size,
            "micro_batch_size",
            micro_batch_size,
            &format!("must be at most batch_size, which is {batch_size}"),
        );
    }

    /// The problems found.
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// A JSON schema's bounds on a number: the bound's name, whether a value keeps to it, and in words.
type Bound = (&'static str, fn(f64, f64) -> bool, &'static str);

const BOUNDS: [Bound; 4] = [
    ("minimum", |value, bound| value >= bound, "at least"),
    (
        "exclusiveMinimum",
        |value, bound| value > bound,
        "more than",
    ),
    ("maximum", |value, bound| value <= bound, "at most"),
    (
        "exclusiveMaximum",
        |value, bound| value < bound,
        "less than",
    ),
];

/// What is wrong with a value by its key's schema; `None` where it is within all bounds.
fn reason(schema: &Value, value: &Value) -> Option<String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    match value {
        // JSON has neither NaN nor infinity, so both are serialized as null.
        Value::Null => Some("must be a finite number".to_owned()),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let broken = |(name, holds, words): &Bound| {
                let limit = limit(name)?;
                (!holds(number, limit)).then(|| format!("must be {words} {limit}"))
            };
            // A key with values of several types has a schema for each.
            let alternatives = schema.get("anyOf").and_then(Value::as_array);
            BOUNDS.iter().find_map(broken).or_else(|| {
                let mut alternatives = alternatives.into_iter().flatten();
                alternatives.find_map(|schema| reason(schema, value))
            })
        }
        Value::String(text) => (limit("minLength").is_some() && text.is_empty())
            .then(|| "must not be empty".to_owned()),
        Value::Array(list) => {
            (limit("minItems").is_some() && list.is_empty()).then(|| "must not be empty".to_owned())
        }
        Value::Bool(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Table {
        #[schemars(range(min = 1, max = 9))]
        count: usize,
        #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.5))]
        rate: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 2))]
        some: Option<usize>,
        #[schemars(length(min = 1))]
        list: Vec<String>,
        either: Either,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Either {
        Number(#[schemars(range(min = 1))] usize),
        Word(String),
    }

    fn check(change: impl FnOnce(&mut Table), expected: &[&str]) {
        let mut table = Table {
            count: 1,
            rate: 1.5,
            some: None,
            list: vec![String::new()],
            either: Either::Number(1),
        };
        change(&mut table);
        let problems = Checks::of("t", &table).finish();
        let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        check(|_| (), &[]);
        check(
            |table| table.count = 0,
            &["t.count = 0: must be at least 1"],
        );
        check(
            |table| table.count = 10,
            &["t.count = 10: must be at most 9"],
        );
        check(
            |table| table.rate = 0.0,
            &["t.rate = 0.0: must be more than 0"],
        );
        check(
            |table| table.rate = 2.0,
            &["t.rate = 2.0: must be at most 1.5"],
        );
        let infinite = "t.rate = nan or inf: must be a finite number";
        check(|table| table.rate = f64::NAN, &[infinite]);
        check(|table| table.rate = f64::INFINITY, &[infinite]);
        check(|table| table.some = Some(2), &[]);
        check(
            |table| table.some = Some(1),
            &["t.some = 1: must be at least 2"],
        );
        check(
            |table| table.list.clear(),
            &["t.list = []: must not be empty"],
        );
        check(
            |table| table.either = Either::Number(0),
            &["t.either = 0: must be at least 1"],
        );
        check(
            |table| (table.count, table.rate) = (0, -1.0),
            &[
                "t.count = 0: must be at least 1",
                "t.rate = -1.0: must be more than 0",
            ],
        );
    }
}

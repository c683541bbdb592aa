//! Why a node is stale: what differs from the artifact that its last run used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use spanwise_artifact::Manifest;
use spanwise_artifact::fingerprint::Recipe;

/// The reason where nothing differs.
pub const GONE: &str = "its artifact is gone";

/// Source files that are named before the rest is counted.
const NAMED_SOURCES: usize = 3;

/// What differs between the artifact of a node's last run and the one it needs now, in words; never
/// empty.
pub fn reasons(previous: Option<&Manifest>, recipe: &Recipe) -> Vec<String> {
    let Some(previous) = previous else {
        return vec!["not run yet".to_owned()];
    };
    let mut reasons = Vec::new();
    let (old, new) = (values(&previous.settings), values(&recipe.settings));
    for (key, old, new) in changes(&old, &new) {
        let shown = |value: Option<&String>| value.map_or("default", String::as_str).to_owned();
        reasons.push(format!("{key}: {} → {}", shown(old), shown(new)));
    }
    if previous.seed != recipe.seed {
        let shown =
            |seed: Option<u64>| seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string());
        let (old, new) = (shown(previous.seed), shown(recipe.seed));
        reasons.push(format!("seed: {old} → {new}"));
    }
    let inputs = changes(&previous.inputs, &recipe.inputs);
    let sources = changes(&previous.code, &recipe.code);
    for (name, ..) in inputs.iter().chain(sources.iter().take(NAMED_SOURCES)) {
        reasons.push(format!("{name} changed"));
    }
    if sources.len() > NAMED_SOURCES {
        let more = sources.len() - NAMED_SOURCES;
        reasons.push(format!("{more} more source files changed"));
    }
    if previous.format != recipe.stage.format_version() {
        reasons.push("its file layout changed".to_owned());
    }
    if reasons.is_empty() {
        reasons.push(GONE.to_owned());
    }
    reasons
}

/// Settings by dotted key, as text.
fn values(settings: &Value) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (key, value) in settings.as_object().into_iter().flatten() {
        if value.is_object() {
            let inner = self::values(value).into_iter();
            values.extend(inner.map(|(inner, value)| (format!("{key}.{inner}"), value)));
        } else {
            values.insert(key.clone(), value.to_string());
        }
    }
    values
}

/// A key and its two values, each where there is one.
type Change<'a> = (&'a str, Option<&'a String>, Option<&'a String>);

/// The keys whose values differ, sorted.
fn changes<'a>(
    old: &'a BTreeMap<String, String>,
    new: &'a BTreeMap<String, String>,
) -> Vec<Change<'a>> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .map(|key| (key.as_str(), old.get(key), new.get(key)))
        .filter(|(_, old, new)| old != new)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spanwise_artifact::Stage;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn previous() -> Manifest {
        Manifest {
            name: String::new(),
            stage: Stage::Train,
            format: Stage::Train.format_version(),
            settings: json!({"epochs": 2, "seed_only": 1}),
            seed: Some(1),
            inputs: map(&[("windows", "a"), ("data", "b")]),
            code: map(&[("a.rs", "a"), ("b.rs", "a"), ("c.rs", "a"), ("d.rs", "a")]),
            files: BTreeMap::new(),
            device: None,
            precision: None,
            created: String::new(),
            wall_seconds: 0.0,
            tool_version: String::new(),
        }
    }

    fn recipe() -> Recipe {
        let Manifest {
            stage,
            settings,
            seed,
            inputs,
            code,
            ..
        } = previous();
        Recipe {
            stage,
            settings,
            seed,
            inputs,
            code,
        }
    }

    fn check(change: impl FnOnce(&mut Recipe), expected: &[&str]) {
        let mut recipe = recipe();
        change(&mut recipe);
        assert_eq!(reasons(Some(&previous()), &recipe), expected);
    }

    #[test]
    fn every_kind_of_change_is_named() {
        assert_eq!(reasons(None, &recipe()), ["not run yet"]);
        check(|_| {}, &["its artifact is gone"]);
        check(
            |recipe| recipe.settings = json!({"epochs": 3, "seed_only": 1}),
            &["epochs: 2 → 3"],
        );
        check(
            |recipe| recipe.settings = json!({"epochs": 2, "eval_steps": 5}),
            &["eval_steps: default → 5", "seed_only: 1 → default"],
        );
        check(
            |recipe| recipe.settings["rules"] = json!({"units": "on"}),
            &["rules.units: default → \"on\""],
        );
        check(|recipe| recipe.seed = None, &["seed: 1 → none"]);
        check(
            |recipe| recipe.inputs = map(&[("windows", "c"), ("data", "b"), ("teacher", "d")]),
            &["teacher changed", "windows changed"],
        );
        check(
            |recipe| recipe.code.clear(),
            &[
                "a.rs changed",
                "b.rs changed",
                "c.rs changed",
                "1 more source files changed",
            ],
        );
        check(
            |recipe| recipe.stage = Stage::Windows,
            &["its file layout changed"],
        );
    }
}

//! Looking through JSON as it is read, without holding it.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::input::excerpt;
use crate::record::ID_KEYS;

/// What is done with a value, by its kind. A kind without a method of its own is passed over and
/// handed to [`Look::other`].
pub(crate) trait Look: Sized {
    /// What a value becomes.
    type Found;

    /// An object.
    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.other(&"an object")
    }

    /// A list.
    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Found, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.other(&"a list")
    }

    /// A string.
    fn text<E: de::Error>(self, text: &str) -> Result<Self::Found, E> {
        self.other(&excerpt(text))
    }

    /// Any other value, as messages show it.
    fn other<E: de::Error>(self, found: &dyn fmt::Display) -> Result<Self::Found, E>;
}

/// Looks at the next value.
pub(crate) struct Looking<L>(pub(crate) L);

impl<'de, L: Look> DeserializeSeed<'de> for Looking<L> {
    type Value = L::Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<L::Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, L: Look> Visitor<'de> for Looking<L> {
    type Value = L::Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<L::Found, A::Error> {
        self.0.object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<L::Found, A::Error> {
        self.0.list(list)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<L::Found, E> {
        self.0.text(text)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<L::Found, E> {
        self.0.other(&value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<L::Found, E> {
        self.0.other(&value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<L::Found, E> {
        self.0.other(&value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<L::Found, E> {
        self.0.other(&value)
    }

    fn visit_unit<E: de::Error>(self) -> Result<L::Found, E> {
        self.0.other(&"null")
    }
}

/// Reads a record's fields, or what stands in the place of an object. An id that is a number
/// becomes its text, digit for digit.
pub(crate) struct RecordFields;

impl Look for RecordFields {
    type Found = Result<Map<String, Value>, String>;

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Found, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = if ID_KEYS.contains(&&*key) {
                id(&map.next_value::<Box<RawValue>>()?).map_err(de::Error::custom)?
            } else {
                map.next_value()?
            };
            fields.insert(key, value);
        }
        Ok(Ok(fields))
    }

    fn other<E>(self, found: &dyn fmt::Display) -> Result<Self::Found, E> {
        Ok(Err(format!("it is {found}: must be an object")))
    }
}

/// An id as a string where it is one or a number; other values by their kind alone.
///
/// # Errors
/// Fails if it is no text.
pub(crate) fn id(raw: &RawValue) -> Result<Value, String> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => return serde_json::from_str(text).map_err(|error| without_line(&error)),
        Some(b'[') => Value::Array(Vec::new()),
        Some(b'{') => Value::Object(Map::new()),
        Some(b't' | b'f') => Value::Bool(text == "true"),
        Some(b'n') => Value::Null,
        _ => Value::String(text.to_owned()),
    })
}

/// What is wrong with JSON, without where.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

//! What a JSON file is, before anything of it is read for good.

use std::fmt::Display;
use std::io::Read;
use std::sync::Arc;

use anyhow::Result;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};
use spanwise_artifact::UserError;

use crate::document::Shape;
use crate::input::{TextReader, excerpt};
use crate::json::{Look, Looking};
use crate::layout::{not_json, unknown};
use crate::record::{self, COLUMNS, ID_KEYS, title};

/// What a JSON file is.
pub(crate) enum Json {
    /// One document.
    Document(Shape),
    /// An object with a list for each column of a table.
    Columns,
    /// More than one question, each with its context.
    Lines,
}

/// Looks through a file of one document, or at the first of several. `name` is the file's name in
/// messages.
///
/// # Errors
/// Fails if the file is not JSON or has no layout that is known.
pub(crate) fn look(name: &str, mut reader: TextReader<impl Read>) -> Result<Json> {
    let mut outline = Outline::default();
    let mut json = serde_json::Deserializer::from_reader(&mut reader);
    let seen = Looking(&mut outline).deserialize(&mut json);
    let end = seen.is_ok().then(|| json.end());
    if let Err(error) = seen {
        return Err(not_json(name, error, reader.is_blank()).into());
    }
    if let Some(key) = outline.repeated {
        return Err(UserError::new(format!("{name} has {key:?} twice in one object")).into());
    }
    let shape = match outline.shape() {
        Some(Json::Document(Shape::Record)) if matches!(end, Some(Err(_))) => {
            return Ok(Json::Lines);
        }
        other => other,
    };
    match (shape, end) {
        (Some(_), Some(Err(error))) => Err(not_json(name, error, false).into()),
        (Some(shape), _) => Ok(shape),
        (None, _) => Err(unknown(name, &outline.found).into()),
    }
}

/// The keys that say what an object is.
const TELLING: [&str; 3] = ["questions", "paragraphs", "data"];

/// What a file has at its top.
#[derive(Default)]
struct Outline {
    /// Its telling keys and columns, with what they have.
    keys: Vec<(String, Kind)>,
    /// What it is a list of, or has a list of under `data`.
    items: Items,
    is_list: bool,
    repeated: Option<String>,
    /// What the file is, for people.
    found: String,
}

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Object,
    Other,
}

/// What a list has.
#[derive(Default)]
struct Items {
    /// What its first object is.
    first: Option<Item>,
    /// The title of each article.
    titles: Vec<Option<Arc<str>>>,
}

/// What an object in a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Article,
    Paragraph,
    CmrcParagraph,
    Record,
    Unknown,
}

impl Outline {
    fn kind(&self, key: &str) -> Option<Kind> {
        let found = self.keys.iter().find(|(found, _)| found == key);
        found.map(|(_, kind)| *kind)
    }

    /// What the file is; `None` where that is not known.
    fn shape(&mut self) -> Option<Json> {
        let of_items = |items: &mut Items| {
            Some(match items.first? {
                Item::Article => Shape::Articles {
                    titles: std::mem::take(&mut items.titles),
                },
                Item::Paragraph => Shape::Paragraphs,
                Item::CmrcParagraph => Shape::CmrcParagraphs,
                Item::Record => Shape::Records,
                Item::Unknown => return None,
            })
        };
        if self.is_list {
            return of_items(&mut self.items).map(Json::Document);
        }
        let list = Some(Kind::List);
        if self.kind("questions") == list && self.kind("paragraphs") == list {
            return Some(Json::Document(Shape::Course));
        }
        if self.kind("data") == list {
            // What is no article is told by its number.
            let shape = of_items(&mut self.items).unwrap_or_else(|| Shape::Articles {
                titles: std::mem::take(&mut self.items.titles),
            });
            return Some(Json::Document(shape));
        }
        if !record::are_of_questions(self.keys.iter().map(|(key, _)| &**key)) {
            return None;
        }
        let is_column = |key: &str| self.kind(key).is_none_or(|kind| kind != Kind::Other);
        let are_columns = ["question", "context", "paragraph"]
            .into_iter()
            .all(is_column);
        Some(if are_columns {
            Json::Columns
        } else {
            Json::Document(Shape::Record)
        })
    }
}

/// Keys in a message, at most six.
#[derive(Default)]
struct Keys {
    shown: String,
    count: usize,
}

impl Keys {
    fn see(&mut self, key: &str) {
        self.count += 1;
        if self.count <= 6 {
            self.shown = format!("{} {}", self.shown, excerpt(key));
        }
    }

    fn of_object(self) -> String {
        match self.count {
            0 => "an object without keys".to_owned(),
            _ => format!("an object with the keys{}", self.shown),
        }
    }
}

impl Look for &mut Outline {
    type Found = ();

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key::<String>()? {
            keys.see(&key);
            let kind = if ID_KEYS.contains(&&*key) {
                // Of any length.
                map.next_value::<IgnoredAny>()?;
                Kind::Other
            } else {
                let items = (key == "data").then_some(&mut self.items);
                map.next_value_seed(Looking(Value(items)))?
            };
            if TELLING.contains(&&*key) || COLUMNS.contains(&&*key) {
                if self.kind(&key).is_some() {
                    self.repeated = Some(key.clone());
                }
                self.keys.push((key, kind));
            }
        }
        self.found = keys.of_object();
        Ok(())
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.is_list = true;
        let mut first = None;
        items(list, &mut self.items, &mut first)?;
        self.found = match first {
            None => "a list".to_owned(),
            Some(found) => format!("a list, and first in it {found}"),
        };
        Ok(())
    }

    fn other<E>(self, _: &dyn Display) -> Result<(), E> {
        "a single value".clone_into(&mut self.found);
        Ok(())
    }
}

/// Sees what kind a value is, and what is in it where it may be a list of articles.
struct Value<'a>(Option<&'a mut Items>);

impl Look for Value<'_> {
    type Found = Kind;

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind::Object)
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        match self.0 {
            Some(found) => {
                // A second list of this name is refused.
                *found = Items::default();
                items(list, found, &mut None)?;
            }
            None => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(Kind::List)
    }

    fn other<E>(self, _: &dyn Display) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
}

/// Sees what a list has. `first` becomes what its first object is, for people.
fn items<'de, A: SeqAccess<'de>>(
    mut list: A,
    items: &mut Items,
    first: &mut Option<String>,
) -> Result<(), A::Error> {
    while let Some(seen) = list.next_element_seed(Looking(MaybeItem))? {
        let title = seen.and_then(|(item, keys, title)| {
            if items.first.is_none() {
                items.first = Some(item);
                *first = Some(keys.of_object());
            }
            title
        });
        if matches!(items.first, None | Some(Item::Article)) {
            let last = items.titles.last().and_then(Option::as_ref);
            // Files may have one title for all their articles.
            let same = last.filter(|last| Some(&***last) == title.as_deref());
            let title = same.cloned().or_else(|| title.map(Arc::from));
            items.titles.push(title);
        }
    }
    Ok(())
}

/// What an object of a list is, its keys and its title; nothing of another value.
struct MaybeItem;

impl Look for MaybeItem {
    type Found = Option<(Item, Keys, Option<String>)>;

    fn object<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Found, A::Error> {
        let mut keys = Keys::default();
        let mut telling: Vec<String> = Vec::new();
        let mut title = None;
        while let Some(key) = map.next_key::<String>()? {
            keys.see(&key);
            if key == "title" {
                title = map.next_value_seed(Looking(MaybeTitle))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            let is_telling = matches!(
                &*key,
                "paragraphs" | "qas" | "context_text" | "context" | "paragraph" | "question"
            );
            if is_telling && !telling.contains(&key) {
                telling.push(key);
            }
        }
        let has = |key: &str| telling.iter().any(|seen| seen == key);
        let item = if has("paragraphs") {
            Item::Article
        } else if has("context_text") && has("qas") {
            Item::CmrcParagraph
        } else if has("context") && has("qas") {
            Item::Paragraph
        } else if record::are_of_questions(telling.iter().map(|key| &**key)) {
            Item::Record
        } else {
            Item::Unknown
        };
        Ok(Some((item, keys, title)))
    }

    fn other<E>(self, _: &dyn Display) -> Result<Self::Found, E> {
        Ok(None)
    }
}

/// What may be a title.
struct MaybeTitle;

impl Look for MaybeTitle {
    type Found = Option<String>;

    fn text<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(title(text).map(str::to_owned))
    }

    fn other<E>(self, _: &dyn Display) -> Result<Option<String>, E> {
        Ok(None)
    }
}

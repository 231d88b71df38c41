//! JSON whose objects keep the order of the file, because the order of added tokens determines
//! their ids.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Self>),
    Object(Object),
}

/// A JSON object.
pub(crate) type Object = Ordered<Json>;

/// A map in insertion order. Of equal keys, the first determines the position and the last
/// determines the value, as in Python.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered<T> {
    entries: Vec<(String, T)>,
    positions: HashMap<String, usize>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            positions: HashMap::new(),
        }
    }
}

impl<T> Ordered<T> {
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.positions.get(key).map(|index| &self.entries[*index].1)
    }

    pub(crate) fn insert(&mut self, key: String, value: T) {
        match self.positions.get(&key) {
            Some(index) => self.entries[*index].1 = value,
            None => {
                self.positions.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// Removes an entry. The positions of later entries change, so this takes linear time.
    pub(crate) fn remove(&mut self, key: &str) -> Option<T> {
        let index = self.positions.remove(key)?;
        let later = self.positions.values_mut();
        later
            .filter(|position| **position > index)
            .for_each(|position| *position -= 1);
        Some(self.entries.remove(index).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }
}

impl Json {
    /// The value's type, for error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        let number = serde_json::Number::from_f64(value);
        let number = number.ok_or_else(|| E::custom("expected a finite number"))?;
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Object::default();
        while let Some((key, value)) = entries.next_entry()? {
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_the_order_of_the_file() {
        let json: Json =
            serde_json::from_str(r#"{"b": 1, "a": [2.5, null], "b": "x"}"#).expect("this is JSON");
        let Json::Object(mut object) = json else {
            panic!("found {}", json.kind());
        };
        let keys = |object: &Object| -> Vec<String> {
            object.iter().map(|(key, _)| key.to_owned()).collect()
        };
        assert_eq!(keys(&object), ["b", "a"]);
        assert_eq!(object.get("b"), Some(&Json::Text("x".to_owned())));
        assert_eq!(object.remove("b"), Some(Json::Text("x".to_owned())));
        assert_eq!(object.remove("b"), None);
        object.insert("c".to_owned(), Json::Null);
        assert_eq!(keys(&object), ["a", "c"]);
        assert!(matches!(object.get("a"), Some(Json::List(_))));
        assert_eq!(object.get("c"), Some(&Json::Null));
    }
}

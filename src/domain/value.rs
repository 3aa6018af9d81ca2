//! A value of any type, as tools that are not written in this language take and
//! return it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

/// A value within so many lists and objects, itself included, is all that a tool returns
/// or a worker is given.
pub const MOST_LEVELS: usize = 32;

/// A value. Written as JSON, bytes are an object `{"base64": "…"}`, and a number that
/// JSON does not know (NaN, infinities) is null.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Object(BTreeMap<String, Self>),
}

impl Value {
    /// About how much of memory it takes.
    pub fn bytes(&self) -> usize {
        let inside = match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(fields) => fields.iter().map(|(k, v)| k.len() + v.bytes()).sum(),
        };
        size_of::<Self>() + inside
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(it),
            Json::Number(it) => match it.as_i64() {
                Some(whole) => Self::Integer(whole),
                None => Self::Number(it.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(it) => Self::Text(it),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(fields) => {
                let fields = fields.into_iter();
                Self::Object(fields.map(|(name, it)| (name, it.into())).collect())
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(it) => to.serialize_bool(*it),
            Self::Integer(it) => to.serialize_i64(*it),
            Self::Number(it) if it.is_finite() => to.serialize_f64(*it),
            Self::Number(_) => to.serialize_unit(),
            Self::Text(it) => to.serialize_str(it),
            Self::Binary(bytes) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(bytes))?;
                map.end()
            }
            Self::List(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|it| list.serialize_element(it))?;
                list.end()
            }
            Self::Object(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                fields
                    .iter()
                    .try_for_each(|(name, it)| map.serialize_entry(name, it))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c04_every_type_has_its_json() {
        let json = json!({
            "null": null, "bool": true, "whole": -9_007_199_254_740_993_i64, "number": 0.5,
            "text": "ä", "list": [1, "two", [3]], "object": { "deep": {} }
        });
        let value = Value::from(json.clone());
        assert_eq!(serde_json::to_value(&value).unwrap(), json);
        let bytes = Value::Binary(Bytes::from_static(&[0, 255]));
        assert_eq!(
            serde_json::to_value(&bytes).unwrap(),
            json!({"base64": "AP8="})
        );
        let odd = Value::Number(f64::NAN);
        assert_eq!(serde_json::to_value(&odd).unwrap(), Json::Null);
    }
}

//! JSON as it is taken from outside: objects where objects are meant, lists that
//! are bounded before they are built, screenshots decoded where they stand.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::transport::wire::MAX_ENTRIES;

/// The contract needs four.
pub(in crate::transport) const MAX_DEPTH: usize = 32;
/// Said by a list that is too long.
pub(super) const TOO_MANY: &str = "too many entries";

/// Whether the text has nothing nested deeper than [`MAX_DEPTH`].
pub(super) fn is_flat(text: &str) -> bool {
    nests_at_most(text, MAX_DEPTH)
}

/// Whether the text has nothing nested deeper than that. Readers of JSON need memory
/// for every level.
pub(in crate::transport) fn nests_at_most(text: &str, most: usize) -> bool {
    let mut depth = 0_usize;
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| b"\"[]{}".contains(byte)) {
        match rest[at] {
            b'"' => match behind_string(&rest[at + 1..]) {
                Some(behind) => {
                    rest = behind;
                    continue;
                }
                None => return true,
            },
            b'[' | b'{' => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        if depth > most {
            return false;
        }
        rest = &rest[at + 1..];
    }
    true
}

/// The same JSON without white space outside of strings; inside there are no line
/// breaks. Nothing else is changed, numbers stay as they are written.
pub(in crate::transport) fn on_one_line(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let stays = |c: &char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        in_string || !matches!(c, ' ' | '\t' | '\r' | '\n')
    };
    json.chars().filter(stays).collect()
}

/// What stands behind a string that has begun.
fn behind_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        match rest[at] {
            b'"' => return Some(&rest[at + 1..]),
            _ => rest = rest.get(at + 2..)?,
        }
    }
}

/// An object. serde alone would take a list of the fields' values as well.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(AsMap(deserializer)).map(Self)
    }
}

/// Reads every struct as a map.
struct AsMap<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AsMap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf option unit unit_struct newtype_struct seq tuple tuple_struct map
        struct enum identifier ignored_any
    }
}

/// A list of objects, of at most [`MAX_ENTRIES`].
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(Object(entry)) = entries.next_element()? {
            if list.len() == MAX_ENTRIES {
                return Err(A::Error::custom(TOO_MANY));
            }
            list.push(entry);
        }
        Ok(List(list))
    }
}

/// A list of texts, of at most [`MAX_ENTRIES`].
#[derive(Debug)]
pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EachWord)
    }
}

struct EachWord;

impl<'de> Visitor<'de> for EachWord {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = entries.next_element()? {
            if words.len() == MAX_ENTRIES {
                return Err(A::Error::custom(TOO_MANY));
            }
            words.push(word);
        }
        Ok(Words(words))
    }
}

/// The bytes of a string of base64, decoded straight from the text.
pub(super) enum Base64 {
    Bytes(Vec<u8>),
    /// It is none. No error: the rest of the event still counts.
    Unusable,
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Decoding)
    }
}

struct Decoding;

impl Visitor<'_> for Decoding {
    type Value = Base64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
        let decoded = base64_simd::STANDARD.decode_to_vec(text);
        Ok(decoded.map_or(Base64::Unusable, Base64::Bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings_alone() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_flat(&nested(MAX_DEPTH)));
        assert!(!is_flat(&nested(MAX_DEPTH + 1)));
        assert!(!is_flat(&"{\"a\":".repeat(MAX_DEPTH + 1)));
        assert!(is_flat(&nested(MAX_DEPTH).repeat(100)));
        assert!(is_flat(&format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100))));
        for cut in ["\"", "\"\\", "\"\\\"", "", "]]]]]"] {
            assert!(is_flat(cut), "{cut}");
        }
    }

    #[test]
    fn on_one_line_json_is_the_same_to_the_last_digit() {
        for (written, kept) in [
            ("\r\n{ \"a\" :\t1.50e+10 }\n", r#"{"a":1.50e+10}"#),
            (
                "[ 123456789012345678901234567890 ,\n-0 ]",
                "[123456789012345678901234567890,-0]",
            ),
            (r#" " \\" "#, r#"" \\""#),
            (
                r#"[ "\" , ] " , " \n é\u2028" ]"#,
                r#"["\" , ] "," \n é\u2028"]"#,
            ),
            ("true ", "true"),
        ] {
            assert_eq!(on_one_line(written), kept);
            let same = serde_json::from_str::<serde_json::Value>(written).unwrap();
            assert_eq!(
                same,
                serde_json::from_str::<serde_json::Value>(kept).unwrap()
            );
        }
    }
}

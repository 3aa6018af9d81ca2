//! Values of any type between the wire and the domain. What comes in is bounded; what
//! goes out was.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use crate::domain::{MOST_LEVELS, Value};
use crate::transport::proto::workers as wire;
use wire::value::Kind;

/// One of a byte or two on the wire takes thirty times as much here.
const MOST_VALUES: usize = 65_536;

/// A value as it came.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence.
pub(super) fn value(sent: wire::Value, most_bytes: usize) -> Result<Value, String> {
    let size = sent.encoded_len();
    if size > most_bytes {
        let kib = most_bytes >> 10;
        return Err(format!("a value of {size} bytes, where {kib} KiB may be"));
    }
    let mut left = MOST_VALUES;
    inner(sent, 1, &mut left)
}

fn inner(sent: wire::Value, level: usize, left: &mut usize) -> Result<Value, String> {
    if level > MOST_LEVELS {
        return Err(format!("a value with more than {MOST_LEVELS} levels"));
    }
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("a value of more than {MOST_VALUES} values"))?;
    let wire::Value { kind } = sent;
    Ok(match kind {
        None | Some(Kind::Null(wire::NullValue {})) => Value::Null,
        Some(Kind::Boolean(it)) => Value::Bool(it),
        Some(Kind::Integer(it)) => Value::Integer(it),
        Some(Kind::Number(it)) => Value::Number(it),
        Some(Kind::Text(it)) => Value::Text(it),
        // A copy: what came is a part of the stream's buffer, and would keep all of it.
        Some(Kind::Binary(it)) => Value::Binary(Bytes::copy_from_slice(&it)),
        Some(Kind::List(wire::ListValue { items })) => {
            let items = items.into_iter().map(|it| inner(it, level + 1, left));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Some(Kind::Object(wire::ObjectValue { fields })) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, it)| Ok((name, inner(it, level + 1, left)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// A value as it goes out.
pub(super) fn told(value: &Value) -> wire::Value {
    let kind = match value {
        Value::Null => Kind::Null(wire::NullValue {}),
        Value::Bool(it) => Kind::Boolean(*it),
        Value::Integer(it) => Kind::Integer(*it),
        Value::Number(it) => Kind::Number(*it),
        Value::Text(it) => Kind::Text(it.clone()),
        Value::Binary(it) => Kind::Binary(it.clone()),
        Value::List(items) => {
            let items = items.iter().map(told).collect();
            Kind::List(wire::ListValue { items })
        }
        Value::Object(fields) => Kind::Object(object(fields)),
    };
    wire::Value { kind: Some(kind) }
}

/// Values by name, as they go out.
pub(super) fn object<'a>(
    fields: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> wire::ObjectValue {
    let fields = fields.into_iter();
    let fields: HashMap<_, _> = fields.map(|(name, it)| (name.clone(), told(it))).collect();
    wire::ObjectValue { fields }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MOST: usize = 1 << 20;

    fn over_the_wire(value: &Value) -> Value {
        let bytes = told(value).encode_to_vec();
        let sent = wire::Value::decode(&bytes[..]).unwrap();
        super::value(sent, MOST).unwrap()
    }

    #[test]
    fn c04_every_type_of_value_survives_the_way_out_and_back() {
        let fields = [
            ("null", Value::Null),
            ("bool", Value::Bool(false)),
            ("least", Value::Integer(i64::MIN)),
            ("whole", Value::Integer(9_007_199_254_740_993)),
            ("number", Value::Number(-0.1)),
            ("infinite", Value::Number(f64::INFINITY)),
            ("text", Value::Text("ä\0⟦".into())),
            ("bytes", Value::Binary(Bytes::from_static(&[0, 255, 10]))),
            ("list", Value::List(vec![Value::Null, Value::List(vec![])])),
            ("object", Value::Object(BTreeMap::new())),
        ];
        let fields = fields.map(|(name, it)| (name.to_owned(), it));
        let value = Value::Object(BTreeMap::from(fields));
        assert_eq!(over_the_wire(&value), value);
        let Value::Number(nan) = over_the_wire(&Value::Number(f64::NAN)) else {
            panic!("not a number")
        };
        assert!(nan.is_nan());
        let none = super::value(wire::Value { kind: None }, MOST);
        assert_eq!(none, Ok(Value::Null));
    }

    fn nested(levels: usize, around: fn(Value) -> Value) -> wire::Value {
        let value = (1..levels).fold(Value::Null, |inside, _| around(inside));
        told(&value)
    }

    #[test]
    fn c04_a_value_of_32_levels_is_taken_and_a_deeper_one_is_not() {
        let lists: fn(Value) -> Value = |inside| Value::List(vec![inside]);
        let objects: fn(Value) -> Value = |it| Value::Object([("x".to_owned(), it)].into());
        for around in [lists, objects] {
            // As deep in a message as values come.
            let set = wire::SetVariable {
                value: Some(nested(32, around)),
                ..wire::SetVariable::default()
            };
            let ask = Some(wire::variable_request::Ask::Set(set));
            let request = wire::VariableRequest {
                ask,
                ..wire::VariableRequest::default()
            };
            let event = Some(wire::worker_event::Event::Variable(request));
            let bytes = wire::WorkerEvent { event }.encode_to_vec();
            wire::WorkerEvent::decode(&bytes[..]).unwrap();
            value(nested(32, around), MOST).unwrap();
            let told = value(nested(33, around), MOST).unwrap_err();
            assert!(told.contains("32 levels"), "{told}");
        }
    }

    #[test]
    fn c04_what_is_too_large_is_told_with_the_limit() {
        let large = told(&Value::Text("x".repeat(65 << 10)));
        let refused = value(large, 64 << 10).unwrap_err();
        assert!(refused.contains("64 KiB"), "{refused}");
        let items = vec![wire::Value::default(); MOST_VALUES];
        let list = Kind::List(wire::ListValue { items });
        let many = wire::Value { kind: Some(list) };
        let refused = value(many, MOST).unwrap_err();
        assert!(refused.contains("65536"), "{refused}");
    }
}

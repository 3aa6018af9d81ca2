//! What a tool's parameters may be: a JSON Schema of what Gemini accepts of one, and
//! arguments held to it.
//!
//! Gemini's `Schema` (<https://ai.google.dev/api/caching#Schema>, November 2026) is a
//! part of OpenAPI's, and an unknown keyword costs the whole request. So a schema is
//! checked when a tool is declared, not when a frame needs it.

use serde_json::{Map, Value, json};

/// Keywords that Gemini accepts, beside those that [`Schema`] looks at itself.
const ANNOTATIONS: [&str; 4] = ["title", "description", "default", "example"];
/// Bounds: whole numbers that are not negative.
const COUNTS: [&str; 6] = [
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
];
const TYPES: [&str; 6] = ["object", "array", "string", "number", "integer", "boolean"];
const FORMATS: [&str; 6] = ["enum", "date-time", "float", "double", "int32", "int64"];
/// One within the other; models get lost in deeper ones.
const MOST_LEVELS: usize = 8;
/// In all of a schema; every request carries them.
const MOST_PROPERTIES: usize = 100;
/// Of what is wrong with arguments, as the model is told it.
const TOLD_CHARS: usize = 300;

/// A schema that was checked.
#[derive(Clone, Debug)]
pub struct Schema {
    /// As Gemini wants it.
    declared: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Checks a schema.
    ///
    /// # Errors
    /// What is wrong and where, for whoever wrote it.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let mut walk = Walk { properties: 0 };
        let (declared, checked) = walk.schema(schema, "parameters", 0)?;
        if schema.get("type") != Some(&json!("object")) {
            return Err("parameters: type must be \"object\"".to_owned());
        }
        if schema.get("anyOf").is_some() {
            return Err("parameters.anyOf: is for properties alone".to_owned());
        }
        // Patterns that need no backtracking: a model writes what they are held against.
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&checked);
        let validator = validator.map_err(|error| format!("parameters: {error}"))?;
        Ok(Self {
            declared,
            validator,
        })
    }

    /// As Gemini's `FunctionDeclaration.parameters`.
    pub fn declared(&self) -> &Value {
        &self.declared
    }

    /// Whether these arguments fit.
    ///
    /// # Errors
    /// The first thing that does not, for the model: where and why, not what was there.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        let arguments = Value::Object(arguments.clone());
        let Some(error) = self.validator.iter_errors(&arguments).next() else {
            return Ok(());
        };
        // Without the value, which may be anything.
        let (place, what) = (error.instance_path().to_string(), error.masked());
        let told = match place.is_empty() {
            true => what.to_string(),
            false => format!("{}: {what}", place.trim_start_matches('/')),
        };
        Err(crate::domain::clip(&told, TOLD_CHARS).into_owned())
    }
}

struct Walk {
    properties: usize,
}

impl Walk {
    /// The schema as Gemini wants it, and as JSON Schema has it.
    fn schema(
        &mut self,
        schema: &Value,
        place: &str,
        level: usize,
    ) -> Result<(Value, Value), String> {
        let Value::Object(schema) = schema else {
            return Err(format!("{place}: must be an object (a JSON Schema)"));
        };
        if level > MOST_LEVELS {
            return Err(format!("{place}: more than {MOST_LEVELS} levels"));
        }
        let (mut gemini, mut json) = (Map::new(), Map::new());
        for (keyword, value) in schema {
            let at = format!("{place}.{keyword}");
            let name = keyword.as_str();
            let (theirs, ours) = match name {
                "type" => of_type(value, &at)?,
                "properties" => self.properties(value, &at, level)?,
                "items" => self.schema(value, &at, level + 1)?,
                "anyOf" => self.any_of(value, &at, level)?,
                "required" | "propertyOrdering" => same(words(value, &at)?),
                "enum" => same(words(value, &at)?),
                "format" => same(one_of(value, &FORMATS, &at)?),
                "nullable" => same(expect(value, value.is_boolean(), &at, "true or false")?),
                "pattern" => same(expect(value, value.is_string(), &at, "a text")?),
                "minimum" | "maximum" => same(expect(value, value.is_number(), &at, "a number")?),
                name if COUNTS.contains(&name) => {
                    same(expect(value, value.is_u64(), &at, "a whole number")?)
                }
                name if ANNOTATIONS.contains(&name) => same(value.clone()),
                _ => return Err(format!("{at}: Gemini knows no such keyword")),
            };
            gemini.insert(keyword.clone(), theirs);
            // Of Gemini alone.
            if !["nullable", "propertyOrdering", "format", "example"].contains(&name) {
                json.insert(keyword.clone(), ours);
            }
        }
        required_exist(schema, place)?;
        fits_its_type(schema, place, level)?;
        if !schema.contains_key("type") && !schema.contains_key("anyOf") {
            return Err(format!("{place}: has no type"));
        }
        if schema.get("nullable") == Some(&Value::Bool(true)) {
            json = Map::from_iter([("anyOf".to_owned(), json!([json, { "type": "null" }]))]);
        }
        Ok((gemini.into(), json.into()))
    }

    fn properties(
        &mut self,
        value: &Value,
        place: &str,
        level: usize,
    ) -> Result<(Value, Value), String> {
        let Value::Object(properties) = value else {
            return Err(format!("{place}: must be an object"));
        };
        self.properties += properties.len();
        if self.properties > MOST_PROPERTIES {
            return Err(format!("{place}: more than {MOST_PROPERTIES} properties"));
        }
        let (mut gemini, mut json) = (Map::new(), Map::new());
        for (name, schema) in properties {
            let (theirs, ours) = self.schema(schema, &format!("{place}.{name}"), level + 1)?;
            gemini.insert(name.clone(), theirs);
            json.insert(name.clone(), ours);
        }
        Ok((gemini.into(), json.into()))
    }

    fn any_of(
        &mut self,
        value: &Value,
        place: &str,
        level: usize,
    ) -> Result<(Value, Value), String> {
        let choices = value.as_array().filter(|choices| !choices.is_empty());
        let choices = choices.ok_or_else(|| format!("{place}: must be a list of schemas"))?;
        let choices = choices.iter().enumerate();
        let each =
            choices.map(|(i, choice)| self.schema(choice, &format!("{place}.{i}"), level + 1));
        let (gemini, json): (Vec<_>, Vec<_>) =
            each.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok((gemini.into(), json.into()))
    }
}

fn of_type(value: &Value, place: &str) -> Result<(Value, Value), String> {
    let name = one_of(value, &TYPES, place)?;
    let upper = name.as_str().unwrap_or_default().to_ascii_uppercase();
    Ok((upper.into(), name))
}

fn same(value: Value) -> (Value, Value) {
    (value.clone(), value)
}

fn expect(value: &Value, fits: bool, place: &str, what: &str) -> Result<Value, String> {
    match fits {
        true => Ok(value.clone()),
        false => Err(format!("{place}: must be {what}")),
    }
}

fn one_of(value: &Value, known: &[&str], place: &str) -> Result<Value, String> {
    let fits = value.as_str().is_some_and(|word| known.contains(&word));
    expect(value, fits, place, &format!("one of {}", known.join(", ")))
}

fn words(value: &Value, place: &str) -> Result<Value, String> {
    let fits = value
        .as_array()
        .is_some_and(|words| !words.is_empty() && words.iter().all(Value::is_string));
    expect(value, fits, place, "a list of texts")
}

/// What Gemini asks beyond known keywords.
fn fits_its_type(schema: &Map<String, Value>, place: &str, level: usize) -> Result<(), String> {
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let wrong = |what: &str| Err(format!("{place}.{what}"));
    let properties = schema.get("properties").and_then(Value::as_object);
    if schema.contains_key("enum") && kind != "string" {
        return wrong("enum: is for texts alone");
    }
    if kind == "array" && !schema.contains_key("items") {
        return wrong("items: is missing");
    }
    // A tool without any is declared without parameters.
    if kind == "object" && level > 0 && properties.is_none_or(Map::is_empty) {
        return wrong("properties: an object needs some");
    }
    let format = schema.get("format").and_then(Value::as_str);
    let fits = match (format, kind) {
        (None, _) | (Some("date-time"), "string") => true,
        (Some("enum"), "string") => schema.contains_key("enum"),
        (Some("float" | "double"), "number") => true,
        (Some("int32" | "int64"), "integer") => true,
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => wrong("format: is not one of this type"),
    }
}

fn required_exist(schema: &Map<String, Value>, place: &str) -> Result<(), String> {
    let required = schema.get("required").and_then(Value::as_array);
    let unknown = required.into_iter().flatten().find(|name| {
        let known = name
            .as_str()
            .and_then(|name| schema.get("properties")?.get(name));
        known.is_none()
    });
    match unknown {
        Some(name) => Err(format!("{place}.required: {name} is no property")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_told_to_gemini_in_its_own_words() {
        let schema = Schema::new(&json!({
            "type": "object",
            "required": ["phrase"],
            "properties": {
                "phrase": { "type": "string", "minLength": 1, "maxLength": 20 },
                "days": { "type": "array", "items": { "type": "integer" }, "nullable": true }
            }
        }));
        assert_eq!(
            schema.unwrap().declared(),
            &json!({
                "type": "OBJECT",
                "required": ["phrase"],
                "properties": {
                    "phrase": { "type": "STRING", "minLength": 1, "maxLength": 20 },
                    "days": { "type": "ARRAY", "items": { "type": "INTEGER" }, "nullable": true }
                }
            })
        );
    }

    #[test]
    fn what_gemini_would_refuse_is_refused_with_its_place() {
        let property = |schema: Value| json!({ "type": "object", "properties": { "a": schema } });
        let mut deep = json!({ "type": "string" });
        for _ in 0..MOST_LEVELS {
            deep = json!({ "type": "array", "items": deep });
        }
        let many: Map<_, _> = (0..=MOST_PROPERTIES)
            .map(|i| (format!("p{i}"), json!({ "type": "string" })))
            .collect();
        for (schema, told) in [
            (json!([]), "parameters: must be an object"),
            (
                json!({ "type": "string" }),
                "parameters: type must be \"object\"",
            ),
            (
                property(json!({ "type": "text" })),
                "parameters.properties.a.type: must be one of",
            ),
            (
                property(json!({ "type": ["string", "null"] })),
                "parameters.properties.a.type",
            ),
            (property(json!({})), "parameters.properties.a: has no type"),
            (
                property(json!({ "$ref": "#/x" })),
                "parameters.properties.a.$ref: Gemini knows",
            ),
            (
                property(json!({ "oneOf": [] })),
                "parameters.properties.a.oneOf: Gemini knows",
            ),
            (
                property(json!({ "anyOf": [] })),
                "parameters.properties.a.anyOf: must be a list",
            ),
            (
                property(json!({ "type": "string", "enum": [1] })),
                "a.enum: must be a list of texts",
            ),
            (
                property(json!({ "type": "string", "pattern": "(" })),
                "parameters",
            ),
            (
                property(json!({ "type": "string", "minLength": -1 })),
                "must be a whole number",
            ),
            (
                json!({ "type": "object", "required": ["b"] }),
                "\"b\" is no property",
            ),
            (
                json!({ "type": "object", "additionalProperties": false }),
                "Gemini knows",
            ),
            (
                property(json!({ "type": "integer", "enum": ["1"] })),
                "enum: is for texts alone",
            ),
            (property(json!({ "type": "array" })), "a.items: is missing"),
            (
                property(json!({ "type": "object" })),
                "an object needs some",
            ),
            (
                property(json!({ "type": "string", "format": "int32" })),
                "format: is not one of this type",
            ),
            (
                property(json!({ "type": "string", "format": "enum" })),
                "format: is not one of this type",
            ),
            (
                json!({ "type": "object", "anyOf": [{ "type": "string" }] }),
                "anyOf: is for properties alone",
            ),
            (property(deep), "more than 8 levels"),
            (
                json!({ "type": "object", "properties": many }),
                "more than 100 properties",
            ),
        ] {
            let refused = Schema::new(&schema).unwrap_err();
            assert!(refused.contains(told), "{schema}: {refused}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_told_with_their_place() {
        let schema = Schema::new(&json!({
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": { "type": "string" },
                "most": { "type": "integer", "minimum": 1, "nullable": true },
                "how": { "type": "string", "enum": ["fast", "well"] }
            }
        }))
        .unwrap();
        let check = |arguments: Value| schema.check(arguments.as_object().unwrap());
        for fits in [
            json!({ "query": "x" }),
            json!({ "query": "x", "most": null, "how": "well" }),
            json!({ "query": "x", "most": 3.0, "unknown": [] }),
        ] {
            check(fits).unwrap();
        }
        for (wrong, told) in [
            (json!({}), "\"query\" is a required property"),
            (json!({ "query": 1 }), "query: "),
            (json!({ "query": "x", "most": 0 }), "most: "),
            (json!({ "query": "x", "how": "ill" }), "how: "),
        ] {
            let refused = check(wrong).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}

//! Which fields a request may have, and of which types.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value};

use crate::stand_in::answer::{self, Signature};
use crate::stand_in::refusal::Refusal;

/// A message type: its fields.
struct Message(&'static [(&'static str, Shape)]);

/// What a field can hold.
enum Shape {
    Text,
    Base64,
    Flag,
    Number,
    Whole,
    Json,
    Object,
    Word(&'static [&'static str]),
    One(&'static Message),
    Many(&'static Shape),
    Named(&'static Shape),
    Contents,
}

use Shape::{Base64, Contents, Flag, Json, Many, Named, Number, Object, One, Text, Whole, Word};

static REQUEST: Message = Message(&[
    ("contents", Contents),
    ("systemInstruction", One(&CONTENT)),
    ("tools", Many(&One(&TOOL))),
    ("toolConfig", One(&TOOL_CONFIG)),
    ("safetySettings", Many(&One(&SAFETY_SETTING))),
    ("generationConfig", One(&GENERATION_CONFIG)),
    ("cachedContent", Text),
    (
        "serviceTier",
        Word(&["unspecified", "flex", "standard", "priority"]),
    ),
]);

static CONTENT: Message = Message(&[("role", Text), ("parts", Many(&One(&PART)))]);

/// Exactly one of these stands in a part.
const PAYLOADS: [&str; 7] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
];

static PART: Message = Message(&[
    ("text", Text),
    ("inlineData", One(&BLOB)),
    ("fileData", One(&FILE)),
    ("functionCall", One(&FUNCTION_CALL)),
    ("functionResponse", One(&FUNCTION_RESPONSE)),
    ("executableCode", Object),
    ("codeExecutionResult", Object),
    ("thought", Flag),
    ("thoughtSignature", Base64),
    ("partMetadata", Object),
    ("mediaResolution", One(&PART_RESOLUTION)),
    ("videoMetadata", Object),
]);

static BLOB: Message = Message(&[("mimeType", Text), ("data", Base64)]);
static FILE: Message = Message(&[("mimeType", Text), ("fileUri", Text)]);
static PART_RESOLUTION: Message = Message(&[("level", Word(RESOLUTIONS)), ("numTokens", Whole)]);
static FUNCTION_CALL: Message = Message(&[("id", Text), ("name", Text), ("args", Object)]);
static FUNCTION_RESPONSE: Message = Message(&[
    ("id", Text),
    ("name", Text),
    ("response", Object),
    ("parts", Many(&Object)),
    ("willContinue", Flag),
    (
        "scheduling",
        Word(&["SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"]),
    ),
]);

static TOOL: Message = Message(&[
    ("functionDeclarations", Many(&One(&DECLARATION))),
    ("googleSearch", Object),
    ("googleSearchRetrieval", Object),
    ("googleMaps", Object),
    ("codeExecution", Object),
    ("urlContext", Object),
    ("computerUse", Object),
    ("fileSearch", Object),
    ("mcpServers", Many(&Object)),
]);

static DECLARATION: Message = Message(&[
    ("name", Text),
    ("description", Text),
    (
        "behavior",
        Word(&["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"]),
    ),
    ("parameters", One(&SCHEMA)),
    ("parametersJsonSchema", Json),
    ("response", One(&SCHEMA)),
    ("responseJsonSchema", Json),
]);

/// The subset of OpenAPI that `parameters` speaks.
static SCHEMA: Message = Message(&[
    (
        "type",
        Word(&[
            "TYPE_UNSPECIFIED",
            "STRING",
            "NUMBER",
            "INTEGER",
            "BOOLEAN",
            "ARRAY",
            "OBJECT",
            "NULL",
        ]),
    ),
    ("format", Text),
    ("title", Text),
    ("description", Text),
    ("nullable", Flag),
    ("enum", Many(&Text)),
    ("items", One(&SCHEMA)),
    ("maxItems", Whole),
    ("minItems", Whole),
    ("properties", Named(&One(&SCHEMA))),
    ("required", Many(&Text)),
    ("minProperties", Whole),
    ("maxProperties", Whole),
    ("minLength", Whole),
    ("maxLength", Whole),
    ("pattern", Text),
    ("minimum", Number),
    ("maximum", Number),
    ("anyOf", Many(&One(&SCHEMA))),
    ("propertyOrdering", Many(&Text)),
    ("default", Json),
    ("example", Json),
]);

static TOOL_CONFIG: Message = Message(&[
    ("functionCallingConfig", One(&CALLING)),
    ("retrievalConfig", Object),
    ("includeServerSideToolInvocations", Flag),
]);

static CALLING: Message = Message(&[
    (
        "mode",
        Word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"]),
    ),
    ("allowedFunctionNames", Many(&Text)),
]);

static SAFETY_SETTING: Message = Message(&[
    (
        "category",
        Word(&[
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
        ]),
    ),
    (
        "threshold",
        Word(&[
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ]),
    ),
]);

const RESOLUTIONS: &[&str] = &[
    "MEDIA_RESOLUTION_UNSPECIFIED",
    "MEDIA_RESOLUTION_LOW",
    "MEDIA_RESOLUTION_MEDIUM",
    "MEDIA_RESOLUTION_HIGH",
    "MEDIA_RESOLUTION_ULTRA_HIGH",
];

static GENERATION_CONFIG: Message = Message(&[
    ("stopSequences", Many(&Text)),
    ("responseMimeType", Text),
    ("responseSchema", One(&SCHEMA)),
    ("responseJsonSchema", Json),
    (
        "responseModalities",
        Many(&Word(&["MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO"])),
    ),
    // The judge refuses these four with a sentence of its own.
    ("candidateCount", Whole),
    ("temperature", Number),
    ("topP", Number),
    ("topK", Number),
    ("maxOutputTokens", Whole),
    ("seed", Whole),
    ("presencePenalty", Number),
    ("frequencyPenalty", Number),
    ("responseLogprobs", Flag),
    ("logprobs", Whole),
    ("enableEnhancedCivicAnswers", Flag),
    ("speechConfig", Object),
    ("thinkingConfig", One(&THINKING)),
    ("mediaResolution", Word(RESOLUTIONS)),
]);

static THINKING: Message = Message(&[
    ("includeThoughts", Flag),
    ("thinkingBudget", Whole),
    (
        "thinkingLevel",
        Word(&[
            "THINKING_LEVEL_UNSPECIFIED",
            "MINIMAL",
            "LOW",
            "MEDIUM",
            "HIGH",
            "XHIGH",
        ]),
    ),
]);

/// Checks a whole request. Unless it must be canonical, snake_case names are
/// taken too, and made camelCase.
pub(super) fn check(request: &mut Value, canonical: bool) -> Result<(), Refusal> {
    Walk { canonical }.message(&REQUEST, request, "")
}

struct Walk {
    canonical: bool,
}

impl Walk {
    fn message(&self, known: &Message, value: &mut Value, path: &str) -> Result<(), Refusal> {
        let Value::Object(fields) = value else {
            return Err(wrong(path, "an object"));
        };
        if !self.canonical {
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(name, value)| (camel_case(known, name), value))
                .collect();
        }
        for (name, value) in fields.iter_mut() {
            let path = join(path, name);
            match known.0.iter().find(|(field, _)| field == name) {
                // As in every proto message, null means unset.
                Some(_) if value.is_null() => {}
                Some((_, shape)) => self.field(shape, value, &path)?,
                None => return Err(unknown(&path, name)),
            }
        }
        fields.retain(|_, value| !value.is_null());
        if std::ptr::eq(known, &PART) {
            one_payload(fields, path)?;
        }
        if std::ptr::eq(known, &BLOB) {
            self.blob(fields, path)?;
        }
        Ok(())
    }

    fn field(&self, shape: &Shape, value: &mut Value, path: &str) -> Result<(), Refusal> {
        let fits = match shape {
            One(message) => return self.message(message, value, path),
            Many(shape) => return self.many(shape, value, path),
            Contents => return self.contents(value, path),
            Named(shape) => {
                let Value::Object(fields) = value else {
                    return Err(wrong(path, "an object"));
                };
                return fields
                    .iter_mut()
                    .try_for_each(|(name, value)| self.field(shape, value, &join(path, name)));
            }
            Base64 => return self.base64(value, path),
            Word(words) => match value.as_str() {
                Some(word) => words.iter().any(|known| known.eq_ignore_ascii_case(word)),
                None => false,
            },
            Text => value.is_string(),
            Flag => value.is_boolean(),
            Number => value.is_number(),
            // JSON writes 64-bit integers as strings.
            Whole => match value.as_str() {
                Some(digits) => digits.parse::<i64>().is_ok(),
                None => value.is_i64(),
            },
            Json => true,
            Object => value.is_object(),
        };
        match shape {
            _ if fits => Ok(()),
            Text => Err(wrong(path, "a string")),
            Flag => Err(wrong(path, "true or false")),
            Number => Err(wrong(path, "a number")),
            Whole => Err(wrong(path, "an integer")),
            Object => Err(wrong(path, "an object")),
            _ => Err(wrong(path, "a known value of its enum")),
        }
    }

    fn many(&self, shape: &Shape, value: &mut Value, path: &str) -> Result<(), Refusal> {
        let Value::Array(items) = value else {
            return Err(wrong(path, "an array"));
        };
        for (index, item) in items.iter_mut().enumerate() {
            self.field(shape, item, &format!("{path}[{index}]"))?;
        }
        Ok(())
    }

    /// A model's turn that we signed is ours: it may hold fields that no
    /// client could have known.
    fn contents(&self, value: &mut Value, path: &str) -> Result<(), Refusal> {
        let Value::Array(contents) = value else {
            return Err(wrong(path, "an array"));
        };
        for (index, content) in contents.iter_mut().enumerate() {
            if content["role"] == "model" && answer::signature(content) == Signature::Ours {
                continue;
            }
            let path = format!("{path}[{index}]");
            self.message(&CONTENT, content, &path)?;
            if answer::parts(content).is_empty() {
                let what = "contents.parts must not be empty.";
                return Err(Refusal::field(&join(&path, "parts"), what));
            }
        }
        Ok(())
    }

    fn base64(&self, value: &Value, path: &str) -> Result<(), Refusal> {
        let Some(text) = value.as_str() else {
            return Err(wrong(path, "a string"));
        };
        if self.decode(text).is_some() {
            Ok(())
        } else {
            Err(wrong(path, "standard base64 without line breaks"))
        }
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match STANDARD.decode(text) {
            Ok(bytes) => Some(bytes),
            Err(_) if self.canonical => None,
            Err(_) => URL_SAFE.decode(text).ok(),
        }
    }

    /// An image must at least begin like one.
    fn blob(&self, fields: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
        let kind = fields.get("mimeType").and_then(Value::as_str);
        let data = fields
            .get("data")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match kind {
            None => Err(Refusal::field(path, "mimeType: required field is missing.")),
            _ if data.is_empty() => Err(Refusal::field(path, "data: required field is missing.")),
            // "/9j/" is FF D8 FF; the alphabets differ in its slashes.
            Some("image/jpeg") if !matches!(data.get(..4), Some("/9j/" | "_9j_")) => {
                Err(Refusal::invalid("Unable to process input image."))
            }
            Some(_) => Ok(()),
        }
    }
}

fn one_payload(fields: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
    match PAYLOADS
        .iter()
        .filter(|name| fields.contains_key(**name))
        .count()
    {
        1 => Ok(()),
        0 => Err(Refusal::field(
            path,
            "required oneof field 'data' must have one initialized field",
        )),
        _ => Err(Refusal::field(
            path,
            "oneof field 'data' is already set. Cannot set it twice.",
        )),
    }
}

/// A field's name in camelCase, if that makes it a known one.
fn camel_case(known: &Message, name: String) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut after_underscore = false;
    for c in name.chars() {
        match c {
            '_' => after_underscore = true,
            c if after_underscore => {
                camel.push(c.to_ascii_uppercase());
                after_underscore = false;
            }
            c => camel.push(c),
        }
    }
    if known.0.iter().any(|(field, _)| *field == camel) {
        camel
    } else {
        name
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn unknown(path: &str, name: &str) -> Refusal {
    let parent = path
        .strip_suffix(name)
        .unwrap_or_default()
        .trim_end_matches('.');
    let what = if parent.is_empty() {
        format!("Unknown name \"{name}\": Cannot find field.")
    } else {
        format!("Unknown name \"{name}\" at '{parent}': Cannot find field.")
    };
    Refusal::field(parent, &what)
}

fn wrong(path: &str, expected: &str) -> Refusal {
    Refusal::field(
        path,
        &format!("Invalid value at '{path}': expected {expected}."),
    )
}

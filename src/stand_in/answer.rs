//! The parts of an answer that are made when it is sent: token counts, ids and
//! the thought signature.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

/// Begins each signature, so that our own are told from scripted ones.
const SIGNATURE_MARK: &[u8] = b"stand-in signature ";

/// Adds what every answer carries: usage, model version and response id.
pub(super) fn complete(answer: &mut Value, request: &Value, model_version: &str, id: String) {
    let (text, image) = prompt_tokens(request);
    let output = answer
        .pointer("/candidates/0/content/parts")
        .map_or(0, tokens);
    let mut usage = json!({
        "promptTokenCount": text + image,
        "totalTokenCount": text + image + output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": text}],
    });
    // Zero counts are absent, as from Google.
    if image > 0 {
        let details = &mut usage["promptTokensDetails"];
        if let Some(list) = details.as_array_mut() {
            list.push(json!({"modality": "IMAGE", "tokenCount": image}));
        }
    }
    if output > 0 {
        usage["candidatesTokenCount"] = output.into();
    }
    answer["usageMetadata"] = usage;
    answer["modelVersion"] = model_version.into();
    answer["responseId"] = id.into();
}

/// Puts a signature on the first call of an answer that has none yet.
pub(super) fn sign(answer: &mut Value) {
    let Some(content) = answer.pointer_mut("/candidates/0/content") else {
        return;
    };
    let digest = digest(content);
    if let Some(part) = first_call(content)
        && part.get("thoughtSignature").is_none()
    {
        let bytes = [SIGNATURE_MARK, &digest.to_be_bytes()].concat();
        part["thoughtSignature"] = STANDARD.encode(bytes).into();
    }
}

/// What a turn's signature says about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// The turn has calls, and the first of them carries none.
    Missing,
    /// Ours, but on a turn that is not the one it was given with; or not
    /// base64.
    Wrong,
    /// Ours, on the turn as it was given.
    Ours,
    /// The turn has no call, or a signature that a test made up.
    Unknown,
}

/// Checks the signature of a model turn that a client sent back.
pub(super) fn signature(content: &Value) -> Signature {
    let Some(part) = parts(content)
        .iter()
        .find(|p| p.get("functionCall").is_some())
    else {
        return Signature::Unknown;
    };
    let Some(encoded) = part.get("thoughtSignature").and_then(Value::as_str) else {
        return Signature::Missing;
    };
    let Ok(bytes) = STANDARD
        .decode(encoded)
        .or_else(|_| URL_SAFE.decode(encoded))
    else {
        return Signature::Wrong;
    };
    match bytes.strip_prefix(SIGNATURE_MARK) {
        None => Signature::Unknown,
        Some(rest) if rest == digest(content).to_be_bytes() => Signature::Ours,
        Some(_) => Signature::Wrong,
    }
}

/// The parts of a content; empty if it has none.
pub(super) fn parts(content: &Value) -> &[Value] {
    content["parts"].as_array().map_or(&[], Vec::as_slice)
}

fn first_call(content: &mut Value) -> Option<&mut Value> {
    let parts = content.get_mut("parts")?.as_array_mut()?;
    parts.iter_mut().find(|p| p.get("functionCall").is_some())
}

/// Binds a signature to its turn: to every field, value and place in it, but
/// not to the order of an object's fields, which JSON leaves open.
fn digest(content: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    digest_value(content, &mut hasher);
    hasher.finish()
}

fn digest_value(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0u8.hash(hasher),
        Value::Bool(flag) => (1u8, flag).hash(hasher),
        Value::Number(number) => (2u8, number.as_f64().map(f64::to_bits)).hash(hasher),
        Value::String(text) => (3u8, text).hash(hasher),
        Value::Array(items) => {
            (4u8, items.len()).hash(hasher);
            items.iter().for_each(|item| digest_value(item, hasher));
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| *name != "thoughtSignature")
                .collect();
            fields.sort_by_key(|(name, _)| *name);
            (5u8, fields.len()).hash(hasher);
            for (name, value) in fields {
                name.hash(hasher);
                digest_value(value, hasher);
            }
        }
    }
}

/// Tokens of a request's text and of its images, guessed.
fn prompt_tokens(request: &Value) -> (u64, u64) {
    let per_image = match request
        .pointer("/generationConfig/mediaResolution")
        .and_then(Value::as_str)
    {
        Some("MEDIA_RESOLUTION_LOW") => 280,
        Some("MEDIA_RESOLUTION_MEDIUM") => 560,
        _ => 1120,
    };
    let images = request["contents"].as_array().map_or(0, |contents| {
        contents
            .iter()
            .flat_map(parts)
            .filter(|part| part.get("inlineData").is_some())
            .count() as u64
    });
    (tokens(request), images * per_image)
}

/// A quarter of the characters of all texts and names, images left out.
fn tokens(value: &Value) -> u64 {
    characters(value).div_ceil(4)
}

fn characters(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(characters).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "inlineData" && *name != "thoughtSignature")
            .map(|(name, value)| name.len() as u64 + characters(value))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Value {
        json!({"candidates": [{"content": {"role": "model", "parts": [
            {"text": "first"},
            {"functionCall": {"name": "search_similar", "args": {"query": "lease", "n": 1}}},
        ]}}]})
    }

    #[test]
    fn a_signature_holds_only_for_the_turn_it_was_given_with() {
        let mut answer = turn();
        sign(&mut answer);
        let content = answer["candidates"][0]["content"].clone();
        assert_eq!(signature(&content), Signature::Ours);
        assert!(content["parts"][0].get("thoughtSignature").is_none());

        let mut urlsafe = content.clone();
        let encoded = &mut urlsafe["parts"][1]["thoughtSignature"];
        *encoded = encoded
            .as_str()
            .unwrap()
            .replace('+', "-")
            .replace('/', "_")
            .into();
        assert_eq!(signature(&urlsafe), Signature::Ours);

        let mut changed = content.clone();
        changed["parts"][1]["functionCall"]["args"]["query"] = "leas".into();
        assert_eq!(signature(&changed), Signature::Wrong);

        let mut swapped = content.clone();
        swapped["parts"].as_array_mut().unwrap().swap(0, 1);
        assert_eq!(signature(&swapped), Signature::Wrong);

        let mut moved = content.clone();
        let taken = moved["parts"][1]
            .as_object_mut()
            .unwrap()
            .remove("thoughtSignature");
        moved["parts"][0]["thoughtSignature"] = taken.unwrap();
        assert_eq!(signature(&moved), Signature::Missing);
    }

    #[test]
    fn usage_counts_images_by_resolution_and_leaves_out_zeros() {
        let image = json!({"inlineData": {"mimeType": "image/jpeg", "data": "A".repeat(4000)}});
        let mut request =
            json!({"contents": [{"role": "user", "parts": [image, {"text": "hello"}]}]});
        let mut answer = json!({"candidates": [{"finishReason": "STOP"}]});
        complete(&mut answer, &request, "stand-in-1", "r".into());
        let usage = &answer["usageMetadata"];
        assert_eq!(usage["promptTokensDetails"][1]["tokenCount"], 1120);
        assert!(usage["promptTokenCount"].as_u64().unwrap() < 1150);
        assert!(usage.get("candidatesTokenCount").is_none());

        request["generationConfig"]["mediaResolution"] = "MEDIA_RESOLUTION_LOW".into();
        let mut answer = turn();
        complete(&mut answer, &request, "stand-in-1", "r".into());
        let usage = &answer["usageMetadata"];
        assert_eq!(usage["promptTokensDetails"][1]["tokenCount"], 280);
        let sum = usage["promptTokenCount"].as_u64().unwrap()
            + usage["candidatesTokenCount"].as_u64().unwrap();
        assert_eq!(usage["totalTokenCount"], sum);
    }
}

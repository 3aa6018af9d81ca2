//! The order of turns: who may speak when, and which answers fit which calls.

use serde_json::Value;

use super::parts;
use crate::stand_in::answer::{self, Signature};
use crate::stand_in::refusal::Refusal;

const COUNT: &str = "Please ensure that the number of function response parts is equal to the \
    number of function call parts of the function call turn.";
const ANSWER_PLACE: &str = "Please ensure that function response turn comes immediately after a \
    function call turn.";
const CALL_PLACE: &str = "Please ensure that function call turn comes immediately after a user \
    turn or after a function response turn.";

/// Refuses a conversation in the wrong order; says whether each answer has the
/// id and the name of its call.
pub(super) fn check(request: &Value, signatures: bool) -> Result<bool, Refusal> {
    let contents = request["contents"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let Some(last) = contents.last() else {
        return Err(Refusal::invalid("contents is not specified"));
    };
    let mut matched = true;
    let mut waiting: Vec<&Value> = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let answers = values(content, "functionResponse");
        if is_model(content, index)? {
            let calls = values(content, "functionCall");
            if !waiting.is_empty() {
                return Err(Refusal::invalid(COUNT));
            }
            if !answers.is_empty() {
                return Err(Refusal::invalid(ANSWER_PLACE));
            }
            if !calls.is_empty() {
                if index == 0 || is_model(&contents[index - 1], index - 1)? {
                    return Err(Refusal::invalid(CALL_PLACE));
                }
                signed(content, index, signatures)?;
            }
            waiting = calls;
            continue;
        }
        if !values(content, "functionCall").is_empty() {
            return Err(Refusal::invalid(CALL_PLACE));
        }
        if !answers.is_empty() && waiting.is_empty() {
            return Err(Refusal::invalid(ANSWER_PLACE));
        }
        if answers.len() != waiting.len() {
            return Err(Refusal::invalid(COUNT));
        }
        if !answers.is_empty() && answers.len() != parts(content).len() {
            return Err(Refusal::invalid(format!(
                "contents[{index}]: nothing else may stand beside functionResponse parts."
            )));
        }
        matched &= waiting
            .iter()
            .zip(&answers)
            .all(|(call, answer)| call["name"] == answer["name"] && call["id"] == answer["id"]);
        waiting = Vec::new();
    }
    if is_model(last, contents.len() - 1)? {
        return Err(Refusal::invalid(
            "Please ensure that single turn requests end with a user role or the multiturn \
             conversation ends with a user turn.",
        ));
    }
    Ok(matched)
}

fn is_model(content: &Value, index: usize) -> Result<bool, Refusal> {
    match content["role"].as_str() {
        Some("model") => Ok(true),
        Some("user") | None => Ok(false),
        Some(_) => Err(Refusal::invalid(format!(
            "contents[{index}].role: please use a valid role: user, model."
        ))),
    }
}

fn values<'a>(content: &'a Value, payload: &str) -> Vec<&'a Value> {
    parts(content)
        .iter()
        .filter_map(|part| part.get(payload))
        .collect()
}

/// A turn with calls must come back with the signature it was given, in the
/// same part.
fn signed(content: &Value, index: usize, signatures: bool) -> Result<(), Refusal> {
    match answer::signature(content) {
        Signature::Ours | Signature::Unknown => Ok(()),
        Signature::Missing if !signatures => Ok(()),
        Signature::Missing => Err(Refusal::invalid(format!(
            "contents[{index}]: function call is missing a thoughtSignature in its first \
             functionCall part."
        ))),
        Signature::Wrong => Err(Refusal::invalid(format!(
            "contents[{index}]: the thoughtSignature does not fit: send the turn back as it came."
        ))),
    }
}

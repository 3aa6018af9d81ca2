//! Judges requests as strictly as Google's server would.

mod shapes;
mod turns;

use std::collections::BTreeSet;

use serde_json::Value;

use super::Options;
use super::answer::parts;
use super::refusal::Refusal;

/// What becomes of a request that is not refused.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It goes to the script or the rules.
    Fine(Value),
    /// An answer's id or name fits no call: the model says nothing, and
    /// pretends to be done.
    Bewildered(Value),
}

/// Judges a body. The request comes back in camelCase, whatever it came in.
pub(super) fn judge(body: &[u8], options: &Options) -> Result<Verdict, Refusal> {
    let mut request: Value = serde_json::from_slice(body).map_err(|_| {
        // Not the parser's own words: they can quote the request.
        Refusal::invalid("Invalid JSON payload received. The body is not JSON.")
    })?;
    shapes::check(&mut request, options.canonical)?;
    generation(&request["generationConfig"])?;
    let declared = functions(&request)?;
    calling(&request, &declared)?;
    cache(&request)?;
    let matched = turns::check(&request, options.signatures)?;
    Ok(if matched {
        Verdict::Fine(request)
    } else {
        Verdict::Bewildered(request)
    })
}

fn generation(config: &Value) -> Result<(), Refusal> {
    for name in ["temperature", "topP", "topK", "candidateCount"] {
        if config.get(name).is_some() {
            let message = format!("generationConfig.{name} is not supported by this model.");
            return Err(Refusal::invalid(message));
        }
    }
    let thinking = &config["thinkingConfig"];
    if thinking.get("thinkingLevel").is_some() && thinking.get("thinkingBudget").is_some() {
        return Err(Refusal::invalid(
            "You can only set one of thinkingLevel and thinkingBudget.",
        ));
    }
    Ok(())
}

/// Checks the declarations and returns their names.
fn functions(request: &Value) -> Result<BTreeSet<&str>, Refusal> {
    let mut names = BTreeSet::new();
    for declaration in declarations(request) {
        let name = declaration["name"].as_str().unwrap_or_default();
        if !is_function_name(name) {
            return Err(Refusal::invalid(
                "Invalid function name. Must start with a letter or an underscore, and hold only \
                 letters, digits, underscores, dots, colons and dashes, at most 64.",
            ));
        }
        if !names.insert(name) {
            return Err(Refusal::invalid(format!(
                "Duplicate function declaration: {name}."
            )));
        }
        if declaration.get("parameters").is_some()
            && declaration.get("parametersJsonSchema").is_some()
        {
            return Err(Refusal::invalid(format!(
                "{name}: only one of parameters and parametersJsonSchema may be set."
            )));
        }
        schema(&declaration["parameters"], name)?;
    }
    Ok(names)
}

fn declarations(request: &Value) -> impl Iterator<Item = &Value> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools.flat_map(|tool| {
        tool["functionDeclarations"]
            .as_array()
            .into_iter()
            .flatten()
    })
}

fn is_function_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
}

/// What the subset of OpenAPI asks beyond known keywords.
fn schema(schema: &Value, path: &str) -> Result<(), Refusal> {
    let wrong = |what: String| Err(Refusal::invalid(format!("{path}: {what}")));
    let kind = schema["type"].as_str().unwrap_or_default().to_uppercase();
    let properties = schema["properties"].as_object();
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !properties.is_some_and(|properties| properties.contains_key(name)) {
            return wrong(format!("required names {name}, which is no property"));
        }
    }
    if schema.get("enum").is_some() && kind != "STRING" {
        return wrong("only allowed for STRING type: enum".to_owned());
    }
    if kind == "OBJECT" && properties.is_none_or(serde_json::Map::is_empty) {
        return wrong("properties: should be non-empty for OBJECT type".to_owned());
    }
    if kind == "ARRAY" && schema.get("items").is_none() {
        return wrong("items: missing field".to_owned());
    }
    let format = schema["format"].as_str().unwrap_or_default();
    if kind == "STRING" && !matches!(format, "" | "enum" | "date-time") {
        return wrong("only 'enum' and 'date-time' are supported for STRING type".to_owned());
    }
    for (name, property) in properties.into_iter().flatten() {
        self::schema(property, &format!("{path}.{name}"))?;
    }
    for (index, choice) in schema["anyOf"].as_array().into_iter().flatten().enumerate() {
        self::schema(choice, &format!("{path}.any_of[{index}]"))?;
    }
    match schema.get("items") {
        Some(items) => self::schema(items, &format!("{path}.items")),
        None => Ok(()),
    }
}

fn calling(request: &Value, declared: &BTreeSet<&str>) -> Result<(), Refusal> {
    let config = &request["toolConfig"]["functionCallingConfig"];
    let mode = config["mode"].as_str().unwrap_or("AUTO").to_uppercase();
    let forced = matches!(mode.as_str(), "ANY" | "VALIDATED");
    if forced && declared.is_empty() {
        return Err(Refusal::invalid(format!(
            "Function calling mode {mode} is set without any function declaration."
        )));
    }
    for name in config["allowedFunctionNames"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = name.as_str().unwrap_or_default();
        if !forced {
            return Err(Refusal::invalid(
                "allowedFunctionNames is only supported with mode ANY or VALIDATED.",
            ));
        }
        if !declared.contains(name) {
            return Err(Refusal::invalid(format!(
                "allowedFunctionNames names {name}, which is not declared."
            )));
        }
    }
    Ok(())
}

fn cache(request: &Value) -> Result<(), Refusal> {
    if request.get("cachedContent").is_none() {
        return Ok(());
    }
    let fixed = ["systemInstruction", "tools", "toolConfig"];
    if fixed.iter().any(|name| request.get(name).is_some()) {
        return Err(Refusal::invalid(
            "CachedContent can not be used with systemInstruction, tools or toolConfig.",
        ));
    }
    Err(Refusal::new(
        403,
        "CachedContent not found (or permission denied)",
    ))
}

#[cfg(test)]
mod tests;

//! Requests spoiled in one place each, and what the judge says.

use serde_json::json;

use super::*;
use crate::stand_in::answer::sign;

/// A conversation of one search, as it should be.
fn good() -> Value {
    let mut answer = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"text": "Let me look."},
        {"functionCall": {"id": "c1", "name": "search_similar", "args": {"query": "lease"}}},
        {"functionCall": {"name": "search_keywords", "args": {"query": "lease"}}},
    ]}}]});
    sign(&mut answer);
    json!({
        "systemInstruction": {"parts": [{"text": "You look at screens."}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "Today is 2026-11-21."},
                {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4A=="}},
            ]},
            answer["candidates"][0]["content"],
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "search_similar", "response": {"output": []}}},
                {"functionResponse": {"name": "search_keywords", "response": {"error": "offline"}}},
            ]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "search_similar", "description": "d", "parameters": {
                "type": "OBJECT",
                "properties": {
                    "query": {"type": "string", "description": "what"},
                    "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": "10"},
                    "kind": {"type": "STRING", "enum": ["a", "b"]},
                },
                "required": ["query"],
            }},
            {"name": "search_keywords", "parametersJsonSchema": {"type": "object", "$ref": "any"}},
        ]}],
        "toolConfig": {"functionCallingConfig": {
            "mode": "ANY", "allowedFunctionNames": ["search_similar", "search_keywords"],
        }},
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
        ],
        "generationConfig": {
            "maxOutputTokens": 1024,
            "mediaResolution": "MEDIA_RESOLUTION_HIGH",
            "thinkingConfig": {"thinkingLevel": "low"},
        },
        "serviceTier": "standard",
    })
}

fn judge_with(request: &Value, options: &Options) -> Result<Verdict, Refusal> {
    judge(request.to_string().as_bytes(), options)
}

fn refusal(request: &Value) -> String {
    match judge_with(request, &Options::default()) {
        Err(refusal) => {
            assert_eq!(refusal.status, refusal.body["error"]["code"]);
            refusal.message().to_owned()
        }
        Ok(verdict) => panic!("passed: {verdict:?}"),
    }
}

#[test]
fn a08_a_good_request_passes() {
    let verdict = judge_with(&good(), &Options::default());
    assert_eq!(verdict, Ok(Verdict::Fine(good())));
}

#[test]
fn a08_what_google_would_refuse_is_refused() {
    type Spoil = fn(&mut Value);
    let table: &[(&str, Spoil)] = &[
        ("Unknown name \"foo\": Cannot", |r| r["foo"] = json!(1)),
        ("\"foo\" at 'contents[0].parts[1]'", |r| {
            r["contents"][0]["parts"][1]["foo"] = json!(1)
        }),
        ("\"foo\" at 'contents[0]'", |r| {
            r["contents"][0]["foo"] = json!(1)
        }),
        ("\"system_instruction\"", |r| {
            r["system_instruction"] = json!({"parts": [{"text": "x"}]})
        }),
        ("\"topLevel\"", |r| {
            r["generationConfig"]["topLevel"] = json!(1)
        }),
        ("generationConfig.temperature", |r| {
            r["generationConfig"]["temperature"] = json!(0.1)
        }),
        ("generationConfig.topP", |r| {
            r["generationConfig"]["topP"] = json!(0.1)
        }),
        ("generationConfig.topK", |r| {
            r["generationConfig"]["topK"] = json!(1)
        }),
        ("generationConfig.candidateCount", |r| {
            r["generationConfig"]["candidateCount"] = json!(1)
        }),
        ("thinkingLevel and thinkingBudget", |r| {
            r["generationConfig"]["thinkingConfig"]["thinkingBudget"] = json!(0);
        }),
        ("thinkingLevel': expected a known", |r| {
            r["generationConfig"]["thinkingConfig"]["thinkingLevel"] = json!("some");
        }),
        ("mediaResolution': expected a known", |r| {
            r["generationConfig"]["mediaResolution"] = json!("HUGE");
        }),
        ("contents is not specified", |r| r["contents"] = json!([])),
        ("contents.parts must not be empty", |r| {
            r["contents"][0]["parts"] = json!([])
        }),
        ("end with a user role", |r| {
            drop(r["contents"].as_array_mut().unwrap().pop())
        }),
        ("valid role", |r| {
            r["contents"][0]["role"] = json!("function")
        }),
        ("at 'contents': expected an array", |r| {
            r["contents"] = json!({})
        }),
        ("oneof field 'data' is already set", |r| {
            r["contents"][0]["parts"][1]["text"] = json!("x")
        }),
        ("must have one initialized field", |r| {
            r["contents"][0]["parts"][0] = json!({"thought": true})
        }),
        ("expected a string", |r| {
            r["contents"][0]["parts"][0]["text"] = json!(1)
        }),
        ("expected standard base64", |r| image(r, "/9j/4A==\n")),
        ("expected standard base64", |r| image(r, "/9j/4A")),
        ("expected standard base64", |r| image(r, "_9j_4A==")),
        ("expected standard base64", |r| {
            image(r, "data:image/jpeg;base64,/9j/4A==")
        }),
        ("data: required field", |r| image(r, "")),
        ("Unable to process input image", |r| image(r, "iVBORw==")),
        ("mimeType: required", |r| {
            let blob = &mut r["contents"][0]["parts"][1]["inlineData"];
            blob.as_object_mut().unwrap().remove("mimeType");
        }),
        ("number of function response parts", |r| {
            drop(answers(r).pop())
        }),
        ("number of function response parts", |r| {
            let one = answers(r)[0].clone();
            answers(r).push(one);
        }),
        ("number of function response parts", |r| {
            r["contents"]
                .as_array_mut()
                .unwrap()
                .insert(2, json!({"parts": [{"text": "x"}]}));
        }),
        ("immediately after a function call turn", |r| {
            r["contents"].as_array_mut().unwrap().remove(1);
        }),
        ("immediately after a user turn", |r| {
            r["contents"].as_array_mut().unwrap().remove(0);
        }),
        ("immediately after a user turn", |r| {
            r["contents"][1]["role"] = json!("user")
        }),
        ("nothing else may stand beside", |r| {
            answers(r).push(json!({"text": "x"}))
        }),
        ("response': expected an object", |r| {
            r["contents"][2]["parts"][0]["functionResponse"]["response"] = json!([]);
        }),
        ("missing a thoughtSignature", |r| {
            calls(r)[1]
                .as_object_mut()
                .unwrap()
                .remove("thoughtSignature");
        }),
        ("missing a thoughtSignature", |r| {
            let taken = calls(r)[1]
                .as_object_mut()
                .unwrap()
                .remove("thoughtSignature");
            calls(r)[2]["thoughtSignature"] = taken.unwrap();
        }),
        ("the thoughtSignature does not fit", |r| {
            calls(r)[1]["functionCall"]["id"] = json!("c2")
        }),
        ("the thoughtSignature does not fit", |r| {
            drop(calls(r).remove(0))
        }),
        ("expected standard base64", |r| {
            calls(r)[1]["thoughtSignature"] = json!("§")
        }),
        ("only one of parameters and parametersJsonSchema", |r| {
            function(r)["parametersJsonSchema"] = json!({"type": "object"});
        }),
        ("\"additionalProperties\"", |r| {
            function(r)["parameters"]["additionalProperties"] = json!(false);
        }),
        ("\"$schema\"", |r| {
            function(r)["parameters"]["$schema"] = json!("x")
        }),
        ("\"oneOf\"", |r| {
            function(r)["parameters"]["properties"]["query"]["oneOf"] = json!([]);
        }),
        ("type': expected a known", |r| {
            function(r)["parameters"]["type"] = json!(["OBJECT", "NULL"])
        }),
        ("required names foo", |r| {
            function(r)["parameters"]["required"] = json!(["foo"])
        }),
        ("only allowed for STRING type", |r| {
            function(r)["parameters"]["properties"]["kind"]["type"] = json!("INTEGER");
        }),
        ("items: missing field", |r| {
            function(r)["parameters"]["properties"]["query"]["type"] = json!("ARRAY");
        }),
        ("only 'enum' and 'date-time'", |r| {
            function(r)["parameters"]["properties"]["query"]["format"] = json!("date");
        }),
        ("Invalid function name", |r| {
            function(r)["name"] = json!("search similar")
        }),
        ("Duplicate function declaration", |r| {
            function(r)["name"] = json!("search_keywords")
        }),
        ("names foo, which is not declared", |r| {
            calling(r)["allowedFunctionNames"] = json!(["foo"])
        }),
        ("only supported with mode ANY", |r| {
            calling(r)["mode"] = json!("AUTO")
        }),
        ("mode': expected a known", |r| {
            calling(r)["mode"] = json!("SOME")
        }),
        ("mode ANY is set without any", |r| r["tools"] = json!([])),
        ("CachedContent can not be used", |r| {
            r["cachedContent"] = json!("cachedContents/1")
        }),
    ];
    for (expected, spoil) in table {
        let mut request = good();
        spoil(&mut request);
        let message = refusal(&request);
        assert!(
            message.contains(expected),
            "{expected:?} is not in {message:?}"
        );
    }
}

fn image(request: &mut Value, data: &str) {
    request["contents"][0]["parts"][1]["inlineData"]["data"] = data.into();
}

fn calls(request: &mut Value) -> &mut Vec<Value> {
    request["contents"][1]["parts"].as_array_mut().unwrap()
}

fn answers(request: &mut Value) -> &mut Vec<Value> {
    request["contents"][2]["parts"].as_array_mut().unwrap()
}

fn function(request: &mut Value) -> &mut Value {
    &mut request["tools"][0]["functionDeclarations"][0]
}

fn calling(request: &mut Value) -> &mut Value {
    &mut request["toolConfig"]["functionCallingConfig"]
}

#[test]
fn an_answer_with_another_id_or_name_bewilders_the_model() {
    type Spoil = fn(&mut Value);
    let table: &[Spoil] = &[
        |r| answers(r)[0]["functionResponse"]["id"] = json!("c2"),
        |r| {
            drop(
                answers(r)[0]["functionResponse"]
                    .as_object_mut()
                    .unwrap()
                    .remove("id"),
            )
        },
        |r| answers(r)[1]["functionResponse"]["id"] = json!("invented"),
        |r| answers(r)[1]["functionResponse"]["name"] = json!("search_similar"),
        |r| answers(r).swap(0, 1),
    ];
    for spoil in table {
        let mut request = good();
        spoil(&mut request);
        let verdict = judge_with(&request, &Options::default());
        assert_eq!(verdict, Ok(Verdict::Bewildered(request)));
    }
}

#[test]
fn fields_that_no_client_knows_may_come_back_in_a_turn_that_had_them() {
    let mut answer = json!({"candidates": [{"content": {
        "role": "model", "futureField": 1,
        "parts": [{"functionCall": {"name": "search_similar", "futureArgs": {}}, "futurePart": 2}],
    }}]});
    sign(&mut answer);
    let mut request = good();
    request["contents"][1] = answer["candidates"][0]["content"].clone();
    request["contents"][2]["parts"] =
        json!([{"functionResponse": {"name": "search_similar", "response": {}}}]);
    assert!(judge_with(&request, &Options::default()).is_ok());
    calls(&mut request)[0]["futurePart"] = json!(3);
    assert!(refusal(&request).contains("\"future"));
}

#[test]
fn a_scripted_signature_is_taken_as_it_is_and_none_only_on_older_models() {
    let mut request = good();
    calls(&mut request)[1]["thoughtSignature"] = json!("c2NyaXB0ZWQ=");
    assert!(judge_with(&request, &Options::default()).is_ok());
    calls(&mut request)[1]
        .as_object_mut()
        .unwrap()
        .remove("thoughtSignature");
    let older = Options {
        signatures: false,
        ..Options::default()
    };
    assert!(judge_with(&request, &older).is_ok());
}

#[test]
fn other_clients_may_write_snake_case_and_url_safe_base64() {
    let mut request = good();
    image(&mut request, "_9j_4A==");
    request["generationConfig"]["thinkingConfig"] = json!({"thinking_level": "LOW"});
    let google = Options {
        canonical: false,
        ..Options::default()
    };
    let Ok(Verdict::Fine(read)) = judge_with(&request, &google) else {
        panic!("refused");
    };
    assert_eq!(
        read["generationConfig"]["thinkingConfig"]["thinkingLevel"],
        "LOW"
    );
    request["generationConfig"]["no_such_field"] = json!(1);
    assert!(judge_with(&request, &google).is_err());
}

#[test]
fn a_body_that_is_no_json_is_refused_without_quoting_it() {
    for body in ["", "secret", "[]", "{\"contents\": \"secret\"}"] {
        let refusal = judge(body.as_bytes(), &Options::default()).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(!refusal.message().contains("secret"));
    }
}

"""Judges recorded generateContent requests by the official SDK's own types.

    judge_requests.py DIR         every *.json in DIR is one request body
    judge_requests.py --self-test shows that good bodies pass and bad ones fail

Stricter than the SDK in three ways: each name must be the camelCase one of the
wire, each enum value a known one, and bytes must be standard base64 without
line breaks. Prints one line per file; exits with 1 if any file is refused, with
2 if there is nothing to judge.
"""

import base64
import binascii
import copy
import enum
import json
import pathlib
import sys
import types as py_types
import typing
import warnings

import pydantic
from google.genai import types

# GenerateContentRequest as it goes over the wire. The SDK has no type of its
# own for it: it makes this object out of arguments and GenerateContentConfig.
REQUEST = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "safetySettings": list[types.SafetySetting],
    "generationConfig": types.GenerationConfig,
    "cachedContent": str,
    "serviceTier": types.ServiceTier,
}


class Refused(Exception):
    """A body that does not fit; says where and why."""


def judge(body):
    """Raises Refused unless `body` is a request that the SDK could have sent."""
    if not isinstance(body, dict):
        raise Refused("the body is not an object")
    if not body.get("contents"):
        raise Refused("contents: missing or empty")
    for name, value in body.items():
        if name not in REQUEST:
            raise Refused(f"{name}: no field of a request")
        judge_as(value, REQUEST[name], name)


def judge_as(value, annotation, path):
    """Raises Refused unless `value` is an `annotation`, by our walk and the SDK's."""
    walk(value, annotation, path)
    with warnings.catch_warnings():
        # The SDK only warns about enum values that it does not know.
        warnings.simplefilter("error")
        try:
            pydantic.TypeAdapter(annotation).validate_python(value)
        except (pydantic.ValidationError, Warning) as error:
            raise Refused(f"{path}: the SDK refuses it: {error}") from error


def walk(value, annotation, path):
    """Checks names, enum values and base64, which the SDK takes in many forms."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, py_types.UnionType):
        walk_choice(value, typing.get_args(annotation), path)
    elif origin is list:
        if not isinstance(value, list):
            raise Refused(f"{path}: expected an array")
        for index, item in enumerate(value):
            walk(item, typing.get_args(annotation)[0], f"{path}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            raise Refused(f"{path}: expected an object")
        for name, item in value.items():
            walk(item, typing.get_args(annotation)[1], f"{path}.{name}")
    elif isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        walk_fields(value, annotation, path)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        # Google reads enum values in any case; schema types are often lower.
        known = {str(member.value).upper() for member in annotation}
        if not isinstance(value, str) or value.upper() not in known:
            raise Refused(f"{path}: {value!r} is no {annotation.__name__}")
    elif annotation is bytes:
        walk_base64(value, path)
    elif annotation in (str, bool, int, float):
        walk_plain(value, annotation, path)
    elif annotation is not typing.Any and annotation is not object and origin is not typing.Literal:
        raise AssertionError(f"{path}: this script does not know {annotation}")


def walk_choice(value, choices, path):
    choices = [choice for choice in choices if choice is not type(None)]
    if len(choices) == 1:
        # Optional[...]; null has no place in a request.
        walk(value, choices[0], path)
        return
    reasons = []
    for choice in choices:
        try:
            walk(value, choice, path)
            return
        except Refused as refused:
            reasons.append(str(refused))
    raise Refused(f"{path}: fits none of its types: {'; '.join(reasons)}")


def walk_fields(value, model, path):
    if not isinstance(value, dict):
        raise Refused(f"{path}: expected an object, a {model.__name__}")
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, item in value.items():
        if name not in fields:
            raise Refused(f"{path}.{name}: no field of {model.__name__}")
        walk(item, fields[name].annotation, f"{path}.{name}")


def walk_base64(value, path):
    if not isinstance(value, str):
        raise Refused(f"{path}: expected base64")
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise Refused(f"{path}: no standard base64: {error}") from error


def walk_plain(value, kind, path):
    # In Python a bool is an int; in JSON it is not.
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise Refused(f"{path}: expected {kind.__name__}")


GOOD = {
    "systemInstruction": {"parts": [{"text": "You look at screens."}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "Today is 2026-11-21."},
                {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4A=="}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "c1", "name": "search_similar", "args": {"query": "x"}},
                    "thoughtSignature": "c2lnbmVk",
                }
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "c1",
                        "name": "search_similar",
                        "response": {"output": {"results": [], "anyName": None}},
                    }
                }
            ],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "search_similar",
                    "description": "Searches.",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"query": {"type": "string", "description": "What."}},
                        "required": ["query"],
                    },
                }
            ]
        }
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["search_similar"]}
    },
    "generationConfig": {
        "maxOutputTokens": 1024,
        "mediaResolution": "MEDIA_RESOLUTION_HIGH",
        "thinkingConfig": {"thinkingLevel": "LOW"},
    },
    "serviceTier": "standard",
}

# Where to put what, and a word that the refusal must say.
BAD = [
    (("foo",), 1, "foo: no field of a request"),
    (("system_instruction",), {"parts": []}, "system_instruction: no field"),
    (("contents",), [], "contents: missing or empty"),
    (("contents", 0, "foo"), 1, "contents[0].foo: no field of Content"),
    (("contents", 0, "parts", 0, "foo"), 1, "no field of Part"),
    (("contents", 0, "parts", 0, "text"), 1, "expected str"),
    (("contents", 0, "parts", 0, "text"), None, "expected str"),
    (("contents", 0, "parts", 0, "thought_signature"), "", "no field of Part"),
    (("contents", 0, "parts", 1, "inlineData", "mime_type"), "", "no field of Blob"),
    (("contents", 0, "parts", 1, "inlineData", "data"), "/9j/\n4A==", "no standard base64"),
    (("contents", 0, "parts", 1, "inlineData", "data"), "_9j_4A==", "no standard base64"),
    (("contents", 1, "parts", 0, "functionCall", "argz"), {}, "no field of FunctionCall"),
    (("contents", 2, "parts", 0, "functionResponse", "response"), [], "expected an object"),
    (("tools", 0, "functionDeclarations", 0, "foo"), 1, "no field of FunctionDeclaration"),
    (("tools", 0, "functionDeclarations", 0, "parameters", "$schema"), "", "no field of Schema"),
    (("tools", 0, "functionDeclarations", 0, "parameters", "type"), "MAP", "is no Type"),
    (("toolConfig", "functionCallingConfig", "mode"), "SOME", "is no FunctionCallingConfigMode"),
    (("generationConfig", "maxOutputTokens"), "many", "expected int"),
    (("generationConfig", "maxOutputTokens"), True, "expected int"),
    (("generationConfig", "mediaResolution"), "HUGE", "is no MediaResolution"),
    (("generationConfig", "thinkingConfig", "thinkingLevel"), "SOME", "is no ThinkingLevel"),
    (("generationConfig", "thinkingLevel"), "LOW", "no field of GenerationConfig"),
    (("serviceTier",), "luxury", "is no ServiceTier"),
]


def self_test():
    judge(GOOD)
    for path, value, expected in BAD:
        body = copy.deepcopy(GOOD)
        place = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        try:
            judge(body)
        except Refused as refused:
            if expected not in str(refused):
                raise SystemExit(f"{path}: {expected!r} is not in {str(refused)!r}") from refused
        else:
            raise SystemExit(f"{path} = {value!r} should have been refused")
    print(f"self-test: 1 good body passed, {len(BAD)} bad ones were refused")


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    files = sorted(pathlib.Path(arguments[0]).glob("*.json"))
    if not files:
        print(f"no *.json in {arguments[0]}", file=sys.stderr)
        return 2
    failures = 0
    for file in files:
        try:
            judge(json.loads(file.read_bytes()))
            print(f"{file.name}: ok")
        except (Refused, ValueError) as error:
            failures += 1
            print(f"{file.name}: REFUSED: {error}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Talks to a running stand-in with Google's official SDK.

    sdk_client.py BASE_URL

The stand-in must answer three requests by its rules, then block a prompt, then
send a 429 with a RetryInfo (tests/sdk.rs scripts it so). Every answer must
parse without a warning, and hold nothing that the SDK's types do not know.
"""

import faulthandler
import json
import sys
import warnings

from google import genai
from google.genai import errors, types

from judge_requests import judge_as

# Nothing here waits for anybody: longer than this is a hang.
DEADLINE_S = 60

SEARCHES = ["search_similar", "search_keywords"]
DECISIONS = ["extract_task", "reject_task", "no_task_found"]
SCREEN = "Hi, can you send the Berlin office the signed lease before Tuesday?"


def declaration(name):
    text = types.Schema(type=types.Type.STRING)
    return types.FunctionDeclaration(
        name=name,
        description=f"The function {name}.",
        parameters=types.Schema(
            type=types.Type.OBJECT,
            properties={"query": text} if name in SEARCHES else {"reason": text, "title": text},
        ),
    )


def config(allowed):
    return types.GenerateContentConfig(
        system_instruction="You find tasks on screens.",
        tools=[types.Tool(function_declarations=[declaration(n) for n in SEARCHES + DECISIONS])],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(
                mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=allowed
            )
        ),
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def prompt():
    text = (
        "Today is Saturday, 2026-11-21.\n⟦app⟧Slack⟦/app⟧\n⟦window⟧general⟦/window⟧\n"
        f"⟦screen_text⟧{SCREEN}⟦/screen_text⟧"
    )
    # Bytes whose base64 differs between the two alphabets.
    image = types.Part.from_bytes(data=b"\xff\xd8\xff\xfb\xf0", mime_type="image/jpeg")
    return types.Content(role="user", parts=[types.Part(text=text), image])


def check_usage(usage, image_tokens):
    assert usage.prompt_token_count > image_tokens, usage
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    by_modality = {d.modality: d.token_count for d in usage.prompt_tokens_details}
    assert by_modality[types.MediaModality.IMAGE] == image_tokens, usage
    assert usage.cached_content_token_count is None and usage.thoughts_token_count is None


def converse(client):
    """Two searches, each answered as it wants to be, and then the decision."""
    contents = [prompt()]
    called = []
    for step in range(3):
        answer = client.models.generate_content(
            model="gemini-3.5-flash-lite",
            contents=contents,
            config=config(SEARCHES + DECISIONS if step < 2 else DECISIONS),
        )
        candidate = answer.candidates[0]
        assert candidate.finish_reason is types.FinishReason.STOP, answer
        assert answer.model_version == "stand-in-1", answer
        assert answer.response_id, answer
        check_usage(answer.usage_metadata, image_tokens=280)
        (call,) = answer.function_calls
        assert call.id, call
        assert candidate.content.role == "model"
        assert candidate.content.parts[0].thought_signature, "a turn of calls is signed"
        called.append(call.name)
        contents.append(candidate.content)
        response = types.FunctionResponse(
            id=call.id, name=call.name, response={"output": {"results": [], "count": 0}}
        )
        contents.append(
            types.Content(role="user", parts=[types.Part(function_response=response)])
        )
    assert called == ["search_similar", "search_keywords", "extract_task"], called
    assert len(call.args) == 12, call.args
    assert call.args["title"] == "Send the Berlin office the signed lease before Tuesday", call.args
    assert call.args["inferred_deadline"] == "2026-11-24", call.args
    assert call.args["relevance_score"] == 25, call.args


def blocked(client):
    answer = client.models.generate_content(
        model="gemini-3.5-flash-lite", contents=[prompt()], config=config(DECISIONS)
    )
    assert not answer.candidates, answer
    assert answer.prompt_feedback.block_reason is types.BlockedReason.SAFETY, answer
    assert answer.usage_metadata.prompt_token_count > 0, answer


def limited(client):
    try:
        client.models.generate_content(
            model="gemini-3.5-flash-lite", contents=[prompt()], config=config(DECISIONS)
        )
    except errors.ClientError as error:
        assert error.code == 429, error
        assert error.status == "RESOURCE_EXHAUSTED", error
        (retry,) = error.details["error"]["details"]
        assert retry["@type"] == "type.googleapis.com/google.rpc.RetryInfo", retry
        assert retry["retryDelay"] == "1.5s", retry
    else:
        raise AssertionError("a 429 must be an error")


def main(base_url):
    faulthandler.dump_traceback_later(DEADLINE_S, exit=True)
    # The SDK drops unknown fields silently, so the raw answers are looked at.
    answers = []

    def keep(response):
        answers.append((response.status_code, response.read()))

    client = genai.Client(
        api_key="key-of-a-test",
        http_options=types.HttpOptions(
            base_url=base_url,
            api_version="v1beta",
            client_args={"event_hooks": {"response": [keep]}, "trust_env": False},
        ),
    )
    # The SDK only warns about enum values that it does not know.
    warnings.simplefilter("error")
    converse(client)
    blocked(client)
    limited(client)
    assert [status for status, _ in answers] == [200, 200, 200, 200, 429], answers
    for number, (status, body) in enumerate(answers):
        if status == 200:
            judge_as(json.loads(body), types.GenerateContentResponse, f"answers[{number}]")
    print(f"google-genai {genai.__version__}: {len(answers)} answers accepted")


if __name__ == "__main__":
    main(sys.argv[1])

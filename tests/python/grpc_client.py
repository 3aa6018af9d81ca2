"""A desktop that knows nothing but the .proto file, played against a server.

    grpc_client.py PROTO_DIR ADDRESS TOKEN

Generates its stubs into a temporary directory, as any Python project would, and
goes through handshake, heartbeat, a frame with searches, the error paths,
health and both versions of reflection. Exits with 0 if the server did all that
as the contract says; else with a traceback. Every call has a deadline.
"""

import importlib
import pathlib
import queue
import sys
import tempfile

import grpc
import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_tools import protoc

PATIENCE = 20  # seconds
SERVICE = "proactive.v1.ProactiveAI"
REQUEST = "Anna: Hi, can you send the Berlin office the signed lease before Tuesday?"


def generate(proto_dir, folder):
    """Compiles the contract and returns its two modules."""
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    failed = protoc.main(
        [
            "protoc",
            f"-I{proto_dir}",
            f"-I{well_known}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "proactive/v1/proactive.proto",
        ]
    )
    assert not failed, "the contract does not compile"
    sys.path.insert(0, folder)
    name = "proactive.v1.proactive_pb2"
    return importlib.import_module(name), importlib.import_module(f"{name}_grpc")


class Desk:
    """One stream; what it says is put into a queue."""

    def __init__(self, pb, stub, token):
        self.pb = pb
        self.said = queue.SimpleQueue()
        # None ends this side of the stream.
        said = iter(self.said.get, None)
        metadata = [
            ("authorization", f"Bearer {token}"),
            ("x-app-platform", "python"),
            ("x-device-id", "a-generated-client"),
        ]
        self.events = stub.Session(said, metadata=metadata, timeout=PATIENCE)

    def say(self, **event):
        self.said.put(self.pb.ClientEvent(**event))

    def close(self):
        self.said.put(None)

    def next(self, kind):
        event = next(self.events)
        assert event.WhichOneof("event") == kind, f"not {kind}: {event}"
        return getattr(event, kind)


def session(pb, stub, token):
    """Hello, heartbeat, a frame with searches, a bad frame, half-close."""
    desk = Desk(pb, stub, token)
    desk.say(frame_event=pb.FrameEvent(frame_number=1, ocr_text="early"))
    error = desk.next("server_error")
    assert (error.code, error.retryable, error.frame_id) == ("NO_CONTEXT", True, "1"), error

    context = pb.SessionContext(active_tasks=[pb.ActiveTask(task_id=1, description="Water the plants")])
    desk.say(
        client_hello=pb.ClientHello(
            protocol_version="1.1", context_version="v7", session_context=context
        )
    )
    ready = desk.next("session_ready")
    assert len(ready.session_id) == 36, ready
    assert (ready.protocol_version, ready.context_version) == ("1.1", "v7"), ready
    assert ready.max_model_iterations == 5, ready
    assert list(ready.supported_tool_kinds) == [pb.SEARCH_SIMILAR, pb.SEARCH_KEYWORDS], ready

    beat = pb.Heartbeat()
    beat.sent_at.GetCurrentTime()
    desk.say(heartbeat=beat)
    desk.say(frame_event=pb.FrameEvent(screenshot_id="not a picture", jpeg_bytes=b"GIF89a"))
    error = desk.next("server_error")
    assert (error.code, error.frame_id) == ("INVALID_FRAME", "not a picture"), error

    desk.say(frame_event=pb.FrameEvent(frame_number=2, app_name="Huddle", ocr_text=REQUEST))
    searches = 0
    event = next(desk.events)
    while event.WhichOneof("event") == "tool_call_request":
        call = event.tool_call_request
        searches += 1
        assert call.frame_id == "2" and call.arguments.query and 0 < call.deadline_ms <= 10_000, call
        desk.say(heartbeat=beat)
        hit = pb.SearchResult(
            task_id=1,
            description="Water the plants",
            status=pb.TASK_STATUS_ACTIVE,
            similarity=0.1,
            match_type=pb.MATCH_TYPE_VECTOR,
        )
        desk.say(
            tool_result=pb.ToolResult(
                request_id=call.request_id, frame_id="2", result=pb.SearchResults(items=[hit])
            )
        )
        event = next(desk.events)
    outcome = event.analysis_outcome
    assert searches >= 1, "no search came before the decision"
    assert outcome.outcome_kind == pb.EXTRACT_TASK and outcome.frame_id == "2", event
    assert "Berlin" in outcome.task.title and "lease" in outcome.task.title, outcome
    assert outcome.bill.model_calls > searches > 0 and outcome.bill.cost_micro_usd > 0, outcome

    # What was accepted is answered, although this side has nothing more to say.
    desk.say(frame_event=pb.FrameEvent(frame_number=3, ocr_text="fn main() {}"))
    desk.close()
    outcome = desk.next("analysis_outcome")
    assert outcome.outcome_kind == pb.NO_TASK_FOUND and outcome.frame_id == "3", outcome
    assert next(desk.events, None) is None
    assert desk.events.code() == grpc.StatusCode.OK, desk.events


def refused(pb, stub, token):
    """A stream with a bad token, or none, ends before any event."""
    forged = token[:-8] + "AAAAAAAA"
    for bad in [forged, "secret-of-somebody", ""]:
        desk = Desk(pb, stub, bad)
        try:
            event = next(desk.events)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
            assert error.details() and not (bad and bad[-8:] in error.details()), error
        else:
            raise AssertionError(f"accepted: {event}")


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", SERVICE]:
        asked = health_pb2.HealthCheckRequest(service=service)
        # SERVING follows soon after the first tokens can be judged.
        for answer in stub.Watch(asked, timeout=PATIENCE):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                break
        assert stub.Check(asked, timeout=PATIENCE).status == health_pb2.HealthCheckResponse.SERVING
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="no.such"), timeout=PATIENCE)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("a service that is not there is healthy")


def reflection(channel, version):
    """Asks by hand: the versions differ in their name only, their messages are the same."""
    if version == "v1alpha":
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    else:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = list(call(iter(asked), timeout=PATIENCE))
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names, names
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in described.file_descriptor_response.file_descriptor_proto
    ]
    contract = next(file for file in files if file.name == "proactive/v1/proactive.proto")
    assert contract.service[0].method[0].name == "Session", contract


def main(proto_dir, address, token):
    # A proxy of the environment does not know our loopback.
    channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
    with tempfile.TemporaryDirectory() as folder, channel:
        pb, pb_grpc = generate(proto_dir, folder)
        stub = pb_grpc.ProactiveAIStub(channel)
        health(channel)
        for version in ["v1", "v1alpha"]:
            reflection(channel, version)
        refused(pb, stub, token)
        session(pb, stub, token)
    print("ok: health, reflection v1 and v1alpha, refused streams, a whole session")


if __name__ == "__main__":
    main(*sys.argv[1:])

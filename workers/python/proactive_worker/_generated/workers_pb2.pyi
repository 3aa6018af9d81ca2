import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerEvent(_message.Message):
    __slots__ = ("hello", "result", "chunk", "failure", "progress", "variable", "heartbeat", "leaving")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    hello: WorkerHello
    result: CallResult
    chunk: CallChunk
    failure: CallFailure
    progress: CallProgress
    variable: VariableRequest
    heartbeat: WorkerHeartbeat
    leaving: WorkerLeaving
    def __init__(self, hello: _Optional[_Union[WorkerHello, _Mapping]] = ..., result: _Optional[_Union[CallResult, _Mapping]] = ..., chunk: _Optional[_Union[CallChunk, _Mapping]] = ..., failure: _Optional[_Union[CallFailure, _Mapping]] = ..., progress: _Optional[_Union[CallProgress, _Mapping]] = ..., variable: _Optional[_Union[VariableRequest, _Mapping]] = ..., heartbeat: _Optional[_Union[WorkerHeartbeat, _Mapping]] = ..., leaving: _Optional[_Union[WorkerLeaving, _Mapping]] = ...) -> None: ...

class WorkerCommand(_message.Message):
    __slots__ = ("ready", "execute", "execute_streaming", "cancel", "credit", "variable", "heartbeat", "go_away")
    READY_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_STREAMING_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    ready: WorkerReady
    execute: ExecuteTool
    execute_streaming: ExecuteStreamingTool
    cancel: CancelCall
    credit: CallCredit
    variable: VariableResponse
    heartbeat: ServerHeartbeat
    go_away: GoAway
    def __init__(self, ready: _Optional[_Union[WorkerReady, _Mapping]] = ..., execute: _Optional[_Union[ExecuteTool, _Mapping]] = ..., execute_streaming: _Optional[_Union[ExecuteStreamingTool, _Mapping]] = ..., cancel: _Optional[_Union[CancelCall, _Mapping]] = ..., credit: _Optional[_Union[CallCredit, _Mapping]] = ..., variable: _Optional[_Union[VariableResponse, _Mapping]] = ..., heartbeat: _Optional[_Union[ServerHeartbeat, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ...) -> None: ...

class WorkerHello(_message.Message):
    __slots__ = ("name", "version", "tools", "calls_at_once")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CALLS_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    tools: _containers.RepeatedCompositeFieldContainer[ToolDeclaration]
    calls_at_once: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., tools: _Optional[_Iterable[_Union[ToolDeclaration, _Mapping]]] = ..., calls_at_once: _Optional[int] = ...) -> None: ...

class ToolDeclaration(_message.Message):
    __slots__ = ("name", "description", "parameters_json", "streaming", "changes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    streaming: bool
    changes: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ..., streaming: bool = ..., changes: bool = ...) -> None: ...

class WorkerReady(_message.Message):
    __slots__ = ("worker_id", "heartbeat_interval_ms", "refused")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    heartbeat_interval_ms: int
    refused: _containers.RepeatedCompositeFieldContainer[ToolRefused]
    def __init__(self, worker_id: _Optional[str] = ..., heartbeat_interval_ms: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[ToolRefused, _Mapping]]] = ...) -> None: ...

class ToolRefused(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("call_id", "tool", "arguments", "deadline_ms", "context", "traceparent", "tracestate")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    tool: str
    arguments: ObjectValue
    deadline_ms: int
    context: CallContext
    traceparent: str
    tracestate: str
    def __init__(self, call_id: _Optional[str] = ..., tool: _Optional[str] = ..., arguments: _Optional[_Union[ObjectValue, _Mapping]] = ..., deadline_ms: _Optional[int] = ..., context: _Optional[_Union[CallContext, _Mapping]] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class CallContext(_message.Message):
    __slots__ = ("session_id", "locale", "time_zone", "utc_offset_minutes", "now")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    UTC_OFFSET_MINUTES_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    locale: str
    time_zone: str
    utc_offset_minutes: int
    now: _timestamp_pb2.Timestamp
    def __init__(self, session_id: _Optional[str] = ..., locale: _Optional[str] = ..., time_zone: _Optional[str] = ..., utc_offset_minutes: _Optional[int] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExecuteTool(_message.Message):
    __slots__ = ("call",)
    CALL_FIELD_NUMBER: _ClassVar[int]
    call: ToolCall
    def __init__(self, call: _Optional[_Union[ToolCall, _Mapping]] = ...) -> None: ...

class ExecuteStreamingTool(_message.Message):
    __slots__ = ("call", "credit")
    CALL_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    call: ToolCall
    credit: int
    def __init__(self, call: _Optional[_Union[ToolCall, _Mapping]] = ..., credit: _Optional[int] = ...) -> None: ...

class CallResult(_message.Message):
    __slots__ = ("call_id", "value", "took_us")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TOOK_US_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    value: Value
    took_us: int
    def __init__(self, call_id: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., took_us: _Optional[int] = ...) -> None: ...

class CallChunk(_message.Message):
    __slots__ = ("call_id", "sequence", "value")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    sequence: int
    value: Value
    def __init__(self, call_id: _Optional[str] = ..., sequence: _Optional[int] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class CallFailure(_message.Message):
    __slots__ = ("call_id", "code", "message", "never_ran")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEVER_RAN_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    code: int
    message: str
    never_ran: bool
    def __init__(self, call_id: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., never_ran: bool = ...) -> None: ...

class CallProgress(_message.Message):
    __slots__ = ("call_id", "message", "fraction")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    message: str
    fraction: float
    def __init__(self, call_id: _Optional[str] = ..., message: _Optional[str] = ..., fraction: _Optional[float] = ...) -> None: ...

class CancelCall(_message.Message):
    __slots__ = ("call_id", "reason")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    reason: str
    def __init__(self, call_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CallCredit(_message.Message):
    __slots__ = ("call_id", "more")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    more: int
    def __init__(self, call_id: _Optional[str] = ..., more: _Optional[int] = ...) -> None: ...

class WorkerHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServerHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "time_left_ms", "reconnect_delay_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    time_left_ms: int
    reconnect_delay_ms: int
    def __init__(self, reason: _Optional[str] = ..., time_left_ms: _Optional[int] = ..., reconnect_delay_ms: _Optional[int] = ...) -> None: ...

class WorkerLeaving(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VariableRequest(_message.Message):
    __slots__ = ("request_id", "call_id", "get", "set", "list", "delete")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    call_id: str
    get: GetVariable
    set: SetVariable
    list: ListVariables
    delete: DeleteVariable
    def __init__(self, request_id: _Optional[str] = ..., call_id: _Optional[str] = ..., get: _Optional[_Union[GetVariable, _Mapping]] = ..., set: _Optional[_Union[SetVariable, _Mapping]] = ..., list: _Optional[_Union[ListVariables, _Mapping]] = ..., delete: _Optional[_Union[DeleteVariable, _Mapping]] = ...) -> None: ...

class GetVariable(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class SetVariable(_message.Message):
    __slots__ = ("name", "value", "expected_version", "time_to_live_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: Value
    expected_version: int
    time_to_live_s: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., expected_version: _Optional[int] = ..., time_to_live_s: _Optional[int] = ...) -> None: ...

class ListVariables(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class DeleteVariable(_message.Message):
    __slots__ = ("name", "expected_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_version: int
    def __init__(self, name: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class VariableResponse(_message.Message):
    __slots__ = ("request_id", "code", "message", "variables")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    code: int
    message: str
    variables: _containers.RepeatedCompositeFieldContainer[Variable]
    def __init__(self, request_id: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., variables: _Optional[_Iterable[_Union[Variable, _Mapping]]] = ...) -> None: ...

class Variable(_message.Message):
    __slots__ = ("name", "value", "version", "expires_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: Value
    version: int
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., version: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("null", "boolean", "integer", "number", "text", "binary", "list", "object")
    NULL_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    null: NullValue
    boolean: bool
    integer: int
    number: float
    text: str
    binary: bytes
    list: ListValue
    object: ObjectValue
    def __init__(self, null: _Optional[_Union[NullValue, _Mapping]] = ..., boolean: bool = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., binary: _Optional[bytes] = ..., list: _Optional[_Union[ListValue, _Mapping]] = ..., object: _Optional[_Union[ObjectValue, _Mapping]] = ...) -> None: ...

class NullValue(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListValue(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, items: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class ObjectValue(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Value]
    def __init__(self, fields: _Optional[_Mapping[str, Value]] = ...) -> None: ...

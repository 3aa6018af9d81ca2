//! The wire contract as deployed: desktops in the field are generated from it,
//! so every name, number and type stays; additions take new numbers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use proactive::transport::proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Protocol 1.0: a message, and its fields as `number name type`.
const MESSAGES: &[(&str, &str)] = &[
    (
        "ClientEvent",
        "1 client_hello ClientHello, 2 frame_event FrameEvent, 3 tool_result ToolResult, \
         4 heartbeat Heartbeat",
    ),
    (
        "ServerEvent",
        "1 session_ready SessionReady, 2 tool_call_request ToolCallRequest, \
         3 analysis_outcome AnalysisOutcome, 4 cancel_tool_request CancelToolRequest, \
         5 server_error ServerError",
    ),
    (
        "ClientHello",
        "1 protocol_version string, 2 client_instance_id string, 3 app_version string, \
         4 os_version string, 5 device_name string, 6 context_version string, \
         7 session_context SessionContext",
    ),
    (
        "SessionReady",
        "1 session_id string, 2 protocol_version string, 3 context_version string, \
         4 max_model_iterations int32, 5 supported_tool_kinds repeated ToolKind",
    ),
    (
        "FrameEvent",
        "1 jpeg_bytes bytes, 2 app_name string, 3 window_title string, 4 ocr_text string, \
         5 capture_time Timestamp, 6 frame_number int64, 7 screenshot_id string, \
         8 context_version string, 9 session_context SessionContext",
    ),
    ("Heartbeat", "1 sent_at Timestamp"),
    (
        "ToolCallRequest",
        "1 request_id string, 2 tool_kind ToolKind, 3 arguments ToolCallArguments, \
         4 deadline_ms int64, 5 frame_id string",
    ),
    ("ToolCallArguments", "1 query string"),
    (
        "ToolResult",
        "1 request_id string, 2 result SearchResults, 3 error string, 4 frame_id string",
    ),
    (
        "AnalysisOutcome",
        "1 outcome_kind OutcomeKind, 2 task ExtractedTask, 3 reason string, \
         4 context_summary string, 5 current_activity string, 6 frame_id string",
    ),
    (
        "CancelToolRequest",
        "1 request_id string, 2 frame_id string, 3 reason string",
    ),
    (
        "ServerError",
        "1 code string, 2 message string, 3 retryable bool, 4 frame_id string, \
         5 request_id string",
    ),
    (
        "ExtractedTask",
        "1 title string, 2 description string, 3 priority TaskPriority, 4 tags repeated string, \
         5 source_app string, 6 inferred_deadline string, 7 confidence double, \
         8 source_category string, 9 source_subcategory string, 10 relevance_score int32",
    ),
    ("SearchResults", "1 items repeated SearchResult"),
    (
        "SearchResult",
        "1 task_id int64, 2 description string, 3 status TaskStatus, 4 similarity double, \
         5 match_type MatchType, 6 relevance_score int32",
    ),
    (
        "SessionContext",
        "1 active_tasks repeated ActiveTask, 2 completed_tasks repeated HistoricalTask, \
         3 deleted_tasks repeated HistoricalTask, 4 goals repeated Goal, 5 generated_at Timestamp",
    ),
    (
        "ActiveTask",
        "1 task_id int64, 2 description string, 3 priority string, 4 relevance_score int32, \
         5 staged bool",
    ),
    ("HistoricalTask", "1 task_id int64, 2 description string"),
    (
        "Goal",
        "1 goal_id string, 2 title string, 3 description string",
    ),
];

/// And its enums, as `name number`.
const ENUMS: &[(&str, &str)] = &[
    (
        "ToolKind",
        "TOOL_KIND_UNSPECIFIED 0, SEARCH_SIMILAR 1, SEARCH_KEYWORDS 2",
    ),
    (
        "OutcomeKind",
        "OUTCOME_KIND_UNSPECIFIED 0, EXTRACT_TASK 1, REJECT_TASK 2, NO_TASK_FOUND 3",
    ),
    (
        "TaskPriority",
        "TASK_PRIORITY_UNSPECIFIED 0, PRIORITY_HIGH 1, PRIORITY_MEDIUM 2, PRIORITY_LOW 3",
    ),
    (
        "TaskStatus",
        "TASK_STATUS_UNSPECIFIED 0, TASK_STATUS_ACTIVE 1, TASK_STATUS_COMPLETED 2, \
         TASK_STATUS_DELETED 3",
    ),
    (
        "MatchType",
        "MATCH_TYPE_UNSPECIFIED 0, MATCH_TYPE_VECTOR 1, MATCH_TYPE_FTS 2, MATCH_TYPE_BOTH 3",
    ),
];

fn contract() -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    set.file
        .into_iter()
        .find(|file| file.package() == "proactive.v1")
        .unwrap()
}

fn described(field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Double => "double",
        Type::Message | Type::Enum => field.type_name().rsplit('.').next().unwrap(),
        other => panic!("{other:?} is not used in the contract"),
    };
    let repeated = if field.label() == Label::Repeated {
        "repeated "
    } else {
        ""
    };
    format!("{} {} {repeated}{kind}", field.number(), field.name())
}

#[test]
fn a01_every_name_and_number_of_the_contract_is_as_deployed() {
    let file = contract();
    assert_eq!(file.syntax(), "proto3");
    let messages: BTreeMap<_, _> = file
        .message_type
        .iter()
        .map(|message| (message.name(), message))
        .collect();
    for (name, fields) in MESSAGES {
        let now: Vec<_> = messages[name].field.iter().map(described).collect();
        for field in fields.split(", ") {
            assert!(
                now.contains(&field.trim().to_owned()),
                "{name}: {field} is not in {now:?}"
            );
        }
    }
    for (name, values) in ENUMS {
        let now = file
            .enum_type
            .iter()
            .find(|kind| kind.name() == *name)
            .unwrap();
        let now: Vec<_> = now
            .value
            .iter()
            .map(|value| format!("{} {}", value.name(), value.number()))
            .collect();
        assert_eq!(now.join(", "), *values);
    }
    let service = &file.service[0];
    assert_eq!(service.name(), "ProactiveAI");
    let method = &service.method[0];
    let streams = (method.client_streaming(), method.server_streaming());
    assert_eq!((method.name(), streams), ("Session", (true, true)));
    assert!(method.input_type().ends_with(".ClientEvent"));
    assert!(method.output_type().ends_with(".ServerEvent"));
}

#[test]
fn additions_take_numbers_that_were_never_used_before() {
    for message in &contract().message_type {
        let mut numbers: Vec<_> = message.field.iter().map(|field| field.number()).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{}", message.name());
        assert_eq!(
            numbers,
            (1..=count as i32).collect::<Vec<_>>(),
            "{}",
            message.name()
        );
    }
}

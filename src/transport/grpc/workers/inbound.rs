//! What workers say, checked at the edge and put into words of the domain.

use tonic::Code;

use super::codes;
use super::values;
use crate::domain::{CallId, Value};
use crate::tools::workers::{Ask, Declaration, Hello, Said, VariableFault};
use crate::transport::proto::workers as wire;
use wire::variable_request::Ask as Asked;
use wire::worker_event::Event;

/// The largest event, in bytes: what a result may be.
pub(super) const MAX_EVENT: usize = 1 << 20;
const CHUNK_BYTES: usize = 64 << 10;
const VARIABLE_BYTES: usize = 64 << 10;
const REQUEST_ID_BYTES: usize = 64;

/// What can come after the hello.
pub(super) enum Heard {
    /// For the call's table.
    Said(Said),
    /// A sign of life.
    Heartbeat,
}

/// The first event.
///
/// # Errors
/// It is no hello.
pub(super) fn hello(first: wire::WorkerEvent) -> Result<Hello, &'static str> {
    let wire::WorkerEvent { event } = first;
    let Some(Event::Hello(hello)) = event else {
        return Err("The first event must be a WorkerHello.");
    };
    let wire::WorkerHello {
        name,
        version,
        tools,
        calls_at_once,
    } = hello;
    let tools = tools.into_iter().map(|tool| {
        let wire::ToolDeclaration {
            name,
            description,
            parameters_json,
            streaming,
            changes,
        } = tool;
        Declaration {
            name,
            description,
            parameters_json,
            streaming,
            changes,
        }
    });
    Ok(Hello {
        name,
        version,
        tools: tools.collect(),
        calls_at_once,
    })
}

/// Any other event. What cannot be understood is said so, with the call that it was
/// about.
pub(super) fn heard(sent: wire::WorkerEvent) -> Heard {
    let wire::WorkerEvent { event } = sent;
    let said = match event {
        Some(Event::Hello(_)) => nonsense(None, "it said hello twice"),
        Some(Event::Result(it)) => result(it),
        Some(Event::Chunk(it)) => chunk(it),
        Some(Event::Failure(it)) => failure(it),
        Some(Event::Progress(wire::CallProgress {
            call_id,
            message: _,
            fraction: _,
        })) => Said::Progress { id: id(call_id) },
        Some(Event::Variable(it)) => variable(it),
        Some(Event::Heartbeat(wire::WorkerHeartbeat {})) => return Heard::Heartbeat,
        Some(Event::Leaving(wire::WorkerLeaving {})) => Said::Leaving,
        None => nonsense(None, "an event that is none"),
    };
    Heard::Said(said)
}

fn result(sent: wire::CallResult) -> Said {
    let wire::CallResult {
        call_id,
        value,
        took_us: _,
    } = sent;
    let id = id(call_id);
    match value.map(|it| values::value(it, MAX_EVENT)).transpose() {
        Ok(value) => Said::Result { id, value },
        Err(why) => nonsense(Some(id), &why),
    }
}

fn chunk(sent: wire::CallChunk) -> Said {
    let wire::CallChunk {
        call_id,
        sequence,
        value,
    } = sent;
    let id = id(call_id);
    match value.map(|it| values::value(it, CHUNK_BYTES)).transpose() {
        Ok(value) => Said::Chunk {
            id,
            sequence,
            value: value.unwrap_or_default(),
        },
        Err(why) => nonsense(Some(id), &why),
    }
}

fn failure(sent: wire::CallFailure) -> Said {
    let wire::CallFailure {
        call_id,
        code,
        message,
        never_ran,
    } = sent;
    let id = id(call_id);
    // A number that is none of gRPC's is an unknown error, as gRPC has it.
    let Some(code) = codes::fault(Code::from_i32(code)) else {
        return nonsense(Some(id), "a failure with the code of success");
    };
    Said::Failure {
        id,
        code,
        message,
        never_ran,
    }
}

fn variable(sent: wire::VariableRequest) -> Said {
    let wire::VariableRequest {
        request_id,
        call_id,
        ask,
    } = sent;
    if request_id.len() > REQUEST_ID_BYTES {
        return nonsense(None, "a request_id of more than 64 bytes");
    }
    let ask = match ask {
        Some(Asked::Get(wire::GetVariable { name })) => Ok(Ask::Get { name }),
        Some(Asked::Set(wire::SetVariable {
            name,
            value,
            expected_version,
            time_to_live_s,
        })) => match kept(value) {
            Ok(value) => Ok(Ask::Set {
                name,
                value,
                expected: expected_version,
                time_to_live: time_to_live_s,
            }),
            Err(why) => Err(VariableFault::Invalid(format!("value: {why}."))),
        },
        Some(Asked::List(wire::ListVariables { prefix })) => Ok(Ask::List { prefix }),
        Some(Asked::Delete(wire::DeleteVariable {
            name,
            expected_version,
        })) => Ok(Ask::Delete {
            name,
            expected: expected_version,
        }),
        None => Err(VariableFault::Invalid("ask is missing.".to_owned())),
    };
    Said::Variable {
        request: request_id,
        call: id(call_id),
        ask,
    }
}

/// A variable's value.
fn kept(sent: Option<wire::Value>) -> Result<Value, String> {
    let value = sent.map(|it| values::value(it, VARIABLE_BYTES)).transpose();
    Ok(value?.unwrap_or_default())
}

/// What is too long to be one of ours is nobody's.
fn id(said: String) -> CallId {
    const ID_BYTES: usize = 64;
    match said.len() {
        ..=ID_BYTES => CallId::new(said),
        _ => CallId::default(),
    }
}

fn nonsense(id: Option<CallId>, why: &str) -> Said {
    let why = why.to_owned();
    Said::Nonsense { id, why }
}

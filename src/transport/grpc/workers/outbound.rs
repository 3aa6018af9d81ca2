//! What workers are told, in the contract's messages.

use std::time::Duration;

use tonic::Code;

use super::{codes, values};
use crate::tools::workers::{
    Call, CallContext, Command as Told, Connected, Variable, VariableFault,
};
use crate::transport::proto::workers as wire;
use crate::transport::wire::endings::{millis, timestamp};
use wire::worker_command::Command;

/// The answer to a hello.
pub(super) fn ready(worker: &Connected, heartbeat: Duration) -> wire::WorkerCommand {
    let refused = worker.refused.iter().map(|tool| wire::ToolRefused {
        name: tool.name.clone(),
        reason: tool.reason.clone(),
    });
    command(Command::Ready(wire::WorkerReady {
        worker_id: worker.id.clone(),
        heartbeat_interval_ms: millis(heartbeat),
        refused: refused.collect(),
    }))
}

pub(super) fn heartbeat() -> wire::WorkerCommand {
    command(Command::Heartbeat(wire::ServerHeartbeat {}))
}

pub(super) fn go_away(left: Duration, reconnect: Duration) -> wire::WorkerCommand {
    command(Command::GoAway(wire::GoAway {
        reason: "The server is shutting down.".to_owned(),
        time_left_ms: millis(left),
        reconnect_delay_ms: millis(reconnect),
    }))
}

pub(super) fn told(told: Told) -> wire::WorkerCommand {
    command(match told {
        Told::Execute {
            id,
            call,
            deadline,
            credit,
        } => {
            let call = Some(tool_call(id.to_string(), &call, deadline));
            match credit {
                None => Command::Execute(wire::ExecuteTool { call }),
                Some(credit) => Command::ExecuteStreaming(wire::ExecuteStreamingTool {
                    call,
                    credit: count(credit),
                }),
            }
        }
        Told::Cancel { id, reason } => Command::Cancel(wire::CancelCall {
            call_id: id.to_string(),
            reason: reason.to_owned(),
        }),
        Told::Credit { id, more } => Command::Credit(wire::CallCredit {
            call_id: id.to_string(),
            more: count(more),
        }),
        Told::Variable { request, told } => Command::Variable(variables(request, told)),
    })
}

fn tool_call(call_id: String, call: &Call, deadline: Duration) -> wire::ToolCall {
    let Call {
        tool,
        arguments,
        context,
        trace,
    } = call;
    let CallContext {
        session,
        locale,
        time_zone,
        utc_offset,
        now,
    } = context;
    let context = wire::CallContext {
        session_id: session.to_string(),
        locale: locale.clone(),
        time_zone: time_zone.clone(),
        utc_offset_minutes: utc_offset.map(|offset| offset.seconds() / 60),
        now: Some(timestamp(*now)),
    };
    let trace = trace.as_deref();
    wire::ToolCall {
        call_id,
        tool: tool.clone(),
        arguments: Some(values::object(arguments)),
        deadline_ms: millis(deadline).max(1),
        context: Some(context),
        traceparent: trace.map(|it| it.traceparent.clone()).unwrap_or_default(),
        tracestate: trace.map(|it| it.tracestate.clone()).unwrap_or_default(),
    }
}

fn variables(
    request_id: String,
    told: Result<Vec<Variable>, VariableFault>,
) -> wire::VariableResponse {
    let (code, message, variables) = match told {
        Ok(variables) => (Code::Ok, String::new(), variables),
        Err(fault) => {
            let (code, message) = (codes::of_variables(&fault), fault.to_string());
            let there = match fault {
                VariableFault::OtherVersion(there) => there.map(|it| *it),
                VariableFault::Invalid(_)
                | VariableFault::NotFound
                | VariableFault::Full(_)
                | VariableFault::NotYours => None,
            };
            (code, message, Vec::from_iter(there))
        }
    };
    let variables = variables.into_iter().map(|variable| {
        let Variable {
            name,
            value,
            version,
            expires_at,
        } = variable;
        wire::Variable {
            name,
            value: value.as_ref().map(values::told),
            version,
            expires_at: Some(timestamp(expires_at)),
        }
    });
    wire::VariableResponse {
        request_id,
        code: code.into(),
        message,
        variables: variables.collect(),
    }
}

fn command(command: Command) -> wire::WorkerCommand {
    let command = Some(command);
    wire::WorkerCommand { command }
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

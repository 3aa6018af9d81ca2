//! Calls and workers meet, without any wire.

mod calls;
mod lies;
mod streams;

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::domain::{CallFaultCode, Ran, SessionId};

const SECOND: Duration = Duration::from_secs(1);

fn workers() -> Workers {
    with(Options::default())
}

fn with(options: Options) -> Workers {
    let world = World::fixed(Timestamp::UNIX_EPOCH, 7);
    Workers::new(options, world, Metrics::new())
}

fn tool(name: &str) -> Declaration {
    Declaration {
        name: name.to_owned(),
        description: "Does something.".to_owned(),
        parameters_json: r#"{"type":"object"}"#.to_owned(),
        streaming: name.starts_with("stream"),
        changes: false,
    }
}

fn hello(tools: &[&str], calls_at_once: i32) -> Hello {
    Hello {
        name: "dates".to_owned(),
        version: String::new(),
        tools: tools.iter().map(|name| tool(name)).collect(),
        calls_at_once,
    }
}

/// A worker with these tools and so much room.
fn join(workers: &Workers, tools: &[&str], calls_at_once: i32) -> Connected {
    let hello = hello(tools, calls_at_once);
    workers.connect(hello, &|_| Ok(())).unwrap()
}

fn call(tool: &str) -> Call {
    Call {
        tool: tool.to_owned(),
        arguments: [("n".to_owned(), Value::Integer(1))].into(),
        context: CallContext {
            session: SessionId::new("s"),
            locale: "de-DE".to_owned(),
            time_zone: String::new(),
            utc_offset: None,
            now: Timestamp::UNIX_EPOCH,
        },
        trace: None,
    }
}

type Calling = BoxFuture<'static, Result<Value, CallFault>>;

/// A call that has been made, with ten seconds.
fn ask(workers: &Workers, name: &str) -> Calling {
    let workers = workers.clone();
    let call = call(name);
    let calling = async move {
        let deadline = Instant::now() + 10 * SECOND;
        workers.call(call, deadline, deadline + 20 * SECOND).await
    };
    let mut calling = calling.boxed();
    assert!((&mut calling).now_or_never().is_none(), "it waits");
    calling
}

/// The calls that the worker is asked for now.
fn asked(worker: &Connected) -> Vec<CallId> {
    let told = std::iter::from_fn(|| worker.next());
    told.filter_map(|told| match told {
        Command::Execute { id, .. } => Some(id),
        _ => None,
    })
    .collect()
}

fn one(worker: &Connected) -> CallId {
    let mut asked = asked(worker);
    assert_eq!(asked.len(), 1);
    asked.remove(0)
}

/// What the worker is told to give up.
fn cancelled(worker: &Connected) -> Vec<CallId> {
    let told = std::iter::from_fn(|| worker.next());
    told.filter_map(|told| match told {
        Command::Cancel { id, .. } => Some(id),
        _ => None,
    })
    .collect()
}

fn say(worker: &Connected, said: Said) -> Result<(), SentAway> {
    worker
        .said(said)
        .now_or_never()
        .expect("nothing to wait for")
}

fn answer(worker: &Connected, id: &CallId, text: &str) {
    let value = Some(Value::Text(text.to_owned()));
    let id = id.clone();
    say(worker, Said::Result { id, value }).unwrap();
}

fn fail(worker: &Connected, id: &CallId, code: CallFaultCode, never_ran: bool) {
    let failure = Said::Failure {
        id: id.clone(),
        code,
        message: "It rains.".to_owned(),
        never_ran,
    };
    say(worker, failure).unwrap();
}

fn text(text: &str) -> Result<Value, CallFault> {
    Ok(Value::Text(text.to_owned()))
}

/// What kind of fault it is, and whether the call may have run.
fn kind(result: Result<Value, CallFault>) -> (CallFaultCode, Ran) {
    let fault = result.unwrap_err();
    (fault.code, fault.ran)
}

/// Nothing is left of any call.
fn is_clean(workers: &Workers) {
    let table = workers.table.lock();
    assert!(table.slots.is_empty());
    assert!(table.tools.values().all(|tool| tool.waiting.is_empty()));
    assert!(table.workers.values().all(|worker| worker.under_way == 0));
    drop(table);
    let page = workers.table.lock().metrics.render();
    assert!(
        page.contains("proactive_worker_calls_waiting 0\n"),
        "{page}"
    );
}

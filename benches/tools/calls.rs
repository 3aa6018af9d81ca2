//! CPU time per call: a worker's beside a bare one. All of it is this process's: who
//! calls, our server, and the worker, beside who calls and the bare server. They take
//! turns, so that what else runs on the machine disturbs all alike; each round gives
//! one ratio.
//!
//! Calls on one stream cost less than unary ones, each of which is a stream of its own.
//! So there is a bare stream as well: what ours cost beside that is all ours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant as Clock};

use jiff::Timestamp;
use proactive::config::Settings;
use proactive::domain::{SessionId, Value};
use proactive::embedded::Embedded;
use proactive::tools::workers::{Call, CallContext, Workers};
use proactive::transport::proto::workers as wire;
use proactive::world::World;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use wire::value::Kind;

use super::bare::Bare;
use super::report::{Report, Spread};
use super::stream::Stream;
use super::{Result, seen, worker};

const AT_ONCE: [usize; 2] = [1, 16];
const ROUNDS: usize = 25;
/// Per round and side.
const CALLS: usize = 4_000;
/// After the last answer little is left to do.
const REST: Duration = Duration::from_millis(20);
/// As long as a tool usually may take.
const TIME: Duration = Duration::from_secs(10);

const MOST_OVER_BARE: f64 = 1.5;

/// Whoever can be called.
#[derive(Clone)]
enum Side {
    Ours(Workers, Call),
    Bare(Bare, wire::ToolCall),
    Stream(Stream, wire::ToolCall),
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut settings = Settings::defaults().embedded();
    settings.work.service_tokens = Some(worker::TOKEN.into());
    let config = settings.check()?;
    let server = Embedded::start(config, None, World::real()).await?;
    let tasks = TaskTracker::new();
    let [_, most] = AT_ONCE;
    worker::start(format!("http://{}", server.grpc_addr()), most, &tasks).await?;
    let sides = [
        Side::Ours(server.server.workers(), call()),
        Side::Bare(Bare::start(&tasks).await?, wire_call()),
        Side::Stream(Stream::start(&tasks).await?, wire_call()),
    ];
    for at_once in AT_ONCE {
        for side in &sides {
            round(side, at_once).await?;
        }
        let mut costs = [const { Vec::new() }; 3];
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (at, side) in sides.iter().enumerate() {
                let (cost, time) = round(side, at_once).await?;
                costs[at].push(cost);
                times[at].push(time);
            }
        }
        report.heading(&format!("CPU per call, user and system; {at_once} at once"));
        let of = |values: &Vec<f64>| Spread::of(values.iter().copied()).with("µs");
        let names = ["ours", "bare", "bare stream"];
        for ((name, costs), times) in names.iter().zip(&costs).zip(&times) {
            report.fact(name, of(costs));
            report.fact(&format!("{name}: time per call"), of(times));
        }
        let [ours, bare, stream] = &costs;
        let over = |other: &[f64]| Spread::of(ours.iter().zip(other).map(|(a, b)| a / b));
        report.bound("ours / bare", over(bare), MOST_OVER_BARE);
        report.fact("ours / bare stream", over(stream).with(""));
    }
    server.stop().await;
    Ok(())
}

/// Microseconds of CPU and of time, per call.
async fn round(side: &Side, at_once: usize) -> Result<(f64, f64)> {
    let before = seen::cpu(std::process::id())?;
    let began = Clock::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        callers.spawn(in_turn(side.clone(), CALLS / at_once));
    }
    while let Some(called) = callers.join_next().await {
        called??;
    }
    let took = began.elapsed();
    sleep(REST).await;
    let spent = seen::cpu(std::process::id())? - before;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / CALLS as f64;
    Ok((each(spent), each(took)))
}

async fn in_turn(mut side: Side, count: usize) -> Result<()> {
    for _ in 0..count {
        let answered = match &mut side {
            Side::Ours(workers, call) => {
                let until = Instant::now() + TIME;
                let answered = workers.call(call.clone(), until, until).await;
                let answered = answered.map_err(|fault| format!("a call failed: {fault:?}"))?;
                matches!(&answered, Value::Object(fields) if fields.len() == FIELDS)
            }
            Side::Bare(bare, call) => is_whole(&bare.call(call.clone()).await?),
            Side::Stream(stream, call) => is_whole(&stream.call(call.clone()).await?),
        };
        if !answered {
            return Err("an answer is not what was asked for".into());
        }
    }
    Ok(())
}

fn is_whole(result: &wire::CallResult) -> bool {
    let kind = result.value.as_ref().and_then(|it| it.kind.as_ref());
    matches!(kind, Some(Kind::Object(it)) if it.fields.len() == FIELDS)
}

const FIELDS: usize = 5;
/// With the rest, 400 bytes.
const TEXT: &str = "The signed lease of the Berlin office that Maria Keller asked for on Monday, \
                    in its latest version, with the landlord's changes to the rent, the deposit \
                    and the date on which it begins, and the mail in which they were agreed on";

fn call() -> Call {
    let tag = |tag: &str| Value::Text(tag.to_owned());
    let tags = ["office", "lease", "Berlin", "landlord"];
    let arguments = [
        ("query", Value::Text(TEXT.to_owned())),
        ("limit", Value::Integer(20)),
        ("least_likeness", Value::Number(0.31)),
        ("archived", Value::Bool(false)),
        ("tags", Value::List(tags.map(tag).into())),
    ];
    let arguments = arguments.map(|(name, value)| (name.to_owned(), value));
    Call {
        tool: worker::TOOL.to_owned(),
        arguments: BTreeMap::from(arguments),
        context: CallContext {
            session: SessionId::new("9f1d6c1e-7c0a-4a55-9d0e-0d9f1f1f6a11"),
            locale: "de-DE".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            utc_offset: None,
            now: Timestamp::UNIX_EPOCH,
        },
        trace: None,
    }
}

/// The same, as it goes over the wire.
fn wire_call() -> wire::ToolCall {
    let Call {
        tool,
        arguments,
        context,
        ..
    } = call();
    let fields = arguments.into_iter().map(|(name, it)| (name, value(it)));
    wire::ToolCall {
        call_id: "5f0b1c9e-33a1-4bb0-8b5a-6cdb1c4ffb0d".to_owned(),
        tool,
        arguments: Some(wire::ObjectValue {
            fields: fields.collect(),
        }),
        deadline_ms: 10_000,
        context: Some(wire::CallContext {
            session_id: context.session.to_string(),
            locale: context.locale,
            time_zone: context.time_zone,
            utc_offset_minutes: None,
            now: Some(prost_types::Timestamp::default()),
        }),
        ..wire::ToolCall::default()
    }
}

fn value(value: Value) -> wire::Value {
    let kind = match value {
        Value::Bool(it) => Kind::Boolean(it),
        Value::Integer(it) => Kind::Integer(it),
        Value::Number(it) => Kind::Number(it),
        Value::Text(it) => Kind::Text(it),
        Value::List(items) => Kind::List(wire::ListValue {
            items: items.into_iter().map(self::value).collect(),
        }),
        Value::Null | Value::Binary(_) | Value::Object(_) => Kind::Null(wire::NullValue {}),
    };
    wire::Value { kind: Some(kind) }
}

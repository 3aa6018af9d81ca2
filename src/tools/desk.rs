//! A frame's way to whoever executes tools for it: what is offered now, and the one
//! path on which every call goes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::catalogue::Assistant;
use super::routing::Route;
use super::served::Moment;
use super::workers::Executed;
use super::{
    Anybody, Asker, Contact, Offer, Origin, Output, Place, Router, Tool, ToolRequest, devices,
    faults,
};
use crate::domain::{CallFault, CallFaultCode, DeviceId, Frame, FrameId, Ran, RequestId};
use crate::telemetry::{Metrics, ToolLabel, ToolResult, TraceContext, span_failed, tool_call_span};
use crate::world::World;

/// Those who execute tools, as one frame's analysis sees them.
#[derive(Clone, Debug)]
pub struct Desk {
    frame: FrameId,
    /// The device that the frame names.
    named: Option<DeviceId>,
    moment: Moment,
    asker: Arc<Asker>,
    way: Way,
    router: Router,
    world: World,
    metrics: Metrics,
}

/// Who is asked as the caller.
#[derive(Clone, Debug)]
enum Way {
    /// The device that sent the frame.
    Session(Contact),
    /// Whichever of the user's is connected.
    User(Arc<Anybody>),
}

impl Desk {
    /// For a frame of this session.
    pub fn of_session(
        frame: &Frame,
        asker: Arc<Asker>,
        contact: Contact,
        router: Router,
        world: World,
        metrics: Metrics,
    ) -> Self {
        let named = frame.device.clone();
        Self {
            named,
            ..Self::new(frame, asker, Way::Session(contact), router, world, metrics)
        }
    }

    /// For a job: its user's devices are asked as if one of them were the caller.
    pub fn of_user(
        frame: &Frame,
        asker: Arc<Asker>,
        anybody: Anybody,
        router: Router,
        world: World,
        metrics: Metrics,
    ) -> Self {
        let way = Way::User(Arc::new(anybody));
        Self::new(frame, asker, way, router, world, metrics)
    }

    fn new(
        frame: &Frame,
        asker: Arc<Asker>,
        way: Way,
        router: Router,
        world: World,
        metrics: Metrics,
    ) -> Self {
        Self {
            frame: frame.id.clone(),
            named: None,
            moment: Moment {
                now: frame.moment(world.now()),
                utc_offset: frame.utc_offset,
            },
            asker,
            way,
            router,
            world,
            metrics,
        }
    }

    /// What the model may call now.
    pub fn offer(&self, assistant: Assistant) -> Offer {
        let contact = match &self.way {
            Way::Session(contact) => Some(contact),
            Way::User(_) => None,
        };
        self.router
            .offer(assistant, &self.asker, self.named.as_ref(), contact)
    }

    /// Has a tool executed where it was offered, with arguments that fit its schema, and
    /// waits for what comes of it: until the deadline, which moves by as long as no client
    /// is connected, or until the latest moment, if it says that it goes on.
    ///
    /// # Errors
    /// A [`CallFault`] that says why there is no result, and whether it may have run.
    pub async fn call(
        &self,
        place: &Place,
        arguments: &Arc<Map<String, Value>>,
        deadline: Instant,
        latest: Instant,
    ) -> Result<Output, CallFault> {
        let Place {
            tool,
            route,
            device,
        } = place;
        let id = RequestId::new(self.world.uuid());
        let span = tool_call_span(&id, &tool.name);
        // Calls of workers are counted where workers are.
        let asks_a_device = *route != Route::Server;
        let mut record = CallRecord::new(&self.metrics, tool, asks_a_device);
        let request = ToolRequest {
            id,
            frame: self.frame.clone(),
            origin: Origin::Session,
            tool: tool.clone(),
            arguments: arguments.clone(),
            timeout: deadline.saturating_duration_since(record.started),
            longest: latest.saturating_duration_since(record.started),
            trace: TraceContext::of_span(&span),
        };
        // The usual way is the smallest of these futures; the larger ones are in boxes.
        let asking = async {
            match (route, &self.way) {
                (Route::Caller, Way::Session(contact)) => contact.ask(request).await,
                (Route::Caller | Route::Device, Way::User(anybody)) => {
                    Box::pin(anybody.ask(request, &self.world)).await
                }
                (Route::Device, Way::Session(_)) => match device {
                    Some(device) => {
                        Box::pin(self.ask_device(device, request, (deadline, latest))).await
                    }
                    None => Err(faults::gone(&tool.name, false)),
                },
                (Route::Server, Way::Session(contact)) if devices::is_one(tool) => {
                    devices::execute(&self.router, &self.asker, contact, tool, arguments)
                }
                (Route::Server, _) => match self.router.served() {
                    Some(served) => {
                        let whom = (&*self.asker, self.moment);
                        let until = (deadline, latest);
                        served
                            .call(tool, arguments, whom, request.trace, until)
                            .await
                    }
                    None => Err(no_worker(tool)),
                },
            }
        };
        let result = asking.instrument(span.clone()).await;
        record.result = match &result {
            Ok(_) => ToolResult::Answered,
            Err(fault) => outcome(fault.code),
        };
        if result.is_err() {
            span_failed(&span, record.result.as_str());
        }
        if !asks_a_device
            && !devices::is_one(tool)
            && let Some(served) = self.router.served()
        {
            served.tell(|| Executed {
                frame: self.frame.clone(),
                tool: tool.name.to_string(),
                arguments: arguments.clone(),
                result: result.clone().map(|output| match output {
                    Output::Json(value) | Output::Beginning(value) => value,
                    // Searches are for devices.
                    Output::Hits(_) => Value::Null,
                }),
                took: record.started.elapsed(),
            });
        }
        result
    }

    /// Another device of the user. If it goes away before it was asked, it is waited for;
    /// after that, what it has not answered by the deadline may have run.
    async fn ask_device(
        &self,
        device: &DeviceId,
        mut request: ToolRequest,
        (deadline, latest): (Instant, Instant),
    ) -> Result<Output, CallFault> {
        let (uid, tool) = (&self.asker.uid, request.tool.clone());
        request.origin = Origin::Elsewhere(self.asker.session.clone());
        loop {
            let found = self.router.directory().contact_of(uid, device, &tool);
            let Ok(contact) = timeout_at(deadline, found).await else {
                return Err(device_gone(&tool));
            };
            let now = Instant::now();
            request.timeout = deadline.saturating_duration_since(now);
            request.longest = latest.saturating_duration_since(now);
            match contact.ask(request.clone()).await {
                Err(fault) if is_safe_to_repeat(&fault) && Instant::now() < deadline => {
                    request.id = RequestId::new(self.world.uuid());
                    // Its entry in the directory goes at the same time.
                    tokio::task::yield_now().await;
                }
                result => return result,
            }
        }
    }

    /// How long time has stood still by now for whoever waits for this desk,
    /// because no client was connected.
    pub fn stood_still(&self) -> Duration {
        match &self.way {
            Way::Session(contact) => contact.pending.stood_still(),
            Way::User(anybody) => anybody.stood_still(),
        }
    }
}

fn is_safe_to_repeat(fault: &CallFault) -> bool {
    fault.code == CallFaultCode::Unavailable && fault.ran == Ran::Never
}

fn device_gone(tool: &Tool) -> CallFault {
    let message = format!(
        "The device that was to execute {} went away before it was asked.",
        tool.name
    );
    CallFault::never_ran(CallFaultCode::Unavailable, message)
}

fn no_worker(tool: &Tool) -> CallFault {
    let message = format!("No worker serves {} just now.", tool.name);
    CallFault::never_ran(CallFaultCode::Unavailable, message)
}

fn outcome(code: CallFaultCode) -> ToolResult {
    match code {
        CallFaultCode::Timeout => ToolResult::Timeout,
        CallFaultCode::Unavailable | CallFaultCode::GoingAway => ToolResult::Gone,
        CallFaultCode::Cancelled => ToolResult::Cancelled,
        CallFaultCode::InvalidArguments
        | CallFaultCode::NotFound
        | CallFaultCode::NotAllowed
        | CallFaultCode::Exhausted
        | CallFaultCode::Unimplemented
        | CallFaultCode::Failed
        | CallFaultCode::Broken => ToolResult::Failed,
    }
}

/// Counts a call when it ends, also when its frame is dropped in the middle.
struct CallRecord<'a> {
    metrics: Option<&'a Metrics>,
    tool: ToolLabel,
    started: Instant,
    result: ToolResult,
}

impl<'a> CallRecord<'a> {
    fn new(metrics: &'a Metrics, tool: &Tool, counts: bool) -> Self {
        Self {
            metrics: counts.then_some(metrics),
            tool: ToolLabel::named(&tool.name),
            started: Instant::now(),
            result: ToolResult::Cancelled,
        }
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.metrics {
            metrics.tool_call(self.tool, self.result, self.started.elapsed());
        }
    }
}

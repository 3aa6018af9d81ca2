//! The words everything else is said in: frames, contexts, tasks, outcomes,
//! searches, calls. No wire format, no input or output.

mod bill;
mod call;
mod context;
mod device;
mod event;
mod fault;
mod frame;
mod id;
mod outcome;
mod principal;
mod search;
mod text;
mod value;

pub use bill::{Bill, Usage};
pub use call::{CallFault, CallFaultCode, Ran, TOOL_NAME_CHARS, is_tool_name};
pub use context::{ActiveTask, Context, Goal, PastTask, Shelf};
pub use device::Runtime;
pub use event::{Decided, Event, Job, JobState, Message};
pub use fault::{FrameFault, FrameFaultCode};
pub use frame::{Frame, Image, NotAJpeg, ScreenText};
pub use id::{CallId, DeviceId, FrameId, JobId, MessageId, RequestId, ResumeSecret, SessionId};
pub use outcome::{Category, Decision, Outcome, Priority, Subcategory, Task};
pub use principal::{Principal, Uid};
pub use search::{Hit, MatchType, SearchKind, TaskStatus};
pub use text::{causes, clip};
pub use value::{MOST_LEVELS, Value};

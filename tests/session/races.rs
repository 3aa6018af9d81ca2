//! What can only happen on several threads: a frame's task acts in the middle
//! of the session's own turn.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};

use futures::Stream;
use proactive::domain::{FrameFaultCode, FrameId};
use proactive::session::{ClientMessage, Hello, Input, ServerMessage, Version};
use proactive::telemetry::SessionEnd;
use proactive::tools::Pending;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::support::{self, Core, similar, turn};

/// Says hello, sends a frame, and cancels it exactly when its search has been
/// made, but the session has not yet had a turn to send it.
struct CancelsJustThen {
    first: VecDeque<ClientMessage>,
    /// The model is being asked.
    asked: Arc<AtomicBool>,
    /// Lets the model answer.
    release: mpsc::Sender<()>,
    pending: Pending,
    cancelled: bool,
}

impl Stream for CancelsJustThen {
    type Item = Input;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Input>> {
        if let Some(message) = self.first.pop_front() {
            return Poll::Ready(Some(Input::Message(message)));
        }
        if self.cancelled {
            return Poll::Ready(None);
        }
        if !self.asked.load(Ordering::SeqCst) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.release.send(()).expect("somebody releases the model");
        while self.pending.is_empty() {
            std::thread::yield_now();
        }
        self.cancelled = true;
        let cancel = ClientMessage::CancelFrame(FrameId::new("f"));
        Poll::Ready(Some(Input::Message(cancel)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_was_not_yet_sent_when_its_frame_was_cancelled_is_never_sent() {
    for _ in 0..100 {
        let asked = Arc::new(AtomicBool::new(false));
        let gate = Arc::new(Notify::new());
        let (release, released) = mpsc::channel();
        let mut releasing = JoinSet::new();
        let opened = gate.clone();
        releasing.spawn_blocking(move || released.recv().map(|()| opened.notify_one()));
        let asking = asked.clone();
        let core = Core::new().model(move |_| {
            let (asking, gate) = (asking.clone(), gate.clone());
            async move {
                asking.store(true, Ordering::SeqCst);
                gate.notified().await;
                turn([similar("x")])
            }
        });
        let hello = Hello {
            version: Version::V1_0,
            context_version: "v1".into(),
            context: Some(support::context("v1", "x")),
            ..Hello::default()
        };
        let frame = Box::new(support::frame("f"));
        let desk = core.start_with(|pending| CancelsJustThen {
            first: [ClientMessage::Hello(hello), ClientMessage::Frame(frame)].into(),
            asked,
            release,
            pending,
            cancelled: false,
        });
        let (end, said) = desk.end().await;
        assert_eq!(end, SessionEnd::Closed);
        match &said[..] {
            [ServerMessage::Ready(_), ServerMessage::Answer(answer)] => {
                let fault = answer.result.as_ref().expect_err("it was cancelled");
                assert_eq!(fault.code, FrameFaultCode::Cancelled);
            }
            other => panic!("more than the answer was said: {other:#?}"),
        }
    }
}

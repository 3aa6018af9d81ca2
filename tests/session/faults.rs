//! Failures of the model and of the server, and events that cannot be used.

use std::time::Duration;

use proactive::domain::{FrameFaultCode, FrameId};
use proactive::gemini::Error;
use proactive::session::{Input, Refusal, RefusalCode, ServerMessage};

use super::support::{Core, context, nothing, shows, turn};

#[tokio::test(start_paused = true)]
async fn a18_a_failure_of_the_model_is_told_with_its_code_and_its_real_prospect() {
    use FrameFaultCode::{GeminiError, Overloaded, RateLimited};
    let word = || "SAFETY".to_owned();
    let retry_after = Duration::from_secs(30);
    let table = [
        (Error::Overloaded { retry_after }, Overloaded, true),
        (Error::RateLimited { retry_after: None }, RateLimited, true),
        (Error::DailyQuota, RateLimited, false),
        (Error::Unavailable { status: 503 }, GeminiError, true),
        (Error::Connection, GeminiError, true),
        (Error::Timeout, GeminiError, true),
        (Error::Rejected { status: 403 }, GeminiError, false),
        (Error::Blocked { reason: word() }, GeminiError, false),
        (Error::Truncated, GeminiError, true),
        (Error::Malformed { reason: word() }, GeminiError, true),
        (Error::Inconsistent, GeminiError, true),
    ];
    for (error, code, retryable) in table {
        let mut desk = Core::new().turns([Err(error.clone())]).greeted().await;
        desk.frame("f").await;
        let fault = desk.fault("f").await;
        assert_eq!(
            (fault.code, fault.retryable),
            (code, retryable),
            "{error:?}"
        );
        assert!(
            fault.message.ends_with('.') && !fault.message.contains("://"),
            "{}",
            fault.message
        );
        desk.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn gone_a_malformed_model_turn_reported_as_no_task_found() {
    let malformed = Error::Malformed {
        reason: "MALFORMED_FUNCTION_CALL".into(),
    };
    let mut desk = Core::new().turns([Err(malformed)]).greeted().await;
    desk.frame("f").await;
    assert_eq!(desk.fault("f").await.code, FrameFaultCode::GeminiError);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a19_gone_an_exception_that_loses_a_frame_silently() {
    let mut desk = Core::new()
        .model(|view| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!shows(&view, "bad"), "a crash on purpose");
            tokio::time::sleep(Duration::from_secs(1)).await;
            turn([nothing()])
        })
        .greeted()
        .await;
    desk.frame("good").await;
    desk.frame("bad").await;
    desk.frame("waiting").await;
    let fault = desk.fault("bad").await;
    assert_eq!(
        (fault.code, fault.retryable),
        (FrameFaultCode::Internal, true)
    );
    assert!(
        !fault.message.contains("purpose"),
        "no cause is told: {}",
        fault.message
    );
    desk.no_task("good").await;
    desk.no_task("waiting").await;
    // Also the same frame again.
    desk.frame("bad").await;
    assert_eq!(desk.fault("bad").await.code, FrameFaultCode::Internal);
    desk.close().await;
}

fn refusal(frame: Option<&str>) -> Refusal {
    Refusal {
        code: RefusalCode::InvalidFrame,
        message: "FrameEvent.jpeg_bytes is not a JPEG.".into(),
        frame: frame.map(FrameId::new),
        context: None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_event_costs_nothing_but_itself() {
    let mut desk = Core::new().greeted().await;
    let odd = Refusal {
        code: RefusalCode::InvalidEvent,
        message: "The event says nothing.".into(),
        frame: None,
        context: None,
    };
    for refused in [odd, refusal(Some("f")), refusal(None)] {
        desk.input(Input::Refused(refused.clone())).await;
        assert_eq!(desk.next().await, ServerMessage::Refused(Box::new(refused)));
    }
    desk.frame("f").await;
    desk.no_task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_unusable_frame_with_the_id_of_one_in_flight_gives_no_second_answer() {
    let mut desk = Core::new()
        .frames_at_once(1)
        .model(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            turn([nothing()])
        })
        .greeted()
        .await;
    desk.frame("running").await;
    desk.frame("waiting").await;
    for id in ["running", "waiting"] {
        desk.input(Input::Refused(refusal(Some(id)))).await;
    }
    desk.no_task("running").await;
    desk.no_task("waiting").await;
    // Answered, so the id means a new frame.
    desk.input(Input::Refused(refusal(Some("running")))).await;
    assert!(matches!(desk.next().await, ServerMessage::Refused(_)));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_context_that_an_unusable_frame_brought_counts_all_the_same() {
    let mut desk = Core::new().turns([turn([nothing()])]).greeted().await;
    let brought = Refusal {
        context: Some(context("v-new", "Water the plants")),
        ..refusal(Some("bad"))
    };
    desk.input(Input::Refused(brought)).await;
    desk.next().await;
    desk.frame("f").await;
    desk.no_task("f").await;
    assert!(desk.views()[0].text.contains("Water the plants"));
    desk.close().await;
}

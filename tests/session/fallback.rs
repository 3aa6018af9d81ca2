//! A second model, for frames whose first is out of order.

use std::time::Duration;

use proactive::domain::{Decision, FrameFaultCode};
use proactive::gemini::Error;

use super::support::{Core, Since, extract, nothing, shows, similar, turn};

const SECOND: Duration = Duration::from_secs(1);
const OUTAGE: Error = Error::Outage {
    retry_after: Duration::from_secs(30),
};

#[tokio::test(start_paused = true)]
async fn only_an_outage_makes_a_frame_begin_anew() {
    let word = || "SAFETY".to_owned();
    let retry_after = SECOND;
    let table = [
        (Error::Unavailable { status: 503 }, true),
        (Error::Connection, true),
        (Error::Timeout, true),
        (Error::NoToken, true),
        (OUTAGE, true),
        (Error::Overloaded { retry_after }, false),
        (Error::RateLimited { retry_after: None }, false),
        (Error::DailyQuota, false),
        (Error::NoAccess, false),
        (Error::Rejected { status: 403 }, false),
        (Error::Blocked { reason: word() }, false),
        (Error::Truncated, false),
        (Error::Malformed { reason: word() }, false),
        (Error::Inconsistent, false),
    ];
    for (error, anew) in table {
        let core = Core::new().turns([Err(error.clone())]);
        let core = core.fallback(|_| async { turn([nothing()]) });
        let mut desk = core.greeted().await;
        desk.frame("f").await;
        if anew {
            let bill = desk.outcome("f").await.bill;
            assert_eq!(bill.model_asked, "fallback", "{error:?}");
            assert_eq!(bill.model_answered, "fallback-1");
            assert_eq!((bill.model_calls, bill.usage.prompt), (2, 2_000));
        } else {
            let bill = desk.fault("f").await.bill.expect("the model was asked");
            assert_eq!((&*bill.model_asked, bill.model_calls), ("scripted", 1));
        }
        desk.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_searches_the_fallback_sees_the_frame_alone_and_has_all_its_turns() {
    let mut desk = Core::new()
        .turns([
            turn([similar("zebra")]),
            turn([similar("two")]),
            Err(OUTAGE),
        ])
        .fallback(|view| async move {
            assert!(shows(&view, "f") && !view.text.contains("zebra"));
            match view.turns {
                0 => {
                    assert!(!view.text.contains("functionResponse"), "{}", view.text);
                    // Refused: what the other model has searched does not count.
                    turn([extract()])
                }
                at @ 1..=3 => turn([similar(["", "three", "four", "five"][at])]),
                _ => {
                    let allowed = view.allowed.expect("the last turn must decide");
                    assert!(!allowed.contains(&"search_similar".to_owned()));
                    turn([extract()])
                }
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    for query in ["zebra", "two", "three", "four", "five"] {
        let request = desk.search().await;
        assert_eq!(request.query(), query);
        desk.answer(&request, Ok(vec![])).await;
    }
    let outcome = desk.outcome("f").await;
    assert!(matches!(outcome.decision, Decision::Extract(_)));
    assert_eq!(outcome.bill.model_calls, 8);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_fallback_has_what_is_left_of_the_frame_and_is_not_asked_in_vain() {
    for (seconds, asked) in [(40, true), (59, false)] {
        let mut desk = Core::new()
            .model(move |_| async move {
                tokio::time::sleep(seconds * SECOND).await;
                Err(Error::Unavailable { status: 503 })
            })
            .fallback(|_| std::future::pending())
            .greeted()
            .await;
        desk.frame("f").await;
        let began = Since::now();
        let fault = desk.fault("f").await;
        assert_eq!(fault.code, FrameFaultCode::GeminiError);
        assert_eq!(
            fault.message.contains("in time"),
            asked,
            "{}",
            fault.message
        );
        assert_eq!(began.millis(), if asked { 59_750 } else { 59_000 });
        desk.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_fallback_fails_as_well_its_fault_is_told_and_nothing_is_asked_a_third_time() {
    let core = Core::new().turns([turn([similar("x")]), Err(Error::Timeout)]);
    let mut desk = core.fallback(|_| async { Err(OUTAGE) }).greeted().await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    let fault = desk.fault("f").await;
    assert_eq!(fault.message, OUTAGE.to_string());
    let bill = fault.bill.expect("two models were asked");
    assert_eq!(
        (&*bill.model_asked, &*bill.model_answered),
        ("fallback", "")
    );
    assert_eq!(bill.model_calls, 3);
    desk.close().await;
}

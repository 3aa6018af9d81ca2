//! A desktop against a server that follows a script, over real gRPC.

mod returning;

use tonic::Status;

use super::*;
use crate::desk::fake::{Running, outcome, serve};
use crate::desk::tasks::TaskFile;
use crate::desk::{Address, Roots, TokenSource};
use crate::transport::proto::{
    AnalysisOutcome, ExtractedTask, OutcomeKind, ServerError, ServerEvent, ServerHeartbeat,
    SessionReady, ToolCallArguments, ToolCallRequest, ToolKind,
};

const TASKS: &str = r#"[{"id": 7, "description": "Send signed lease to the Berlin office"}]"#;

async fn open<O: FnMut(Step)>(
    server: &Running,
    token: &str,
    patience: Patience,
    observe: O,
) -> Result<Desktop<'static, impl AsyncFn() -> Result<Channel, Error> + use<O>, O>, Error> {
    let store = Store::load(TaskFile::read(TASKS).unwrap()).unwrap();
    let store = Box::leak(store.into());
    open_over(server, store, true, token, patience, observe).await
}

async fn open_over<'a, O: FnMut(Step)>(
    server: &Running,
    store: &'a mut Store,
    tells_tasks: bool,
    token: &str,
    patience: Patience,
    observe: O,
) -> Result<Desktop<'a, impl AsyncFn() -> Result<Channel, Error> + use<O>, O>, Error> {
    let (address, limit) = (Address::from(server.address), patience.connect);
    let door = Door {
        dial: async move || address.dial(&Roots::System, limit).await,
        tokens: TokenSource::Fixed(token.into()),
        patience,
    };
    let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
    let about = About {
        device: "desk".into(),
        utc_offset_minutes: Some(60),
        tells_tasks,
        ..About::default()
    };
    Desktop::open(door, about, store, world, observe).await
}

fn screen(id: &str) -> Screen {
    Screen {
        id: id.into(),
        file: None,
        app: "Huddle".into(),
        window: "#finance".into(),
        text: "Can you send the signed lease?".into(),
        jpeg: Bytes::from_static(&[0xFF, 0xD8, 0xFF, 0xD9]),
        captured: None,
    }
}

#[tokio::test]
async fn a_frame_is_served_to_its_end_and_an_extracted_task_is_kept_and_told() {
    let server = serve(|mut peer| async move {
        assert_eq!(peer.header, "Bearer right");
        let hello = peer.hello().await;
        assert_eq!(hello.protocol_version, "1.1");
        assert_eq!(hello.session_context.unwrap().active_tasks[0].task_id, 7);
        peer.say(Event::SessionReady(SessionReady::default())).await;

        let frame = peer.frame().await;
        assert_eq!((&*frame.screenshot_id, &*frame.app_name), ("one", "Huddle"));
        assert_eq!(frame.jpeg_bytes.len(), 4);
        assert_eq!(frame.session_context, None, "the hello brought the tasks");
        assert_eq!(frame.context_version, hello.context_version);
        peer.say(Event::ToolCallRequest(ToolCallRequest {
            request_id: "r1".into(),
            tool_kind: ToolKind::SearchSimilar as i32,
            arguments: Some(ToolCallArguments {
                query: "send the Berlin office the signed lease".into(),
            }),
            deadline_ms: 10_000,
            frame_id: "one".into(),
            ..ToolCallRequest::default()
        }))
        .await;
        let result = peer.result().await;
        assert_eq!((&*result.request_id, &*result.frame_id), ("r1", "one"));
        assert_eq!(result.result.unwrap().items[0].task_id, 7);
        let unknown = ToolCallRequest {
            request_id: "r2".into(),
            tool_kind: 99,
            frame_id: "one".into(),
            ..ToolCallRequest::default()
        };
        peer.say(Event::ToolCallRequest(unknown)).await;
        assert!(peer.result().await.error.contains("no such search"));
        let unasked = ToolCallRequest {
            request_id: "r3".into(),
            tool_kind: ToolKind::SearchSimilar as i32,
            arguments: Some(ToolCallArguments {
                query: "lease".into(),
            }),
            frame_id: "never shown".into(),
            ..ToolCallRequest::default()
        };
        peer.say(Event::ToolCallRequest(unasked)).await;
        let result = peer.result().await;
        assert!(result.error.contains("no frame") && result.result.is_none());
        let extracted = AnalysisOutcome {
            task: Some(ExtractedTask {
                title: "Countersign the lease for the Porto venue".into(),
                ..ExtractedTask::default()
            }),
            ..outcome("one", OutcomeKind::ExtractTask)
        };
        peer.say(Event::AnalysisOutcome(extracted)).await;

        let frame = peer.frame().await;
        assert_ne!(frame.context_version, hello.context_version);
        let context = frame.session_context.unwrap();
        assert_eq!(
            context.active_tasks.len(),
            2,
            "the server hears of the kept task"
        );
        peer.say(Event::AnalysisOutcome(outcome(
            "two",
            OutcomeKind::NoTaskFound,
        )))
        .await;
        assert!(
            peer.events.message().await.unwrap().is_none(),
            "the desktop closes its side"
        );
    })
    .await;
    let mut steps = Vec::new();
    let mut desktop = open(&server, "right", Patience::default(), |step| {
        steps.push(step)
    })
    .await
    .unwrap();
    let verdict = desktop.show(screen("one")).await.unwrap();
    assert!(matches!(verdict, Verdict::Decided(outcome) if outcome.task.is_some()));
    desktop.show(screen("two")).await.unwrap();
    desktop.close().await.unwrap();
    let names: Vec<String> = steps
        .iter()
        .map(|step| {
            format!("{step:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names.join(" "),
        "Ready FrameSent SearchAsked SearchAnswered SearchAsked SearchAnswered SearchAsked SearchAnswered Decided FrameSent Decided"
    );
    assert!(matches!(
        steps[8],
        Step::Decided {
            kept_as: Some(8),
            ..
        }
    ));
}

#[tokio::test]
async fn only_an_error_about_the_frame_ends_it() {
    let server = serve(|mut peer| async move {
        peer.ready(0).await;
        peer.frame().await;
        for (frame, request) in [("", ""), ("one", "r1"), ("other", "")] {
            let error = ServerError {
                code: "INTERNAL".into(),
                frame_id: frame.into(),
                request_id: request.into(),
                ..ServerError::default()
            };
            peer.say(Event::ServerError(error)).await;
        }
        peer.answers
            .send(Ok(ServerEvent { event: None }))
            .await
            .unwrap();
        peer.say(Event::AnalysisOutcome(outcome(
            "other",
            OutcomeKind::NoTaskFound,
        )))
        .await;
        let error = ServerError {
            code: "GEMINI_ERROR".into(),
            frame_id: "one".into(),
            ..ServerError::default()
        };
        peer.say(Event::ServerError(error)).await;
        while let Ok(Some(_)) = peer.events.message().await {}
    })
    .await;
    let mut complaints = 0;
    let mut desktop = open(&server, "right", Patience::default(), |step| {
        complaints += usize::from(matches!(step, Step::Complaint(_)));
    })
    .await
    .unwrap();
    let verdict = desktop.show(screen("one")).await.unwrap();
    assert!(matches!(verdict, Verdict::Failed(error) if error.code == "GEMINI_ERROR"));
    desktop.close().await.unwrap();
    assert_eq!(complaints, 3);
}

#[tokio::test]
async fn a_refused_token_is_told_in_the_servers_words() {
    let server = serve(|_| async {}).await;
    let refused = open(&server, "wrong", Patience::default(), drop)
        .await
        .err()
        .unwrap();
    let sentence = refused.to_string();
    assert_eq!(
        sentence,
        "the server ended the session with Unauthenticated: The token is not valid."
    );
    let unfit = open(&server, "new\nline", Patience::default(), drop)
        .await
        .err();
    assert!(matches!(unfit, Some(Error::Token)));
}

#[tokio::test]
async fn no_wait_is_without_an_end() {
    let mute = serve(|mut peer| async move {
        peer.hello().await;
        while let Ok(Some(_)) = peer.events.message().await {}
    })
    .await;
    let hasty = Patience {
        handshake: Duration::from_millis(300),
        ..Patience::default()
    };
    let late = open(&mute, "right", hasty, drop).await.err().unwrap();
    assert_eq!(late.to_string(), "no answer to the hello within 300ms");

    let forgetful = serve(|mut peer| async move {
        peer.ready(20_000).await;
        while let Ok(Some(_)) = peer.events.message().await {
            let beat = ServerHeartbeat::default();
            peer.say(Event::ServerHeartbeat(beat)).await;
        }
    })
    .await;
    let hasty = Patience {
        answer: Duration::from_millis(50),
        ..Patience::default()
    };
    let mut desktop = open(&forgetful, "right", hasty, drop).await.unwrap();
    let late = desktop.show(screen("one")).await.unwrap_err();
    assert_eq!(late.to_string(), "no answer to the frame within 50ms");

    let frozen = serve(|mut peer| async move {
        peer.ready(10).await;
        while let Ok(Some(_)) = peer.events.message().await {}
    })
    .await;
    let mut desktop = open(&frozen, "right", Patience::default(), drop)
        .await
        .unwrap();
    let late = desktop.show(screen("one")).await.unwrap_err();
    assert_eq!(
        late.to_string(),
        "no sign of life from the server within 30ms"
    );
}

#[tokio::test]
async fn an_ended_stream_is_told_with_its_status() {
    let server = serve(|mut peer| async move {
        peer.ready(0).await;
        peer.frame().await;
        let status = Status::unavailable("Draining; reconnect.");
        peer.answers.send(Err(status)).await.unwrap();
    })
    .await;
    let mut desktop = open(&server, "right", Patience::default(), drop)
        .await
        .unwrap();
    let ended = desktop.show(screen("one")).await.unwrap_err();
    assert!(matches!(ended, Error::Ended(status) if status.message() == "Draining; reconnect."));

    let server = serve(|mut peer| async move { peer.ready(0).await }).await;
    let mut desktop = open(&server, "right", Patience::default(), drop)
        .await
        .unwrap();
    let ended = desktop.show(screen("one")).await.unwrap_err();
    assert!(matches!(ended, Error::Closed(_)), "{ended}");
}

#[tokio::test]
async fn a_frame_over_the_limit_is_not_sent_and_the_session_goes_on() {
    let server = serve(|mut peer| async move {
        peer.ready(0).await;
        assert_eq!(peer.frame().await.screenshot_id, "small");
        peer.say(Event::AnalysisOutcome(outcome(
            "small",
            OutcomeKind::NoTaskFound,
        )))
        .await;
        while let Ok(Some(_)) = peer.events.message().await {}
    })
    .await;
    let mut desktop = open(&server, "right", Patience::default(), drop)
        .await
        .unwrap();
    let large = Screen {
        jpeg: vec![0; MOST_BYTES].into(),
        ..screen("large")
    };
    assert!(matches!(
        desktop.show(large).await,
        Err(Error::TooLarge { .. })
    ));
    desktop.show(screen("small")).await.unwrap();
    desktop.close().await.unwrap();
}

#[tokio::test]
async fn a_server_is_not_told_what_sqlite_says() {
    let server = serve(|mut peer| async move {
        peer.ready(0).await;
        peer.frame().await;
        for kind in [ToolKind::SearchSimilar, ToolKind::SearchKeywords] {
            peer.say(Event::ToolCallRequest(ToolCallRequest {
                request_id: "r1".into(),
                tool_kind: kind as i32,
                frame_id: "one".into(),
                ..ToolCallRequest::default()
            }))
            .await;
            let told = peer.result().await;
            assert_eq!(told.error, "the task store cannot be searched now");
            assert!(told.result.is_none());
        }
        let error = ServerError {
            code: "GEMINI_ERROR".into(),
            frame_id: "one".into(),
            ..ServerError::default()
        };
        peer.say(Event::ServerError(error)).await;
        while let Ok(Some(_)) = peer.events.message().await {}
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let mut store = Store::open(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE tasks").unwrap();
    let mut told = Vec::new();
    let observe = |step| {
        if let Step::SearchAnswered { found, .. } = step {
            told.push(found.unwrap_err());
        }
    };
    let patience = Patience::default();
    let desktop = open_over(&server, &mut store, false, "right", patience, observe);
    let mut desktop = desktop.await.unwrap();
    desktop.show(screen("one")).await.unwrap();
    desktop.close().await.unwrap();
    let is_why = |why: &String| why.contains("no such table");
    assert!(told.len() == 2 && told.iter().all(is_why), "{told:?}");
}

//! Messages from the operator's programs, on their way to a user.

use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{FireRequest, Follow, LogEvent, Message};
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, Door, TestApp, USER, hello};

crate::both_doors![
    e04_a_message_reaches_followers_and_sessions_at_once,
    e04_the_inbox_is_made_when_first_needed_and_read_later,
    e07_a_message_that_is_sent_again_under_its_key_is_one_message,
    e04_only_service_tokens_may_send_and_every_valid_one,
    what_is_wrong_with_a_message_is_told_by_the_field,
    a_message_s_data_may_be_nested_as_deep_at_one_door_as_at_the_other,
    a_message_s_data_is_told_on_one_line_however_it_was_written,
    e02_a_desktop_that_slept_gets_what_it_missed_over_its_session,
];

/// Data that is not JSON is, at the HTTP door, a body that is none.
fn names(refused: &Status, what: &str) -> bool {
    let told = refused.message();
    let body = ["nested too deeply", "is not JSON"];
    let is_body = |words: &&str| what == "data is not JSON" && told.contains(words);
    told.contains(what) || body.iter().any(is_body)
}

async fn started(door: Door) -> App {
    let tokens = format!("{SERVICE_TOKEN}, {SERVICE_TOKEN}-the-next");
    let app = TestApp::at(door).with(|settings| settings.work.service_tokens = Some(tokens.into()));
    app.start().await
}

fn about(title: &str) -> FireRequest {
    FireRequest {
        uid: USER.to_owned(),
        kind: "report.ready".to_owned(),
        title: title.to_owned(),
        body: "Open it in the app.".to_owned(),
        data: r#"{"report":7}"#.to_owned(),
        ..FireRequest::default()
    }
}

fn message(event: LogEvent) -> Message {
    match event.event {
        Some(LogWhat::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

async fn e04_a_message_reaches_followers_and_sessions_at_once(door: Door) {
    let app = started(door).await;
    let mut follower = app.follow("").await.unwrap();
    follower.start().await;
    let mut desk = app.greeted().await;
    let mut old = app.desk().await;
    old.hello("1.0").await;
    old.ready().await;
    let fired = app.fire(SERVICE_TOKEN, about("Q3")).await.unwrap();
    assert_eq!((fired.message_id.len(), fired.repeated), (36, false));
    assert_eq!(fired.listeners, 2, "a follower and a session of 1.1");
    let followed = follower.event().await;
    assert_eq!(followed.cursor, fired.cursor);
    let followed = message(followed);
    assert_eq!(followed.message_id, fired.message_id);
    assert_eq!(
        (followed.title.as_str(), followed.data.as_str()),
        ("Q3", r#"{"report":7}"#)
    );
    match desk.event().await {
        Event::LogEvent(event) => assert_eq!(message(event), followed),
        other => panic!("{other:?}"),
    }
    old.close().await;
    assert_eq!(old.next().await.unwrap(), None, "1.0 knows no messages");
}

async fn e04_the_inbox_is_made_when_first_needed_and_read_later(door: Door) {
    let app = started(door).await;
    let nobody = app.fire(SERVICE_TOKEN, about("first")).await.unwrap();
    assert_eq!(nobody.listeners, 0);
    app.fire(SERVICE_TOKEN, about("second")).await.unwrap();
    let mut late = app.follow("oldest").await.unwrap();
    let start = late.start().await;
    for title in ["first", "second"] {
        assert_eq!(message(late.event().await).title, title);
    }
    let mut from_cursor = app.follow(&nobody.cursor).await.unwrap();
    assert_eq!(from_cursor.start().await, nobody.cursor);
    assert_eq!(message(from_cursor.event().await).title, "second");
    assert!(start.ends_with(":0"), "{start}");
}

async fn e07_a_message_that_is_sent_again_under_its_key_is_one_message(door: Door) {
    let app = started(door).await;
    let mut follower = app.follow("").await.unwrap();
    follower.start().await;
    let keyed = |title: &str, uid: &str| FireRequest {
        idempotency_key: "report-7".to_owned(),
        uid: uid.to_owned(),
        ..about(title)
    };
    let first = app.fire(SERVICE_TOKEN, keyed("Q3", USER)).await.unwrap();
    let again = app.fire(SERVICE_TOKEN, keyed("Q3", USER)).await.unwrap();
    assert!(again.repeated);
    assert_eq!(
        (&again.message_id, &again.cursor),
        (&first.message_id, &first.cursor)
    );
    let other = app
        .fire(SERVICE_TOKEN, keyed("Q3", "somebody-else"))
        .await
        .unwrap();
    assert!(!other.repeated);
    app.fire(SERVICE_TOKEN, about("the next")).await.unwrap();
    assert_eq!(message(follower.event().await).title, "Q3");
    assert_eq!(message(follower.event().await).title, "the next");
}

async fn e04_only_service_tokens_may_send_and_every_valid_one(door: Door) {
    let app = started(door).await;
    app.fire(&format!("{SERVICE_TOKEN}-the-next"), about("x"))
        .await
        .unwrap();
    for wrong in ["", "x", &SERVICE_TOKEN[1..], &app.service.token(USER)] {
        let refused = app.fire(wrong, about("x")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        assert!(
            !refused.message().contains(&SERVICE_TOKEN[..8]),
            "{refused}"
        );
    }
    let closed = TestApp::at(door).start().await;
    let refused = closed.fire(SERVICE_TOKEN, about("x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("SERVICE_TOKENS"), "{refused}");
    // And a service token is no user's.
    let opened = closed.open(SERVICE_TOKEN).await;
    assert_eq!(opened.err().unwrap().code(), Code::Unauthenticated);
}

async fn what_is_wrong_with_a_message_is_told_by_the_field(door: Door) {
    let app = started(door).await;
    let past = Some(Timestamp {
        seconds: 1,
        nanos: 0,
    });
    let no_time = Some(Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    let base = || about("x");
    for (wrong, told) in [
        (
            FireRequest {
                uid: String::new(),
                ..base()
            },
            "uid is missing",
        ),
        (
            FireRequest {
                uid: "u".repeat(129),
                ..base()
            },
            "uid has 129 characters",
        ),
        (
            FireRequest {
                uid: "a\nb".into(),
                ..base()
            },
            "uid has a control character",
        ),
        (
            FireRequest {
                kind: "Report Ready".into(),
                ..base()
            },
            "kind may have",
        ),
        (
            FireRequest {
                kind: String::new(),
                ..base()
            },
            "kind is missing",
        ),
        (
            FireRequest {
                title: String::new(),
                ..base()
            },
            "title is missing",
        ),
        (
            FireRequest {
                title: "t".repeat(201),
                ..base()
            },
            "title has 201",
        ),
        (
            FireRequest {
                body: "b".repeat(4_001),
                ..base()
            },
            "body has 4001",
        ),
        (
            FireRequest {
                data: "{".into(),
                ..base()
            },
            "data is not JSON",
        ),
        (
            FireRequest {
                data: format!("\"{}\"", "d".repeat(16_384)),
                ..base()
            },
            "data has 16386",
        ),
        (
            FireRequest {
                data: "[".repeat(10_000),
                ..base()
            },
            "data is not JSON",
        ),
        (
            FireRequest {
                expires_at: past,
                ..base()
            },
            "expires_at is in the past",
        ),
        (
            FireRequest {
                expires_at: no_time,
                ..base()
            },
            "expires_at is no time",
        ),
        (
            FireRequest {
                idempotency_key: "k".repeat(256),
                ..base()
            },
            "idempotency_key has 256",
        ),
    ] {
        let refused = app.fire(SERVICE_TOKEN, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(names(&refused, told), "{refused}");
    }
}

async fn a_message_s_data_may_be_nested_as_deep_at_one_door_as_at_the_other(door: Door) {
    let app = started(door).await;
    let nested = |levels: usize| FireRequest {
        data: format!("{}{}", "[".repeat(levels), "]".repeat(levels)),
        ..about("deep")
    };
    app.fire(SERVICE_TOKEN, nested(31)).await.unwrap();
    for levels in [32, 5_000] {
        let refused = app.fire(SERVICE_TOKEN, nested(levels)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("nested too deeply"), "{refused}");
    }
}

async fn a_message_s_data_is_told_on_one_line_however_it_was_written(door: Door) {
    let app = started(door).await;
    let mut follower = app.follow("").await.unwrap();
    follower.start().await;
    let data = "\r\n{\n\t\"report\" : [ 7,\r\n \"two  \\n words\" ]\n}\n".to_owned();
    let written = FireRequest { data, ..about("x") };
    app.fire(SERVICE_TOKEN, written).await.unwrap();
    let told = message(follower.event().await).data;
    assert_eq!(told, "{\"report\":[7,\"two  \\n words\"]}");
}

async fn e02_a_desktop_that_slept_gets_what_it_missed_over_its_session(door: Door) {
    let app = started(door).await;
    let following = |cursor: &str| match hello("1.1") {
        proactive::transport::proto::client_event::Event::ClientHello(hello) => {
            let cursor = cursor.to_owned();
            let follow = Some(Follow { cursor });
            proactive::transport::proto::client_event::Event::ClientHello(
                proactive::transport::proto::ClientHello { follow, ..hello },
            )
        }
        other => other,
    };
    let log_event = async |desk: &mut crate::support::Desk| match desk.event().await {
        Event::LogEvent(event) => event,
        other => panic!("{other:?}"),
    };
    let mut desk = app.desk().await;
    desk.say(following("")).await;
    desk.ready().await;
    let start = log_event(&mut desk).await;
    assert!(matches!(start.event, Some(LogWhat::Start(_))));
    drop(desk);
    let missed = app.fire(SERVICE_TOKEN, about("missed")).await.unwrap();

    let mut desk = app.desk().await;
    desk.say(following(&start.cursor)).await;
    desk.ready().await;
    assert_eq!(log_event(&mut desk).await.cursor, start.cursor);
    let told = log_event(&mut desk).await;
    assert_eq!(told.cursor, missed.cursor);
    assert_eq!(message(told).title, "missed");
    app.fire(SERVICE_TOKEN, about("live")).await.unwrap();
    assert_eq!(message(log_event(&mut desk).await).title, "live");

    // What is no cursor costs nothing but itself.
    let mut desk = app.desk().await;
    desk.say(following("yesterday")).await;
    desk.ready().await;
    let error = desk.error().await;
    assert_eq!(error.code, "INVALID_EVENT");
    assert!(error.message.contains("follow.cursor"), "{}", error.message);
    let start = log_event(&mut desk).await;
    assert!(matches!(start.event, Some(LogWhat::Start(_))));
    assert_eq!(start.cursor.rsplit(':').next(), Some("2"));
}

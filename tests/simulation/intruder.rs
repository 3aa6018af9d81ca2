//! Somebody who has got hold of a session's name, and perhaps of its secret: it is
//! never theirs.

use std::sync::Arc;
use std::time::Duration;

use proactive::domain::ResumeSecret;
use proactive::session::{ClientMessage, Hello, Input, Resume, ServerMessage, StreamEnd, Version};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep, timeout};

use super::network::Heard;
use super::stage::Stage;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn live(stage: Arc<Stage>, mut dice: SmallRng) {
    loop {
        sleep(Duration::from_millis(dice.random_range(1_000..30_000))).await;
        let _ = timeout(PATIENCE, intrude(&stage, &mut dice)).await;
    }
}

async fn intrude(stage: &Stage, dice: &mut SmallRng) {
    let Some((uid, session, secret)) = stage.found(dice) else {
        return;
    };
    // The same user with a wrong secret, or another with the right one.
    let (uid, secret, name) = match dice.random_bool(0.5) {
        true => (uid, ResumeSecret::new("a guess"), "guesser"),
        false => ("a thief".to_owned(), secret, "thief"),
    };
    let token = stage.token(&uid, dice);
    let Ok(mut cable) = stage.connect(&token, (false, false), dice) else {
        return;
    };
    stage.note(name, || format!("asks for {uid}'s {session}"));
    let hello = Hello {
        version: Version::V1_1,
        resume: Some(Box::new(Resume {
            session: session.clone(),
            secret,
            received: 0,
        })),
        ..Hello::default()
    };
    let hello = Input::Message(ClientMessage::Hello(hello));
    if let Some(to_server) = cable.to_server.take() {
        let _ = to_server.send((Instant::now(), hello)).await;
    }
    while let Some(heard) = cable.from_server.recv().await {
        match heard {
            Heard::Said(_, message) => match *message {
                ServerMessage::Ready(ready) => {
                    let resumed = ready.resume.is_some_and(|resume| resume.resumed.is_some());
                    if ready.session == session || resumed {
                        stage.blame(&format!("a {name} has taken a session up"));
                    }
                }
                ServerMessage::Heartbeat(_) | ServerMessage::GoAway(_) => {}
                other => stage.blame(&format!("a {name} heard {other:?}")),
            },
            Heard::Ended(Some(StreamEnd::NotYours)) if name == "thief" => {}
            Heard::Ended(Some(StreamEnd::Closed | StreamEnd::Drained)) => {}
            Heard::Ended(end) => stage.blame(&format!("a {name}'s stream ended with {end:?}")),
        }
    }
}

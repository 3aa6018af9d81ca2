//! More calls to the model than may be: users take turns.

use proactive::stand_in::Move;
use proactive::transport::proto::CancelFrame;
use proactive::transport::proto::client_event::Event as Said;
use serde_json::json;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::support::{App, Desk, Door, PATIENCE, TestApp};

crate::both_doors![another_user_comes_before_the_rest_of_a_flood_whatever_sessions_it_has,];

/// Another session of that user.
async fn desk(app: &App, user: &str) -> Desk {
    let token = app.service.token(user);
    let mut desk = app.open(&token).await.unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    desk
}

async fn frame_waits(app: &App, desk: &Desk, id: &str, calls_waiting: usize) {
    desk.frame(id, &format!("<{id}>")).await;
    let waiting = format!("proactive_model_calls_waiting {calls_waiting}");
    app.metric_becomes(&waiting).await;
}

/// Which of these frames the model was asked about, in that order.
fn asked(app: &App, ids: &[&str]) -> Vec<String> {
    let requests = app.model.recorded();
    let bodies = requests
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body));
    let shown = |body: &str| {
        let shown = ids.iter().find(|id| body.contains(&format!("<{id}>")));
        (*shown.unwrap()).to_owned()
    };
    bodies.map(|body| shown(&body)).collect()
}

async fn another_user_comes_before_the_rest_of_a_flood_whatever_sessions_it_has(door: Door) {
    let one_at_once = |set: &mut proactive::config::Settings| set.model_calls_at_once = "1".into();
    let app = TestApp::at(door).with(one_at_once).start().await;
    let nothing = || Move::call("no_task_found", json!({}));
    app.script([Move::hang(), nothing(), nothing(), nothing(), nothing()]);
    let (mut one, mut two) = (desk(&app, "flood").await, desk(&app, "flood").await);
    let mut other = desk(&app, "somebody").await;
    one.frame("f1", "<f1>").await;
    let reached = async {
        while app.model.recorded().is_empty() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
    frame_waits(&app, &one, "f2", 1).await;
    frame_waits(&app, &two, "f3", 2).await;
    frame_waits(&app, &two, "f4", 3).await;
    frame_waits(&app, &other, "o1", 4).await;
    // The call that hangs gives its place back when its frame is given up.
    let frame_id = "f1".to_owned();
    one.say(Said::CancelFrame(CancelFrame { frame_id })).await;
    assert_eq!(one.error().await.code, "CANCELLED");
    for (desk, frames) in [(&mut one, 1), (&mut two, 2), (&mut other, 1)] {
        for _ in 0..frames {
            desk.outcome().await;
        }
    }
    let frames = ["f1", "f2", "f3", "f4", "o1"];
    assert_eq!(asked(&app, &frames), ["f1", "f2", "o1", "f3", "f4"]);
    app.metric_becomes("proactive_model_calls_waiting 0").await;
    app.metric_becomes("proactive_model_wait_seconds_count 4")
        .await;
}

//! The variables of sessions, over the wire.

use proactive::domain::Value;
use proactive::transport::proto::workers::variable_request::Ask;
use proactive::transport::proto::workers::worker_command::Command;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{
    DeleteVariable, GetVariable, ListVariables, SetVariable, VariableRequest, VariableResponse,
};

use crate::worker::{Worker, number, whole};
use crate::{call, started, workers};

async fn asks(worker: &mut Worker, call_id: &str, ask: Ask) -> VariableResponse {
    worker
        .say(Event::Variable(VariableRequest {
            request_id: "r".to_owned(),
            call_id: call_id.to_owned(),
            ask: Some(ask),
        }))
        .await;
    match worker.next().await.unwrap() {
        Some(Command::Variable(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn set(value: i64, expected_version: Option<i64>) -> Ask {
    Ask::Set(SetVariable {
        name: "count".to_owned(),
        value: Some(whole(value)),
        expected_version,
        time_to_live_s: 0,
    })
}

#[tokio::test]
async fn c06_variables_are_set_got_listed_and_deleted_by_the_worker_that_has_the_call() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["add"]).await;
    let workers = workers(&app);
    let name = || "count".to_owned();
    let get = || Ask::Get(GetVariable { name: name() });
    let serving = async {
        let call = worker.call().await;
        let id = &*call.call_id;
        let made = asks(&mut worker, id, set(7, Some(0))).await;
        assert_eq!((made.code, &*made.request_id), (0, "r"));
        assert_eq!(made.variables[0].version, 1);
        assert!(made.variables[0].expires_at.is_some());
        let stale = asks(&mut worker, id, set(8, Some(0))).await;
        assert_eq!((stale.code, stale.variables[0].version), (9, 1));
        asks(&mut worker, id, set(8, Some(1))).await;
        let got = asks(&mut worker, id, get()).await;
        assert_eq!(number(got.variables[0].value.as_ref().unwrap()), 8);
        assert_eq!(got.variables[0].version, 2);
        let prefix = "co".to_owned();
        let listed = asks(&mut worker, id, Ask::List(ListVariables { prefix })).await;
        assert_eq!(
            (listed.variables.len(), &listed.variables[0].value),
            (1, &None)
        );
        let delete = DeleteVariable {
            name: name(),
            expected_version: None,
        };
        assert_eq!(asks(&mut worker, id, Ask::Delete(delete)).await.code, 0);
        assert_eq!(asks(&mut worker, id, get()).await.code, 5);
        let nameless = Ask::Get(GetVariable::default());
        let wrong = asks(&mut worker, id, nameless).await;
        assert_eq!(wrong.code, 3);
        assert!(wrong.message.starts_with("name "), "{}", wrong.message);
        let others = asks(&mut worker, "another", get()).await;
        assert_eq!(others.code, 7);
        worker.answer(&call, whole(1)).await;
        assert_eq!(asks(&mut worker, id, get()).await.code, 7);
    };
    let (result, ()) = tokio::join!(call(&workers, "add", Value::Null), serving);
    assert_eq!(result, Ok(Value::Integer(1)));
}

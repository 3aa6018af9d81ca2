//! What operators are told of a model that is out of order.

use std::time::Duration;

use proactive::stand_in::Move;
use tokio::time::sleep;

use crate::log::outside;
use crate::serve::Server;
use crate::support::{Desk, connect};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_once_that_a_circuit_is_open_and_once_that_it_is_closed() {
    let outside = outside().await;
    let touchy = [
        ("MODEL_CIRCUIT_FAILURES", "1"),
        ("MODEL_CIRCUIT_OPEN", "100ms"),
    ];
    let server = Server::start(&[&outside.environment()[..], &touchy].concat());
    let channel = connect(&format!("http://{}", server.grpc)).await;
    let mut desk = Desk::open(channel, &outside.token("somebody"))
        .await
        .unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    outside.model.script([Move::status(503), Move::status(503)]);
    // The second one is the try of an open circuit.
    for id in ["one", "two"] {
        desk.frame(id, "fn main() {}").await;
        let wait = desk.error().await.retry_after_ms;
        sleep(Duration::from_millis(wait.try_into().unwrap())).await;
    }
    desk.frame("three", "fn main() {}").await;
    desk.outcome().await;
    server.process.signal("TERM");
    let log = server.process.end().stderr;
    for line in ["its circuit is open", "its circuit is closed"] {
        assert_eq!(log.matches(line).count(), 1, "{line} in\n{log}");
    }
}

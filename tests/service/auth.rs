//! Who may open a stream.

use std::time::Duration;

use tonic::Code;

use crate::support::{Desk, Door, TestApp};

crate::both_doors![the_token_is_verified_once_so_that_a_stream_outlives_it,];

#[tokio::test]
async fn a02_a_stream_without_a_good_token_is_refused_before_any_event_and_echoes_nothing() {
    let app = TestApp::new().start().await;
    let channel = app.channel().await;
    let good = app.service.token("someone");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let issuer = app.service.issuer();
    let mut no_uid = issuer.claims("x", Duration::from_secs(60));
    no_uid["sub"] = "".into();
    let mut expired = issuer.claims("x", Duration::from_secs(60));
    expired["exp"] = (expired["iat"].as_i64().unwrap() - 60).into();
    let sign = |claims| format!("Bearer {}", issuer.sign(&issuer.header(), claims));
    let authorizations = [
        None,
        Some(String::new()),
        Some(good.clone()),
        Some(format!("Basic {good}")),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer nonsense-token-text".to_owned()),
        Some(format!(
            "Bearer {head}.{}",
            signature.chars().rev().collect::<String>()
        )),
        Some(sign(&no_uid)),
        Some(sign(&expired)),
    ];
    let mut refused = 0;
    for authorization in authorizations {
        let secret = authorization.clone().unwrap_or_default();
        let opened = Desk::open_with(channel.clone(), |request| {
            if let Some(value) = &authorization {
                request
                    .metadata_mut()
                    .insert("authorization", value.parse().unwrap());
            }
        })
        .await;
        let status = opened.err().expect("the stream was opened");
        refused += 1;
        assert_eq!(status.code(), Code::Unauthenticated, "{secret}");
        for piece in secret.split(['.', ' ']).filter(|piece| piece.len() > 6) {
            assert!(!status.message().contains(piece), "{}", status.message());
        }
    }
    assert_eq!(refused, 10);
    let counted = format!("proactive_stream_auth_total{{result=\"refused\"}} {refused}");
    app.metric_becomes(&counted).await;
    assert!(Desk::open(channel, &good).await.is_ok());
}

#[tokio::test]
async fn a_stream_is_refused_as_unavailable_while_no_keys_can_be_had() {
    let app = TestApp::new()
        .tweak(|config| config.auth.max_stale = Duration::ZERO)
        .start()
        .await;
    // A second server whose keys are nowhere, with the first one's tokens.
    let mut config = proactive::config::Settings::defaults()
        .embedded()
        .check()
        .unwrap();
    config.auth.keys_url = "http://127.0.0.1:1/keys".into();
    let server = proactive::app::start(config, proactive::world::World::real())
        .await
        .unwrap();
    let channel = crate::support::connect(&format!("http://{}", server.grpc_addr())).await;
    let status = Desk::open(channel, &app.service.token("u"))
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    server.stop().await;
}

async fn the_token_is_verified_once_so_that_a_stream_outlives_it(door: Door) {
    let app = TestApp::at(door).start().await;
    let token = app
        .service
        .issuer()
        .mint("brief", Duration::from_secs(1), None);
    let mut desk = app.open(&token).await.unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    app.metric_becomes("proactive_stream_auth_total{result=\"accepted\"} 1")
        .await;
    desk.frame("f", "fn main() {}").await;
    desk.outcome().await;
    app.metric_becomes("proactive_stream_auth_total{result=\"accepted\"} 1")
        .await;
}

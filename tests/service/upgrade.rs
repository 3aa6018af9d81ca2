//! Who may open a WebSocket, and what is said to those who may not.

use crate::support::websocket::{Socket, bare_request, request, tls};
use crate::support::{TestApp, hello};

const USER: &str = "test-user-0123456789";

#[tokio::test]
async fn b03_a_stream_without_a_good_token_is_refused_before_the_upgrade_and_echoes_nothing() {
    let app = TestApp::new().start().await;
    let server = app.service.server.http_addr();
    let good = app.service.token(USER);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    let bad = format!("{head}.{reversed}");
    let with = |name: &'static str, value: &str| {
        let mut request = bare_request(server);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut in_url = bare_request(server);
    let url = format!("ws://{server}/v1/proactive?token={good}&access_token={good}");
    *in_url.uri_mut() = url.parse().unwrap();
    let protocol = "sec-websocket-protocol";
    for refused in [
        bare_request(server),
        in_url,
        with("authorization", &good),
        with("authorization", &format!("Basic {good}")),
        with("authorization", "Bearer "),
        with("authorization", &format!("Bearer {bad}")),
        with(protocol, "proactive.v1"),
        with(protocol, &format!("proactive.v1, bearer.{bad}")),
        with(protocol, "proactive.v1, bearer."),
    ] {
        let (status, problem) = Socket::open_with(refused).await.err().unwrap();
        assert_eq!(status, 401, "{problem}");
        assert_eq!(problem["type"], "urn:proactive:unauthenticated");
        for piece in good.split('.').chain([&*reversed]) {
            assert!(!problem.to_string().contains(piece));
        }
    }
    app.metric_becomes("proactive_stream_auth_total{result=\"refused\"} 9")
        .await;
    // A browser would hang up on an answer that chooses none of its protocols.
    let only_token = with(protocol, &format!("bearer.{good}"));
    let (status, problem) = Socket::open_with(only_token).await.err().unwrap();
    assert_eq!((status, problem.to_string().contains(head)), (400, false));
}

#[tokio::test]
async fn b03_a_browser_brings_its_token_as_a_protocol_and_it_is_not_echoed() {
    let app = TestApp::new().start().await;
    let token = app.service.token(USER);
    let offers = [
        format!("proactive.v1, bearer.{token}"),
        format!("bearer.{token},proactive.v1"),
    ];
    for offer in offers {
        let mut request = bare_request(app.service.server.http_addr());
        let offer = offer.parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offer);
        let (mut socket, response) = Socket::open_with(request).await.ok().unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "proactive.v1");
        assert!(!format!("{:?}", response.headers()).contains(&token));
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
        socket.say(Some(hello("1.1"))).await;
        assert_eq!(socket.value().await["type"], "session_ready");
    }
}

#[tokio::test]
async fn b03_another_scheme_of_a_proxy_hides_no_token_that_is_offered_and_a_bad_one_of_ours_does() {
    let app = TestApp::new().start().await;
    let token = app.service.token(USER);
    for (said, status) in [("Basic dTpw", 101), ("Bearer none", 401)] {
        let mut request = bare_request(app.service.server.http_addr());
        let headers = request.headers_mut();
        let offer = format!("proactive.v1, bearer.{token}");
        headers.insert("sec-websocket-protocol", offer.parse().unwrap());
        headers.insert("authorization", said.parse().unwrap());
        let told = match Socket::open_with(request).await {
            Ok((_, response)) => response.status().as_u16(),
            Err((status, _)) => status,
        };
        assert_eq!(told, status, "{said}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_16_bytes_in_base64_is_refused() {
    let app = TestApp::new().start().await;
    let url = format!("http://{}/v1/proactive", app.service.server.http_addr());
    for (key, status) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", 101),
        ("dGhlIHNhbXBsZSBub25jZQ", 400),
        ("dGhlIHNhbXBsZSBub25j", 400),
        ("x", 400),
        ("", 400),
    ] {
        let asked = reqwest::Client::new().get(&url);
        let asked = asked
            .bearer_auth(app.service.token(USER))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", key);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), status, "{key}");
    }
}

#[tokio::test]
async fn b03_a_stream_is_refused_as_unavailable_while_no_keys_can_be_had() {
    let settings = proactive::config::Settings::defaults().embedded();
    let mut config = settings.check().unwrap();
    config.auth.keys_url = "http://127.0.0.1:1/keys".into();
    let world = proactive::world::World::real();
    let server = proactive::app::start(config, world).await.unwrap();
    let app = TestApp::new().start().await;
    let request = request(server.http_addr(), &app.service.token(USER));
    let (status, problem) = Socket::open_with(request).await.err().unwrap();
    assert_eq!((status, &problem["status"]), (503, &503.into()));
    assert_eq!(problem["type"], "urn:proactive:unavailable");
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let listed = |set: &mut proactive::config::Settings| {
        set.http_allowed_origins = Some("https://app.example.com".into());
    };
    let app = TestApp::new().with(listed).start().await;
    let server = app.service.server.http_addr();
    let own = format!("http://{server}");
    for (origin, is_allowed) in [
        ("https://app.example.com", true),
        (&*own, true),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let mut request = request(server, &app.service.token(USER));
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        match Socket::open_with(request).await {
            Ok(_) => assert!(is_allowed, "{origin}"),
            Err((status, problem)) => {
                assert!(!is_allowed, "{origin}");
                assert_eq!(status, 403);
                assert_eq!(problem["type"], "urn:proactive:origin-not-allowed");
            }
        }
    }
}

#[tokio::test]
async fn wss_is_served_with_the_certificate_of_grpc() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let files = proactive::transport::Tls::new(certificate.clone(), key.into()).unwrap();
    let app = TestApp::new()
        .tweak(move |config| config.http.tls = Some(files))
        .start()
        .await;
    let server = app.service.server.http_addr();
    let connection = tls(server, &certificate).await;
    let request = request(server, &app.service.token(USER));
    let (mut socket, _) = Socket::open_over(connection, request).await.ok().unwrap();
    socket.say(Some(hello("1.1"))).await;
    assert_eq!(socket.value().await["type"], "session_ready");
}

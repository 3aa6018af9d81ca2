//! What stands beside the session: health, reflection, the operators' pages,
//! TLS and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use proactive::transport::Keepalive;
use proactive::transport::Tls;
use proactive::transport::grpc::ALIVE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service, ServiceExt};

use crate::support::{App, Desk, PATIENCE, TestApp, USER, connect};

/// One of the operators' pages: its status and text.
pub(crate) async fn page(app: &App, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", app.service.server.admin_addr());
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn health_is_serving_per_service_and_the_pages_answer() {
    let app = TestApp::new().start().await;
    assert_eq!(page(&app, "/healthz").await, (200, "ok\n".into()));
    assert_eq!(page(&app, "/readyz").await.0, 200);
    for service in ["", "proactive.v1.ProactiveAI"] {
        app.serves(service).await;
    }
    let mut desk = app.greeted().await;
    desk.frame("f", "fn main() {}").await;
    desk.outcome().await;
    let (status, metrics) = page(&app, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "proactive_sessions 1",
        "proactive_frames_total{result=\"no_task_found\"} 1",
        "proactive_model_calls_total{model=\"gemini-3.5-flash-lite\",code=\"200\"} 1",
        "proactive_frame_overhead_seconds_count 1",
        "proactive_frame_seconds_count 1",
        "proactive_model_seconds_count 1",
    ] {
        assert!(
            metrics.lines().any(|said| said == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(!metrics.contains("test-user"), "no uid in any label");
}

#[tokio::test]
async fn without_keys_the_server_is_alive_but_not_ready() {
    let mut config = proactive::config::Settings::defaults()
        .embedded()
        .check()
        .unwrap();
    config.auth.keys_url = "http://127.0.0.1:1/keys".into();
    let server = proactive::app::start(config, proactive::world::World::real())
        .await
        .unwrap();
    let answer = reqwest::get(format!("http://{}/readyz", server.admin_addr()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("keys"));
    let channel = connect(&format!("http://{}", server.grpc_addr())).await;
    let mut health = HealthClient::new(channel);
    let mut status = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        health.check(request).await.unwrap().into_inner().status()
    };
    for service in ["", "proactive.v1.ProactiveAI"] {
        assert_eq!(status(service).await, ServingStatus::NotServing);
    }
    assert_eq!(status(ALIVE).await, ServingStatus::Serving);
    server.stop().await;
}

#[tokio::test]
async fn a22_native_tls_is_served_when_certificate_files_are_given() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let tls = Tls::new(certificate.clone(), key.into()).unwrap();
    let app = TestApp::new()
        .tweak(move |config| config.grpc.tls = Some(tls))
        .start()
        .await;
    let trust = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name("localhost");
    let url = format!("https://{}", app.service.grpc_addr());
    let channel = Endpoint::from_shared(url)
        .unwrap()
        .tls_config(trust)
        .unwrap();
    let channel = channel.connect().await.unwrap();
    let mut desk = Desk::open(channel, &app.service.token("u")).await.unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
}

#[test]
fn tls_files_that_do_not_belong_together_are_refused_without_a_byte_of_them() {
    let [one, two] = [(); 2].map(|()| rcgen::generate_simple_self_signed(vec![]).unwrap());
    let key = two.signing_key.serialize_pem();
    let wrong = Tls::new(one.cert.pem(), key.into()).unwrap_err();
    assert!(wrong.contains("do not belong together"));
    assert!(Tls::new("x".into(), "y".to_owned().into()).is_err());
}

/// Reads HTTP/2 frames: type, flags, stream and payload.
async fn http2_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((
        head[3],
        head[4],
        u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    ))
}

async fn preface(app: &App) -> TcpStream {
    let mut stream = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn many_clients_fit_on_one_connection_of_a_balancer() {
    let app = TestApp::new().start().await;
    let mut stream = preface(&app).await;
    let (mut streams, mut stream_window, mut connection_window) = (0, 0, 65_535);
    while streams == 0 || connection_window == 65_535 {
        let (kind, _, id, payload) = http2_frame(&mut stream).await.unwrap();
        if kind == 4 {
            for setting in payload.chunks(6) {
                let value = u32::from_be_bytes(setting[2..6].try_into().unwrap());
                match u16::from_be_bytes([setting[0], setting[1]]) {
                    3 => streams = value,
                    4 => stream_window = value,
                    _ => {}
                }
            }
        }
        if kind == 8 && id == 0 {
            connection_window += u32::from_be_bytes(payload[..4].try_into().unwrap());
        }
    }
    assert!(streams >= 10_000, "{streams} streams");
    assert_eq!(stream_window, 256 << 10, "a screenshot or two");
    let stalled = connection_window / stream_window;
    assert!(stalled >= 200, "{stalled} idle readers stall all others");
}

#[tokio::test]
async fn a22_a_peer_without_calls_is_pinged_and_one_that_is_dead_is_dropped() {
    let contract = (Duration::from_secs(30), Duration::from_secs(10));
    assert_eq!(
        (Keepalive::USUAL.interval, Keepalive::USUAL.timeout),
        contract
    );
    let short = Keepalive {
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(50),
        ..Keepalive::USUAL
    };
    let app = TestApp::new()
        .tweak(move |config| config.grpc.keepalive = short)
        .start()
        .await;
    let mut stream = preface(&app).await;
    let mut pings = 0;
    // No call is open, and no ping is answered: the server hangs up.
    while let Some((kind, flags, _, _)) = http2_frame(&mut stream).await {
        pings += u32::from(kind == 6 && flags == 0);
    }
    assert!(pings >= 1);
}

#[tokio::test]
async fn a_tls_handshake_that_is_not_over_in_time_is_given_up() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let tls = Tls::new(certificate, key.into()).unwrap();
    // Silence alone may last.
    let patient = Keepalive {
        interval: 100 * PATIENCE,
        timeout: PATIENCE,
        first_byte: Duration::from_millis(200),
    };
    let app = TestApp::new()
        .tweak(move |config| {
            config.grpc.keepalive = patient;
            config.grpc.tls = Some(tls);
        })
        .start()
        .await;
    let mut halting = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
    halting.write_all(b"\x16\x03\x01").await.unwrap();
    hangs_up(&mut halting).await;
}

/// Ends when the server has hung up; without it the test fails.
async fn hangs_up(stream: &mut TcpStream) {
    let mut said = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_that_never_speaks_http2_is_dropped() {
    assert_eq!(Keepalive::USUAL.first_byte, Duration::from_secs(10));
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let tls = Tls::new(certificate, key.into()).unwrap();
    let short = Duration::from_millis(50);
    let short = Keepalive {
        interval: short,
        timeout: short,
        first_byte: short,
    };
    for (tls, beginning) in [(None, &b"PRI * HT"[..]), (Some(tls), b"\x16\x03\x01")] {
        let app = TestApp::new()
            .tweak(move |config| {
                config.grpc.keepalive = short;
                config.grpc.tls = tls;
            })
            .start()
            .await;
        let mut silent = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
        hangs_up(&mut silent).await;
        let mut halting = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
        halting.write_all(beginning).await.unwrap();
        hangs_up(&mut halting).await;
    }
}

#[tokio::test]
async fn a_call_that_is_begun_and_never_ended_is_given_up() {
    let app = TestApp::new().start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build();
    let url = format!(
        "http://{}/proactive.v1.Jobs/GetJob",
        app.service.grpc_addr()
    );
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let call = client.unwrap().post(url);
    let call = call
        .bearer_auth(app.service.token(USER))
        .header("content-type", "application/grpc")
        .body(reqwest::Body::wrap_stream(never));
    tokio::time::pause();
    let answer = call.send().await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "1", "CANCELLED");
}

#[tokio::test]
async fn a_call_is_under_way_until_its_answer_has_been_taken() {
    let app = TestApp::new().start().await;
    let url = format!("http://{}", app.service.server.grpc_addr());
    let window = Endpoint::from_shared(url).unwrap();
    let mut channel = window
        .initial_stream_window_size(1)
        .connect()
        .await
        .unwrap();
    let token = app.service.token(USER);
    let mut list = async || {
        let request = http::Request::post("/proactive.v1.Jobs/ListJobs")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::new(Full::new(Bytes::from_static(&[0; 5]))))
            .unwrap();
        channel.ready().await.unwrap().call(request).await.unwrap()
    };
    let mut unread = Vec::new();
    for _ in 0..16 {
        let answer = list().await;
        assert_eq!(answer.headers().get("grpc-status"), None);
        unread.push(answer);
    }
    // RESOURCE_EXHAUSTED.
    let refused = list().await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    drop(unread);
    let taken = async {
        while list().await.headers().contains_key("grpc-status") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
}

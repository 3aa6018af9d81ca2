//! Tokens into a verifier that knows one key. The first byte says how they are
//! made of the rest: as it stands; of two pieces, header and claims, without a
//! signature, for the emulator's mode; or of the same, signed with that key.

use std::sync::LazyLock;
use std::time::Duration;

use futures::FutureExt;
use proactive::auth::local::LocalIssuer;
use proactive::auth::{Options, Verifier, bearer};
use proactive::world::World;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::pieces;

const PROJECT: &str = "demo-proactive";

/// The issuer, a verifier with its key, and one for unsigned tokens.
struct Bench {
    issuer: LocalIssuer,
    verifier: Verifier,
    emulator: Verifier,
    /// For the clock of those who wait.
    runtime: Runtime,
}

static BENCH: LazyLock<Bench> = LazyLock::new(bench);

fn bench() -> Bench {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (issuer, verifier, emulator) = runtime.block_on(async {
        // The id of the key is the same in every run, so that inputs can name it.
        let world = World::fixed("2026-11-21T10:00:00Z".parse().expect("a time"), 1);
        let issuer = LocalIssuer::new(PROJECT, world.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let verifier = |emulator| {
            let options = Options {
                project_id: PROJECT.to_owned(),
                keys_url: format!("http://{address}/"),
                emulator,
                clock_skew: Duration::from_secs(10),
                // Longer than anybody fuzzes.
                max_stale: Duration::from_secs(1 << 30),
            };
            let http = reqwest::Client::builder().no_proxy().build();
            Verifier::new(options, http.expect("a client"), world.clone())
        };
        let (with_key, emulator) = (verifier(false), verifier(true));
        let keys = issuer.jwks();
        tokio::select! {
            () = with_key.keep_fresh() => unreachable!("it runs without end"),
            () = serve(&listener, &keys) => unreachable!("it runs without end"),
            () = with_key.until_ready() => {}
        }
        (issuer, with_key, emulator)
    });
    Bench {
        issuer,
        verifier,
        emulator,
        runtime,
    }
}

/// Says the same to everybody.
async fn serve(listener: &TcpListener, document: &str) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let length = document.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all((head + document).as_bytes()).await;
    }
}

pub(crate) fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let bench = &*BENCH;
    let parts = pieces(rest, 2);
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    match how % 4 {
        0 => {
            let text = String::from_utf8_lossy(rest);
            for authorization in [&*text, &format!("Bearer {text}")] {
                if let Ok(token) = bearer(Some(authorization)) {
                    judge(bench, token, false);
                }
            }
        }
        1 => {
            let [header, claims] = [part(0), part(1)].map(encode);
            judge(bench, &format!("{header}.{claims}."), false);
        }
        2 => {
            let [header, claims] = [part(0), part(1)].map(encode);
            judge(bench, &format!("{header}.{claims}.{header}"), false);
        }
        _ => {
            let [header, claims] = [part(0), part(1)].map(serde_json::from_slice::<Value>);
            if let (Ok(header), Ok(claims)) = (header, claims) {
                judge(bench, &bench.issuer.sign(&header, &claims), true);
            }
        }
    }
}

fn judge(bench: &Bench, token: &str, signed: bool) {
    let _clock = bench.runtime.enter();
    for (verifier, by_key) in [(&bench.verifier, true), (&bench.emulator, false)] {
        // One whose key is not known waits for keys to be fetched; nobody does.
        match verifier.verify(token).now_or_never() {
            None => {}
            Some(Ok(principal)) => {
                assert_eq!(by_key, signed, "taken by the wrong verifier");
                let uid = principal.uid.as_str().chars().count();
                assert!((1..=128).contains(&uid), "a uid of {uid}");
                assert!(principal.plan.is_none_or(|plan| plan.len() <= 32));
            }
            // Keys are there. What else is told repeats no token: it has no fields.
            Some(Err(error)) => assert!(!error.is_unavailable(), "{error}"),
        }
    }
}

/// base64url without padding (RFC 4648, section 5).
fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..=three.len() {
            let six = bits >> (18 - 6 * letter) & 63;
            text.push(char::from(LETTERS[six as usize]));
        }
    }
    text
}

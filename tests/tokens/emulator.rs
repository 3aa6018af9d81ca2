//! Real tokens, made by the Firebase Auth emulator.

use std::process::Command;

use proactive::auth::{Error, Options, Verifier};
use proactive::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mint::PROJECT;
use crate::{run, skip, variable};

#[tokio::test]
async fn a02_tokens_of_the_auth_emulator_are_accepted_in_emulator_mode_alone() {
    let Some(firebase) = variable("FIREBASE_TOOLS") else {
        return skip("set FIREBASE_TOOLS to the firebase program of tests/node/package.json");
    };
    let account = sign_up(&firebase).await;
    let token = account["idToken"].as_str().unwrap();
    let verifier = |emulator, project: &str| {
        let options = Options {
            project_id: project.to_owned(),
            keys_url: "http://127.0.0.1:1/".to_owned(),
            emulator,
            clock_skew: proactive::auth::DEFAULT_CLOCK_SKEW,
            max_stale: proactive::auth::DEFAULT_MAX_STALE,
        };
        Verifier::new(options, reqwest::Client::new(), World::real())
    };
    let principal = verifier(true, PROJECT).verify(token).await.unwrap();
    assert_eq!(Some(principal.uid.as_str()), account["localId"].as_str());
    assert_eq!(principal.plan.as_deref(), Some("pro"));
    assert!(principal.expires_at > World::real().now());
    assert_eq!(
        verifier(true, "demo-other").verify(token).await,
        Err(Error::WrongAudience)
    );
    let refused = verifier(false, PROJECT).verify(token).await;
    assert_eq!(refused, Err(Error::NoKid));

    // As the SDKs make it on a server, before it is exchanged.
    let custom = account["customToken"].as_str().unwrap();
    for emulator in [true, false] {
        let refused = verifier(emulator, PROJECT).verify(custom).await;
        assert_eq!(refused, Err(Error::CustomToken));
    }
}

/// Starts the emulator, lets a script sign a user up, and stops it again.
async fn sign_up(firebase: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    // Any free port: it is let go just before the emulator takes it.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = json!({"emulators": {
        "auth": {"host": "127.0.0.1", "port": port},
        "ui": {"enabled": false},
        "singleProjectMode": true,
    }});
    std::fs::write(folder.path().join("firebase.json"), config.to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/sign_up.mjs");
    let answer = folder.path().join("account.json");
    let mut command = Command::new(firebase);
    command
        .current_dir(folder.path())
        .args(["emulators:exec", "--only", "auth", "--project", PROJECT])
        .arg(format!("node '{script}' '{}'", answer.display()))
        // Nothing of the real home is read or written.
        .env("HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("FIREBASE_CLI_DISABLE_UPDATE_CHECK", "true")
        .env("CI", "true");
    run(command).await;
    serde_json::from_slice(&std::fs::read(answer).unwrap()).unwrap()
}

//! The fuzz targets' corpora, replayed as a test: what was found once is not to
//! come back. `make fuzz TARGET=tokens` looks for more.

mod bodies;

use std::fs;
use std::path::Path;

/// Runs a body over its corpus; the file that a panic is about is the last one
/// printed.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let entries = fs::read_dir(folder.join(target)).expect("a corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a corpus can be read").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "only {} inputs", files.len());
    for file in files {
        println!("{}", file.display());
        let input = fs::read(&file).expect("an input can be read");
        run(&input);
        // Neighbours of it: cut short, and with a bit turned around.
        run(&input[..input.len() / 2]);
        let mut turned = input;
        if let Some(byte) = turned.get_mut(7) {
            *byte ^= 4;
        }
        run(&turned);
    }
}

#[test]
fn what_clients_say_breaks_no_session() {
    replay("client_events", bodies::client_events::run);
}

#[test]
fn what_the_models_server_answers_breaks_no_analysis() {
    replay("model_answers", bodies::model_answers::run);
}

#[test]
fn no_settings_make_the_check_panic() {
    replay("settings", bodies::settings::run);
}

#[test]
fn what_clients_say_over_websocket_breaks_no_session() {
    replay("websocket", bodies::websocket::run);
}

#[test]
fn what_workers_say_breaks_no_call() {
    replay("worker_events", bodies::worker_events::run);
}

#[test]
fn no_token_makes_the_verifier_panic() {
    replay("tokens", bodies::tokens::run);
}

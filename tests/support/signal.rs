//! How a test ends a process in good order.

use std::process::Command;

/// Sends a process of ours this signal, by its name without SIG.
pub(crate) fn signal(name: &str, process: u32) {
    let kill = format!("kill -{name} {process}");
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.expect("a shell").success());
}

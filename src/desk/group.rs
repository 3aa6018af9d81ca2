//! The processes of a command that this desk runs.

use std::process::Stdio;

use tokio::process::Command;

/// All processes of a command. They are ended when it is no longer waited for.
pub(super) struct Group(Option<u32>);

/// A command to be run by a shell, which leads a group of its own and is ended when it is
/// dropped; what it prints is read.
pub(super) fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    shell
}

impl Group {
    /// Those that this one leads.
    pub(super) fn led_by(leader: Option<u32>) -> Self {
        Self(leader)
    }

    /// What is left of it may stay.
    pub(super) fn dissolve(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Self(Some(leader)) = self else { return };
        // A shell does it without unsafe code of ours, in a moment. It is waited for:
        // afterwards the number may be another's.
        let _ = std::process::Command::new("sh")
            .args(["-c", &format!("kill -s KILL -- -{leader}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

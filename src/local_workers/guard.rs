//! A worker's guard: a process of its own between the server and a worker's program. It
//! ends the program when the server is gone, however that went.
//!
//! Its standard input is a pipe that the server holds and never writes to, so that the
//! kernel tells it of the server's end. That one file for all cases: the server lets go of
//! the pipe to end a worker, and a server that is killed lets go of everything.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write, stderr, stdin};
use std::os::fd::AsFd;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use crate::lifecycle::Signals;

/// How long a program may take to end after SIGTERM.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to end it after SIGKILL.
pub(super) const LAST: Duration = Duration::from_secs(1);
/// How often is looked whether a group is empty, which no system call waits for.
const LOOK: Duration = Duration::from_millis(20);
/// As shells say it.
const NOT_STARTED: u8 = 127;

/// Runs the command as a worker's guard, to its end; what it says is the exit code, as a
/// shell would put it. `child_of` is for the guard's own use: the command is not watched
/// then, this process becomes it, and dies with that parent.
///
/// For a process of its own, before there are other threads.
pub fn guard(command: &[OsString], child_of: Option<i32>) -> ExitCode {
    let done = match (command, child_of) {
        ([], _) => Err(io::Error::other("there is no program to run")),
        (command, None) => watch_alone(command),
        (command, Some(guard)) => Err(turn_into(command, guard)),
    };
    done.unwrap_or_else(|error| {
        // Nobody reads a closed pipe. The server's log says which worker it was.
        let _ = writeln!(stderr(), "not started: {error}");
        ExitCode::from(NOT_STARTED)
    })
}

fn watch_alone(command: &[OsString]) -> io::Result<ExitCode> {
    // One thread: it is that of the parent that a program dies with.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(command))
}

async fn watch(command: &[OsString]) -> io::Result<ExitCode> {
    let input = File::from(stdin().as_fd().try_clone_to_owned()?);
    let mut server = pipe::Receiver::from_file(input)?;
    let mut signals = Signals::listen()?;
    let mut child = start(command)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = id.and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let told_to_end = async {
        tokio::select! {
            () = until_closed(&mut server) => {}
            _ = signals.next() => {}
        }
    };
    tokio::select! {
        _ = child.wait() => {}
        () = told_to_end => {}
    }
    // Also if it ended by itself: what it left behind would pile up with each start.
    end(group, &mut child).await;
    Ok(ExitCode::from(child.try_wait()?.map_or(u8::MAX, code)))
}

/// Starts the program in a group of its own, to be ended with all that it started.
fn start(command: &[OsString]) -> io::Result<Child> {
    let [program, arguments @ ..] = command else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = match cfg!(target_os = "linux") {
        // By way of this executable again: should the guard be killed as well, the kernel
        // ends the program, for which it must have been asked from within.
        true => {
            let mut command = Command::new("/proc/self/exe");
            let guard = std::process::id().to_string();
            command.arg0("worker").args(["guard", "--child-of"]);
            command.arg(guard).arg("--").arg(program);
            command
        }
        false => Command::new(program),
    };
    command
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Becomes the program, which the kernel kills when its guard is gone.
#[cfg(target_os = "linux")]
fn turn_into(command: &[OsString], guard: i32) -> io::Error {
    use std::os::unix::process::CommandExt;

    use rustix::process::{getppid, set_parent_process_death_signal};

    let [program, arguments @ ..] = command else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have gone before the kernel was asked.
    if getppid() != Pid::from_raw(guard) {
        return io::Error::other("its guard is gone");
    }
    std::process::Command::new(program).args(arguments).exec()
}

#[cfg(not(target_os = "linux"))]
fn turn_into(_: &[OsString], _: i32) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Waits until the other end of the pipe is let go of.
async fn until_closed(server: &mut pipe::Receiver) {
    let mut nothing = [0; 64];
    while server.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}

/// Ends the program and whatever else is in its group, by force if it must be.
///
/// A group's number is free for others as soon as it is empty, and after that nothing is
/// sent to it: between two looks the kernel would have to give out all other numbers.
async fn end(group: Pid, child: &mut Child) {
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, LAST)] {
        // Nobody is there.
        if kill_process_group(group, signal).is_err() {
            return;
        }
        let ended = async {
            // It counts to its group until somebody has waited for it.
            let _ = child.wait().await;
            until_empty(group).await;
        };
        if timeout(patience, ended).await.is_ok() {
            return;
        }
    }
}

async fn until_empty(group: Pid) {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        if test_kill_process_group(group).is_err() {
            return;
        }
    }
}

/// 128 and its number for a signal, as in shells.
fn code(ended: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;

    let signal = ended.signal().map(|signal| 128 + signal);
    let code = ended.code().or(signal);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

//! The other processes.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::{Result, seen};

pub(crate) const LOOPBACK: &str = "127.0.0.1:0";
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// RSS counts as settled when it moved by less than this in [`STILL`].
const STILL_BYTES: u64 = 64 << 10;
const STILL: Duration = Duration::from_millis(150);
const STILL_TRIES: usize = 40;

/// What the allocator does with pages that are free.
#[derive(Clone, Copy)]
pub(crate) enum Free {
    /// Keeps them for ten seconds, as in production.
    Kept,
    /// Gives them back at once, so that what is resident is what is held.
    GivenBack,
}

/// A process that runs one role of this program, until it is dropped.
pub(crate) struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts the role and waits until it says where it listens. It trusts the
    /// certificate and no other, has no further environment, and its log goes
    /// nowhere.
    pub(crate) fn start(args: &[&str], certificate: &Path, free: Free) -> Result<Self> {
        let allocator = match free {
            Free::Kept => "",
            Free::GivenBack => "dirty_decay_ms:0",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .env_clear()
            .env("SSL_CERT_FILE", certificate)
            .env("_RJEM_MALLOC_CONF", allocator)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let address = address.trim().to_owned();
        let process = Self { child, address };
        if process.address.is_empty() {
            return Err(format!("the {} process did not start", args[0]).into());
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Time on a CPU, user and system, of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        seen::cpu(self.child.id())
    }

    /// Resident memory in bytes, once it has come to rest.
    pub(crate) async fn memory(&self) -> Result<u64> {
        let mut before = seen::memory(self.child.id())?;
        for _ in 0..STILL_TRIES {
            sleep(STILL).await;
            let now = seen::memory(self.child.id())?;
            if now.abs_diff(before) < STILL_BYTES {
                return Ok(now);
            }
            before = now;
        }
        Err("the server's memory does not come to rest".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The runtime that `proactive serve` has.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// In a child: says where it listens, and waits until the parent has gone.
pub(crate) fn listens_at(address: std::net::SocketAddr) -> Result<std::process::ExitCode> {
    println!("{address}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(std::process::ExitCode::SUCCESS)
}

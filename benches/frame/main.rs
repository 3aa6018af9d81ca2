//! What our server costs beside a bare one: `cargo bench --bench frame`.
//!
//! Server, model and load are separate processes (this program again, with a
//! role as its first argument), so that what is read from `/proc` is the
//! server's alone; Linux only. The bare server is tonic with the same HTTP/2
//! settings and HTTP client as ours. It does the same network work and no
//! other: a frame comes in, a body of the size that ours has is posted to the
//! model, a search is asked of the desktop, a second body is posted, and an
//! outcome goes out.
//!
//! Nothing is asserted of wall time: the processes share the machine.
//!
//! `cargo bench --bench frame -- only ours tls 20000` (or `bare`, `lean`; `plain`) keeps one server
//! busy with so many frames and tells its process id, for a profiler; `-- cpu`, `-- memory`
//! and `-- logged` (what users' logs cost) measure that, and nothing else. (cargo adds a
//! `--bench` of its own to the arguments.)

mod bare;
mod content;
mod cpu;
mod desk;
mod logged;
mod memory;
mod model;
mod ours;
mod process;
mod report;
mod seen;

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use proactive::auth::local::LocalIssuer;
use proactive::world::World;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use process::{Free, LOOPBACK, Process, TOKEN_LIFE};
use report::Report;

/// As in `proactive` itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HOST: &str = "127.0.0.1";
/// More sessions than that share them.
const USERS: usize = 1_000;
const CERTIFICATE: &str = "certificate.pem";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Which server is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Bare,
    Lean,
}

fn main() -> ExitCode {
    let args = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let args: Vec<String> = args.collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        [model::ROLE] => model::run(None),
        [model::TLS_ROLE, certificate, key] => model::run(Some([certificate, key])),
        [ours::ROLE, model_url, keys_url, ref further @ ..] => {
            ours::run(model_url, keys_url, further)
        }
        [
            role @ (bare::ROLE | bare::LEAN_ROLE),
            model_url,
            first,
            second,
        ] => bare::run(role, model_url, first, second),
        ["only", kind, line, frames] => {
            process::runtime().and_then(|runtime| runtime.block_on(only(kind, line, frames)))
        }
        [part @ ("cpu" | "memory" | "logged")] => {
            process::runtime().and_then(|runtime| runtime.block_on(measure(&[part])))
        }
        _ => process::runtime()
            .and_then(|runtime| runtime.block_on(measure(&["cpu", "memory", "logged"]))),
    };
    report::exit("frame", done)
}

/// How the model is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// HTTP/1.1.
    Plain,
    /// HTTP/2 over TLS, as Google's is.
    Tls,
}

/// Starts servers by kind, and knows what they need.
struct Lab {
    model: Process,
    tls_model: Process,
    /// Holds the TLS model's certificate and key.
    directory: TempDir,
    /// Each of a user of its own.
    tokens: Vec<String>,
    keys_url: String,
    /// Sizes of the two bodies that our server posts per frame.
    bodies: (usize, usize),
    _keys: JoinSet<()>,
}

impl Lab {
    async fn new() -> Result<Self> {
        let issuer = LocalIssuer::new(ours::PROJECT, World::real());
        let listener = TcpListener::bind(LOOPBACK).await?;
        let keys_url = format!("http://{}/", listener.local_addr()?);
        let document = issuer.jwks();
        let token = |user| issuer.mint(&format!("user-{user}"), TOKEN_LIFE, None);
        let tokens = (0..USERS).map(token).collect();
        let mut keys = JoinSet::new();
        keys.spawn(async move {
            let page = Router::new().route("/", get(async || document));
            let _ = axum::serve(listener, page).await;
        });
        let directory = TempDir::new()?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
        let files = [CERTIFICATE, "key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&files[0], cert.pem())?;
        std::fs::write(&files[1], signing_key.serialize_pem())?;
        let [certificate, key] = files.each_ref().map(|file| file.to_string_lossy());
        let start = |args: &[&str]| Process::start(args, &files[0], Free::Kept);
        let mut lab = Self {
            model: start(&[model::ROLE])?,
            tls_model: start(&[model::TLS_ROLE, &certificate, &key])?,
            directory,
            tokens,
            keys_url,
            bodies: (0, 0),
            _keys: keys,
        };
        lab.bodies = lab.bodies_of_ours().await?;
        Ok(lab)
    }

    fn start(&self, kind: Kind, line: Line, free: Free) -> Result<Process> {
        let model_url = self.model_url(line);
        let (first, second) = (self.bodies.0.to_string(), self.bodies.1.to_string());
        let args = match kind {
            Kind::Ours => vec![ours::ROLE, &model_url, &self.keys_url],
            Kind::Bare => vec![bare::ROLE, &model_url, &first, &second],
            Kind::Lean => vec![bare::LEAN_ROLE, &model_url, &first, &second],
        };
        self.run(&args, free)
    }

    fn run(&self, args: &[&str], free: Free) -> Result<Process> {
        Process::start(args, &self.directory.path().join(CERTIFICATE), free)
    }

    fn model_url(&self, line: Line) -> String {
        match line {
            Line::Plain => self.model.url("http"),
            Line::Tls => self.tls_model.url("https"),
        }
    }

    /// Has our server post two bodies, and asks the model how large they were.
    async fn bodies_of_ours(&self) -> Result<(usize, usize)> {
        let server = self.start(Kind::Ours, Line::Plain, Free::Kept)?;
        let mut desks = desk::open(&server, &self.tokens, 1, 1).await?;
        for desk in &mut desks {
            desk.whole_frame(&content::jpeg(100)).await?;
        }
        model::sizes(&self.model.url("http")).await
    }
}

/// Keeps one server busy, for a profiler to look at.
async fn only(kind: &str, line: &str, frames: &str) -> Result<ExitCode> {
    let lab = Lab::new().await?;
    let kind = match kind {
        "ours" => Kind::Ours,
        "bare" => Kind::Bare,
        "lean" => Kind::Lean,
        _ => return Err("name a server: ours, bare or lean".into()),
    };
    let line = match line {
        "plain" => Line::Plain,
        "tls" => Line::Tls,
        _ => return Err("name a line to the model: plain or tls".into()),
    };
    let mut bench = cpu::Bench::new(&lab, kind, line, cpu::FEW, &content::jpeg(100)).await?;
    eprintln!("process {}", bench.process());
    for _ in 0..frames.parse::<usize>()?.div_ceil(cpu::FRAMES) {
        bench.round(&content::jpeg(100)).await?;
    }
    println!("{} per frame", bench.cost().with("µs").trim());
    Ok(ExitCode::SUCCESS)
}

async fn measure(parts: &[&str]) -> Result<ExitCode> {
    let lab = Lab::new().await?;
    let (first, second) = lab.bodies;
    println!("One frame: a JPEG of 100 KB and 2 KB of text in, {first} and {second} bytes to the");
    println!("model, one search, one outcome. Medians; in brackets the least and the most.\n");
    let mut report = Report::default();
    if parts.contains(&"cpu") {
        cpu::measure(&lab, &mut report).await?;
    }
    if parts.contains(&"memory") {
        memory::measure(&lab, &mut report).await?;
    }
    if parts.contains(&"logged") {
        logged::measure(&lab, &mut report).await?;
    }
    Ok(report.verdict())
}

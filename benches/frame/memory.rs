//! Resident memory: per idle session beside the bare server, and per frame that
//! waits for its search's result.
//!
//! RSS counts what the allocator keeps back as well. Here it gives pages back as
//! soon as they are free, and sessions that had a frame before ("warm") are held
//! to the bound over fresh sessions, where what is kept counts against us.

use axum::body::Bytes;
use futures::future::try_join_all;

use super::content;
use super::desk::{self, Desk};
use super::process::{Free, Process};
use super::report::{Report, Spread};
use super::{Kind, Lab, Line, Result};

const SESSIONS: usize = 1_000;
/// As behind a balancer.
const CONNECTIONS: usize = 4;
/// Frames on their way in at once, until all are parked.
const ARRIVING: usize = 10;
const RUNS: usize = 3;

const MOST_OVER_BARE: f64 = 1.2;
const MOST_OF_JPEG: f64 = 1.6;

pub(crate) async fn measure(lab: &Lab, report: &mut Report) -> Result<()> {
    report.heading("Resident memory per idle session, 1,000 sessions");
    for (connections, name) in [
        (CONNECTIONS, "4 connections"),
        (SESSIONS, "1,000 connections"),
    ] {
        let (mut ours, mut bare, mut lean) = (vec![], vec![], vec![]);
        for _ in 0..RUNS {
            ours.push(idle(lab, Kind::Ours, connections).await?);
            bare.push(idle(lab, Kind::Bare, connections).await?);
            lean.push(idle(lab, Kind::Lean, connections).await?);
        }
        let over = |other: &[f64]| Spread::of(ours.iter().zip(other).map(|(a, b)| a / b));
        let (over_bare, over_lean) = (over(&bare), over(&lean));
        report.fact(&format!("bare, {name}"), Spread::of(bare).with("KB"));
        report.fact(&format!("lean, {name}"), Spread::of(lean).with("KB"));
        report.fact(&format!("ours, {name}"), Spread::of(ours).with("KB"));
        report.bound(&format!("ours / bare, {name}"), over_bare, MOST_OVER_BARE);
        report.bound(&format!("ours / lean, {name}"), over_lean, MOST_OVER_BARE);
    }
    for (kilobytes, sessions) in [(100, 1_000), (300, 500)] {
        let jpeg = content::jpeg(kilobytes);
        report.heading(&format!(
            "Memory per in-flight frame of {kilobytes} KB / its JPEG, {sessions} frames"
        ));
        for (arriving, how) in [(ARRIVING, "10 arriving at once"), (sessions, "all at once")] {
            let mut runs = vec![];
            for _ in 0..RUNS {
                runs.push(held(lab, &jpeg, sessions, arriving).await?);
            }
            let of = |share: fn(&Held) -> f64| Spread::of(runs.iter().map(share));
            report.bound(&format!("cold, {how}"), of(|it| it.cold), MOST_OF_JPEG);
            let warm = of(|it| it.warm_over_fresh);
            report.bound(&format!("warm, {how}"), warm, MOST_OF_JPEG);
            report.fact("  the same, over warm sessions", of(|it| it.warm).with(""));
            report.fact("  kept after the answers", of(|it| it.kept).with(""));
        }
    }
    Ok(())
}

/// A server that has paged in its code: some sessions have come and gone.
async fn started(lab: &Lab, kind: Kind) -> Result<Process> {
    let server = lab.start(kind, Line::Tls, Free::GivenBack)?;
    let desks = desk::open(&server, &lab.tokens, 10, 1).await?;
    let jpeg = content::jpeg(100);
    for mut desk in desks {
        desk.whole_frame(&jpeg).await?;
    }
    Ok(server)
}

/// Kilobytes (of 1,000 bytes) per session.
async fn idle(lab: &Lab, kind: Kind, connections: usize) -> Result<f64> {
    let server = started(lab, kind).await?;
    let empty = server.memory().await?;
    let desks = desk::open(&server, &lab.tokens, SESSIONS, connections).await?;
    let full = server.memory().await?;
    Ok((full - empty) as f64 / desks.len() as f64 / 1e3)
}

/// Shares of the JPEG's size, per frame.
struct Held {
    cold: f64,
    warm: f64,
    warm_over_fresh: f64,
    kept: f64,
}

async fn held(lab: &Lab, jpeg: &Bytes, sessions: usize, arriving: usize) -> Result<Held> {
    let server = started(lab, Kind::Ours).await?;
    let mut desks = desk::open(&server, &lab.tokens, sessions, CONNECTIONS).await?;
    let share = |from: u64, to: u64| {
        let bytes = to as f64 - from as f64;
        bytes / sessions as f64 / jpeg.len() as f64
    };
    let fresh = server.memory().await?;
    let parked = parked_memory(&server, &mut desks, jpeg, arriving).await?;
    let warm = server.memory().await?;
    let parked_again = parked_memory(&server, &mut desks, jpeg, arriving).await?;
    Ok(Held {
        cold: share(fresh, parked),
        warm: share(warm, parked_again),
        warm_over_fresh: share(fresh, parked_again),
        kept: share(fresh, warm),
    })
}

/// Parks a frame of every desktop, weighs the server, and has them decided.
async fn parked_memory(
    server: &Process,
    desks: &mut [Desk],
    jpeg: &Bytes,
    arriving: usize,
) -> Result<u64> {
    let group = desks.len().div_ceil(arriving);
    let parking = desks.chunks_mut(group).map(async |desks| {
        let mut requests = Vec::with_capacity(desks.len());
        for desk in desks {
            requests.push(desk.send_frame(jpeg).await?);
        }
        Result::Ok(requests)
    });
    let requests = try_join_all(parking).await?;
    let parked = server.memory().await?;
    let answering = desks
        .chunks_mut(group)
        .zip(requests)
        .map(async |(desks, requests)| {
            for (desk, request) in desks.iter_mut().zip(requests) {
                desk.answer(request).await?;
            }
            Result::Ok(())
        });
    try_join_all(answering).await?;
    Ok(parked)
}

//! A folder that is watched without end: no picture is given up for what is no fault
//! of its own.

use std::fs::{self, File};
use std::path::Path;
use std::time::UNIX_EPOCH;

use tokio::sync::oneshot;

use super::*;

/// A store and pictures, named by their texts.
struct Watched {
    folder: tempfile::TempDir,
}

impl Watched {
    fn new(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (nth, text) in texts.iter().enumerate() {
            let picture = folder.path().join(format!("{nth}.jpg"));
            fs::write(&picture, [0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 0xFF, 0xD9]).unwrap();
            fs::write(picture.with_extension("txt"), text).unwrap();
            for file in [picture.with_extension("txt"), picture] {
                let file = File::options().write(true).open(file).unwrap();
                let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + nth as u64);
                file.set_modified(then).unwrap();
            }
        }
        Self { folder }
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("tasks.db")).unwrap()
    }

    /// Watches, for ever or once, until a step that was waited for.
    async fn until(
        &self,
        script: Script,
        once: bool,
        enough: impl FnMut(&Step) -> bool,
    ) -> Vec<Step> {
        self.until_over([script], once, enough).await
    }

    /// The same over several sessions.
    async fn until_over(
        &self,
        scripts: impl IntoIterator<Item = Script>,
        once: bool,
        mut enough: impl FnMut(&Step) -> bool,
    ) -> Vec<Step> {
        let server = InMemory::serve(scripts);
        let mut client = client(async || Ok(server.dial().await), &[], fixed());
        client.store = self.store();
        let world = World::real();
        let shots = Shots::of_folder(self.folder.path().to_owned(), once, world.clone());
        client.frames = Frames::new(shots, Place::default(), world);
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let mut steps = Vec::new();
        let running = client.run(|step| {
            if enough(&step) {
                tell.take()
                    .into_iter()
                    .for_each(|tell| tell.send(()).unwrap());
            }
            steps.push(step);
        });
        tokio::select! {
            ended = tokio::time::timeout(2 * LONGEST, running) => ended.unwrap().unwrap(),
            told = told => told.unwrap(),
        }
        steps
    }
}

/// Answers frames with this text so often with an error, and decides on all others.
fn refusing(text: &'static str, mut times: usize, code: &'static str, retryable: bool) -> Script {
    boxed(move |mut peer| async move {
        peer.ready(0).await;
        while let Ok(Some(event)) = peer.events.message().await {
            match event.event {
                Some(client_event::Event::FrameEvent(frame))
                    if times > 0 && (text.is_empty() || frame.ocr_text == text) =>
                {
                    times -= 1;
                    fail_frame(&peer, &frame, code, retryable).await;
                }
                Some(client_event::Event::FrameEvent(frame)) => decide(&peer, &frame).await,
                _ => {}
            }
        }
    })
}

fn decided(steps: &[Step]) -> usize {
    named(steps).matches("decided").count()
}

fn is_last(count: usize) -> impl FnMut(&Step) -> bool {
    let mut left = count;
    move |step| {
        left -= usize::from(matches!(step, Step::Decided { .. }));
        left == 0
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_refuses_everything_costs_no_picture() {
    let watched = Watched::new(&["one", "two", "three"]);
    let began = Instant::now();
    let script = refusing("", 5, "GEMINI_ERROR", false);
    let steps = watched.until(script, false, is_last(3)).await;
    let told = named(&steps);
    assert_eq!(decided(&steps), 3, "{told}");
    assert_eq!(told.matches("postponed").count(), 5, "{told}");
    assert!(!told.contains("failed"), "{told}");
    assert!(began.elapsed() > Duration::from_secs(600), "not in a hurry");
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_is_refused_while_others_are_decided_on_is_given_up() {
    let watched = Watched::new(&["blocked", "one", "two"]);
    let script = refusing("blocked", usize::MAX, "GEMINI_ERROR", false);
    let gone = |step: &Step| matches!(step, Step::Failed(_));
    let steps = watched.until(script, false, gone).await;
    let told = named(&steps);
    assert_eq!(decided(&steps), 2, "{told}");
    assert_eq!(told.matches("postponed").count(), 1, "{told}");
    let again = watched.until(obliging(), true, |_| false).await;
    assert_eq!(named(&again), "", "nothing is left for another run");
}

#[tokio::test(start_paused = true)]
async fn a_finite_run_does_not_wait_for_the_operator_but_the_next_shows_it_again() {
    let watched = Watched::new(&["one", "two"]);
    let began = Instant::now();
    let script = refusing("", usize::MAX, "GEMINI_ERROR", false);
    let steps = watched.until(script, true, |_| false).await;
    let told = named(&steps);
    assert_eq!(told.matches("failed").count(), 2, "{told}");
    assert!(!told.contains("postponed"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let again = watched.until(obliging(), true, |_| false).await;
    assert_eq!(decided(&again), 2);
}

#[tokio::test(start_paused = true)]
async fn a_picture_whose_tries_ran_out_is_put_aside_for_an_hour_and_the_others_go_on() {
    let watched = Watched::new(&["odd", "one", "two"]);
    let script = refusing("odd", 5, "GEMINI_ERROR", true);
    let steps = watched.until(script, false, is_last(3)).await;
    let told = named(&steps);
    assert_eq!(decided(&steps), 3, "{told}");
    assert!(told.ends_with("postponed sent decided"), "{told}");
    assert_eq!(told.matches("postponed").count(), 5, "{told}");
    let waits: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Postponed { again, .. } => Some(*again),
            _ => None,
        })
        .collect();
    assert_eq!(waits[4], Duration::from_secs(3_600));
    assert!(
        waits[..4].iter().all(|wait| *wait <= backoff::MOST),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_watches_without_end_waits_for_a_day_if_the_server_asks_and_for_no_longer() {
    const HOUR_MS: i64 = 3_600_000;
    for (asked, waited) in [(8 * HOUR_MS, 8), (24 * HOUR_MS, 24), (i64::MAX, 24)] {
        let watched = Watched::new(&["one"]);
        let script = boxed(move |mut peer| async move {
            peer.ready(0).await;
            let frame = peer.frame().await;
            peer.say(Event::ServerError(ServerError {
                code: "RATE_LIMITED".into(),
                retryable: true,
                frame_id: frame.screenshot_id.clone(),
                retry_after_ms: asked,
                ..ServerError::default()
            }))
            .await;
            until_closed(&mut peer).await;
        });
        let later = |step: &Step| matches!(step, Step::Postponed { .. });
        let steps = watched.until(script, false, later).await;
        let again = steps.iter().find_map(|step| match step {
            Step::Postponed { again, .. } => Some(*again),
            _ => None,
        });
        let hours = again.unwrap().as_secs_f64() / 3_600.0;
        assert!((hours - f64::from(waited)).abs() < 0.01, "{hours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_was_answered_is_not_read_again_and_one_that_is_none_is_told() {
    let watched = Watched::new(&["one"]);
    let first = watched.until(obliging(), true, |_| false).await;
    assert_eq!(decided(&first), 1);
    // Nobody could tell but by reading it: name, length and time are the same.
    let picture = watched.folder.path().join("0.jpg");
    let then = fs::metadata(&picture).unwrap().modified().unwrap();
    let touch = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    };
    fs::write(&picture, "no JPEG.").unwrap();
    touch(&picture);
    let second = watched.until(obliging(), true, |_| false).await;
    assert_eq!(named(&second), "");

    let other = watched.folder.path().join("1.jpg");
    fs::write(&other, "no JPEG.").unwrap();
    touch(&other);
    let third = watched.until(obliging(), true, |_| false).await;
    assert_eq!(named(&third), "skipped");
    let told = |step: &Step| matches!(step, Step::Skipped { file, .. } if file == "1.jpg");
    assert!(told(&third[0]), "{third:?}");
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_is_given_up_over_broken_sessions_is_put_aside_too() {
    let watched = Watched::new(&["one"]);
    let cut = || {
        boxed(|mut peer| async move {
            peer.ready(0).await;
            peer.frame().await;
            end(&peer, Status::unavailable("cut")).await;
        })
    };
    let scripts = (0..5).map(|_| cut()).chain([obliging()]);
    let steps = watched.until_over(scripts, false, is_last(1)).await;
    let told = named(&steps);
    assert!(
        told.ends_with("lost ready postponed sent decided"),
        "{told}"
    );
    assert!(!told.contains("failed"), "{told}");
}

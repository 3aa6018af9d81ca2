//! Jobs: what becomes of them, and what the log says of it.

use std::time::Duration;

use futures::future::join_all;

use super::house::{House, key, on_each_engine, outcome, uid};
use crate::domain::{Event, FrameFault, FrameFaultCode, FrameId, Job, JobId, JobState, Uid};
use crate::events::{Options, Start};

fn cancelled() -> JobState {
    let fault = FrameFault::new(FrameFaultCode::Cancelled, "The job was cancelled.", false);
    JobState::Error(Box::new(fault))
}

fn done() -> JobState {
    JobState::Done(Box::new(outcome("nothing to do")))
}

async fn submit(house: &House, user: &Uid, id: &str) -> Job {
    let (id, frame) = (JobId::new(id), FrameId::new("a frame"));
    let submitted = house.log.submit(user, id, frame, None).await.unwrap();
    assert!(!submitted.repeated);
    submitted.job
}

async fn advance(house: &House, user: &Uid, id: &str, state: JobState) -> Option<Job> {
    let id = JobId::new(id);
    house.log.advance(user, &id, state).await.unwrap()
}

/// What the log says of jobs, in order.
async fn said(house: &House, user: &Uid) -> Vec<Job> {
    let page = house.read(user, Start::Oldest).await;
    let jobs = page.entries.iter().map(|entry| match &entry.event {
        Event::Job(job) => Job::clone(job),
        other => panic!("{other:?}"),
    });
    jobs.collect()
}

#[tokio::test]
async fn e06_a_job_moves_on_and_never_back_and_the_log_says_each_state_once() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let first = submit(house, &ada, "j").await;
        assert_eq!(
            (first.state.as_str(), first.frame.as_str()),
            ("pending", "a frame")
        );
        house.clock.advance(Duration::from_secs(1));
        let second = advance(house, &ada, "j", JobState::Streaming)
            .await
            .unwrap();
        assert_eq!(second.submitted_at, first.submitted_at);
        assert_eq!(second.changed_at, house.clock.now());
        for back in [JobState::Pending, JobState::Streaming] {
            let job = advance(house, &ada, "j", back).await.unwrap();
            assert_eq!(job, second);
        }
        let third = advance(house, &ada, "j", done()).await.unwrap();
        for late in [JobState::Pending, JobState::Streaming, cancelled(), done()] {
            assert_eq!(advance(house, &ada, "j", late).await.unwrap(), third);
        }
        assert_eq!(said(house, &ada).await, [first, second, third.clone()]);
        assert_eq!(
            house.log.job(&ada, &JobId::new("j")).await.unwrap(),
            Some(third)
        );
    })
    .await;
}

#[tokio::test]
async fn e07_a_job_that_is_cancelled_while_it_ends_ends_once() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        for n in 0..20 {
            let id = format!("j{n}");
            submit(house, &ada, &id).await;
            let id = JobId::new(id);
            let races = [
                cancelled(),
                done(),
                JobState::Streaming,
                cancelled(),
                done(),
            ];
            let ended = join_all(races.map(|state| house.log.advance(&ada, &id, state))).await;
            let last = house.log.job(&ada, &id).await.unwrap().unwrap();
            assert!(last.state.is_terminal());
            for job in ended {
                let job = job.unwrap().unwrap();
                assert!(job == last || !job.state.is_terminal());
            }
            let said = said(house, &ada).await;
            let endings = said
                .iter()
                .filter(|job| job.id == id && job.state.is_terminal());
            assert_eq!(endings.count(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn e07_an_unknown_job_and_another_users_are_none() {
    on_each_engine(Options::default(), async |house: &House| {
        let (ada, bob) = (uid("ada"), uid("bob"));
        submit(house, &ada, "j").await;
        submit(house, &bob, "of bob").await;
        for (user, id) in [(&bob, "j"), (&ada, "none"), (&uid("nobody"), "j")] {
            assert_eq!(advance(house, user, id, cancelled()).await, None);
            assert_eq!(house.log.job(user, &JobId::new(id)).await.unwrap(), None);
        }
        assert_eq!(said(house, &ada).await.len(), 1);
        assert_eq!(house.offsets(&uid("nobody")).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn e01_a_key_that_is_sent_again_gives_the_same_job_as_it_is_then() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let again = async |id: &str| {
            let (id, frame) = (JobId::new(id), FrameId::new("f"));
            house
                .log
                .submit(&ada, id, frame, Some(key("k")))
                .await
                .unwrap()
        };
        assert!(!again("one").await.repeated);
        advance(house, &ada, "one", done()).await;
        let second = again("two").await;
        assert!(second.repeated);
        assert_eq!((second.job.id.as_str(), second.job.state), ("one", done()));
        let asked = async |user: &Uid, k: &str| {
            let job = house.log.submitted(user, &key(k)).await.unwrap();
            job.map(|job| job.id.to_string())
        };
        assert_eq!(asked(&ada, "k").await.as_deref(), Some("one"));
        assert_eq!(
            (asked(&ada, "l").await, asked(&uid("bob"), "k").await),
            (None, None)
        );
        assert_eq!(house.log.job(&ada, &JobId::new("two")).await.unwrap(), None);
        // A message's key is another one.
        let message = super::house::message("m", None);
        let sent = house
            .log
            .append(&ada, message, Some(key("k")))
            .await
            .unwrap();
        assert_eq!(sent.earlier, None);
        house.clock.advance(Options::default().age);
        assert_eq!(asked(&ada, "k").await, None);
        assert!(!again("three").await.repeated);
    })
    .await;
}

#[tokio::test]
async fn e01_of_many_that_submit_one_key_at_once_one_makes_the_job() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let submitted = join_all((0..50).map(|n| {
            let (id, frame) = (JobId::new(n.to_string()), FrameId::new("f"));
            house.log.submit(&ada, id, frame, Some(key("k")))
        }));
        let all: Vec<_> = submitted.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(all.iter().filter(|one| !one.repeated).count(), 1);
        assert!(all.iter().all(|one| one.job.id == all[0].job.id));
    })
    .await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_page_by_page() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        for n in 0..25 {
            submit(house, &ada, &n.to_string()).await;
        }
        submit(house, &uid("bob"), "of bob").await;
        let (mut before, mut listed) = (None, Vec::new());
        loop {
            let page = house.log.jobs(&ada, before, 10).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id.clone());
            listed.extend(page.iter().map(|job| job.id.to_string()));
        }
        let expected: Vec<_> = (0..25).rev().map(|n| n.to_string()).collect();
        assert_eq!(listed, expected);
        let unknown = house.log.jobs(&ada, Some(JobId::new("of bob")), 1).await;
        assert_eq!(unknown.unwrap()[0].id.as_str(), "24");
    })
    .await;
}

#[tokio::test]
async fn of_jobs_that_have_ended_the_newest_are_kept() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        submit(house, &ada, "under way").await;
        submit(house, &ada, "ended").await;
        advance(house, &ada, "ended", done()).await;
        let kept = Options::default().entries_per_user;
        let many = (2..=kept).map(|n| {
            let id = JobId::new(n.to_string());
            house.log.submit(&ada, id, FrameId::default(), None)
        });
        join_all(many).await;
        let ended = JobId::new("ended");
        assert!(house.log.job(&ada, &ended).await.unwrap().is_some());
        submit(house, &ada, "one more").await;
        submit(house, &ada, "two more").await;
        assert_eq!(house.log.job(&ada, &ended).await.unwrap(), None);
        let under_way = house.log.job(&ada, &JobId::new("under way")).await;
        assert!(under_way.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn jobs_that_have_ended_go_with_their_age_and_those_under_way_stay() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        submit(house, &ada, "ended").await;
        submit(house, &ada, "under way").await;
        advance(house, &ada, "ended", done()).await;
        house.clock.advance(Options::default().age);
        let listed = house.log.jobs(&ada, None, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].id.as_str(), "under way");
        assert_eq!(
            house.log.job(&ada, &JobId::new("ended")).await.unwrap(),
            None
        );
        assert!(advance(house, &ada, "under way", done()).await.is_some());
    })
    .await;
}

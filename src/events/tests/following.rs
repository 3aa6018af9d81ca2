//! Followers: everything after the cursor, then what comes, without a gap or a
//! double.

use std::mem::size_of;
use std::time::Duration;

use futures::FutureExt;

use super::house::{House, message, on_each_engine, uid};
use crate::events::{Follower, Options, Start, Told};

/// What it is told next, as an offset; 0 is a gap.
async fn next(follower: &mut Follower) -> u64 {
    let told = tokio::time::timeout(Duration::from_secs(20), follower.next());
    match told.await.expect("something to be told").unwrap() {
        Told::Entry(entry) => entry.offset,
        Told::Gap => 0,
    }
}

async fn has_nothing(follower: &mut Follower) -> bool {
    let waiting = tokio::time::timeout(Duration::from_millis(20), follower.next());
    waiting.await.is_err()
}

#[tokio::test]
async fn e02_a_follower_gets_what_it_missed_and_then_what_comes() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let mut cursors = Vec::new();
        for frame in 1..=100 {
            cursors.push(house.decide(&ada, frame).await);
        }
        let mut follower = house.log.follow(&ada, Start::After(cursors[9].clone()));
        house.decide(&ada, 101).await;
        for expected in 11..=101 {
            assert_eq!(next(&mut follower).await, expected);
            assert_eq!(follower.cursor().unwrap().offset, expected);
        }
        assert!(has_nothing(&mut follower).await);
        let mut told = 101;
        for frame in 102..=350 {
            house.decide(&ada, frame).await;
            // Of 83, some are in its hub no more.
            if (frame - 101) % 83 == 0 {
                while told < frame {
                    told += 1;
                    assert_eq!(next(&mut follower).await, told);
                }
                assert!(has_nothing(&mut follower).await);
            }
        }
        assert_eq!(told, 350);
    })
    .await;
}

#[tokio::test]
async fn e02_a_follower_from_now_sees_everything_that_is_appended_after_it_began() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        // With a log that is there, and one that is not.
        for (user, before) in [(&ada, 5), (&uid("bob"), 0)] {
            for frame in 0..before {
                house.decide(user, frame).await;
            }
            let mut slow = house.log.follow(user, Start::Now);
            let mut prompt = house.log.follow(user, Start::Now);
            assert!(next(&mut prompt).now_or_never().is_none());
            assert_eq!(slow.cursor(), None);
            for expected in before + 1..=before + 500 {
                house.decide(user, expected).await;
                assert_eq!(next(&mut prompt).await, expected);
            }
            // It looks for the first time long after its hub has forgotten the first.
            for expected in before + 1..=before + 500 {
                assert_eq!(next(&mut slow).await, expected);
            }
            assert!(has_nothing(&mut slow).await);
        }
    })
    .await;
}

#[tokio::test]
async fn e07_a_follower_that_is_too_slow_for_the_log_is_told_of_the_gap_once() {
    let few = Options {
        entries_per_user: 100,
        ..Options::default()
    };
    on_each_engine(few, async |house: &House| {
        let ada = uid("ada");
        let mut from_now = house.log.follow(&ada, Start::Now);
        let mut from_oldest = house.log.follow(&ada, Start::Oldest);
        for frame in 1..=500 {
            house.decide(&ada, frame).await;
        }
        assert_eq!(next(&mut from_now).await, 0);
        assert_eq!(from_now.cursor().unwrap().offset, 400);
        for expected in 401..=500 {
            assert_eq!(next(&mut from_now).await, expected);
            assert_eq!(next(&mut from_oldest).await, expected);
        }
        assert!(has_nothing(&mut from_now).await);
    })
    .await;
}

#[tokio::test]
async fn e02_a_follower_that_is_interrupted_all_the_time_gets_on_all_the_same() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        for frame in 1..=100 {
            house.decide(&ada, frame).await;
        }
        let mut subscription = house.log.subscribe(&ada, Start::Oldest);
        let mut told = 0;
        for _ in 0..10_000 {
            match subscription.next().now_or_never() {
                Some(news) => {
                    news.unwrap();
                    told += 1;
                }
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            if told == 101 {
                return;
            }
        }
        panic!("{told} of 101 were told on {}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn messages_that_have_expired_are_told_to_nobody() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let in_a_minute = house.clock.now() + Duration::from_secs(60);
        let mut live = house.log.follow(&ada, Start::Now);
        for expires_at in [None, Some(in_a_minute), None] {
            let message = message("m", expires_at);
            let appended = house.log.append(&ada, message, None).await.unwrap();
            assert_eq!(appended.followers, 1);
        }
        assert_eq!(next(&mut live).await, 1);
        assert_eq!(next(&mut live).await, 2);
        house.clock.advance(Duration::from_secs(60));
        let mut late = house.log.follow(&ada, Start::Oldest);
        assert_eq!(next(&mut late).await, 1);
        assert_eq!(next(&mut late).await, 3);
        assert!(has_nothing(&mut late).await);
        assert_eq!(house.log.followers(&ada), 2);
        drop((live, late));
        assert_eq!(house.log.followers(&ada), 0);
    })
    .await;
}

#[test]
fn a_follower_is_small() {
    assert!(size_of::<Follower>() <= 128, "{}", size_of::<Follower>());
}

//! Many followers of one user, and many users with one each.

use std::time::Duration;

use futures::future::join_all;

use super::house::{House, decided, on_each_engine, uid};
use crate::events::{Options, Start, Told};

#[tokio::test]
async fn e02_a_thousand_followers_of_one_user_are_each_told_everything_once() {
    on_each_engine(Options::default(), async |house: &House| {
        let ada = uid("ada");
        let followers = (0..1_000).map(|n| {
            let start = if n % 2 == 0 {
                Start::Now
            } else {
                Start::Oldest
            };
            let mut follower = house.log.follow(&ada, start);
            async move {
                for expected in 1..=100 {
                    let told = follower.next().await.unwrap();
                    assert!(matches!(told, Told::Entry(entry) if entry.offset == expected));
                }
            }
        });
        let followers = join_all(followers.collect::<Vec<_>>());
        let writing = async {
            for _ in 0..20 {
                let five = (0..5).map(|n| house.log.append(&ada, decided(n), None));
                for appended in join_all(five).await {
                    assert_eq!(appended.unwrap().followers, 1_000);
                }
                tokio::task::yield_now().await;
            }
            // Until they have read the last.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = followers => {}
            () = writing => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("not all were told"),
        }
        assert_eq!(house.log.followers(&ada), 0);
        let page = house.metrics.render();
        for line in [
            "proactive_log_entries_total{kind=\"decision\"} 100",
            "proactive_log_followers 0",
            "proactive_log_gaps_total 0",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_followers_do_not_take_is_bounded_and_they_lose_nothing_by_it() {
    on_each_engine(Options::default(), async |house: &House| {
        let users: Vec<_> = (0..20).map(|n| uid(&format!("user {n}"))).collect();
        let mut followers: Vec<_> = users
            .iter()
            .map(|user| house.log.follow(user, Start::Now))
            .collect();
        for _ in 0..30 {
            let one_each = users
                .iter()
                .map(|user| house.log.append(user, decided("x".repeat(10_000)), None));
            join_all(one_each).await;
        }
        for follower in &mut followers {
            for expected in 1..=30 {
                let told = follower.next().await.unwrap();
                assert!(matches!(told, Told::Entry(entry) if entry.offset == expected));
            }
        }
    })
    .await;
}

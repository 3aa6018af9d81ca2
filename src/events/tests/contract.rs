//! Order, offsets, cursors, gaps, keys and retention.

use std::time::Duration;

use futures::future::join_all;

use super::house::{House, decided, key, message, offsets, on_each_engine, uid};
use crate::events::{Cursor, Error, Options, Start};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn options() -> Options {
    Options::default()
}

#[tokio::test]
async fn e02_entries_are_read_in_order_with_offsets_from_1_and_each_user_has_its_own() {
    on_each_engine(options(), async |house: &House| {
        let (ada, bob) = (uid("ada"), uid("bob"));
        for frame in 1..=5 {
            assert_eq!(house.decide(&ada, frame).await.offset, frame);
        }
        assert_eq!(house.decide(&bob, "b").await.offset, 1);
        let page = house.read(&ada, Start::Oldest).await;
        assert_eq!(offsets(&page.entries), [1, 2, 3, 4, 5]);
        assert_eq!((page.gap, page.more, page.cursor.offset), (false, false, 5));
        for (frame, entry) in (1..).zip(&page.entries) {
            assert_eq!(entry.event, decided(frame));
            assert_eq!(entry.at, house.clock.now());
        }
        assert_eq!(house.offsets(&bob).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn e02_pages_follow_each_other_without_a_gap_or_a_double() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        for frame in 1..=25 {
            house.decide(&ada, frame).await;
        }
        let (mut start, mut read) = (Start::Oldest, Vec::new());
        loop {
            let page = house.log.read(&ada, start, 10).await.unwrap();
            read.extend(offsets(&page.entries));
            start = Start::After(page.cursor);
            if !page.more {
                break;
            }
            assert_eq!(page.entries.len(), 10);
        }
        assert_eq!(read, (1..=25).collect::<Vec<_>>());
        assert_eq!(house.read(&ada, Start::Now).await.cursor.offset, 25);
    })
    .await;
}

#[tokio::test]
async fn e07_a_page_is_bounded_in_bytes_and_has_at_least_one_entry() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        for _ in 0..3 {
            house.decide(&ada, "x".repeat(100_000)).await;
        }
        let page = house.read(&ada, Start::Oldest).await;
        assert_eq!((offsets(&page.entries), page.more), (vec![1], true));
    })
    .await;
}

#[tokio::test]
async fn e07_a_gap_is_said_to_cursors_of_another_epoch_of_the_future_and_forged_ones() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        for frame in 1..=3 {
            house.decide(&ada, frame).await;
        }
        let here = house.read(&ada, Start::Now).await.cursor;
        let cursor = |epoch: &str, offset| Cursor {
            epoch: epoch.into(),
            offset,
        };
        let end = house.read(&ada, Start::After(here.clone())).await;
        assert_eq!((end.gap, end.entries.len()), (false, 0));
        for wrong in [
            cursor("another", 1),
            cursor("", 0),
            cursor("'; DROP TABLE logs", 0),
            cursor(&here.epoch, 4),
            cursor(&here.epoch, u64::MAX),
        ] {
            let page = house.read(&ada, Start::After(wrong.clone())).await;
            assert!(page.gap, "{wrong}");
            assert_eq!(offsets(&page.entries), [1, 2, 3]);
            assert_eq!(page.cursor, here);
        }
        let before = house.read(&ada, Start::After(cursor(&here.epoch, 0))).await;
        assert_eq!((before.gap, before.entries.len()), (false, 3));
    })
    .await;
}

#[tokio::test]
async fn e07_the_cursor_of_a_log_that_is_not_there_yet_is_good_for_its_beginning() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        let nothing = house.read(&ada, Start::Oldest).await;
        assert_eq!((nothing.gap, nothing.cursor.offset), (false, 0));
        house.decide(&ada, 1).await;
        let page = house.read(&ada, Start::After(nothing.cursor)).await;
        assert_eq!((page.gap, offsets(&page.entries)), (false, vec![1]));
        let lost = Cursor {
            epoch: "lost".into(),
            offset: 9,
        };
        assert!(house.read(&uid("bob"), Start::After(lost)).await.gap);
    })
    .await;
}

#[tokio::test]
async fn e07_the_newest_entries_are_kept_and_a_cursor_before_them_gets_a_gap() {
    let few = Options {
        entries_per_user: 3,
        ..options()
    };
    on_each_engine(few, async |house: &House| {
        let ada = uid("ada");
        let mut cursors = Vec::new();
        for frame in 1..=10 {
            cursors.push(house.decide(&ada, frame).await);
        }
        assert_eq!(house.offsets(&ada).await, [8, 9, 10]);
        for (cursor, gap) in cursors
            .into_iter()
            .zip([true; 6].into_iter().chain([false; 4]))
        {
            let left = (cursor.offset.max(7) + 1..=10).collect::<Vec<_>>();
            let page = house.read(&ada, Start::After(cursor)).await;
            assert_eq!((page.gap, offsets(&page.entries)), (gap, left));
        }
    })
    .await;
}

#[tokio::test]
async fn e07_entries_go_with_their_age_and_offsets_go_on() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        house.decide(&ada, 1).await;
        let second = house.decide(&ada, 2).await;
        house.clock.advance(13 * HOUR);
        house.decide(&ada, 3).await;
        house.clock.advance(12 * HOUR);
        assert_eq!(house.offsets(&ada).await, [3]);
        let page = house.read(&ada, Start::After(second.clone())).await;
        assert_eq!((page.gap, offsets(&page.entries)), (false, vec![3]));
        house.clock.advance(12 * HOUR);
        assert_eq!(house.offsets(&ada).await, [0; 0]);
        let page = house.read(&ada, Start::After(second)).await;
        assert!(page.gap && page.entries.is_empty());
        let fourth = house.decide(&ada, 4).await;
        // Either the log goes on, or it was forgotten and another one begins.
        let begun_anew = fourth.epoch != page.cursor.epoch;
        assert_eq!(fourth.offset, if begun_anew { 1 } else { 4 });
        let after = house.read(&ada, Start::After(page.cursor)).await;
        assert_eq!(after.gap, begun_anew);
    })
    .await;
}

#[tokio::test]
async fn e07_a_clock_that_steps_back_leaves_no_hole_that_is_not_told() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        for frame in 1..=5 {
            house.decide(&ada, frame).await;
        }
        house.clock.advance(10 * HOUR);
        house.decide(&ada, 6).await;
        house.clock.step_back(10 * HOUR);
        house.decide(&ada, 7).await;
        let eighth = house.decide(&ada, 8).await;
        for frame in 9..=10 {
            house.decide(&ada, frame).await;
        }
        house.clock.advance(24 * HOUR);
        house.sweep().await;
        house.decide(&ada, 11).await;
        assert_eq!(house.offsets(&ada).await, [6, 7, 8, 9, 10, 11]);
        let page = house.read(&ada, Start::After(eighth.clone())).await;
        assert_eq!((page.gap, offsets(&page.entries)), (false, vec![9, 10, 11]));
        // They go when the one before them does.
        house.clock.advance(10 * HOUR);
        house.sweep().await;
        let page = house.read(&ada, Start::After(eighth)).await;
        assert_eq!((page.gap, offsets(&page.entries)), (true, vec![11]));
    })
    .await;
}

#[tokio::test]
async fn e04_a_key_that_is_sent_again_appends_nothing_and_names_the_first_message() {
    on_each_engine(options(), async |house: &House| {
        let (ada, bob) = (uid("ada"), uid("bob"));
        let send = async |user, id, key| {
            let message = message(id, None);
            house.log.append(user, message, key).await.unwrap()
        };
        let first = send(&ada, "m1", Some(key("k"))).await;
        assert_eq!(first.earlier, None);
        send(&ada, "m2", None).await;
        let again = send(&ada, "m3", Some(key("k"))).await;
        assert_eq!(again.earlier.unwrap().as_str(), "m1");
        assert_eq!(again.cursor, first.cursor);
        assert_eq!(house.offsets(&ada).await, [1, 2]);
        // Another user's key, and another key of the same user, are others.
        assert_eq!(send(&bob, "m4", Some(key("k"))).await.earlier, None);
        assert_eq!(send(&ada, "m5", Some(key("K"))).await.earlier, None);
        house.clock.advance(23 * HOUR);
        assert!(send(&ada, "m6", Some(key("k"))).await.earlier.is_some());
        house.clock.advance(HOUR);
        assert_eq!(send(&ada, "m7", Some(key("k"))).await.earlier, None);
    })
    .await;
}

#[tokio::test]
async fn e04_a_key_is_known_for_as_long_as_its_message_is_kept() {
    let many = Options {
        entries_per_user: 12_000,
        ..options()
    };
    on_each_engine(many, async |house: &House| {
        let ada = uid("ada");
        let send = async |id, key| {
            let message = message(id, None);
            house.log.append(&ada, message, Some(key)).await.unwrap()
        };
        send("m1", key("k")).await;
        join_all((0..11_000).map(|n| house.log.append(&ada, decided(n), None))).await;
        send("m2", key("another")).await;
        let again = send("m3", key("k")).await;
        assert_eq!(again.earlier.unwrap().as_str(), "m1", "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn e04_of_many_that_send_one_key_at_once_one_appends() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        let sent = join_all((0..50).map(|n| {
            let message = message(&format!("m{n}"), None);
            house.log.append(&ada, message, Some(key("the key")))
        }));
        let sent: Vec<_> = sent.await.into_iter().map(Result::unwrap).collect();
        let first: Vec<_> = sent.iter().filter(|sent| sent.earlier.is_none()).collect();
        assert_eq!(first.len(), 1);
        assert!(sent.iter().all(|sent| sent.cursor == first[0].cursor));
        assert_eq!(house.offsets(&ada).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn a_log_that_was_closed_says_so() {
    on_each_engine(options(), async |house: &House| {
        let ada = uid("ada");
        house.decide(&ada, 1).await;
        let mut follower = house.log.follow(&ada, Start::Now);
        house.log.close().await;
        let closed = house.log.append(&ada, decided(2), None).await;
        assert_eq!(closed.unwrap_err(), Error::Closed, "{}", house.engine);
        let closed = house.log.read(&ada, Start::Oldest, 1).await;
        assert_eq!(closed.unwrap_err(), Error::Closed);
        assert_eq!(follower.next().await.unwrap_err(), Error::Closed);
    })
    .await;
}

//! Which worker a call goes to, how long it waits, and what becomes of it.

use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn c01_a_call_reaches_its_worker_with_its_arguments_and_context_and_comes_back() {
    let workers = workers();
    let worker = join(&workers, &["add"], 0);
    let calling = ask(&workers, "add");
    let Some(Command::Execute {
        id,
        call,
        deadline,
        credit,
    }) = worker.next()
    else {
        panic!("no call")
    };
    assert_eq!(call.arguments["n"], Value::Integer(1));
    assert_eq!(call.context.locale, "de-DE");
    assert_eq!((deadline, credit), (10 * SECOND, None));
    answer(&worker, &id, "done");
    assert_eq!(calling.await, text("done"));
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c01_a_tool_that_fails_is_told_with_its_kind_and_the_worker_lives() {
    let workers = workers();
    let worker = join(&workers, &["add"], 0);
    for code in [
        CallFaultCode::Failed,
        CallFaultCode::InvalidArguments,
        CallFaultCode::Unimplemented,
    ] {
        // More often than a circuit would bear of what is the worker's fault.
        for _ in 0..6 {
            let calling = ask(&workers, "add");
            fail(&worker, &one(&worker), code, false);
            let fault = calling.await.unwrap_err();
            assert_eq!(fault, CallFault::may_have_run(code, "It rains."));
        }
    }
    assert!(workers.has("add"));
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_nobody_has_is_not_waited_for() {
    let workers = workers();
    assert!(!workers.has("add"));
    let now = Instant::now();
    let nobody = workers.call(call("add"), now + SECOND, now + SECOND).await;
    assert_eq!(kind(nobody), (CallFaultCode::Unavailable, Ran::Never));
    assert_eq!(now, Instant::now());
    let worker = join(&workers, &["add", "sub"], 0);
    assert!(workers.has("add") && !workers.has("mul"));
    let offered = workers.tools();
    let names: Vec<_> = offered.iter().map(|it| &*it.tool.name).collect();
    assert_eq!(names, ["add", "sub"]);
    assert_eq!(offered[0].workers, 1);
    drop(worker);
    assert!(workers.tools().is_empty());
}

#[tokio::test(start_paused = true)]
async fn c04_arguments_that_are_too_large_or_too_deep_are_given_to_nobody() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let deep = |levels| (1..levels).fold(Value::Null, |inside, _| Value::List(vec![inside]));
    for (n, why) in [
        (Value::Text("x".repeat(1 << 20)), "large"),
        (deep(33), "deeply"),
    ] {
        let mut call = call("add");
        call.arguments.insert("n".to_owned(), n);
        let now = Instant::now();
        let fault = workers.call(call, now + SECOND, now + SECOND).await;
        let fault = fault.unwrap_err();
        assert_eq!(
            (fault.code, fault.ran),
            (CallFaultCode::InvalidArguments, Ran::Never)
        );
        assert!(fault.message.contains(why), "{}", fault.message);
    }
    assert!(worker.next().is_none());
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_the_load_by_the_room_that_they_have_and_equals_take_turns() {
    let workers = workers();
    let (small, large) = (join(&workers, &["add"], 2), join(&workers, &["add"], 6));
    let calls: Vec<_> = (0..8).map(|_| ask(&workers, "add")).collect();
    assert_eq!((asked(&small).len(), asked(&large).len()), (2, 6));
    drop(calls);
    is_clean(&workers);
    cancelled(&small);
    cancelled(&large);
    let other = join(&workers, &["add"], 2);
    drop(large);
    let mut first = 0;
    for _ in 0..10 {
        let calling = ask(&workers, "add");
        let (here, there) = (asked(&small), asked(&other));
        first += here.len();
        let (worker, ids) = if here.is_empty() {
            (&other, there)
        } else {
            (&small, here)
        };
        answer(worker, &ids[0], "done");
        calling.await.unwrap();
    }
    assert_eq!(first, 5);
}

#[tokio::test(start_paused = true)]
async fn c09_calls_wait_in_order_for_a_place_and_the_hundred_and_first_is_refused() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let under_way = ask(&workers, "add");
    let mut waiting: Vec<_> = (0..100).map(|_| ask(&workers, "add")).collect();
    let now = Instant::now();
    let refused = workers.call(call("add"), now + SECOND, now + SECOND).await;
    assert_eq!(kind(refused), (CallFaultCode::Exhausted, Ran::Never));
    answer(&worker, &one(&worker), "first");
    under_way.await.unwrap();
    for (number, calling) in waiting.drain(..).take(50).enumerate() {
        answer(&worker, &one(&worker), &number.to_string());
        assert_eq!(calling.await, text(&number.to_string()));
    }
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c09_what_has_waited_longest_comes_first_whatever_its_tool() {
    let workers = workers();
    let worker = join(&workers, &["add", "sub"], 1);
    let first = ask(&workers, "add");
    let second = ask(&workers, "sub");
    let third = ask(&workers, "add");
    for (calling, name) in [(first, "1"), (second, "2"), (third, "3")] {
        answer(&worker, &one(&worker), name);
        assert_eq!(calling.await, text(name));
    }
}

#[tokio::test(start_paused = true)]
async fn c05_one_deadline_holds_for_waiting_and_running_and_says_whether_the_call_ran() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let first = ask(&workers, "add");
    advance(4 * SECOND).await;
    let waiting = ask(&workers, "add");
    let id = one(&worker);
    assert_eq!(kind(first.await), (CallFaultCode::Timeout, Ran::Maybe));
    assert_eq!(cancelled(&worker), std::slice::from_ref(&id));
    // Its place went to the one that waited, which has four seconds left.
    let told = worker.next();
    assert!(told.is_none(), "the order was taken with the cancel");
    drop(waiting);
    // One that is never handed out.
    let alone = ask(&workers, "add");
    assert_eq!(kind(alone.await), (CallFaultCode::Timeout, Ran::Never));
    let told: Vec<_> = std::iter::from_fn(|| worker.next()).collect();
    assert!(
        told.iter().all(|it| matches!(it, Command::Cancel { .. })),
        "{told:?}"
    );
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c05_what_a_call_has_left_when_it_goes_out_is_what_its_worker_is_told() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let calling = ask(&workers, "add");
    advance(3 * SECOND).await;
    let Some(Command::Execute { deadline, .. }) = worker.next() else {
        panic!("no call")
    };
    assert_eq!(deadline, 7 * SECOND);
    drop(calling);
}

#[tokio::test(start_paused = true)]
async fn c05_progress_moves_the_deadline_as_often_as_the_longest_time_allows() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let began = Instant::now();
    let calling = ask(&workers, "add");
    let id = one(&worker);
    let progresses = async {
        for _ in 0..6 {
            tokio::time::sleep(9 * SECOND).await;
            let id = id.clone();
            // Beyond the last moment it is late, which is no lie.
            say(&worker, Said::Progress { id }).unwrap();
        }
    };
    let (result, ended) = tokio::join!(async { (calling.await, began.elapsed()) }, progresses).0;
    assert_eq!(kind(result), (CallFaultCode::Timeout, Ran::Maybe));
    assert_eq!(ended, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_gives_a_call_up_tells_its_worker_at_once_unless_it_was_never_asked() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let handed = ask(&workers, "add");
    let id = one(&worker);
    drop(handed);
    assert_eq!(cancelled(&worker), std::slice::from_ref(&id));
    // Its result was on the way.
    answer(&worker, &id, "late");
    drop(ask(&workers, "add"));
    assert!(worker.next().is_none());
    let page = workers.table.lock().metrics.render();
    let late = "proactive_worker_events_discarded_total{why=\"late\"} 1\n";
    assert!(page.contains(late), "{page}");
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn d10_a_call_that_was_not_begun_goes_to_another_worker() {
    let workers = workers();
    let (first, second) = (join(&workers, &["add"], 1), join(&workers, &["add"], 1));
    let calling = ask(&workers, "add");
    fail(&first, &one(&first), CallFaultCode::Exhausted, true);
    answer(&second, &one(&second), "done");
    assert_eq!(calling.await, text("done"));
    // Nor does it matter how the first one comes not to begin it.
    let calling = ask(&workers, "add");
    drop(first);
    answer(&second, &one(&second), "done");
    assert_eq!(calling.await, text("done"));
    // And if there is nobody else, its caller is told that it can ask again.
    let calling = ask(&workers, "add");
    fail(&second, &one(&second), CallFaultCode::Exhausted, true);
    assert_eq!(kind(calling.await), (CallFaultCode::Exhausted, Ran::Never));
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn d10_a_call_that_may_have_run_is_given_to_nobody_else() {
    let workers = workers();
    let (first, second) = (join(&workers, &["add"], 1), join(&workers, &["add"], 1));
    let calling = ask(&workers, "add");
    let _begun = one(&first);
    drop(first);
    assert_eq!(
        kind(calling.await),
        (CallFaultCode::Unavailable, Ran::Maybe)
    );
    assert!(second.next().is_none());
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_worker_that_goes_away_is_told_at_once_that_it_never_ran() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let (handed, waiting) = (ask(&workers, "add"), ask(&workers, "add"));
    let _id = one(&worker);
    say(&worker, Said::Leaving).unwrap();
    assert!(!workers.has("add"));
    assert_eq!(
        kind(waiting.await),
        (CallFaultCode::Unavailable, Ran::Never)
    );
    drop(worker);
    assert_eq!(kind(handed.await), (CallFaultCode::Unavailable, Ran::Maybe));
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_finishes_what_it_has() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let calling = ask(&workers, "add");
    let id = one(&worker);
    worker.leave();
    answer(&worker, &id, "done");
    assert_eq!(calling.await, text("done"));
    assert_eq!(worker.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn c08_a_worker_that_keeps_failing_is_left_alone_and_then_one_call_tries() {
    let workers = workers();
    let worker = join(&workers, &["add"], 8);
    for _ in 0..4 {
        let calling = ask(&workers, "add");
        fail(&worker, &one(&worker), CallFaultCode::Unavailable, false);
        calling.await.unwrap_err();
    }
    let calling = ask(&workers, "add");
    one(&worker);
    // An answer that does not come is a failure as well.
    assert_eq!(kind(calling.await), (CallFaultCode::Timeout, Ran::Maybe));
    assert!(!workers.has("add"));
    let now = Instant::now();
    let nobody = workers.call(call("add"), now + SECOND, now + SECOND).await;
    assert_eq!(kind(nobody), (CallFaultCode::Unavailable, Ran::Never));
    advance(30 * SECOND).await;
    cancelled(&worker);
    let trying = ask(&workers, "add");
    assert!(!workers.has("add"), "one call tries");
    answer(&worker, &one(&worker), "done");
    trying.await.unwrap();
    assert!(workers.has("add"));
    let page = workers.table.lock().metrics.render();
    assert!(
        page.contains("proactive_worker_circuits_open 0\n"),
        "{page}"
    );
    // Another worker of the tool is asked in the meantime.
    for _ in 0..5 {
        let calling = ask(&workers, "add");
        fail(&worker, &one(&worker), CallFaultCode::Broken, false);
        calling.await.unwrap_err();
    }
    let other = join(&workers, &["add"], 8);
    let calling = ask(&workers, "add");
    answer(&other, &one(&other), "done");
    assert_eq!(calling.await, text("done"));
}

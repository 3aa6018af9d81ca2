//! Workers that say what cannot be.

use super::*;

fn result(id: &CallId) -> Said {
    let (id, value) = (id.clone(), Some(Value::Null));
    Said::Result { id, value }
}

fn chunk(id: &CallId, sequence: i64) -> Said {
    let (id, value) = (id.clone(), Value::Null);
    Said::Chunk {
        id,
        sequence,
        value,
    }
}

fn discarded(workers: &Workers, why: &str) -> u32 {
    let page = workers.table.lock().metrics.render();
    let line = format!("proactive_worker_events_discarded_total{{why=\"{why}\"}} ");
    let (_, rest) = page.split_once(&line).unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn results_of_calls_that_a_worker_was_not_given_are_discarded_and_it_is_sent_away() {
    let workers = workers();
    let (honest, liar) = (join(&workers, &["add"], 1), join(&workers, &["add"], 1));
    let calling = ask(&workers, "add");
    let id = one(&honest);
    say(&liar, result(&id)).unwrap();
    for number in 0..6 {
        let unknown = CallId::new(format!("unknown {number}"));
        say(&liar, result(&unknown)).unwrap();
    }
    let told = say(&liar, Said::Progress { id: id.clone() }).unwrap_err();
    assert!(told.to_string().contains("8 times"), "{told}");
    assert_eq!(discarded(&workers, "stranger"), 8);
    answer(&honest, &id, "done");
    assert_eq!(calling.await, text("done"));
    // Nor does a call have two results.
    say(&honest, result(&id)).unwrap();
    assert_eq!(discarded(&workers, "stranger"), 9);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_worker_breaks_the_contract_ends_and_says_so() {
    let workers = workers();
    let worker = join(&workers, &["stream", "add"], 1);
    type Lie = fn(&CallId) -> Said;
    let gone_wrong: [(&str, Lie, &str); 6] = [
        ("stream", |id| chunk(id, 1), "out of order"),
        ("stream", |id| chunk(id, -1), "out of order"),
        (
            "stream",
            |id| Said::Result {
                id: id.clone(),
                value: Some(Value::Bool(true)),
            },
            "ended with a value",
        ),
        ("add", |id| chunk(id, 0), "one result"),
        (
            "add",
            |id| Said::Nonsense {
                id: Some(id.clone()),
                why: "a value with more than 32 levels".to_owned(),
            },
            "32 levels",
        ),
        (
            "add",
            |id| Said::Nonsense {
                id: Some(id.clone()),
                why: "a failure with the code of success".to_owned(),
            },
            "code of success",
        ),
    ];
    // Each by a new worker, so that none is left alone for it.
    drop(worker);
    for (tool, said, why) in gone_wrong {
        let worker = join(&workers, &["stream", "add"], 1);
        let calling = ask(&workers, tool);
        let id = one(&worker);
        say(&worker, said(&id)).unwrap();
        let fault = calling.await.unwrap_err();
        assert_eq!((fault.code, fault.ran), (CallFaultCode::Broken, Ran::Maybe));
        assert!(fault.message.contains(why), "{}", fault.message);
        assert_eq!(cancelled(&worker), [id]);
        is_clean(&workers);
    }
    assert_eq!(discarded(&workers, "broken"), 6);
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_after_the_end_of_a_stream() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let deadline = Instant::now() + SECOND;
    let mut chunks = workers.stream(call("stream"), deadline, deadline).unwrap();
    let id = one(&worker);
    say(&worker, chunk(&id, 0)).unwrap();
    let end = Said::Result {
        id: id.clone(),
        value: None,
    };
    say(&worker, end).unwrap();
    say(&worker, chunk(&id, 1)).unwrap();
    assert_eq!(discarded(&workers, "stranger"), 1);
    assert_eq!(chunks.next().await, Some(Ok(Value::Null)));
    assert_eq!(chunks.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn workers_of_one_tool_declare_it_alike_and_one_hello_names_it_once() {
    let workers = workers();
    let refuses = |hello: Hello| {
        let refused = workers.connect(hello, &|_| Ok(()));
        refused.map(|_| ()).unwrap_err().to_string()
    };
    let _first = join(&workers, &["add", "sub"], 1);
    let mut other = hello(&["add"], 1);
    other.tools[0].description = "Something else.".to_owned();
    let told = refuses(other.clone());
    assert!(told.contains("\"add\"") && told.contains("alike"), "{told}");
    assert!(refuses(hello(&["mul", "mul"], 1)).contains("twice"));
    // One that can be used is enough.
    other.tools.push(tool("div"));
    let joined = workers.connect(other, &|_| Ok(())).unwrap();
    assert_eq!(joined.refused.len(), 1);
    assert!(workers.has("div"));
    let never: &Accepts = &|tool| Err(format!("{} is not in the catalogue.", tool.name));
    let told = workers.connect(hello(&["mul"], 1), never).map(|_| ());
    let told = told.unwrap_err().to_string();
    assert!(told.contains("mul is not in the catalogue."), "{told}");
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_workers_and_tools() {
    let workers = with(Options {
        at_most: 2,
        tools_at_most: 3,
        ..Options::default()
    });
    let (first, _second) = (workers.place().unwrap(), workers.place().unwrap());
    assert!(matches!(workers.place(), Err(Refused::Full)));
    drop(first);
    workers.place().unwrap();
    let joined = join(&workers, &["a", "b", "c", "d"], 1);
    assert_eq!(joined.refused[0].name, "d");
    assert_eq!(workers.tools().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn c06_a_worker_touches_the_variables_of_the_calls_that_it_has_and_no_others() {
    let workers = workers();
    let (worker, other) = (join(&workers, &["add"], 1), join(&workers, &["sub"], 1));
    let variable = |worker: &Connected, call: &CallId, ask: Ask| {
        let said = Said::Variable {
            request: "r".to_owned(),
            call: call.clone(),
            ask: Ok(ask),
        };
        say(worker, said).unwrap();
        match worker.next() {
            Some(Command::Variable { request, told }) if request == "r" => told,
            told => panic!("{told:?}"),
        }
    };
    let name = || "n".to_owned();
    let set = Ask::Set {
        name: name(),
        value: Value::Integer(7),
        expected: None,
        time_to_live: 0,
    };
    let calling = ask(&workers, "add");
    let id = one(&worker);
    assert_eq!(variable(&worker, &id, set).unwrap()[0].version, 1);
    let get = || Ask::Get { name: name() };
    assert_eq!(variable(&other, &id, get()), Err(VariableFault::NotYours));
    // Another tool of the same session sees it.
    let calling_other = ask(&workers, "sub");
    let of_other = one(&other);
    let got = variable(&other, &of_other, get()).unwrap();
    assert_eq!(got[0].value, Some(Value::Integer(7)));
    answer(&worker, &id, "done");
    calling.await.unwrap();
    assert_eq!(variable(&worker, &id, get()), Err(VariableFault::NotYours));
    drop(calling_other);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_answers_unread_is_not_listened_to() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let asks = || {
        worker.said(Said::Variable {
            request: "r".to_owned(),
            call: CallId::new("none"),
            ask: Ok(Ask::List {
                prefix: String::new(),
            }),
        })
    };
    for _ in 0..16 {
        asks().now_or_never().unwrap().unwrap();
    }
    let mut one_more = Box::pin(asks());
    assert!((&mut one_more).now_or_never().is_none());
    worker.next().unwrap();
    one_more.await.unwrap();
}

//! Tools that there are, but that cannot be called now: a model that calls one is told why,
//! and goes on.

use std::time::Duration;

use proactive::tools::Profile;
use serde_json::{Value, json};

use super::support::devices::{
    BOTH, client, desktop, greet, house, house_of, offers, slow_house, web,
};
use super::support::{Core, Desk, answered, call, extract, keywords, nothing, similar, turn};

/// What the model was told of each call of its turn, in the turn after it.
fn told(desk: &Desk, turn: usize) -> Vec<Value> {
    let parts = answered(&desk.views()[turn]).into_iter();
    let told = parts.map(|part| part["functionResponse"]["response"]["error"].clone());
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn d04_a_model_that_calls_a_tool_the_user_has_disabled_is_told_so_and_decides() {
    let house = house([
        turn([keywords("lease"), call("order_pizza", &json!({}))]),
        turn([keywords("lease"), similar("lease")]),
        turn([nothing()]),
    ]);
    let picky = Profile {
        disabled: vec!["search_keywords".to_owned()],
        ..desktop("laptop", &BOTH)
    };
    let mut laptop = client(&house, picky).await;
    laptop.frame("f").await;
    let request = laptop.search().await;
    assert_eq!(&*request.tool.name, "search_similar");
    laptop.answer(&request, Ok(vec![])).await;
    assert_eq!(laptop.no_task("f").await, "");
    let off = "This cannot be called now: the user has turned that off.";
    assert_eq!(told(&laptop, 1), [off, "There is no such function."]);
    assert_eq!(told(&laptop, 2)[0], off);
}

#[tokio::test(start_paused = true)]
async fn d04_a_model_that_calls_what_only_a_device_that_has_left_executes_is_told_so() {
    let house = slow_house([
        turn([similar("lease")]),
        turn([similar("signed lease")]),
        turn([keywords("lease")]),
        turn([nothing()]),
    ]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    laptop.answer(&request, Ok(vec![])).await;
    let second = laptop.search().await;
    laptop.answer(&second, Ok(vec![])).await;
    laptop.half_close();
    assert_eq!(page.no_task("f").await, "");
    let views = page.views();
    assert!(offers(&views[1].text, "search_keywords"));
    assert!(!offers(&views[3].text, "search_keywords"));
    let why = "This cannot be called now: no device of the user is online.";
    assert_eq!(told(&page, 3), [why]);
}

#[tokio::test(start_paused = true)]
async fn d04_the_reason_is_told_beside_a_decision_that_is_not_taken() {
    let early = turn([
        keywords("lease"),
        call("order_pizza", &json!({})),
        extract(),
        nothing(),
    ]);
    let house = house([early, turn([similar("lease")]), turn([nothing()])]);
    let picky = Profile {
        disabled: vec!["search_keywords".to_owned()],
        ..desktop("laptop", &BOTH)
    };
    let mut laptop = client(&house, picky).await;
    laptop.frame("f").await;
    let request = laptop.search().await;
    laptop.answer(&request, Ok(vec![])).await;
    laptop.no_task("f").await;
    let told = told(&laptop, 1);
    let off = "This cannot be called now: the user has turned that off.";
    assert_eq!(told[..2], [off, "There is no such function."]);
    assert!(told[2].as_str().unwrap().contains("Search first"));
    assert_eq!(told[3], "Only one decision is taken per turn.");
}

#[tokio::test(start_paused = true)]
async fn d04_a_task_that_cannot_be_proposed_without_a_search_is_refused_with_the_reason() {
    let house = house([turn([extract()]), turn([nothing()])]);
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let why = "The user's tasks cannot be searched: no device of the user is online.";
    assert_eq!(page.no_task("f").await, why);
    let why = "This cannot be called now: no device of the user is online.";
    assert_eq!(told(&page, 1), [why]);
}

#[tokio::test(start_paused = true)]
async fn d09_a_frame_for_which_nobody_was_chosen_to_search_ends_with_that_reason() {
    let house = house([turn([nothing()])]);
    let _laptop = client(&house, desktop("laptop", &BOTH)).await;
    let _studio = client(&house, desktop("studio", &BOTH)).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let why = "The user's tasks cannot be searched: several devices are online, and none was \
               chosen.";
    assert_eq!(page.no_task("f").await, why);
}

#[tokio::test(start_paused = true)]
async fn d06_who_may_not_use_devices_learns_no_more_of_a_tool_than_of_a_made_up_one() {
    for name in [
        "search_similar",
        "list_devices",
        "activate_device",
        "write_note",
        "extract_task",
        "order_pizza",
    ] {
        let unknown = call(name, &json!({ "query": "lease" }));
        let house = house([turn([unknown])]);
        let _laptop = client(&house, desktop("laptop", &BOTH)).await;
        let mut page = greet(house.connect("ada"), web()).await;
        page.frame("f").await;
        let reason = page.no_task("f").await;
        assert_eq!(reason, "The model called an unknown function.", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_only_calls_what_it_is_not_offered_comes_to_the_end_of_its_turns() {
    let mut core = Core::new().model(|_| async { turn([keywords("lease")]) });
    core.analysis.max_iterations = 3;
    let house = house_of(core);
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let reason = page.no_task("f").await;
    assert_eq!(reason, "The model came to no decision within 3 turns.");
    assert_eq!(page.views().len(), 3);
    page.silence(Duration::from_secs(1)).await;
}

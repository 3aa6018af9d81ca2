//! Tools on the devices of one user: offered, routed, and what is left when a device goes
//! away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proactive::domain::DeviceId;
use proactive::session::{ClientMessage, Version};
use proactive::tools::{Origin, Profile};
use serde_json::json;

use super::support::devices::{
    BOTH, bound, client, come_back, desktop, greet, house, house_of, note, offers, resumable,
    return_json, slow_house, told, web,
};
use super::support::{
    Core, Desk, Said, Since, answered, call, context, extract, frame, nothing, similar, turn,
};

#[tokio::test(start_paused = true)]
async fn d04_a_page_in_a_browser_has_its_search_executed_on_the_users_only_desktop() {
    let house = house([turn([similar("lease")]), turn([extract()])]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    assert!(matches!(request.origin, Origin::Elsewhere(_)));
    assert_eq!((request.query(), request.frame.as_str()), ("lease", "f"));
    laptop.answer(&request, Ok(vec![])).await;
    page.task("f").await;
}

#[tokio::test(start_paused = true)]
async fn d06_who_may_not_use_devices_sees_neither_tools_nor_devices() {
    let house = house([turn([nothing()])]);
    let _laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut page = greet(house.connect("ada"), web()).await;
    page.frame("f").await;
    assert_eq!(page.no_task("f").await, "");
    let view = &page.views()[0];
    for hidden in [
        "search_similar",
        "search_keywords",
        "list_devices",
        "activate_device",
        "laptop",
    ] {
        assert!(!view.text.contains(hidden), "{hidden}");
    }
    assert!(!offers(&view.text, "extract_task"));
    assert!(offers(&view.text, "no_task_found"));
}

#[tokio::test(start_paused = true)]
async fn d05_with_several_devices_the_model_chooses_one_and_is_offered_its_tools() {
    let choose = call("activate_device", &json!({ "device_id": "laptop" }));
    let house = house([
        turn([call("list_devices", &json!({}))]),
        turn([choose]),
        turn([similar("lease")]),
        turn([extract()]),
    ]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut studio = client(
        &house,
        desktop("studio", &["read_clipboard", "search_similar"]),
    )
    .await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    laptop.answer(&request, Ok(vec![])).await;
    page.task("f").await;
    let views = page.views();
    assert!(offers(&views[0].text, "list_devices") && !offers(&views[0].text, "search_similar"));
    assert!(views[0].text.contains("several devices are online"));
    let listed =
        &answered(&views[1])[0]["functionResponse"]["response"]["output"]["result"]["devices"];
    assert_eq!(listed[0]["device_id"], "studio", "the newest first");
    assert_eq!(listed[1]["name"], "laptop of Ada [x]", "and no fence");
    assert_eq!(
        listed[0]["tools"],
        json!(["search_similar", "read_clipboard"])
    );
    assert!(offers(&views[2].text, "search_similar") && !offers(&views[2].text, "list_devices"));
    studio.silence(Duration::from_secs(1)).await;
    // The session stays bound to it.
    page.frame("g").await;
    page.settle().await;
    assert!(offers(&page.views()[4].text, "search_similar"));
}

#[tokio::test(start_paused = true)]
async fn d09_the_device_that_the_frame_names_wins_over_the_bound_one() {
    let house = house([turn([similar("lease")]), turn([extract()])]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut studio = client(&house, desktop("studio", &BOTH)).await;
    let mut page = client(&house, bound("laptop")).await;
    page.frame("bound").await;
    let request = laptop.search().await;
    laptop.answer(&request, Ok(vec![])).await;
    page.task("bound").await;
    let mut named = frame("named");
    named.device = Some(DeviceId::new("studio"));
    page.say(ClientMessage::Frame(Box::new(named))).await;
    let request = studio.search().await;
    studio.answer(&request, Ok(vec![])).await;
    page.task("named").await;
}

#[tokio::test(start_paused = true)]
async fn d09_a_device_that_is_named_and_not_online_is_no_reason_to_take_another() {
    let house = house([turn([nothing()])]);
    let _laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut page = client(&house, web()).await;
    let mut named = frame("f");
    named.device = Some(DeviceId::new("studio"));
    page.say(ClientMessage::Frame(Box::new(named))).await;
    page.no_task("f").await;
    let view = &page.views()[0].text;
    assert!(view.contains("the device that was chosen is not online"));
    assert!(!offers(view, "search_similar") && !offers(view, "list_devices"));
}

#[tokio::test(start_paused = true)]
async fn d07_a_tool_that_is_disabled_goes_alone_and_a_page_is_never_asked_itself() {
    let house = house([turn([similar("lease")]), turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let boastful = Profile {
        executes: Some(BOTH.map(str::to_owned).into()),
        disabled: vec!["search_keywords".to_owned()],
        ..web()
    };
    let mut page = client(&house, boastful).await;
    page.frame("f").await;
    let request = laptop.search().await;
    laptop.answer(&request, Ok(vec![])).await;
    page.no_task("f").await;
    let view = &page.views()[0].text;
    assert!(offers(view, "search_similar") && !offers(view, "search_keywords"));
}

#[tokio::test(start_paused = true)]
async fn d03_the_users_opt_out_wins_even_on_a_desktop() {
    let house = house([turn([nothing()])]);
    let mut laptop = client(
        &house,
        Profile {
            opted_out: true,
            ..desktop("laptop", &BOTH)
        },
    )
    .await;
    laptop.frame("f").await;
    laptop.no_task("f").await;
    let view = &laptop.views()[0].text;
    assert!(!offers(view, "search_similar"));
    assert!(view.contains("the user has turned that off"));
}

#[tokio::test(start_paused = true)]
async fn d10_a_call_goes_never_away_from_a_caller_that_can_execute_it() {
    let house = house([turn([similar("lease")]), turn([extract()])]);
    let mut studio = client(&house, desktop("studio", &BOTH)).await;
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut named = frame("f");
    named.device = Some(DeviceId::new("studio"));
    laptop.say(ClientMessage::Frame(Box::new(named))).await;
    let request = laptop.search().await;
    assert_eq!(request.origin, Origin::Session);
    laptop.answer(&request, Ok(vec![])).await;
    laptop.task("f").await;
    studio.silence(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn d10_a_device_that_goes_away_after_it_was_asked_may_have_run_the_call() {
    let house = house([note(), turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &["write_note"])).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    laptop.search().await;
    laptop.half_close();
    page.no_task("f").await;
    let told = told(&page);
    let error = told["error"].as_str().expect("an error");
    assert!(
        error.starts_with("It may have run; do not call it again"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn d10_a_device_that_goes_away_before_it_was_asked_is_waited_for_and_then_never_ran() {
    for comes_back in [true, false] {
        let house = slow_house([note(), turn([nothing()])]);
        let mut laptop = client(&house, desktop("laptop", &["write_note"])).await;
        let mut page = client(&house, web()).await;
        page.frame("f").await;
        page.settle().await;
        // It was there when the tool was offered, and has gone when it is called.
        laptop.half_close();
        let since = Since::now();
        if comes_back {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut again = client(&house, desktop("laptop", &["write_note"])).await;
            let request = again.search().await;
            assert_eq!(request.arguments["text"], "Call Bo");
            return_json(&again, &request, json!({ "written": true })).await;
            page.no_task("f").await;
            assert_eq!(told(&page)["output"]["result"]["written"], true);
        } else {
            page.no_task("f").await;
            assert_eq!(
                since.millis(),
                999 + 5_000 + 1_000,
                "the tool's own deadline"
            );
            let told = told(&page);
            let error = told["error"].as_str().expect("an error");
            assert!(error.starts_with("It did not run"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d10_a_call_that_was_not_asked_of_a_device_goes_to_its_next_session() {
    let leaving: Arc<Mutex<Option<Desk>>> = Arc::default();
    let laptop = leaving.clone();
    let house = house_of(Core::new().model(move |view| {
        let laptop = laptop.clone();
        async move {
            if view.turns > 0 {
                return turn([nothing()]);
            }
            // Its stream breaks in the moment in which it is called.
            let mut laptop = laptop.lock().unwrap();
            laptop.as_mut().expect("it is there").stop_reading();
            note()
        }
    }));
    let profile = desktop("laptop", &["write_note"]);
    let (laptop, _) = resumable(&house, profile.clone()).await;
    *leaving.lock().unwrap() = Some(laptop);
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    page.settle().await;
    // Not the session that was there, which could still be taken up.
    let mut again = client(&house, profile).await;
    let request = again.search().await;
    assert_eq!(request.arguments["text"], "Call Bo");
    return_json(&again, &request, json!({ "written": true })).await;
    page.no_task("f").await;
    assert_eq!(told(&page)["output"]["result"]["written"], true);
}

#[tokio::test(start_paused = true)]
async fn d10_a_call_that_a_device_may_have_run_does_not_go_to_its_next_session() {
    let house = house([note(), turn([nothing()])]);
    let profile = desktop("laptop", &["write_note"]);
    let (mut laptop, _) = resumable(&house, profile.clone()).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    laptop.search().await;
    laptop.break_off().await;
    let mut again = client(&house, profile).await;
    page.no_task("f").await;
    let told = told(&page);
    let error = told["error"].as_str().expect("an error");
    assert!(error.starts_with("It may have run"), "{error}");
    again.silence(Duration::from_secs(1)).await;
}

/// A turn in which the model chooses the device of that name.
fn choose_studio() -> Said {
    turn([call("activate_device", &json!({ "device_id": "studio" }))])
}

/// A page that says something else than before, and names no device.
fn web_in_german() -> Profile {
    Profile {
        locale: "de-DE".to_owned(),
        ..web()
    }
}

#[tokio::test(start_paused = true)]
async fn d09_a_hello_binds_the_device_that_it_names_also_if_the_model_chose_another_since() {
    let house = house([choose_studio(), turn([nothing()])]);
    let mut page = client(&house, bound("laptop")).await;
    let _studio = client(&house, desktop("studio", &BOTH)).await;
    page.frame("f").await;
    page.no_task("f").await;
    assert!(offers(&page.views()[1].text, "search_similar"), "of studio");
    let _laptop = client(&house, desktop("laptop", &["read_clipboard"])).await;
    let mut page = greet(page, bound("laptop")).await;
    page.frame("g").await;
    page.no_task("g").await;
    let view = page.views().pop().expect("the model was asked");
    assert!(offers(&view.text, "read_clipboard") && !offers(&view.text, "search_similar"));
}

#[tokio::test(start_paused = true)]
async fn d09_a_hello_that_names_no_device_leaves_what_the_model_chose_and_frees_what_was_named() {
    let house = house([choose_studio(), turn([nothing()])]);
    let _laptop = client(&house, desktop("laptop", &["read_clipboard"])).await;
    let _studio = client(&house, desktop("studio", &BOTH)).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    page.no_task("f").await;
    let mut page = greet(page, web_in_german()).await;
    page.frame("g").await;
    page.no_task("g").await;
    let view = page.views()[2].clone();
    assert!(offers(&view.text, "search_similar"), "studio, as before");

    let mut page = client(&house, bound("laptop")).await;
    page.frame("h").await;
    page.no_task("h").await;
    let mut page = greet(page, web()).await;
    page.frame("i").await;
    page.no_task("i").await;
    let views = page.views();
    assert!(offers(&views[4].text, "read_clipboard"), "laptop, as named");
    assert!(
        offers(&views[6].text, "list_devices"),
        "one is to be chosen"
    );
}

#[tokio::test(start_paused = true)]
async fn d01_a_client_of_the_original_contract_is_offered_and_asked_its_two_searches_alone() {
    let house = house([turn([similar("lease")]), turn([extract()])]);
    let mut old = house.connect_with_devices("ada");
    old.hello(Version::V1_0, "v1", Some(context("v1", "x")))
        .await;
    old.ready().await;
    old.frame("f").await;
    let request = old.search().await;
    old.answer(&request, Ok(vec![])).await;
    old.task("f").await;
    let view = &old.views()[0].text;
    assert!(offers(view, "search_similar") && offers(view, "search_keywords"));
    for tool in [
        "write_note",
        "read_clipboard",
        "list_devices",
        "resolve_date",
    ] {
        assert!(!offers(view, tool), "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_of_another_user_is_never_asked_whatever_it_calls_itself() {
    let house = house([turn([nothing()])]);
    let thief = house.connect_with_devices("eve");
    let mut thief = greet(thief, desktop("laptop", &BOTH)).await;
    let mut page = client(&house, bound("laptop")).await;
    page.frame("f").await;
    page.no_task("f").await;
    assert!(!offers(&page.views()[0].text, "search_similar"));
    thief.silence(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_cancelled_calls_off_what_another_device_was_asked() {
    let house = house([turn([similar("lease")]), turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    page.cancel("f").await;
    page.fault("f").await;
    let (called_off, _) = laptop.search_called_off().await;
    assert_eq!(called_off, request.id);
    // Its late answer goes to nobody.
    laptop.answer(&request, Ok(vec![])).await;
    laptop.settle().await;
    assert_eq!(laptop.count("proactive_discarded_tool_results_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn d10_every_call_that_is_given_up_is_called_off_however_many_are_at_once() {
    let four = turn(["a", "b", "c", "d"].map(similar));
    let house = house([four, turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &BOTH)).await;
    let page = client(&house, web()).await;
    page.frame("f").await;
    page.frame("g").await;
    let mut asked = BTreeSet::new();
    for _ in 0..8 {
        asked.insert(laptop.search().await.id.as_str().to_owned());
    }
    // Both frames end at once, with everything that they asked for.
    page.break_off().await;
    let mut called_off = BTreeSet::new();
    for _ in 0..8 {
        let (request, _) = laptop.search_called_off().await;
        called_off.insert(request.as_str().to_owned());
    }
    assert_eq!(called_off, asked);
    laptop.silence(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn d10_a_device_that_was_away_is_told_on_its_return_what_was_called_off() {
    let house = house([note(), turn([nothing()])]);
    let profile = desktop("laptop", &["write_note"]);
    let (mut laptop, ready) = resumable(&house, profile.clone()).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    laptop.break_off().await;
    page.cancel("f").await;
    page.fault("f").await;
    let mut back = come_back(&house, &ready, profile).await;
    let (called_off, _) = back.search_called_off().await;
    assert_eq!(called_off, request.id);
}

#[tokio::test(start_paused = true)]
async fn d10_what_was_called_off_on_a_stream_that_was_dead_is_told_on_the_next() {
    let house = house([note(), turn([nothing()])]);
    let profile = desktop("laptop", &["write_note"]);
    let (mut laptop, ready) = resumable(&house, profile.clone()).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    let request = laptop.search().await;
    page.cancel("f").await;
    page.fault("f").await;
    // The server has not noticed that nobody hears it.
    laptop.settle().await;
    let mut back = come_back(&house, &ready, profile).await;
    let (called_off, _) = back.search_called_off().await;
    assert_eq!(called_off, request.id);
}

#[tokio::test(start_paused = true)]
async fn d09_a_device_that_a_frame_in_flight_chooses_stays_chosen_after_another_hello() {
    let house = slow_house([choose_studio(), turn([nothing()])]);
    let _laptop = client(&house, desktop("laptop", &["read_clipboard"])).await;
    let _studio = client(&house, desktop("studio", &BOTH)).await;
    let page = client(&house, web()).await;
    page.frame("f").await;
    // While the model thinks.
    let mut page = greet(page, web_in_german()).await;
    page.no_task("f").await;
    page.frame("g").await;
    page.no_task("g").await;
    let view = page.views()[2].clone();
    assert!(offers(&view.text, "search_similar"), "studio, as chosen");
}

#[tokio::test(start_paused = true)]
async fn d03_a_device_whose_user_has_opted_out_there_is_asked_by_nobody() {
    let house = house([turn([nothing()])]);
    let unwilling = Profile {
        opted_out: true,
        ..desktop("laptop", &BOTH)
    };
    let mut laptop = client(&house, unwilling).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    page.no_task("f").await;
    assert!(
        page.views()[0]
            .text
            .contains("no device of the user is online")
    );
    laptop.silence(Duration::from_secs(1)).await;
    let house = self::house([turn([nothing()])]);
    let picky = Profile {
        disabled: vec!["search_similar".to_owned()],
        ..desktop("laptop", &BOTH)
    };
    let _laptop = client(&house, picky).await;
    let mut page = client(&house, web()).await;
    page.frame("f").await;
    page.no_task("f").await;
    let view = &page.views()[0].text;
    assert!(!offers(view, "search_similar") && offers(view, "search_keywords"));
}

//! Screens, and what the rules make of them.

use jiff::Timestamp;

use super::*;

const LEASE: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

/// A conversation about a screen, as our client would send it.
struct Talk(Value);

impl Talk {
    fn about(screen: &str) -> Self {
        let text = format!(
            "Today is Saturday, 2026-11-21.\n⟦app⟧Slack⟦/app⟧\n⟦window⟧general⟦/window⟧\n\
             ⟦screen_text⟧{screen}⟦/screen_text⟧"
        );
        let declared =
            [SIMILAR, KEYWORDS, EXTRACT, REJECT, NO_TASK].map(|name| json!({"name": name}));
        Self(json!({
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "tools": [{"functionDeclarations": declared}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        }))
    }

    fn answered(mut self, name: &str, response: Value) -> Self {
        let call =
            json!({"role": "model", "parts": [{"functionCall": {"name": name, "args": {}}}]});
        let answer = json!({"functionResponse": {"name": name, "response": response}});
        let contents = self.0["contents"].as_array_mut().unwrap();
        contents.push(call);
        contents.push(json!({"role": "user", "parts": [answer]}));
        self
    }

    fn found(self, name: &str, hits: Value) -> Self {
        self.answered(name, json!({"output": {"results": hits, "count": 1}}))
    }

    fn allow(mut self, names: &[&str]) -> Self {
        self.0["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] = json!(names);
        self
    }

    fn decide(&self) -> (String, Value) {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        let answer = decide(&self.0, &world);
        let call = &answer["candidates"][0]["content"]["parts"][0]["functionCall"];
        (
            call["name"].as_str().unwrap().to_owned(),
            call["args"].clone(),
        )
    }
}

#[test]
fn a_screen_without_a_request_ends_at_once() {
    let (name, args) = Talk::about("fn main() {}").decide();
    assert_eq!(name, NO_TASK);
    assert_eq!(args["current_activity"], "Reading messages in Slack");
    assert_eq!(
        args["context_summary"],
        "Slack (general) is open. It asks the user for nothing."
    );
}

#[test]
fn a_request_is_searched_for_by_meaning_and_then_by_words() {
    let (name, args) = Talk::about(LEASE).decide();
    assert_eq!(name, SIMILAR);
    assert_eq!(args, json!({"query": "send Berlin office signed lease"}));
    for nothing in [
        json!({"output": {"results": [], "count": 0}}),
        json!({"error": "offline"}),
    ] {
        let (name, args) = Talk::about(LEASE).answered(SIMILAR, nothing).decide();
        assert_eq!(name, KEYWORDS);
        assert_eq!(args, json!({"query": "send Berlin office signed lease"}));
    }
}

#[test]
fn a_new_request_becomes_a_task_with_all_twelve_fields() {
    let hits = json!([{"description": "Order lunch for the team", "similarity": 0.2}]);
    let (name, args) = Talk::about(LEASE).found(SIMILAR, hits).decide();
    assert_eq!(name, EXTRACT);
    assert_eq!(args.as_object().unwrap().len(), 12);
    assert_eq!(
        args["title"],
        "Send the Berlin office the signed lease before Tuesday"
    );
    assert_eq!(args["inferred_deadline"], "2026-11-24");
    assert_eq!(args["priority"], "medium");
    assert_eq!(args["source_app"], "Slack");
    assert_eq!(args["source_category"], "direct_request");
    assert_eq!(args["tags"], json!(["slack", "berlin", "office", "signed"]));
}

#[test]
fn urgency_is_read_from_words_and_from_near_deadlines() {
    for (screen, priority) in [
        ("Can you restart the build server ASAP?", "high"),
        ("Can you restart the build server tomorrow?", "high"),
        ("Can you restart the build server? No rush.", "low"),
        ("Can you restart the build server?", "medium"),
    ] {
        let hits = json!([{"description": "Order lunch", "similarity": 0.1}]);
        let (_, args) = Talk::about(screen).found(SIMILAR, hits).decide();
        assert_eq!(args["priority"], priority, "{screen}");
    }
}

#[test]
fn a_close_match_rejects_and_says_which_task_it_is() {
    for (hit, words) in [
        (
            json!({"description": "Lease", "similarity": 0.7, "status": "active"}),
            "Already tracked",
        ),
        (
            json!({"description": "Send signed lease to Berlin office", "similarity": 0.1,
                "status": "completed"}),
            "Already done",
        ),
        (
            json!({"description": "Lease", "similarity": 0.6, "status": "TASK_STATUS_DELETED"}),
            "deleted",
        ),
    ] {
        let description = hit["description"].as_str().unwrap().to_owned();
        let (name, args) = Talk::about(LEASE).found(SIMILAR, json!([hit])).decide();
        assert_eq!(name, REJECT);
        let reason = args["reason"].as_str().unwrap();
        assert!(
            reason.contains(words) && reason.contains(&description),
            "{reason}"
        );
    }
}

#[test]
fn a26_failed_searches_are_not_nothing_found() {
    let failed = json!({"error": "the desktop did not answer"});
    let (name, args) = Talk::about(LEASE)
        .answered(SIMILAR, failed.clone())
        .answered(KEYWORDS, failed)
        .decide();
    assert_eq!(name, NO_TASK);
    assert!(
        args["context_summary"]
            .as_str()
            .unwrap()
            .contains("could not be searched")
    );
}

#[test]
fn a25_a_refused_title_is_worded_anew_once() {
    let talk = Talk::about(LEASE)
        .found(KEYWORDS, json!([]))
        .found(SIMILAR, json!([]));
    let talk = talk.answered(EXTRACT, json!({"error": "the title is too short"}));
    let (name, args) = talk.decide();
    assert_eq!(name, EXTRACT);
    assert!(
        args["title"]
            .as_str()
            .unwrap()
            .ends_with("as asked in the Slack window")
    );
    let talk = talk.answered(EXTRACT, json!({"error": "the title is too short"}));
    assert_eq!(talk.decide().0, NO_TASK);
}

#[test]
fn only_allowed_functions_are_called() {
    let last = [EXTRACT, REJECT, NO_TASK];
    assert_eq!(Talk::about(LEASE).allow(&last).decide().0, NO_TASK);
    let searched = Talk::about(LEASE).found(SIMILAR, json!([])).allow(&last);
    assert_eq!(searched.decide().0, EXTRACT);
    assert_eq!(Talk::about("").allow(&[REJECT]).decide().0, REJECT);

    let mut none = Talk::about(LEASE).0;
    none["toolConfig"]["functionCallingConfig"]["mode"] = "NONE".into();
    let answer = decide(&none, &World::fixed(Timestamp::UNIX_EPOCH, 1));
    assert!(answer["candidates"][0]["content"]["parts"][0]["text"].is_string());
}

#[test]
fn a_request_that_names_nothing_is_no_task_and_says_so() {
    let (name, args) = Talk::about("Could you fix this?").decide();
    assert_eq!(name, NO_TASK);
    let summary = args["context_summary"].as_str().unwrap();
    assert!(summary.ends_with("does not name what."), "{summary}");
}

#[test]
fn a_title_that_is_refused_is_worded_anew_with_its_day_and_then_given_up() {
    let searched = || {
        Talk::about("Can you send me the report by tomorrow?")
            .found(SIMILAR, json!([]))
            .found(KEYWORDS, json!([]))
    };
    let refused = json!({"error": "The title is generic."});
    let (name, args) = searched().answered(EXTRACT, refused.clone()).decide();
    assert_eq!(name, EXTRACT);
    assert_eq!(
        args["title"],
        "Send me the report by tomorrow (22 November), as asked in the Slack window"
    );
    let twice = searched()
        .answered(EXTRACT, refused.clone())
        .answered(EXTRACT, refused);
    let (name, args) = twice.decide();
    assert_eq!(name, NO_TASK);
    let summary = args["context_summary"].as_str().unwrap();
    assert!(summary.ends_with("does not name what."), "{summary}");
}

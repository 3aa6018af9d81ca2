//! Devices of one user, and the tools of an operator that they execute.

use std::time::Duration;

use proactive::domain::{DeviceId, Runtime};
use proactive::session::{ClientMessage, Hello, Ready, Resume, Version};
use proactive::tools::{Catalogue, Output, Profile, Router, Settings, ToolRequest};
use serde_json::{Value, json};

use super::{Core, Desk, House, Said, answered, call, context, turn};

/// Two tools of an operator: one that changes something, one that does not.
pub(crate) const TOOLS: &str = r#"
    [[tool]]
    name = "write_note"
    description = "Writes a note on the user's device."
    executors = ["client"]
    changes_device = true
    deadline = "5s"
    longest = "12s"
    [tool.parameters]
    type = "object"
    required = ["text"]
    [tool.parameters.properties.text]
    type = "string"
    maxLength = 20
    [[tool]]
    name = "read_clipboard"
    description = "Reads the user's clipboard."
    executors = ["client"]
    [tool.parameters]
    type = "object"
"#;

pub(crate) const BOTH: [&str; 2] = ["search_similar", "search_keywords"];

pub(crate) fn web() -> Profile {
    Profile {
        runtime: Some(Runtime::Web),
        ..Profile::default()
    }
}

/// A page whose user wants this device.
pub(crate) fn bound(device: &str) -> Profile {
    Profile {
        bound: Some(DeviceId::new(device)),
        ..web()
    }
}

pub(crate) fn desktop(id: &str, tools: &[&str]) -> Profile {
    Profile {
        runtime: Some(Runtime::Desktop),
        device: Some(DeviceId::new(id)),
        device_name: format!("{id} of Ada ⟦x⟧"),
        executes: Some(tools.iter().map(|&name| name.to_owned()).collect()),
        ..Profile::default()
    }
}

/// A server whose model says these turns, and which knows the operator's tools.
pub(crate) fn house<const N: usize>(turns: [Said; N]) -> House {
    house_of(Core::new().turns(turns))
}

/// A server with this model, which knows the operator's tools.
pub(crate) fn house_of(mut core: Core) -> House {
    core.router = Some(router());
    core.house()
}

/// The same; each turn takes a second.
pub(crate) fn slow_house<const N: usize>(turns: [Said; N]) -> House {
    let mut core = Core::new().model(move |view| {
        let said = turns.get(view.turns).expect("no further turn was expected");
        let said = said.clone();
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            said
        }
    });
    core.router = Some(router());
    core.house()
}

pub(crate) fn router() -> Router {
    let own = [("own.toml".to_owned(), TOOLS.to_owned())];
    let catalogue = Catalogue::with(&own).expect("the tools are right");
    Router::new(catalogue, Settings::default(), None)
}

/// A client that says this of itself, and may use the user's devices.
pub(crate) async fn client(house: &House, profile: Profile) -> Desk {
    let desk = house.connect_with_devices("ada");
    greet(desk, profile).await
}

/// The same; it may come back.
pub(crate) async fn resumable(house: &House, profile: Profile) -> (Desk, Ready) {
    let mut desk = house.connect_with_devices("ada");
    let ready = say_hello(&mut desk, profile, Resume::default()).await;
    (desk, ready)
}

/// It comes back.
pub(crate) async fn come_back(house: &House, ready: &Ready, profile: Profile) -> Desk {
    let mut desk = house.connect_with_devices("ada");
    let known = ready.resume.as_ref().expect("it can be resumed");
    let resume = Resume {
        session: ready.session.clone(),
        secret: known.secret.clone(),
        received: 0,
    };
    say_hello(&mut desk, profile, resume).await;
    desk
}

async fn say_hello(desk: &mut Desk, profile: Profile, resume: Resume) -> Ready {
    desk.say(ClientMessage::Hello(Hello {
        version: Version::V1_1,
        context_version: "v1".to_owned(),
        context: Some(context("v1", "Water the plants")),
        resume: Some(Box::new(resume)),
        profile: Some(Box::new(profile)),
        ..Hello::default()
    }))
    .await;
    desk.ready().await
}

pub(crate) async fn greet(mut desk: Desk, profile: Profile) -> Desk {
    desk.say(ClientMessage::Hello(Hello {
        version: Version::V1_1,
        context_version: "v1".to_owned(),
        context: Some(context("v1", "Water the plants")),
        profile: Some(Box::new(profile)),
        ..Hello::default()
    }))
    .await;
    desk.ready().await;
    desk
}

/// What the model was told of the call it made first.
pub(crate) fn told(desk: &Desk) -> Value {
    answered(&desk.views()[1])[0]["functionResponse"]["response"].clone()
}

/// Whether the model is offered it now; it may have called it before.
pub(crate) fn offers(text: &str, tool: &str) -> bool {
    let declared = text.split("\"contents\"").next().unwrap_or_default();
    declared.contains(&format!("\"name\":\"{tool}\""))
}

pub(crate) async fn return_json(desk: &Desk, request: &ToolRequest, json: Value) {
    let answer = Ok(Output::Json(json));
    desk.say(ClientMessage::ToolResult(request.id.clone(), answer))
        .await;
}

pub(crate) fn note() -> Said {
    turn([call("write_note", &json!({ "text": "Call Bo" }))])
}

//! The two tools that the server executes itself: to see which devices of the user are
//! online, and to choose the one that executes the user's tools from now on.

use serde_json::{Map, Value, json};

use super::{Asker, Output, Router, Tool};
use crate::domain::{CallFault, CallFaultCode, DeviceId, Runtime};
use crate::tools::Contact;

const LIST: &str = "list_devices";
const ACTIVATE: &str = "activate_device";

pub(super) fn is_one(tool: &Tool) -> bool {
    [LIST, ACTIVATE].contains(&&*tool.name)
}

/// Executes one of them.
pub(super) fn execute(
    router: &Router,
    asker: &Asker,
    contact: &Contact,
    tool: &Tool,
    arguments: &Map<String, Value>,
) -> Result<Output, CallFault> {
    let devices = router.directory().devices(&asker.uid, contact);
    if *tool.name == *LIST {
        let shown = devices.iter().map(|device| {
            let tools = router.catalogue().in_set(device.executes);
            json!({
                "device_id": device.id.as_str(),
                "name": &*device.name,
                "runtime": device.runtime.map(|runtime| match runtime {
                    Runtime::Desktop => "desktop",
                    Runtime::Web => "web",
                }),
                "tools": tools.map(|tool| &*tool.name).collect::<Vec<_>>(),
            })
        });
        return Ok(Output::Json(
            json!({ "devices": shown.collect::<Vec<_>>() }),
        ));
    }
    let said = arguments.get("device_id").and_then(Value::as_str);
    let id = DeviceId::new(said.unwrap_or_default());
    if !devices.iter().any(|device| device.id == id) {
        let message = "No device of the user with this device_id is online.";
        return Err(CallFault::never_ran(CallFaultCode::NotFound, message));
    }
    asker.bind(id.clone());
    Ok(Output::Json(json!({ "activated": id.as_str() })))
}

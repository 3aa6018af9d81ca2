//! Which tools the model is offered, and where each would run: one pure function of
//! everything that counts. docs/routing.md is its table, over every combination.

use std::fmt;

use super::catalogue::{Executors, Offered};
use crate::domain::{DeviceId, Runtime};

/// Everything that a decision goes by, for one tool and one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// Who may execute the tool, as it is declared.
    pub executors: Executors,
    /// When it is offered, as it is declared.
    pub offered: Offered,
    /// The caller may use devices of its user that are not its own.
    pub may_use_devices: bool,
    /// The user does not want this tool.
    pub disabled: bool,
    /// The user does not want any tool to run on a device.
    pub opted_out: bool,
    /// What the caller says it is.
    pub runtime: Option<Runtime>,
    /// Devices of a user can be reached from the user's other sessions.
    pub gateway: bool,
    /// Where local tools run, by the caller's platform.
    pub modes: Modes,
    /// The caller says that it executes the tool.
    pub caller_executes: bool,
    /// The device that would have to.
    pub device: Chosen,
    /// Somebody on the server's side executes the tool.
    pub served: bool,
}

/// Where tools that run on devices are wanted, by the caller's platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// For desktops.
    pub desktop: Mode,
    /// For pages in a browser.
    pub web: Mode,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            desktop: Mode::Local,
            web: Mode::Local,
        }
    }
}

/// Where tools that run on devices are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On a device.
    Local,
    /// Nowhere.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::None => "none",
        })
    }
}

/// Which device was chosen (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chosen {
    /// None, and none is online that could be.
    Nobody,
    /// None, and several are online.
    Several,
    /// One that is not online, or does not execute the tool.
    Missing,
    /// One that is online and executes the tool.
    Online,
}

/// Where a tool's call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// On the caller itself.
    Caller,
    /// On the device that was chosen.
    Device,
    /// On the server's side: a worker, or the server itself.
    Server,
}

/// Why a tool is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The caller may not use devices of its user.
    NotAllowed,
    /// The user does not want the tool.
    Disabled,
    /// The user does not want tools to run on devices.
    OptedOut,
    /// The operator does not want that, for callers like this one.
    ModeNone,
    /// No device is online that executes it.
    NoDevice,
    /// The device that was chosen is not online, or does not execute it.
    DeviceMissing,
    /// Several devices are online, and none was chosen.
    DeviceNotChosen,
    /// A device was chosen: there is nothing to choose.
    DeviceChosen,
    /// The caller executes tools itself: there is nothing to choose.
    CallerExecutes,
    /// Devices cannot be reached from other sessions.
    NoGateway,
    /// No worker serves it now.
    NoWorker,
}

impl Reason {
    /// As it stands in logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Disabled => "disabled",
            Self::OptedOut => "opted_out",
            Self::ModeNone => "mode_none",
            Self::NoDevice => "no_device",
            Self::DeviceMissing => "device_missing",
            Self::DeviceNotChosen => "device_not_chosen",
            Self::DeviceChosen => "device_chosen",
            Self::CallerExecutes => "caller_executes",
            Self::NoGateway => "no_gateway",
            Self::NoWorker => "no_worker",
        }
    }
}

impl Route {
    /// As it stands in logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Device => "device",
            Self::Server => "server",
        }
    }
}

impl Gates {
    /// What the caller is, said or not (D3).
    pub fn platform(&self) -> Runtime {
        self.runtime.unwrap_or(match self.gateway {
            true => Runtime::Desktop,
            false => Runtime::Web,
        })
    }

    /// Whether the caller is asked itself: never a page in a browser (D2, D7).
    pub fn caller_can(&self) -> bool {
        self.caller_executes && self.runtime != Some(Runtime::Web)
    }
}

/// Decides where a tool runs.
///
/// # Errors
/// Why it is not offered.
pub fn decide(gates: &Gates) -> Result<Route, Reason> {
    match gates.offered {
        Offered::WithoutDevice => choosing(gates),
        Offered::Executable if on_a_device(gates) => on_device(gates),
        Offered::Executable => on_server(gates),
    }
}

/// D8: both executors are told apart by the caller's platform.
fn on_a_device(gates: &Gates) -> bool {
    let Executors { client, server } = gates.executors;
    client && (!server || gates.platform() == Runtime::Desktop)
}

/// D4, D6, D7, D10.
fn on_device(gates: &Gates) -> Result<Route, Reason> {
    let caller_can = gates.caller_can();
    // First, and a caller's own stream is its own to use.
    if !caller_can && !gates.may_use_devices {
        return Err(Reason::NotAllowed);
    }
    if gates.disabled {
        return Err(Reason::Disabled);
    }
    if gates.opted_out {
        return Err(Reason::OptedOut);
    }
    let mode = match gates.platform() {
        Runtime::Desktop => gates.modes.desktop,
        Runtime::Web => gates.modes.web,
    };
    if mode == Mode::None {
        return Err(Reason::ModeNone);
    }
    if caller_can {
        return Ok(Route::Caller);
    }
    if !gates.gateway {
        return Err(Reason::NoGateway);
    }
    match gates.device {
        Chosen::Online => Ok(Route::Device),
        Chosen::Missing => Err(Reason::DeviceMissing),
        Chosen::Several => Err(Reason::DeviceNotChosen),
        Chosen::Nobody => Err(Reason::NoDevice),
    }
}

fn on_server(gates: &Gates) -> Result<Route, Reason> {
    match (gates.disabled, gates.served) {
        (true, _) => Err(Reason::Disabled),
        (false, true) => Ok(Route::Server),
        (false, false) => Err(Reason::NoWorker),
    }
}

/// D5: the tools to choose a device with.
fn choosing(gates: &Gates) -> Result<Route, Reason> {
    if !gates.may_use_devices {
        return Err(Reason::NotAllowed);
    }
    if gates.disabled {
        return Err(Reason::Disabled);
    }
    if !gates.gateway {
        return Err(Reason::NoGateway);
    }
    if gates.caller_can() {
        return Err(Reason::CallerExecutes);
    }
    match gates.device {
        Chosen::Online | Chosen::Missing => Err(Reason::DeviceChosen),
        Chosen::Nobody | Chosen::Several => Ok(Route::Server),
    }
}

/// D9: the device that the request names, else the one that the session is bound to,
/// else the only one that is online. One that is bound but not online counts as none,
/// so that another can be chosen; one that is named does not, for the client meant it.
pub fn choose<'a>(
    named: Option<&'a DeviceId>,
    bound: Option<&'a DeviceId>,
    online: &'a [DeviceId],
) -> (Chosen, Option<&'a DeviceId>) {
    let is_online = |id: &DeviceId| online.contains(id);
    match (named, bound, online) {
        (Some(id), _, _) if is_online(id) => (Chosen::Online, Some(id)),
        (Some(id), _, _) => (Chosen::Missing, Some(id)),
        (None, Some(id), _) if is_online(id) => (Chosen::Online, Some(id)),
        (None, None, [only]) => (Chosen::Online, Some(only)),
        (None, _, []) => (Chosen::Nobody, None),
        (None, _, _) => (Chosen::Several, None),
    }
}

/// D11: all gates, and what they came to, for one line of the log.
pub struct Line<'a> {
    /// The tool.
    pub tool: &'a str,
    /// What was known.
    pub gates: &'a Gates,
    /// What it came to.
    pub decision: Result<Route, Reason>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gates {
            executors,
            offered,
            may_use_devices,
            disabled,
            opted_out,
            runtime,
            gateway,
            modes,
            caller_executes,
            device,
            served,
        } = self.gates;
        let decision = match self.decision {
            Ok(route) => route.as_str(),
            Err(reason) => reason.as_str(),
        };
        write!(
            f,
            "{}={decision} client={} server={} offered={offered:?} may_use_devices={may_use_devices} \
             disabled={disabled} opted_out={opted_out} runtime={runtime:?} platform={:?} \
             gateway={gateway} desktop_mode={} web_mode={} caller_executes={caller_executes} \
             device={device:?} served={served}",
            self.tool,
            executors.client,
            executors.server,
            self.gates.platform(),
            modes.desktop,
            modes.web,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d09_the_named_device_comes_before_the_bound_one_and_that_before_the_only_one() {
        let [a, b, c] = ["a", "b", "c"].map(DeviceId::new);
        let both = [a.clone(), b.clone()];
        let only = [a.clone()];
        for (named, bound, online, expected) in [
            (Some(&b), Some(&a), &both[..], (Chosen::Online, Some(&b))),
            (Some(&c), Some(&a), &both[..], (Chosen::Missing, Some(&c))),
            (Some(&c), None, &only[..], (Chosen::Missing, Some(&c))),
            (None, Some(&a), &both[..], (Chosen::Online, Some(&a))),
            (None, Some(&c), &both[..], (Chosen::Several, None)),
            // Not silently another one than was chosen.
            (None, Some(&c), &only[..], (Chosen::Several, None)),
            (None, Some(&c), &[], (Chosen::Nobody, None)),
            (None, None, &only[..], (Chosen::Online, Some(&a))),
            (None, None, &both[..], (Chosen::Several, None)),
            (None, None, &[], (Chosen::Nobody, None)),
        ] {
            let chosen = choose(named, bound, online);
            assert_eq!(chosen, expected, "{named:?} {bound:?} {online:?}");
        }
    }

    #[test]
    fn d11_all_gates_of_a_decision_stand_in_one_line() {
        let gates = Gates {
            executors: Executors {
                client: true,
                server: false,
            },
            offered: Offered::Executable,
            may_use_devices: false,
            disabled: false,
            opted_out: false,
            runtime: Some(Runtime::Web),
            gateway: true,
            modes: Modes::default(),
            caller_executes: true,
            device: Chosen::Several,
            served: false,
        };
        let decision = decide(&gates);
        let line = Line {
            tool: "search_similar",
            gates: &gates,
            decision,
        };
        assert_eq!(
            line.to_string(),
            "search_similar=not_allowed client=true server=false offered=Executable \
             may_use_devices=false disabled=false opted_out=false runtime=Some(Web) platform=Web \
             gateway=true desktop_mode=local web_mode=local caller_executes=true device=Several \
             served=false"
        );
    }
}

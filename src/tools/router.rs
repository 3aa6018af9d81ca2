//! Who asks, what there is, and so what is offered: the gates of each tool, put
//! together from the catalogue, the caller, its user's devices and the settings.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::catalogue::{Assistant, Catalogue, Offered, Tool, ToolSet};
use super::directory::{Device, Directory};
use super::routing::{self, Chosen, Gates, Modes, Reason, Route};
use super::{Contact, Served, devices};
use crate::domain::{DeviceId, Principal, Runtime, SearchKind, SessionId, Uid};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Devices of a user can be reached from the user's other sessions.
    pub gateway: bool,
    /// Where tools of devices are wanted.
    pub modes: Modes,
    /// Who may use other devices of its user.
    pub policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway: true,
            modes: Modes::default(),
            policy: Policy::claim(),
        }
    }
}

/// Says whether a caller may use devices of its user other than the one it is (D6).
#[derive(Clone)]
pub struct Policy(Arc<dyn Fn(&Principal) -> bool + Send + Sync>);

impl Policy {
    /// A rule of whoever embeds this server. Must not wait for anything.
    pub fn new(rule: impl Fn(&Principal) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Whoever's token has the claim `devices`.
    pub fn claim() -> Self {
        Self::new(|principal| principal.devices)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}

/// What a client says of itself when it says hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What it is.
    pub runtime: Option<Runtime>,
    /// What it calls its device.
    pub device: Option<DeviceId>,
    /// The same for people.
    pub device_name: String,
    /// The tools it executes; `None` if it did not say: then those of the original
    /// contract, unless it is a page in a browser.
    pub executes: Option<Vec<String>>,
    /// Its user wants no tools to run on devices.
    pub opted_out: bool,
    /// Tools that its user does not want.
    pub disabled: Vec<String>,
    /// The device that is to execute tools for it, from now on.
    pub bound: Option<DeviceId>,
    /// BCP 47; empty if it did not say.
    pub locale: String,
    /// IANA; empty if it did not say.
    pub time_zone: String,
}

/// Somebody for whom tools are called: a session, or a job.
#[derive(Debug)]
pub struct Asker {
    pub(super) uid: Uid,
    pub(super) session: SessionId,
    pub(super) profile: Profile,
    pub(super) executes: ToolSet,
    may_use_devices: bool,
    /// The device that the session is bound to, of its frames in flight as well; the model
    /// may choose one, too.
    bound: Arc<Mutex<Option<DeviceId>>>,
}

impl Asker {
    /// Whether both say the same of themselves, and may do the same.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.profile, self.may_use_devices) == (&other.profile, other.may_use_devices)
    }

    pub(super) fn bind(&self, device: DeviceId) {
        *self.bound() = Some(device);
    }

    /// The same was said once more: the device that it names is bound again, whatever the
    /// model chose since.
    pub fn bind_again(&self) {
        if let Some(device) = &self.profile.bound {
            self.bind(device.clone());
        }
    }

    /// Something else was said before. If a device is named no longer, the session is
    /// free of it; but what the model chose stays chosen.
    pub fn follow(&mut self, before: &Self) {
        self.bound = before.bound.clone();
        let (named, was_named) = (&self.profile.bound, &before.profile.bound);
        let mut bound = before.bound();
        if named.is_some() || *bound == *was_named {
            bound.clone_from(named);
        }
    }

    fn bound(&self) -> MutexGuard<'_, Option<DeviceId>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The catalogue, the devices and the settings; cheap to clone.
#[derive(Clone, Debug)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalogue: Catalogue,
    settings: Settings,
    directory: Directory,
    /// Nobody, in a server without workers.
    served: Option<Served>,
    /// The two searches.
    original: ToolSet,
}

/// A tool that can be called, and where it runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tool.
    pub tool: Arc<Tool>,
    /// Where it runs.
    pub route: Route,
    /// The device that executes it, if it is another one than the caller.
    pub(super) device: Option<DeviceId>,
}

/// What the model may call now.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The tools that somebody executes, and where.
    pub tools: Vec<Place>,
    /// The tools that end a frame, as far as what they depend on can be called.
    pub terminal: Vec<Arc<Tool>>,
    /// The others that the caller could know of, and why they cannot be called now.
    pub withheld: Vec<(Arc<Tool>, Reason)>,
}

impl Default for Router {
    /// The built-in tools, and no device yet.
    fn default() -> Self {
        Self::new(Catalogue::builtin(), Settings::default(), None)
    }
}

impl Router {
    /// One that knows of no device yet.
    pub fn new(catalogue: Catalogue, settings: Settings, served: Option<Served>) -> Self {
        let kinds = SearchKind::ALL.into_iter().map(SearchKind::function_name);
        Self(Arc::new(Inner {
            original: catalogue.executable(kinds),
            catalogue,
            settings,
            directory: Directory::default(),
            served,
        }))
    }

    /// All tools that are declared.
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// The devices that are connected.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Who executes tools on the server's side.
    pub(super) fn served(&self) -> Option<&Served> {
        self.0.served.as_ref()
    }

    /// Whether this caller may use devices of its user other than the one it is.
    pub fn permits(&self, principal: &Principal) -> bool {
        (self.0.settings.policy.0)(principal)
    }

    /// A caller that says this of itself.
    pub fn asker(
        &self,
        uid: Uid,
        session: SessionId,
        may_use_devices: bool,
        profile: Profile,
    ) -> Asker {
        let executes = match (&profile.executes, profile.runtime) {
            (Some(names), _) => self
                .catalogue()
                .executable(names.iter().map(String::as_str)),
            (None, Some(Runtime::Web)) => ToolSet::default(),
            (None, _) => self.0.original,
        };
        Asker {
            uid,
            session,
            executes,
            may_use_devices,
            bound: Arc::new(Mutex::new(profile.bound.clone())),
            profile,
        }
    }

    /// A session's entry in the directory. A page in a browser executes nothing.
    pub fn device(&self, asker: &Asker, contact: Contact) -> Device {
        let profile = &asker.profile;
        let own = || DeviceId::new(asker.session.as_str());
        // What its user does not want there, nobody else has run there either.
        let unwanted = profile.disabled.iter().map(String::as_str);
        let executes = match (profile.runtime, profile.opted_out) {
            (Some(Runtime::Web), _) | (_, true) => ToolSet::default(),
            _ => asker
                .executes
                .without(self.catalogue().executable(unwanted)),
        };
        Device {
            id: profile.device.clone().unwrap_or_else(own),
            name: profile.device_name.as_str().into(),
            runtime: profile.runtime,
            executes,
            for_sessions: true,
            contact,
        }
    }

    /// What the model may call on this caller's behalf now. `named` is the device that
    /// the request is for, if it names one.
    pub(super) fn offer(
        &self,
        assistant: Assistant,
        asker: &Asker,
        named: Option<&DeviceId>,
        contact: Option<&Contact>,
    ) -> Offer {
        let mut offer = Offer {
            tools: Vec::with_capacity(4),
            terminal: Vec::with_capacity(4),
            withheld: Vec::new(),
        };
        let mut lines = Vec::new();
        let tells = tracing::enabled!(tracing::Level::DEBUG);
        // Looked for once, and only if somebody else than the caller is needed.
        let mut others = None;
        let own = self.served().map(Served::own).unwrap_or_default();
        let visible = self.catalogue().tools().iter().chain(&own);
        for tool in visible.filter(|tool| tool.assistants.contains(&assistant)) {
            if tool.terminal {
                offer.terminal.push(tool.clone());
                continue;
            }
            let mut gates = self.gates(tool, asker);
            let mut device = None;
            if let Some(contact) = contact
                && self.needs_devices(&gates)
            {
                let others = others.get_or_insert_with(|| {
                    let devices = self.directory().devices(&asker.uid, contact);
                    Others::of(&devices, named, asker.bound().as_ref())
                });
                gates.device = others.chosen_for(tool);
                device.clone_from(&others.device);
            }
            let decision = routing::decide(&gates);
            if tells {
                let line = routing::Line {
                    tool: &tool.name,
                    gates: &gates,
                    decision,
                };
                lines.push(line.to_string());
            }
            match decision {
                Ok(route) => offer.tools.push(Place {
                    tool: tool.clone(),
                    route,
                    device: device.filter(|_| route == Route::Device),
                }),
                Err(reason) => offer.withheld.push((tool.clone(), reason)),
            }
        }
        offer.bar();
        if tells {
            tracing::debug!(decisions = lines.join("; "), "tools were offered");
        }
        offer
    }

    fn gates(&self, tool: &Tool, asker: &Asker) -> Gates {
        let Settings { gateway, modes, .. } = self.0.settings;
        let profile = &asker.profile;
        Gates {
            executors: tool.executors,
            offered: tool.offered,
            may_use_devices: asker.may_use_devices,
            disabled: profile.disabled.iter().any(|name| **name == *tool.name),
            opted_out: profile.opted_out,
            runtime: profile.runtime,
            gateway,
            modes,
            caller_executes: match tool.offered {
                Offered::Executable => asker.executes.holds(tool),
                // Any tool of devices.
                Offered::WithoutDevice => !asker.executes.is_empty(),
            },
            device: Chosen::Nobody,
            // For users' devices alone, nobody else need be asked about.
            served: tool.executors.may_be_served()
                && match self.served() {
                    Some(served) => served.has(tool),
                    None => devices::is_one(tool),
                },
        }
    }

    fn needs_devices(&self, gates: &Gates) -> bool {
        let local = gates.executors.client || gates.offered == Offered::WithoutDevice;
        local && gates.gateway && gates.may_use_devices && !gates.caller_can()
    }
}

/// The user's other devices, as far as a decision goes by them.
struct Others {
    chosen: Chosen,
    device: Option<DeviceId>,
    /// What the chosen one executes.
    executes: ToolSet,
}

impl Others {
    /// D9.
    fn of(devices: &[Device], named: Option<&DeviceId>, bound: Option<&DeviceId>) -> Self {
        let online: Vec<_> = devices.iter().map(|it| it.id.clone()).collect();
        let (chosen, id) = routing::choose(named, bound, &online);
        let device = devices.iter().find(|device| Some(&device.id) == id);
        Self {
            chosen,
            device: id.cloned(),
            executes: device.map(|device| device.executes).unwrap_or_default(),
        }
    }

    fn chosen_for(&self, tool: &Tool) -> Chosen {
        match (self.chosen, tool.offered) {
            (Chosen::Online, Offered::Executable) if !self.executes.holds(tool) => Chosen::Missing,
            (chosen, _) => chosen,
        }
    }
}

impl Offer {
    /// Where the tool of this name runs, if it can be called.
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.tools.iter().find(|place| *place.tool.name == *name)
    }

    /// The terminal tool of this name, if it may be called.
    pub fn terminal(&self, name: &str) -> Option<&Arc<Tool>> {
        self.terminal.iter().find(|tool| *tool.name == *name)
    }

    /// Whether a terminal tool depends on what this one finds.
    pub fn is_needed(&self, tool: &Tool) -> bool {
        let needs = |terminal: &Arc<Tool>| terminal.after_any.contains(&tool.name);
        self.terminal.iter().any(needs)
    }

    /// Why the tool of this name cannot be called now, if there is such a tool.
    pub fn withheld(&self, name: &str) -> Option<Reason> {
        let found = self.withheld.iter().find(|(tool, _)| *tool.name == *name);
        found.map(|(_, reason)| *reason)
    }

    /// Why a terminal tool cannot be called now, if that is so: nobody can be asked for
    /// what it depends on.
    pub fn barred(&self) -> Option<Reason> {
        let found = self.withheld.iter().find(|(tool, _)| tool.terminal);
        found.map(|(_, reason)| *reason)
    }

    /// Has this terminal tool, whatever has come of what it depends on.
    pub fn keep(&mut self, tool: &Arc<Tool>) {
        self.withheld.retain(|(withheld, _)| withheld != tool);
        if !self.terminal.contains(tool) {
            self.terminal.push(tool.clone());
        }
    }

    /// What was offered in another turn is known in this one, too: a tool that only a
    /// worker declares goes with it.
    pub fn remember(&mut self, before: &Self) {
        let offered = before.tools.iter().map(|place| &place.tool);
        let withheld = before.withheld.iter().map(|(tool, _)| tool);
        for tool in offered.chain(withheld) {
            let name = &*tool.name;
            let is_known = self.terminal(name).is_some() || self.withheld(name).is_some();
            if self.place(name).is_none() && !is_known {
                self.withheld.push((tool.clone(), Reason::NoWorker));
            }
        }
    }

    /// Takes away the terminal tools that depend on others, none of which can be called.
    fn bar(&mut self) {
        let Self {
            tools,
            terminal,
            withheld,
        } = self;
        let mut barred = Vec::new();
        terminal.retain(|tool| {
            let needed = &tool.after_any;
            let offered = |place: &Place| needed.contains(&place.tool.name);
            if needed.is_empty() || tools.iter().any(offered) {
                return true;
            }
            let why = withheld
                .iter()
                .find(|(it, _)| needed.contains(&it.name))
                .map(|(_, reason)| *reason);
            barred.extend(why.map(|reason| (tool.clone(), reason)));
            false
        });
        withheld.append(&mut barred);
    }
}

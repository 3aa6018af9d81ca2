//! Where a frame's tools run, decided for a page in a browser whose user has three
//! devices: with ten users connected, and with ten thousand. The same ten users ask in
//! both, in turn; what those cost of whom nobody has asked for a while is told as well.

use std::sync::Arc;
use std::time::Instant;

use proactive::domain::{DeviceId, Frame, FrameId, Runtime, ScreenText, SessionId, Uid};
use proactive::telemetry::Metrics;
use proactive::tools::catalogue::Assistant;
use proactive::tools::routing::Route;
use proactive::tools::workers::{Connected, Declaration, Hello, Options, Workers};
use proactive::tools::{
    Catalogue, Contact, Desk, Device, Listed, Pending, Profile, Router, Served, Settings,
};
use proactive::world::World;
use tokio::sync::mpsc;

use super::Result;
use super::report::{Report, Spread};

const FEW: usize = 10;
const MANY: usize = 10_000;
/// Of each user.
const DEVICES: usize = 3;
const ROUNDS: usize = 25;
/// Per round and router.
const DECISIONS: usize = 20_000;

const MOST_GROWTH: f64 = 1.25;

struct Bench {
    desks: Vec<Desk>,
    _listed: Vec<Listed>,
    _worker: Connected,
    /// Nanoseconds, by round.
    costs: Vec<f64>,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let mut few = Bench::new(FEW)?;
    let mut many = Bench::new(MANY)?;
    let mut cold = Vec::new();
    for _ in 0..ROUNDS {
        few.round()?;
        many.round()?;
        cold.push(time(&many.desks, DECISIONS)?);
    }
    report.heading("Where the tools of a frame run, each decision");
    report.fact("10 users, 30 devices", few.cost().with("ns"));
    report.fact("10,000 users, 30,000 devices", many.cost().with("ns"));
    report.fact("the same, each user in turn", Spread::of(cold).with("ns"));
    let growth = many.costs.iter().zip(&few.costs).map(|(a, b)| a / b);
    report.bound("10,000 / 10 users", Spread::of(growth), MOST_GROWTH);
    Ok(())
}

impl Bench {
    fn new(users: usize) -> Result<Self> {
        let (world, metrics) = (World::real(), Metrics::new());
        let catalogue = Catalogue::builtin();
        let workers = Workers::new(Options::default(), world.clone(), metrics.clone());
        let worker = workers.connect(hello(), &|_| Ok(()))?;
        let served = Served::new(catalogue.clone(), workers);
        let router = Router::new(catalogue, Settings::default(), Some(served));
        let frame = frame();
        let mut listed = Vec::with_capacity(users * (DEVICES + 1));
        let mut desks = Vec::with_capacity(users);
        for number in 0..users {
            let uid = Uid::new(format!("user-{number:012}-of-the-bench"));
            for device in 0..DEVICES {
                let asker = router.asker(
                    uid.clone(),
                    SessionId::new(world.uuid()),
                    true,
                    Profile {
                        runtime: Some(Runtime::Desktop),
                        device: Some(id(device)),
                        device_name: "Laptop".to_owned(),
                        ..Profile::default()
                    },
                );
                listed.push(list(&router, &uid, router.device(&asker, contact())));
            }
            let page = Profile {
                runtime: Some(Runtime::Web),
                bound: Some(id(number % DEVICES)),
                ..Profile::default()
            };
            let asker = router.asker(uid.clone(), SessionId::new(world.uuid()), true, page);
            let contact = contact();
            listed.push(list(&router, &uid, router.device(&asker, contact.clone())));
            desks.push(Desk::of_session(
                &frame,
                Arc::new(asker),
                contact,
                router.clone(),
                world.clone(),
                metrics.clone(),
            ));
        }
        Ok(Self {
            desks,
            _listed: listed,
            _worker: worker,
            costs: Vec::new(),
        })
    }

    fn round(&mut self) -> Result<()> {
        // Spread over the users; the same number of them each time.
        let each = self.desks.len() / FEW;
        let asking: Vec<_> = self.desks.iter().step_by(each).cloned().collect();
        time(&asking, DECISIONS / 10)?;
        self.costs.push(time(&asking, DECISIONS)?);
        Ok(())
    }

    fn cost(&self) -> Spread {
        Spread::of(self.costs.iter().copied())
    }
}

/// Nanoseconds for each of so many decisions.
fn time(desks: &[Desk], decisions: usize) -> Result<f64> {
    let began = Instant::now();
    let mut on_devices = 0;
    for desk in desks.iter().cycle().take(decisions) {
        let offer = desk.offer(Assistant::Task);
        on_devices += usize::from(offer.tools.iter().any(|it| it.route == Route::Device));
    }
    let took = began.elapsed();
    match on_devices == decisions {
        true => Ok(took.as_secs_f64() * 1e9 / decisions as f64),
        false => Err("tools that devices have were not offered".into()),
    }
}

fn list(router: &Router, uid: &Uid, device: Device) -> Listed {
    router.directory().list(uid, device)
}

fn id(number: usize) -> DeviceId {
    DeviceId::new(format!("3d1c{number:04}-of-the-bench"))
}

fn frame() -> Frame {
    Frame {
        id: FrameId::new("5f0b1c9e"),
        named: true,
        image: None,
        app: "Mail".to_owned(),
        window: "Inbox".to_owned(),
        ocr: ScreenText::default(),
        captured_at: None,
        utc_offset: None,
        device: None,
        context: None,
    }
}

fn contact() -> Contact {
    Contact {
        pending: Pending::default(),
        errands: mpsc::channel(1).0,
    }
}

/// A worker with a tool of the catalogue, and one that only it declares.
fn hello() -> Hello {
    let tools = ["resolve_date", "find_documents"].map(|name| Declaration {
        name: name.to_owned(),
        description: "Does something.".to_owned(),
        parameters_json: r#"{"type":"object"}"#.to_owned(),
        streaming: false,
        changes: false,
    });
    Hello {
        name: "bench".to_owned(),
        version: "1".to_owned(),
        tools: tools.into(),
        calls_at_once: 8,
    }
}

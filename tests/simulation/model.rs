//! The model, and what is seen of a server from behind: which frames are analysed,
//! how often, and how many at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::faulty;
use super::judge::{Judge, lock};
use super::server::Seats;
use proactive::gemini::{Error, Turn, View};

/// What a frame under way is counted with at least, in bytes.
const FRAME_BYTES: usize = 24 << 10;
/// A session analyses so many frames at once.
const AT_ONCE: usize = 2;

/// A frame in one session: its name, and its client's number of the session.
pub(crate) type Case = (String, u64);

/// What all servers' models have been asked.
#[derive(Default)]
pub(crate) struct Watch {
    /// How often an analysis of a frame has begun.
    begun: BTreeMap<Case, u32>,
    /// Calls under way, by server.
    active: BTreeMap<usize, Vec<Case>>,
    users: BTreeMap<String, String>,
}

/// One server's model.
pub(crate) struct Model {
    pub(crate) server: usize,
    pub(crate) watch: Arc<Mutex<Watch>>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) seats: Seats,
}

impl Watch {
    /// A client's name, and whose it is.
    pub(crate) fn belongs(&mut self, client: &str, uid: &str) {
        self.users.insert(client.to_owned(), uid.to_owned());
    }

    /// How often an analysis of this frame has begun in this session.
    pub(crate) fn begun(&self, case: &Case) -> u32 {
        self.begun.get(case).copied().unwrap_or_default()
    }

    fn user(&self, case: &Case) -> Option<&String> {
        let (client, _) = case.0.rsplit_once('-')?;
        self.users.get(client)
    }
}

impl Model {
    pub(crate) fn answer(&self, view: View) -> impl Future<Output = Result<Turn, Error>> + use<> {
        let call = self.begin(&view);
        let answer = faulty::answer(view);
        async move {
            let _call = call;
            answer.await
        }
    }

    fn begin(&self, view: &View) -> Active {
        let case = self.case(&view.text);
        let mut watch = lock(&self.watch);
        if view.turns == 0 {
            *watch.begun.entry(case.clone()).or_default() += 1;
        }
        let active = watch.active.entry(self.server).or_default();
        if active.contains(&case) {
            self.judge
                .blame(&format!("{} is analysed twice at once", case.0));
        }
        active.push(case.clone());
        let active = watch.active.get(&self.server).into_iter().flatten();
        let client = |case: &Case| (case.0.rsplit_once('-').map(|it| it.0.to_owned()), case.1);
        let of_session = active.clone().filter(|it| client(it) == client(&case));
        if of_session.count() > AT_ONCE {
            self.judge.blame("a session has too many frames at once");
        }
        let of_user = active.filter(|it| watch.user(it) == watch.user(&case));
        if of_user.count() * FRAME_BYTES > self.seats.limits.bytes_per_user {
            self.judge
                .blame("a user has more under way than is allowed");
        }
        if let Some(wrong) = self.seats.wrong() {
            self.judge.blame(wrong);
        }
        Active {
            server: self.server,
            case,
            watch: self.watch.clone(),
        }
    }

    /// A result that went to another frame's conversation would stand beside its
    /// name.
    fn case(&self, text: &str) -> Case {
        let mut names = text.split("<frame ").skip(1);
        let mut name = || names.next()?.split('>').next();
        let own = name().expect("a frame names itself").to_owned();
        while let Some(name) = name() {
            if name != own {
                self.judge
                    .blame(&format!("{own}'s conversation holds a result for {name}"));
            }
        }
        let session = text.split("<session ").nth(1);
        let session = session.and_then(|rest| rest.split('>').next()?.parse().ok());
        (own, session.expect("a frame names its session"))
    }
}

/// A call under way.
struct Active {
    server: usize,
    case: Case,
    watch: Arc<Mutex<Watch>>,
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut watch = lock(&self.watch);
        if let Some(active) = watch.active.get_mut(&self.server)
            && let Some(at) = active.iter().position(|case| *case == self.case)
        {
            active.swap_remove(at);
        }
    }
}

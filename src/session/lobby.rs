//! Where streams come in: each begins a session, or takes up one whose stream
//! broke. Knows the sessions that can be taken up, and how much they may keep
//! while nobody is connected.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::absences::{Absences, Place};
use super::{
    Caller, ClientMessage, Connection, Hello, Input, Inputs, Options, Quota, Resume, ServerMessage,
    Session, Stop, StreamEnd, Tools,
};
use crate::domain::{ResumeSecret, SessionId, Uid};
use crate::telemetry::{Metrics, SessionReturn};

/// Streams that wait for one session to take them over; it does so at once.
const CALLS: usize = 1;

/// The door to all sessions of this server; cheap to clone.
#[derive(Clone)]
pub struct Lobby(Arc<Inner>);

struct Inner {
    options: Options,
    tools: Tools,
    stop: Stop,
    running: TaskTracker,
    table: Mutex<Table>,
}

/// The sessions that can be taken up.
#[derive(Default)]
struct Table {
    known: HashMap<SessionId, Known>,
    away: Absences,
}

struct Known {
    uid: Uid,
    secret: ResumeSecret,
    calls: mpsc::Sender<Call>,
}

/// What a session is told from outside.
pub(super) enum Call {
    /// Its client came back.
    TakeUp(Box<Arrival>),
    /// Others need its place.
    GiveUp,
}

/// A client that came back.
pub(super) struct Arrival {
    pub(super) connection: Connection,
    pub(super) hello: Hello,
}

impl Lobby {
    /// An empty one. Its sessions run on `running`, so that their end can be
    /// awaited.
    pub fn new(options: Options, tools: Tools, stop: Stop, running: TaskTracker) -> Self {
        Self(Arc::new(Inner {
            options,
            tools,
            stop,
            running,
            table: Mutex::default(),
        }))
    }

    /// A stream of this caller, which is opened now. `ended` learns how it is to end,
    /// after `to_client` is dropped; it is dropped without a word, if the session crashed.
    pub fn connection(
        &self,
        caller: Caller,
        inputs: Inputs,
        to_client: mpsc::Sender<Box<ServerMessage>>,
        ended: oneshot::Sender<StreamEnd>,
    ) -> Connection {
        Connection::new(caller, inputs, to_client, ended, &self.0.tools.world)
    }

    /// Takes a stream in.
    pub fn open(&self, connection: Connection) {
        let receiving = self.clone().receive(connection);
        self.0.running.spawn(receiving.in_current_span());
    }

    /// Begins a session with a stream and its first word, as a task of its own: what
    /// receiving the stream took is not kept for as long as that lives.
    fn begin(&self, connection: Connection, first: Input) {
        let session = Session::new(&connection.caller, self);
        self.0.running.spawn(session.run(connection, Some(first)));
    }

    /// How many sessions can be taken up, and how many of them wait for that.
    pub fn known(&self) -> (usize, usize) {
        let table = self.table();
        (table.known.len(), table.away.len())
    }

    async fn receive(self, mut connection: Connection) {
        // Only the first word can name another session, however slowly it arrives.
        let first = async {
            loop {
                match connection.inputs.next().await {
                    Some(Input::Part) => {}
                    first => break first,
                }
            }
        };
        let first = timeout(self.0.options.hello_timeout, first);
        let first = match self.0.stop.hard.run_until_cancelled(first).await {
            None => return connection.end(StreamEnd::Drained),
            Some(Err(_)) => return connection.end(StreamEnd::NoHello),
            Some(Ok(None)) => return connection.end(StreamEnd::Closed),
            Some(Ok(Some(Input::Lost))) => return connection.end(StreamEnd::Lost),
            Some(Ok(Some(first))) => first,
        };
        if let Some((connection, first)) = self.take_up(connection, first).await {
            self.begin(connection, first);
        }
    }

    /// Hands the stream to the session it names. Gives it back if there is none.
    async fn take_up(&self, connection: Connection, first: Input) -> Option<(Connection, Input)> {
        let Input::Message(ClientMessage::Hello(hello)) = first else {
            return Some((connection, first));
        };
        let Some(resume) = hello.resume.as_deref().filter(|resume| resume.names_one()) else {
            return Some((connection, Input::Message(ClientMessage::Hello(hello))));
        };
        let metrics = &self.0.tools.metrics;
        let calls = match self.find(resume, &connection.caller.principal.uid) {
            Found::Session(calls) => calls,
            Found::Nothing => {
                metrics.session_return(SessionReturn::Unknown);
                return Some((connection, Input::Message(ClientMessage::Hello(hello))));
            }
            Found::NotYours => {
                metrics.session_return(SessionReturn::Refused);
                connection.end(StreamEnd::NotYours);
                return None;
            }
        };
        let arrival = Box::new(Arrival { connection, hello });
        match calls.send(Call::TakeUp(arrival)).await {
            Ok(()) => {
                metrics.session_return(SessionReturn::TakenUp);
                None
            }
            // It ended just now.
            Err(mpsc::error::SendError(call)) => {
                metrics.session_return(SessionReturn::Unknown);
                call.into_stream()
            }
        }
    }

    fn find(&self, resume: &Resume, uid: &Uid) -> Found {
        let table = self.table();
        match table.known.get(&resume.session) {
            Some(known) if !known.secret.matches(&resume.secret) => Found::Nothing,
            Some(known) if known.uid != *uid => Found::NotYours,
            Some(known) => Found::Session(known.calls.clone()),
            None => Found::Nothing,
        }
    }

    /// Makes a session known, until the guard is dropped.
    pub(super) fn register(&self, session: SessionId, uid: Uid) -> Registered {
        let secret = ResumeSecret::new(self.0.tools.world.uuid());
        let (sender, calls) = mpsc::channel(CALLS);
        let known = Known {
            uid: uid.clone(),
            secret: secret.clone(),
            calls: sender,
        };
        self.table().known.insert(session.clone(), known);
        Registered {
            lobby: self.clone(),
            session,
            uid,
            secret,
            calls,
            place: None,
        }
    }

    /// What may be open and under way here.
    pub fn quota(&self) -> &Quota {
        &self.0.tools.quota
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn tools(&self) -> &Tools {
        &self.0.tools
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.0.stop
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("no holder of this lock panics")
    }
}

enum Found {
    Session(mpsc::Sender<Call>),
    Nothing,
    NotYours,
}

impl Call {
    /// The stream that it brought, as it came.
    fn into_stream(self) -> Option<(Connection, Input)> {
        match self {
            Self::TakeUp(arrival) => {
                let Arrival { connection, hello } = *arrival;
                Some((connection, Input::Message(ClientMessage::Hello(hello))))
            }
            Self::GiveUp => None,
        }
    }
}

impl Table {
    fn no_longer_away(&mut self, place: Place, metrics: &Metrics) {
        self.away.remove(place);
        metrics.sessions_away(self.away.len());
    }
}

/// A session's entry in the lobby; goes with it.
pub(super) struct Registered {
    lobby: Lobby,
    session: SessionId,
    uid: Uid,
    pub(super) secret: ResumeSecret,
    calls: mpsc::Receiver<Call>,
    /// While it has no stream.
    place: Option<Place>,
}

impl Registered {
    /// What the session is told next. Cancel-safe.
    pub(super) async fn call(&mut self) -> Call {
        // The lobby holds the other end for as long as this entry is there.
        self.calls.recv().await.unwrap_or(Call::GiveUp)
    }

    /// The session has lost its stream, and keeps so many bytes. Whoever is one too
    /// many then is told to give up; that may be this one.
    pub(super) fn leaves(&mut self, bytes: usize) {
        let limits = &self.lobby.0.options.away;
        let mut table = self.lobby.table();
        let Table { known, away } = &mut *table;
        self.place = Some(away.add(self.session.clone(), self.uid.clone(), bytes));
        while let Some(session) = away.take_one_too_many(&self.uid, limits) {
            if let Some(known) = known.get(&session) {
                // Full: its client is coming back just now.
                let _ = known.calls.try_send(Call::GiveUp);
            }
        }
        self.lobby.0.tools.metrics.sessions_away(away.len());
    }

    /// The session has a stream again.
    pub(super) fn returns(&mut self) {
        if let Some(place) = self.place.take() {
            self.lobby
                .table()
                .no_longer_away(place, &self.lobby.0.tools.metrics);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        {
            let mut table = self.lobby.table();
            table.known.remove(&self.session);
            if let Some(place) = self.place.take() {
                table.no_longer_away(place, &self.lobby.0.tools.metrics);
            }
        }
        // Whoever comes just now begins anew.
        let (_, none) = mpsc::channel(CALLS);
        let mut calls = mem::replace(&mut self.calls, none);
        calls.close();
        if calls.is_empty() && calls.sender_strong_count() == 0 {
            return;
        }
        let lobby = self.lobby.clone();
        self.lobby.0.running.spawn(async move {
            while let Some(call) = calls.recv().await {
                if let Some((connection, first)) = call.into_stream() {
                    lobby.begin(connection, first);
                }
            }
        });
    }
}

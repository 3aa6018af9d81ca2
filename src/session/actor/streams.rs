//! A session and its streams: how one begins, is lost, is taken up by another,
//! and how the client is told to look for the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Drain, Session};
use crate::analysis::Background;
use crate::domain::SearchKind;
use crate::events::Start;
use crate::session::line::Line;
use crate::session::lobby::Arrival;
use crate::session::timers::Due;
use crate::session::{
    Follow, GoAway, Hello, Ready, Refusal, RefusalCode, Resumable, Resumed, ServerMessage,
    StreamEnd, Version,
};
use crate::telemetry::SessionEnd;
use crate::tools::{Device, Profile};

impl Session {
    pub(super) fn attend_to(&mut self, due: Due) -> Option<SessionEnd> {
        match due {
            Due::Beat => {
                self.say(ServerMessage::Heartbeat(self.lobby.tools().world.now()));
                None
            }
            Due::GoAway => {
                let reason = "The stream, or the token that opened it, is growing old.";
                let left = self.line.as_ref().map(|line| line.timers.left());
                self.say_go_away(reason, left.unwrap_or_default(), self.registered.is_some());
                None
            }
            Due::NoHello => Some(SessionEnd::NoHello),
            Due::Silent => match &mut self.line {
                // It is not listened to, so that nobody knows.
                Some(line) if line.outbox.is_full() => {
                    line.timers.heard();
                    None
                }
                _ => self.lose_stream(StreamEnd::Silent),
            },
            Due::End => self.lose_stream(StreamEnd::Expired),
        }
    }

    /// The client has closed its side on purpose: it will not come back.
    pub(super) fn half_close(&mut self) {
        if let Some(line) = &mut self.line {
            line.half_closed = true;
            line.listed = None;
            line.timers.expect_silence();
        }
        self.registered = None;
        // Nobody can answer a search any more.
        self.pending.close();
    }

    /// The client is not heard any more, which is hardly on purpose.
    pub(super) fn stall(&mut self) -> Option<SessionEnd> {
        if self.registered.is_some() {
            return self.lose_stream(StreamEnd::Silent);
        }
        // Its answers may still reach it.
        self.half_close();
        None
    }

    /// The stream is of no more use. The session stays, if its client may come back.
    pub(super) fn lose_stream(&mut self, end: StreamEnd) -> Option<SessionEnd> {
        let Some(registered) = &mut self.registered else {
            // The frames that are left are told first, where that can be.
            if end == StreamEnd::Expired {
                return Some(SessionEnd::Expired);
            }
            self.end_stream(end);
            return Some(SessionEnd::Lost);
        };
        // Others must not find it any more when it cannot be asked.
        if let Some(line) = &mut self.line {
            line.listed = None;
        }
        self.pending.pause();
        self.following.rest();
        let tasks = self.background.as_ref().map_or(0, |known| known.bytes());
        registered.leaves(self.frames.bytes() + self.answers.bytes() + tasks);
        self.away_until = Some(Instant::now() + self.lobby.options().resume_grace);
        self.end_stream(end);
        None
    }

    pub(super) fn end_stream(&mut self, end: StreamEnd) {
        if let Some(line) = self.line.take() {
            line.end(end);
        }
    }

    /// The client is back, perhaps before its old stream was given up.
    pub(super) fn welcome_back(&mut self, arrival: Arrival) {
        let Arrival { connection, hello } = arrival;
        self.end_stream(StreamEnd::TakenUp);
        self.away_until = None;
        if let Some(registered) = &mut self.registered {
            registered.returns();
        }
        let principal = &connection.caller.principal;
        self.may_use_devices = self.lobby.tools().router.permits(principal);
        self.line = Some(Line::new(
            connection,
            self.lobby.options(),
            &self.lobby.tools().world,
        ));
        self.totals.resumes += 1;
        if let Some(resume) = &hello.resume {
            self.answers.confirm(resume.received);
        }
        let resumed = Resumed {
            in_flight: self.frames.ids(),
            answered: self.answers.frames(),
        };
        self.greet(hello, Some(resumed));
        let open = self.pending.resume();
        self.tell_called_off();
        let unconfirmed: Vec<_> = self.answers.unconfirmed().cloned().collect();
        for answer in unconfirmed {
            self.say(ServerMessage::Answer(answer));
        }
        for request in open {
            self.ask(request);
        }
    }

    /// Others find it from now on, and so it must be possible to ask it.
    pub(super) fn list(&mut self) {
        if let Some(line) = &mut self.line {
            line.listed.get_or_insert_with(|| {
                let router = &self.lobby.tools().router;
                let contact = self.frames.contact().clone();
                let device = Device {
                    for_sessions: self.version >= Version::V1_1,
                    ..router.device(self.frames.asker(), contact)
                };
                router.directory().list(&self.uid, device)
            });
        }
    }

    /// What the client says of itself now.
    fn introduce(&mut self, profile: Option<Box<Profile>>) {
        let profile = profile.map(|profile| *profile).unwrap_or_default();
        let router = &self.lobby.tools().router;
        let (uid, id) = (self.uid.clone(), self.id.clone());
        let mut asker = router.asker(uid, id, self.may_use_devices, profile);
        let known = self.frames.asker();
        if asker.is_like(known) {
            return known.bind_again();
        }
        asker.follow(known);
        self.frames.set_asker(asker);
        if let Some(line) = &mut self.line {
            line.listed = None;
        }
    }

    pub(super) fn greet(&mut self, hello: Hello, resumed: Option<Resumed>) {
        let since_1_1 = hello.version >= Version::V1_1;
        let beat = since_1_1.then_some(self.lobby.options().heartbeat_interval);
        if let Some(line) = &mut self.line {
            line.timers.begun();
            line.timers.set_heartbeats(beat, hello.heartbeat_interval);
        }
        self.version = hello.version;
        self.utc_offset = hello.utc_offset;
        self.introduce(hello.profile);
        // A hello without tasks keeps those it names by their version.
        let known = self.background.take();
        self.background = match hello.context {
            Some(context) => Some(Arc::new(Background::new(*context))),
            None => known.filter(|known| known.version == hello.context_version),
        };
        let may_return = hello.resume.is_some() && self.drain.is_none();
        if !may_return {
            self.registered = None;
        } else if self.registered.is_none() {
            self.registered = Some(self.lobby.register(self.id.clone(), self.uid.clone()));
        }
        self.answers.number(hello.resume.is_some());
        let resume = self.registered.as_ref().map(|registered| {
            Box::new(Resumable {
                secret: registered.secret.clone(),
                within: self.lobby.options().resume_grace,
                resumed,
            })
        });
        self.say(ServerMessage::Ready(Box::new(Ready {
            session: self.id.clone(),
            version: hello.version,
            context_version: hello.context_version,
            max_iterations: self.lobby.tools().analyst.options().max_iterations,
            searches: SearchKind::ALL,
            tools: self.lobby.tools().router.catalogue().of_clients(),
            heartbeat_interval: self.lobby.options().heartbeat_interval,
            resume,
        })));
        self.follow(hello.follow);
        if self.is_leaving() {
            self.say_goodbye();
        }
    }

    /// What the client is told of its user's log from now on.
    fn follow(&mut self, wish: Option<Follow>) {
        let log = &self.lobby.tools().log;
        match wish {
            _ if self.version < Version::V1_1 => self.following.nothing(),
            None => self.following.messages(log, &self.uid),
            Some(Follow::From(start)) => self.following.everything(log, &self.uid, start),
            Some(Follow::Unreadable) => {
                self.following.everything(log, &self.uid, Start::Now);
                let message = "client_hello.follow.cursor is not a cursor; the log is followed \
                               from now on.";
                self.refuse(Refusal::new(RefusalCode::InvalidEvent, message));
            }
        }
    }

    pub(super) fn begin_drain(&mut self) -> Option<SessionEnd> {
        if self.line.is_none() {
            // Its client finds no way in here any more.
            return Some(SessionEnd::Drained);
        }
        self.registered = None;
        let now = Instant::now();
        self.drain = Some(Drain {
            told_at: now
                + self
                    .lobby
                    .tools()
                    .world
                    .up_to(self.lobby.options().drain_spread),
            told: false,
            ends: now + self.lobby.options().drain_grace,
        });
        // Without a spread there may be no time either for a second look.
        if self.lobby.options().drain_spread.is_zero() {
            self.say_goodbye();
        }
        None
    }

    /// Whether the client has been told that the server is shutting down: no more
    /// frames are taken.
    pub(super) fn is_leaving(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.told)
    }

    pub(super) fn say_goodbye(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.told = true;
            let left = drain.ends.saturating_duration_since(Instant::now());
            self.say_go_away("The server is shutting down.", left, false);
        }
    }

    fn say_go_away(&mut self, reason: &'static str, time_left: Duration, resumable: bool) {
        if self.version >= Version::V1_1 {
            let spread = self.lobby.options().reconnect_spread.min(time_left / 2);
            self.say(ServerMessage::GoAway(Box::new(GoAway {
                reason,
                time_left,
                reconnect_delay: self.lobby.tools().world.up_to(spread),
                resumable,
            })));
        }
    }
}

/// How the stream in force ends with its session.
pub(super) fn end_with(end: SessionEnd) -> StreamEnd {
    match end {
        SessionEnd::Closed => StreamEnd::Closed,
        SessionEnd::Lost | SessionEnd::Crashed => StreamEnd::Lost,
        SessionEnd::SlowClient => StreamEnd::SlowClient,
        SessionEnd::Drained => StreamEnd::Drained,
        SessionEnd::NoHello => StreamEnd::NoHello,
        SessionEnd::Expired => StreamEnd::Expired,
    }
}

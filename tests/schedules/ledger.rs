//! What a session owes its client, kept from what it takes and what it says.
//!
//! While everything said has been heard, the ledger is exact: whoever takes a
//! frame owes one terminal event for its id, whether the frame is new or joins
//! one in flight. In fog (something said may not have been heard yet, because
//! the client does not read) a frame may join one that is already answered, so
//! the debt is a range.

use std::collections::HashMap;

use proactive::domain::{FrameFaultCode, Outcome, RequestId};
use proactive::session::{ServerMessage, Version};
use proactive::telemetry::SessionEnd;

use super::plan::Deed;

#[derive(Default)]
pub(crate) struct Ledger {
    frames: HashMap<String, Debt>,
    /// Refused events without a frame's id.
    refusals: u32,
    greetings: u32,
    searches: HashMap<RequestId, Search>,
    context: Option<&'static str>,
    /// A client of 1.1 said hello.
    spoke_1_1: bool,
    /// A hello or a frame was taken.
    begun: bool,
    draining: bool,
    halted: bool,
    closed: bool,
    lost: bool,
    paused: bool,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
}

/// What is owed about one frame id.
#[derive(Default)]
struct Debt {
    /// Terminal events: at least, at most.
    least: u32,
    most: u32,
    /// Refusals of unusable frames.
    refusals: (u32, u32),
    /// The answer can only be this.
    must_be: Option<FrameFaultCode>,
    /// Cancels taken while it may have been in flight.
    cancels: u32,
}

struct Search {
    frame: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    /// A result was taken.
    Answered,
    CalledOff,
    /// Its frame was answered.
    Over,
}

impl Ledger {
    /// The session takes this from the client.
    pub(crate) fn take(&mut self, deed: &Deed, fog: bool) {
        self.begun |= matches!(deed, Deed::Hello { .. } | Deed::Frame { .. });
        match deed {
            Deed::Hello {
                version,
                name,
                tasks,
            } => {
                self.greetings += 1;
                self.spoke_1_1 |= *version == Version::V1_1;
                let known = self.context == Some(name);
                self.context = (*tasks || known).then_some(name);
            }
            Deed::Frame { id, context } => {
                if context.is_some() {
                    self.context = *context;
                }
                self.frame(id, fog);
            }
            Deed::BadFrame(Some(id)) => {
                let debt = self.frames.entry((*id).to_owned()).or_default();
                let surely = debt.most == 0;
                let never = debt.least > 0 && !fog;
                debt.refusals.0 += u32::from(surely);
                debt.refusals.1 += u32::from(!never);
            }
            Deed::BadFrame(None) | Deed::BadEvent => self.refusals += 1,
            Deed::Cancel(id) => {
                let debt = self.frames.entry((*id).to_owned()).or_default();
                debt.cancels += debt.most;
                if debt.least > 0 && !fog {
                    debt.must_be = Some(FrameFaultCode::Cancelled);
                }
            }
            Deed::Result(id, _) => {
                if let Some(search) = self.searches.get_mut(id).filter(|s| s.state == State::Open) {
                    search.state = State::Answered;
                }
            }
            Deed::Close => self.closed = true,
            Deed::Lose | Deed::Leave => self.lost = true,
            Deed::Drain => self.draining = true,
            Deed::Halt => self.halted = true,
            Deed::Pause => self.paused = true,
            Deed::Heartbeat | Deed::Resume => {}
        }
    }

    fn frame(&mut self, id: &str, fog: bool) {
        let must_be = if self.draining {
            Some(FrameFaultCode::GoingAway)
        } else if self.context.is_none() {
            Some(FrameFaultCode::NoContext)
        } else {
            None
        };
        let debt = self.frames.entry(id.to_owned()).or_default();
        if debt.most == 0 {
            debt.must_be = must_be;
            debt.cancels = 0;
            (debt.least, debt.most) = (1, 1);
        } else if fog {
            debt.must_be = None;
            debt.least = debt.least.max(1);
            debt.most += 1;
        } else {
            (debt.least, debt.most) = (1, 1);
        }
    }

    /// The session says this.
    pub(crate) fn hear(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Ready(_) => match self.greetings.checked_sub(1) {
                Some(rest) => self.greetings = rest,
                None => self.blame("a Ready for no hello"),
            },
            ServerMessage::ToolCall(request) => {
                let frame = request.frame.as_str().to_owned();
                let debt = self.frames.get(&frame);
                if debt.is_none_or(|debt| debt.most == 0) {
                    self.blame("a search for a frame that is not in flight");
                }
                if request.timeout.is_zero() || request.timeout.as_secs() > 10 {
                    self.blame("a search with an absurd deadline");
                }
                let state = State::Open;
                let known = self
                    .searches
                    .insert(request.id.clone(), Search { frame, state });
                if known.is_some() {
                    self.blame("a search id that was used before");
                }
            }
            ServerMessage::CancelToolCall { request, frame, .. } => {
                match self.searches.get_mut(request) {
                    Some(search) if search.frame != frame.as_str() => {
                        self.blame("a search called off for another frame");
                    }
                    // Answered: the result may have come too late.
                    Some(Search {
                        state: state @ (State::Open | State::Answered),
                        ..
                    }) => {
                        *state = State::CalledOff;
                    }
                    Some(_) => self.blame("a search called off after its end"),
                    None => self.blame("a search called off that was never sent"),
                }
            }
            ServerMessage::Answer(answer) => match &answer.result {
                Ok(outcome) => self.outcome(answer.frame.as_str(), outcome),
                Err(fault) => self.terminal(answer.frame.as_str(), Some(fault.code)),
            },
            ServerMessage::Refused(refusal) => match &refusal.frame {
                None => match self.refusals.checked_sub(1) {
                    Some(rest) => self.refusals = rest,
                    None => self.blame("a refusal of nothing"),
                },
                Some(id) => {
                    let debt = self.frames.entry(id.as_str().to_owned()).or_default();
                    let (least, most) = debt.refusals;
                    debt.refusals = (least.saturating_sub(1), most.saturating_sub(1));
                    if most == 0 {
                        self.blame("a refusal beside an answer");
                    }
                }
            },
            ServerMessage::Heartbeat(_) if !self.spoke_1_1 => self.blame("a heartbeat to 1.0"),
            ServerMessage::GoAway(_) if !self.spoke_1_1 => self.blame("a GoAway to 1.0"),
            ServerMessage::GoAway(_) if !self.draining => self.blame("a GoAway without a drain"),
            ServerMessage::Log(_) => self.blame("news of a log that nobody asked for"),
            ServerMessage::Heartbeat(_) | ServerMessage::GoAway(_) => {}
        }
    }

    fn outcome(&mut self, id: &str, outcome: &Outcome) {
        if outcome.context_summary.is_empty() || outcome.current_activity.is_empty() {
            self.blame("an outcome without summary or activity");
        }
        self.terminal(id, None);
    }

    fn terminal(&mut self, id: &str, code: Option<FrameFaultCode>) {
        let debt = self.frames.entry(id.to_owned()).or_default();
        if debt.most == 0 {
            return self.blame(&format!("an answer to {id}, which is not in flight"));
        }
        debt.least = debt.least.saturating_sub(1);
        debt.most -= 1;
        let must_be = debt.must_be.take();
        let cancels = debt.cancels;
        let halted = self.halted && code == Some(FrameFaultCode::GoingAway);
        if must_be.is_some() && must_be != code && !halted {
            self.blame(&format!("{id} was answered {code:?}, not {must_be:?}"));
        }
        match code {
            Some(FrameFaultCode::Cancelled) if cancels == 0 => {
                self.blame("CANCELLED, which nobody asked for");
            }
            Some(FrameFaultCode::GoingAway) if !self.draining && !self.halted => {
                self.blame("GOING_AWAY, but nothing stops");
            }
            Some(FrameFaultCode::InvalidFrame) => self.blame("INVALID_FRAME for a valid one"),
            _ => {}
        }
        let mut left_open = false;
        for search in self
            .searches
            .values_mut()
            .filter(|search| search.frame == id)
        {
            left_open |= search.state == State::Open;
            search.state = State::Over;
        }
        // A closed client cannot answer; a halt has no time to call off.
        if left_open && !self.closed && !self.halted {
            self.blame("a frame ended, and its search was not called off");
        }
    }

    /// Whether no frame can be in flight.
    pub(crate) fn is_settled(&self) -> bool {
        self.frames.values().all(|debt| debt.most == 0)
    }

    /// The session has ended. `complete`: everything it said was heard.
    pub(crate) fn close(&mut self, end: SessionEnd, complete: bool) {
        let plausible = match end {
            SessionEnd::Closed => self.closed,
            SessionEnd::Lost => self.lost,
            SessionEnd::SlowClient => self.paused,
            SessionEnd::Drained => self.draining || self.halted,
            SessionEnd::NoHello => !self.begun,
            SessionEnd::Expired | SessionEnd::Crashed => false,
        };
        if !plausible {
            self.blame(&format!("the session ended as {end:?}"));
        }
        let told = matches!(end, SessionEnd::Closed | SessionEnd::Drained);
        if !told || !complete {
            return;
        }
        let debts: Vec<_> = self
            .frames
            .iter()
            .filter(|(_, debt)| debt.least > 0 || debt.refusals.0 > 0)
            .map(|(id, _)| id.clone())
            .collect();
        if !debts.is_empty() || self.greetings > 0 || self.refusals > 0 {
            self.blame(&format!(
                "never answered: frames {debts:?}, {} hellos, {} events",
                self.greetings, self.refusals
            ));
        }
    }

    pub(crate) fn blame(&mut self, what: &str) {
        self.wrong.get_or_insert_with(|| what.to_owned());
    }
}

//! Whether what clients were told agrees: with each other, with what was acknowledged,
//! and with what the server says in the end. It knows nothing of the server's inside.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::{Job, JobState, LogEvent, Message};

use crate::asker::{Asked, What};
use crate::follower::END;

/// All that is known of one user.
pub(crate) struct Evidence {
    pub(crate) user: String,
    pub(crate) asked: Vec<Asked>,
    /// As GetJob has those that were acknowledged.
    pub(crate) got: HashMap<String, Job>,
    /// As ListJobs has them.
    pub(crate) listed: Vec<Job>,
    /// What each follower was told, by name.
    pub(crate) followers: Vec<(String, Vec<LogEvent>)>,
    /// The log from the oldest entry on, read when all was over.
    pub(crate) log: Vec<LogEvent>,
}

/// What it comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) jobs: Asks,
    pub(crate) messages: Asks,
    /// Of the jobs that were acknowledged.
    pub(crate) done: usize,
    pub(crate) error: usize,
    /// Of those with an error, with the server that had them.
    pub(crate) lost: usize,
    pub(crate) entries: usize,
}

/// Keys of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    pub(crate) acknowledged: usize,
    /// Times that a key was sent again.
    pub(crate) again: usize,
    /// Keys whose first answer was lost, and which were not taken twice.
    pub(crate) had_been_taken: usize,
    /// Without an answer, and there all the same.
    pub(crate) unanswered: usize,
}

impl Evidence {
    /// Adds up what there is, and what is wrong with it.
    pub(crate) fn judge(&self, sum: &mut Sum) -> Vec<String> {
        let mut wrong = Vec::new();
        whole("the log", &self.log, &mut wrong);
        for (name, told) in &self.followers {
            whole(name, told, &mut wrong);
            if let Some(first) = first_difference(told, &self.log) {
                wrong.push(format!("{name} {first}"));
            }
        }
        sum.entries += self.log.len();
        let history = self.jobs(&mut wrong);
        let messages = self.messages(&mut wrong);
        for asked in &self.asked {
            let asks = match asked.what {
                What::Frame => &mut sum.jobs,
                What::Message => &mut sum.messages,
            };
            asks.again += asked.again;
            asks.had_been_taken += usize::from(asked.had_been_taken);
            let there = match asked.what {
                What::Frame => history.contains_key(&*asked.key),
                What::Message => messages.contains_key(&*asked.key),
            };
            let Some(acknowledged) = &asked.acknowledged else {
                asks.unanswered += usize::from(there);
                continue;
            };
            asks.acknowledged += 1;
            let id = &*acknowledged.id;
            if asked.what == What::Message {
                let found = messages.get(&*asked.key);
                let expected = (id, acknowledged.cursor.as_deref().unwrap_or_default());
                if found != Some(&expected) {
                    wrong.push(format!("{asked:?} is {found:?} in the log"));
                }
                continue;
            }
            let logged = history.get(&*asked.key).copied();
            let got = self.got.get(id);
            let code = got.and_then(|job| Some(&*job.error.as_ref()?.code));
            sum.lost += usize::from(code == Some("INTERNAL"));
            match got.map(Job::state) {
                Some(JobState::Done) => sum.done += 1,
                Some(JobState::Error) => sum.error += 1,
                _ => wrong.push(format!("{asked:?} has not ended: {got:?}")),
            }
            if got != logged {
                wrong.push(format!("{asked:?} is {got:?}, and in the log {logged:?}"));
            }
        }
        wrong
            .into_iter()
            .map(|what| format!("{}: {what}", self.user))
            .collect()
    }

    /// The last entry of each job, by its key.
    fn jobs(&self, wrong: &mut Vec<String>) -> HashMap<&str, &Job> {
        let mut states: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
        for event in &self.log {
            if let Some(LogWhat::Job(job)) = &event.event {
                states.entry(&job.job_id).or_default().push(job);
            }
        }
        let mut last = HashMap::new();
        for (id, jobs) in &states {
            let order: Vec<_> = jobs.iter().map(|job| job.state()).collect();
            let begins = order.first() == Some(&JobState::Pending);
            let ends = order.last().is_some_and(|state| is_terminal(*state));
            let moves_down = order.windows(2).all(|two| {
                let streams = (JobState::Pending, JobState::Streaming);
                (two[0], two[1]) == streams || (!is_terminal(two[0]) && is_terminal(two[1]))
            });
            let end = jobs[jobs.len() - 1];
            if !(begins && ends && moves_down) {
                wrong.push(format!("job {id} ({}) went {order:?}", end.frame_id));
            }
            if let Some(other) = last.insert(&*end.frame_id, end) {
                let key = &end.frame_id;
                wrong.push(format!("{key} became the jobs {} and {id}", other.job_id));
            }
        }
        let mut listed = BTreeSet::new();
        for job in &self.listed {
            if !listed.insert(&*job.job_id) {
                wrong.push(format!("listed twice: {job:?}"));
            }
            if !is_terminal(job.state()) {
                wrong.push(format!("has not ended: {job:?}"));
            }
        }
        for id in listed.symmetric_difference(&states.keys().copied().collect()) {
            wrong.push(format!("job {id} is in the list or in the log alone"));
        }
        last
    }

    /// Id and cursor of each message, by its key.
    fn messages(&self, wrong: &mut Vec<String>) -> HashMap<&str, (&str, &str)> {
        let mut found = HashMap::new();
        for event in &self.log {
            if let Some(LogWhat::Message(message)) = &event.event {
                let Message {
                    title, message_id, ..
                } = message;
                if title == END {
                    continue;
                }
                let place = (&**message_id, &*event.cursor);
                if found.insert(&**title, place).is_some() {
                    wrong.push(format!("{title} is there twice"));
                }
            }
        }
        found
    }
}

fn is_terminal(state: JobState) -> bool {
    matches!(state, JobState::Done | JobState::Error)
}

/// From the first entry on each once, in order, of one log, and never a gap.
fn whole(name: &str, told: &[LogEvent], wrong: &mut Vec<String>) {
    let mut epoch = None;
    let mut last = 0;
    for event in told {
        if matches!(event.event, Some(LogWhat::Gap(_)) | None) {
            wrong.push(format!("{name} was told of {event:?} after {last}"));
            continue;
        }
        let (of, offset) = event.cursor.split_once(':').unwrap_or_default();
        let offset: u64 = offset.parse().unwrap_or_default();
        if offset != last + 1 || *epoch.get_or_insert(of) != of {
            wrong.push(format!("{name} was told {} after {last}", event.cursor));
        }
        last = offset;
    }
}

/// Where a follower's log is not the log.
fn first_difference(told: &[LogEvent], log: &[LogEvent]) -> Option<String> {
    if told.len() != log.len() {
        return Some(format!("was told {} of {} entries", told.len(), log.len()));
    }
    let (told, kept) = told.iter().zip(log).find(|(told, kept)| told != kept)?;
    Some(format!("was told {told:?} where {kept:?} is kept"))
}

mod tests {
    use super::*;
    use crate::asker::Acknowledged;

    /// One user with a frame and a message, and a follower who was told all.
    fn sound() -> Evidence {
        let job = |state: JobState| {
            LogWhat::Job(Job {
                job_id: "j".to_owned(),
                frame_id: "frame".to_owned(),
                state: state.into(),
                ..Job::default()
            })
        };
        let message = LogWhat::Message(Message {
            message_id: "m".to_owned(),
            title: "message".to_owned(),
            ..Message::default()
        });
        let log = log([
            job(JobState::Pending),
            job(JobState::Streaming),
            message,
            job(JobState::Done),
        ]);
        let Some(LogWhat::Job(done)) = log[3].event.clone() else {
            panic!()
        };
        let asked = |what, key: &str, id: &str, cursor: Option<&str>| Asked {
            what,
            key: key.to_owned(),
            acknowledged: Some(Acknowledged {
                id: id.to_owned(),
                cursor: cursor.map(str::to_owned),
            }),
            again: 1,
            had_been_taken: false,
        };
        Evidence {
            user: "ada".to_owned(),
            asked: vec![
                asked(What::Frame, "frame", "j", None),
                asked(What::Message, "message", "m", Some("e:3")),
            ],
            got: HashMap::from([("j".to_owned(), done.clone())]),
            listed: vec![done],
            followers: vec![("a follower".to_owned(), log.clone())],
            log,
        }
    }

    fn log(events: impl IntoIterator<Item = LogWhat>) -> Vec<LogEvent> {
        let numbered = (1..).zip(events);
        numbered
            .map(|(offset, event)| LogEvent {
                cursor: format!("e:{offset}"),
                at: None,
                event: Some(event),
            })
            .collect()
    }

    /// The log after a change, as everybody was told it.
    fn changed(change: impl FnOnce(&mut Vec<LogWhat>)) -> Evidence {
        let mut evidence = sound();
        let events = evidence.log.into_iter();
        let mut events = events.map(|event| event.event.unwrap()).collect();
        change(&mut events);
        evidence.log = log(events);
        evidence.followers[0].1.clone_from(&evidence.log);
        evidence
    }

    #[track_caller]
    fn finds(evidence: &Evidence, told: &str) {
        let wrong = evidence.judge(&mut Sum::default());
        assert!(wrong.iter().any(|what| what.contains(told)), "{wrong:?}");
    }

    #[test]
    fn the_judge_finds_nothing_wrong_where_nothing_is() {
        let mut sum = Sum::default();
        assert_eq!(sound().judge(&mut sum), Vec::<String>::new());
        assert_eq!((sum.done, sum.error, sum.entries), (1, 0, 4));
        assert_eq!((sum.jobs.acknowledged, sum.messages.acknowledged), (1, 1));
    }

    #[test]
    fn the_judge_finds_what_a_follower_was_not_told_or_twice_or_otherwise() {
        let follower = |change: fn(&mut Vec<LogEvent>)| {
            let mut evidence = sound();
            change(&mut evidence.followers[0].1);
            evidence
        };
        let hole = follower(|told| drop(told.remove(1)));
        finds(&hole, "a follower was told e:3 after 1");
        let double = follower(|told| told.insert(1, told[0].clone()));
        finds(&double, "a follower was told e:1 after 1");
        let short = follower(|told| told.truncate(2));
        finds(&short, "a follower was told 2 of 4 entries");
        let other = follower(|told| told[1].event = told[0].event.clone());
        finds(&other, "a follower was told LogEvent");
        let gap = follower(|told| told[1].event = Some(LogWhat::Gap(Default::default())));
        finds(&gap, "a follower was told of LogEvent");
        let epoch = follower(|told| told[1].cursor = "f:2".to_owned());
        finds(&epoch, "a follower was told f:2 after 1");
    }

    #[test]
    fn the_judge_finds_a_message_that_is_lost_or_there_twice() {
        finds(&changed(|log| drop(log.remove(2))), "is None in the log");
        let twice = changed(|log| log.insert(3, log[2].clone()));
        finds(&twice, "message is there twice");
        let moved = changed(|log| log.swap(1, 2));
        finds(&moved, "\"e:2\")) in the log");
    }

    #[test]
    fn the_judge_finds_a_job_that_has_not_ended_or_ended_twice_or_is_two() {
        let open = changed(|log| drop(log.pop()));
        finds(&open, "job j (frame) went [Pending, Streaming]");
        let twice = changed(|log| log.push(log[3].clone()));
        finds(&twice, "went [Pending, Streaming, Done, Done]");
        let backwards = changed(|log| log.swap(0, 1));
        finds(&backwards, "went [Streaming, Pending, Done]");
        let two = changed(|log| {
            for nth in [0, 3] {
                if let LogWhat::Job(job) = log[nth].clone() {
                    let job_id = "k".to_owned();
                    log.push(LogWhat::Job(Job { job_id, ..job }));
                }
            }
        });
        finds(&two, "frame became the jobs j and k");
        finds(&two, "job k is in the list or in the log alone");
        let mut asked = sound();
        asked.got.clear();
        finds(&asked, "has not ended: None");
        let mut listed = sound();
        listed.listed[0].state = JobState::Streaming.into();
        finds(&listed, "has not ended: Job");
    }
}

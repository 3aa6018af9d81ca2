//! Who submits frames, or sends messages: each under a key of its own, which is sent
//! again after any failure until it is acknowledged.

use std::time::Duration;

use proactive::transport::proto::FireRequest;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::support::PATIENCE;
use crate::support::outside::{Caller, submission};

/// Between two keys, at most.
const PAUSE: Duration = Duration::from_millis(150);
/// Between two tries with one, at most.
const RETRY: Duration = Duration::from_millis(40);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Frame,
    Message,
}

/// One key, and what became of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: What,
    pub(crate) key: String,
    /// `None`: whoever asked went away without an answer.
    pub(crate) acknowledged: Option<Acknowledged>,
    /// How often it was sent again, without an answer until then or just so.
    pub(crate) again: usize,
    /// It had been taken before without a word.
    pub(crate) had_been_taken: bool,
}

/// What the server said of it first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Of the job, or the message.
    pub(crate) id: String,
    /// Of a message: where it stands in its user's log.
    pub(crate) cursor: Option<String>,
}

/// Somebody with a client of his own.
pub(crate) struct Asker {
    name: String,
    what: What,
    user: String,
    caller: Caller,
    dice: SmallRng,
    asked: Vec<Asked>,
    wrong: Vec<String>,
}

impl Asker {
    pub(crate) fn new(name: String, what: What, user: &str, caller: Caller, seed: u64) -> Self {
        Self {
            name,
            what,
            user: user.to_owned(),
            caller,
            dice: SmallRng::seed_from_u64(seed),
            asked: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Asks until it is over, and for the last key's answer beyond that: what was
    /// asked, and what is wrong already.
    pub(crate) async fn asks(mut self, over: CancellationToken) -> (Vec<Asked>, Vec<String>) {
        while !over.is_cancelled() {
            let key = format!("{}-{}", self.name, self.asked.len());
            let asked = self.see_through(key).await;
            self.asked.push(asked);
            if self.dice.random_bool(0.1) {
                self.repeat().await;
            }
            self.rest(PAUSE).await;
        }
        (self.asked, self.wrong)
    }

    async fn see_through(&mut self, key: String) -> Asked {
        let goes_away = self.dice.random_bool(0.1);
        let mut again = 0;
        let (acknowledged, repeated) = loop {
            match self.ask(&key).await {
                Some((acknowledged, repeated)) => break (Some(acknowledged), repeated),
                None if goes_away => break (None, false),
                None => again += 1,
            }
            self.rest(RETRY).await;
        };
        if repeated && again == 0 {
            self.wrong.push(format!("{key} is new, and was repeated"));
        }
        Asked {
            what: self.what,
            key,
            acknowledged,
            again,
            had_been_taken: repeated,
        }
    }

    /// Sends a key again that has been acknowledged lately.
    async fn repeat(&mut self) {
        let back = self.dice.random_range(1..=50).min(self.asked.len());
        let nth = self.asked.len() - back;
        let key = self.asked[nth].key.clone();
        if self.asked[nth].acknowledged.is_none() {
            return;
        }
        let Some((told, repeated)) = self.ask(&key).await else {
            return;
        };
        let asked = &mut self.asked[nth];
        asked.again += 1;
        if !repeated || asked.acknowledged.as_ref() != Some(&told) {
            let what = format!("sent again it is {told:?} (repeated: {repeated}): {asked:?}");
            self.wrong.push(what);
        }
    }

    /// Once; `None` if that has failed in a way that another try may mend.
    async fn ask(&mut self, key: &str) -> Option<(Acknowledged, bool)> {
        let asked = async {
            match self.what {
                What::Frame => self.submit(key).await,
                What::Message => self.fire(key).await,
            }
        };
        let told = match timeout(PATIENCE, asked).await {
            Ok(told) => told,
            Err(_) => {
                self.wrong.push(format!("{key} got no answer for long"));
                return None;
            }
        };
        match told {
            Ok(told) => Some(told),
            Err(status) => {
                if is_settled(&status) {
                    self.wrong.push(format!("{key} was refused: {status}"));
                }
                None
            }
        }
    }

    async fn submit(&self, key: &str) -> Result<(Acknowledged, bool), Status> {
        let told = self.caller.submit(submission(key, "", key)).await?;
        let id = told.job.unwrap().job_id;
        Ok((Acknowledged { id, cursor: None }, told.repeated))
    }

    async fn fire(&self, key: &str) -> Result<(Acknowledged, bool), Status> {
        let told = self.caller.fire(message(&self.user, key)).await?;
        let (id, cursor) = (told.message_id, Some(told.cursor));
        Ok((Acknowledged { id, cursor }, told.repeated))
    }

    async fn rest(&mut self, most: Duration) {
        sleep(most.mul_f64(self.dice.random_range(0.0..1.0))).await;
    }
}

/// A message to this user whose title is its key.
pub(crate) fn message(user: &str, key: &str) -> FireRequest {
    FireRequest {
        uid: user.to_owned(),
        kind: "experiment".to_owned(),
        title: key.to_owned(),
        idempotency_key: key.to_owned(),
        ..FireRequest::default()
    }
}

/// Whether another try is refused as well, which no death explains.
pub(crate) fn is_settled(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated
    )
}

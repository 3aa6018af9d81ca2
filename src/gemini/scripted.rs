//! A model without a network, for tests of everything above it: a function
//! answers each question.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::{Ask, Error, Model, Spent, Turn};

/// What a scripted model is shown of a question.
#[derive(Clone, Debug)]
pub struct View {
    /// The conversation as Google would get it, without its settings.
    pub text: String,
    /// How many turns were answered before.
    pub turns: usize,
    /// The functions allowed, or `None` for all.
    pub allowed: Option<Vec<String>>,
    /// When nobody waits any longer.
    pub deadline: Instant,
}

type Answers = dyn Fn(View) -> BoxFuture<'static, Result<Turn, Error>> + Send + Sync;

/// A model whose answers come from a function. It keeps deadlines as the real
/// one does, and charges 1,000 prompt tokens and 10 output tokens a call.
pub struct Scripted {
    answers: Box<Answers>,
    fallback: Option<Box<Scripted>>,
    name: &'static str,
}

impl Scripted {
    /// Asks `answers` each time.
    pub fn new<A>(answers: impl Fn(View) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Turn, Error>> + Send + 'static,
    {
        Self {
            answers: Box::new(move |view| answers(view).boxed()),
            fallback: None,
            name: "scripted",
        }
    }

    /// The same, with this one to begin anew with, called "fallback".
    #[must_use]
    pub fn with_fallback(mut self, mut fallback: Self) -> Self {
        fallback.name = "fallback";
        self.fallback = Some(Box::new(fallback));
        self
    }
}

impl Model for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn fallback(&self) -> Option<&dyn Model> {
        self.fallback.as_deref().map(|model| model as &dyn Model)
    }

    fn generate<'a>(
        &'a self,
        ask: Ask<'a>,
        spent: &'a mut Spent,
    ) -> BoxFuture<'a, Result<Turn, Error>> {
        let view = View {
            text: ask.conversation.text(),
            turns: ask.conversation.turns(),
            allowed: ask
                .allowed
                .map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            deadline: ask.deadline,
        };
        async move {
            let started = Instant::now();
            spent.calls += 1;
            let answer = timeout_at(ask.deadline, (self.answers)(view)).await;
            spent.time += started.elapsed();
            spent.usage.prompt += 1_000;
            spent.usage.output += 10;
            let answer = answer.unwrap_or(Err(Error::Timeout));
            if answer.is_ok() {
                spent.model_answered = format!("{}-1", self.name);
            }
            answer
        }
        .boxed()
    }
}

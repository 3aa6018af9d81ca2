//! Google's `generateContent` over HTTP: pooled connections, retries with
//! backoff inside the caller's deadline, every call counted.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Url};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Span;

use super::circuit::{Circuit, Passage, Verdict};
use super::fair::{Gate, Place};
use super::tokens::{Pass, Tokens};
use super::wire::Reading;
use super::{Access, Ask, Chunks, Error, Model, Options, Pool, Spent, Turn, google_error, wire};
use crate::domain::causes;
use crate::telemetry::{Metrics, ModelCode, model_answered, span_failed};
use crate::world::World;

/// An answer is a few kilobytes; more than this is not one.
const MAX_ANSWER: usize = 4 << 20;
/// Pauses between tries: 1 s doubling to 8 s, and as much again by chance.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

const SERVER_TIMEOUT: HeaderName = HeaderName::from_static("x-server-timeout");

/// A model behind Google's HTTP API.
pub struct Client {
    line: Arc<Line>,
    model: Arc<str>,
    url: Url,
    circuit: Circuit,
    fallback: Option<Box<Client>>,
}

/// What all models of a server are asked through.
struct Line {
    pool: Pool,
    headers: HeaderMap,
    /// On Vertex AI.
    tokens: Option<Tokens>,
    gate: Gate,
    /// As JSON.
    generation: String,
    options: Options,
    world: World,
    metrics: Metrics,
}

impl Client {
    /// A client on the given connections, and another one for the fallback, if there
    /// is one. A key must be printable ASCII, which the configuration has checked;
    /// otherwise every call is refused. For Vertex AI an access token is fetched at
    /// once.
    ///
    /// # Panics
    /// If base URL, version and model make no URL; the configuration has checked
    /// that as well. And outside of a tokio runtime, for Vertex AI.
    pub fn new(options: Options, pool: Pool, world: World, metrics: Metrics) -> Self {
        let mut generation = json!({
            "maxOutputTokens": options.max_output_tokens,
            "mediaResolution": options.media_resolution.wire(),
        });
        if let Some(level) = options.thinking {
            generation["thinkingConfig"] = json!({ "thinkingLevel": level.wire() });
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let tokens = match &options.access {
            Access::Key(key) => {
                if let Ok(mut key) = HeaderValue::from_str(key.expose_secret()) {
                    key.set_sensitive(true);
                    headers.insert("x-goog-api-key", key);
                }
                None
            }
            Access::Vertex(vertex) => Some(Tokens::new(vertex.credentials.clone())),
        };
        for warning in options.warnings() {
            tracing::warn!("{warning}");
        }
        let places = options.calls_at_once as usize;
        let line = Arc::new(Line {
            pool,
            headers,
            tokens,
            gate: Gate::new(places, world.clone(), metrics.clone()),
            generation: generation.to_string(),
            options,
            world,
            metrics,
        });
        let mut client = Self::on(line.clone(), &line.options.model);
        let fallback = line.options.fallback.as_deref();
        client.fallback = fallback.map(|model| Box::new(Self::on(line.clone(), model)));
        client
    }

    fn on(line: Arc<Line>, model: &str) -> Self {
        let (options, name) = (&line.options, Arc::from(model));
        let (world, metrics) = (line.world.clone(), line.metrics.clone());
        Self {
            url: Url::parse(&options.url_of(model))
                .expect("the configuration has checked its parts"),
            circuit: Circuit::new(Arc::clone(&name), options.circuit, world, metrics),
            model: name,
            fallback: None,
            line,
        }
    }

    async fn ask(&self, ask: Ask<'_>, spent: &mut Spent) -> Result<Turn, Error> {
        let settings = self.settings(ask.allowed);
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times()
            .build();
        let mut retries = 0;
        let mut token_renewed = false;
        loop {
            let (turn, pass) = self.attempt(ask, &settings, spent).await;
            let Err(error) = turn else {
                return turn;
            };
            if error == (Error::Rejected { status: 401 })
                && !token_renewed
                && let (Some(tokens), Some(pass)) = (&self.line.tokens, pass)
                && tokens.refused(&pass)
            {
                token_renewed = true;
                continue;
            }
            if error.is_outage() {
                // Perhaps it was the one too many.
                self.circuit.check()?;
            }
            let pause = pauses
                .next()
                .unwrap_or(LONGEST_PAUSE)
                .max(error.retry_after().unwrap_or_default());
            // The wait asked for may be longer than an Instant can hold.
            let left = ask.deadline.saturating_duration_since(Instant::now());
            if retries >= error.worth_retries() || pause >= left {
                return Err(error);
            }
            retries += 1;
            tracing::info!(%error, retries, pause_ms = pause.as_millis() as u64, "asking the model again");
            sleep(pause).await;
        }
    }

    /// One try, and what opened it: once there is a place for it, and if the model
    /// is asked at all.
    async fn attempt(
        &self,
        ask: Ask<'_>,
        settings: &str,
        spent: &mut Spent,
    ) -> (Result<Turn, Error>, Option<Pass>) {
        let (_place, mut passage) = match self.admission(ask).await {
            Ok(admission) => admission,
            Err(error) => return (Err(error), None),
        };
        let now = Instant::now();
        let deadline = ask.deadline.min(now + self.line.options.call_timeout);
        let (turn, pass) = self.try_once(ask, settings, deadline, spent).await;
        let little = deadline.saturating_duration_since(now) < self.line.options.call_timeout / 2;
        passage.verdict = Verdict::of(turn.as_ref().err(), little);
        (turn, pass)
    }

    /// A place among the calls, and the way through the model's circuit.
    async fn admission<'a>(&'a self, ask: Ask<'a>) -> Result<(Place<'a>, Passage<'a>), Error> {
        // Told before it waits for a place, and again after.
        self.circuit.check()?;
        let place = self.line.gate.enter(ask.user, ask.deadline).await?;
        Ok((place, self.circuit.admit()?))
    }

    /// The token and the call that it opens share one deadline.
    async fn try_once(
        &self,
        ask: Ask<'_>,
        settings: &str,
        deadline: Instant,
        spent: &mut Spent,
    ) -> (Result<Turn, Error>, Option<Pass>) {
        let pass = match self.pass(deadline).await {
            Ok(pass) => pass,
            Err(error) => return (Err(error), None),
        };
        // Made anew for each try, so that nothing of it is held while the model
        // thinks.
        let body = ask.conversation.body(settings);
        let turn = self.call(body, pass.as_ref(), deadline, spent).await;
        (turn, pass)
    }

    /// What opens a call on Vertex AI; nothing, where a key does.
    async fn pass(&self, deadline: Instant) -> Result<Option<Pass>, Error> {
        let Some(tokens) = &self.line.tokens else {
            return Ok(None);
        };
        let begun = Instant::now();
        let pass = tokens.pass(deadline).await;
        pass.map(Some).inspect_err(|_| {
            let waited = begun.elapsed();
            self.line
                .metrics
                .model_call(&self.model, ModelCode::NoToken, waited);
        })
    }

    /// One HTTP call.
    async fn call(
        &self,
        body: Chunks,
        pass: Option<&Pass>,
        deadline: Instant,
        spent: &mut Spent,
    ) -> Result<Turn, Error> {
        let mut call = CallRecord::new(&self.line.metrics, &self.model);
        spent.calls += 1;
        let left = deadline.saturating_duration_since(call.started);
        let answer = self.post(body, pass, left);
        let (status, retry_after, body) = match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                call.code = ModelCode::Connection;
                tracing::warn!(
                    host = self.url.host_str(),
                    cause = causes(&error.without_url()),
                    "the model could not be reached"
                );
                return Err(Error::Connection);
            }
            Err(_) => {
                call.code = ModelCode::Timeout;
                return Err(Error::Timeout);
            }
        };
        if status != 200 {
            call.code = ModelCode::Status(status);
            let reason = google_error::reason(&body);
            let error = google_error::classify(status, &body, retry_after.as_deref());
            match error {
                // Until somebody mends key, model or settings.
                Error::Rejected { .. } => {
                    tracing::error!(status, reason, "the model's server refused a call");
                }
                _ => tracing::warn!(status, reason, "the model's server refused a call"),
            }
            return Err(error);
        }
        let Reading {
            usage,
            model_version,
            verdict,
        } = wire::read(&body);
        call.code = if verdict.is_ok() {
            ModelCode::Status(200)
        } else {
            ModelCode::Unusable
        };
        let price = self.line.options.prices.of(&model_version, &self.model);
        let cost = price.map_or(0.0, |price| price.micro_usd(usage));
        self.line.metrics.model_billed(&self.model, usage, cost);
        model_answered(&self.model, &model_version, usage);
        spent.usage += usage;
        spent.cost_micro_usd += cost;
        spent.model_answered = model_version;
        verdict
    }

    async fn post(
        &self,
        body: Chunks,
        pass: Option<&Pass>,
        left: Duration,
    ) -> Result<(u16, Option<String>, Vec<u8>), reqwest::Error> {
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.line.headers.clone();
        if let Some(pass) = pass {
            request.headers_mut().extend(pass.headers.clone());
        }
        // So that Google's server stops work we have given up.
        request.headers_mut().insert(SERVER_TIMEOUT, seconds.into());
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let lease = self.line.pool.lease();
        let mut response = lease.http().execute(request).await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await? {
            answer.extend_from_slice(&piece);
            if answer.len() > MAX_ANSWER {
                // Cut JSON is told as a malformed answer.
                break;
            }
        }
        Ok((status, retry_after, answer))
    }

    /// Mode ANY: the model must call a function.
    fn settings(&self, allowed: Option<&[&str]>) -> String {
        let names = allowed.map_or_else(String::new, |names| {
            format!(r#","allowedFunctionNames":{}"#, json!(names))
        });
        format!(
            r#""toolConfig":{{"functionCallingConfig":{{"mode":"ANY"{names}}}}},"generationConfig":{}"#,
            self.line.generation
        )
    }
}

impl Model for Client {
    fn name(&self) -> &str {
        &self.model
    }

    fn fallback(&self) -> Option<&dyn Model> {
        self.fallback.as_deref().map(|model| model as &dyn Model)
    }

    fn generate<'a>(
        &'a self,
        ask: Ask<'a>,
        spent: &'a mut Spent,
    ) -> BoxFuture<'a, Result<Turn, Error>> {
        async move {
            let started = Instant::now();
            let turn = self.ask(ask, spent).await;
            spent.time += started.elapsed();
            if let Err(error) = &turn {
                if let Error::Outage { .. } = error {
                    self.line.metrics.model_call_refused(&self.model);
                }
                span_failed(&Span::current(), &error.to_string());
            }
            turn
        }
        .boxed()
    }
}

/// Counts a call when it ends, also when its frame is dropped in the middle.
struct CallRecord<'a> {
    metrics: &'a Metrics,
    model: &'a Arc<str>,
    started: Instant,
    code: ModelCode,
}

impl<'a> CallRecord<'a> {
    fn new(metrics: &'a Metrics, model: &'a Arc<str>) -> Self {
        let (started, code) = (Instant::now(), ModelCode::Cancelled);
        Self {
            metrics,
            model,
            started,
            code,
        }
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        self.metrics
            .model_call(self.model, self.code, self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_doubtful_is_told_at_the_start() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        let pool = Pool::new(|| reqwest::Client::builder().build()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            Client::new(Options::of("gpt-4"), pool, World::real(), Metrics::new())
        });
        let said = std::fs::read_to_string(log.path()).unwrap();
        for warning in Options::of("gpt-4").warnings() {
            assert_eq!(said.matches(&warning).count(), 1, "{said}");
        }
    }
}

//! What a desktop says of itself and of its tasks, in the wire's words.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{AsciiMetadataValue, MetadataValue};

use super::About;
use crate::desk::{Error, Store};
use crate::transport::proto::{
    ClientEvent, ClientHello, Resume, Runtime, SessionContext, SessionReady, ToolSupport,
    client_event,
};
use crate::world::World;

/// The highest version of the contract that this desktop speaks.
const PROTOCOL: &str = "1.1";
/// This desktop says something at least this often: balancers cut streams that are
/// silent upstream. It is promised to servers that let it come back.
pub(super) const MOST_HEARTBEAT: Duration = Duration::from_secs(20);
/// No server is believed to be silent for longer on purpose.
const RAREST_HEARTBEAT: Duration = Duration::from_secs(600);

/// A time as the contract says it; less than none is none.
pub(crate) fn millis(said: i64) -> Duration {
    Duration::from_millis(u64::try_from(said).unwrap_or_default())
}

/// A server of protocol 1.0 sends no heartbeats.
pub(super) fn heartbeat_of(ready: &SessionReady) -> Option<Duration> {
    let every = millis(ready.heartbeat_interval_ms);
    (!every.is_zero()).then(|| every.min(RAREST_HEARTBEAT))
}

/// What is said first: also what it would resume, which is nothing at first.
pub(super) fn hello(
    about: &About,
    version: &str,
    store: &Store,
    world: &World,
    resume: Resume,
) -> Result<ClientEvent, Error> {
    Ok(event(client_event::Event::ClientHello(ClientHello {
        protocol_version: PROTOCOL.to_owned(),
        client_instance_id: world.uuid(),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
        os_version: std::env::consts::OS.to_owned(),
        device_name: about.device.clone(),
        context_version: version.to_owned(),
        session_context: Some(context(store, about.tells_tasks)?),
        utc_offset_minutes: about.utc_offset_minutes,
        resume: Some(resume),
        heartbeat_interval_ms: MOST_HEARTBEAT.as_millis() as i64,
        follow: None,
        runtime: match about.web {
            true => Runtime::Web.into(),
            false => Runtime::Desktop.into(),
        },
        device_id: about.device_id.clone(),
        executes: (!about.web).then(|| ToolSupport {
            tools: about.executes.names(),
        }),
        tool_preferences: None,
        locale: locale(),
        time_zone: zone(),
    })))
}

/// The user's language, as POSIX has it in the environment: "de_DE.UTF-8" is "de-DE".
fn locale() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is the user's, not a setting of the desk"
    )]
    let said = ["LC_ALL", "LC_TIME", "LANG"].iter().find_map(|name| {
        let said = std::env::var(name).ok()?;
        (!said.is_empty()).then_some(said)
    });
    let said = said.unwrap_or_default();
    let language = said.split(['.', '@']).next().unwrap_or_default();
    match language {
        "C" | "POSIX" => String::new(),
        language => language.replace('_', "-"),
    }
}

/// The user's time zone by its IANA name, if this machine knows it.
fn zone() -> String {
    let zone = TimeZone::system();
    zone.iana_name().unwrap_or_default().to_owned()
}

/// The name of what the server is told beforehand.
pub(super) fn context_version(store: &mut Store, tells_tasks: bool) -> Result<String, Error> {
    if tells_tasks {
        Ok(store.version()?)
    } else {
        Ok("no-tasks".to_owned())
    }
}

/// What the server is told beforehand: an empty context is one, too.
pub(super) fn context(store: &Store, tells_tasks: bool) -> Result<SessionContext, Error> {
    if tells_tasks {
        Ok(store.context()?)
    } else {
        Ok(SessionContext::default())
    }
}

pub(super) fn event(event: client_event::Event) -> ClientEvent {
    ClientEvent { event: Some(event) }
}

pub(super) fn bearer(token: &SecretString) -> Result<AsciiMetadataValue, Error> {
    let header = format!("Bearer {}", token.expose_secret());
    let mut header = MetadataValue::try_from(header).map_err(|_| Error::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

pub(super) fn stamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

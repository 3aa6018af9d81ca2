//! What requests say outside of their bodies: of which host, who asks, and for which
//! job.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Version;
use http::header::HOST;
use http::request::Parts;

use crate::domain::{Principal, Uid};
use crate::transport::calls::{Fault, invalid};
use crate::transport::guard::bearer;
use crate::transport::problem::Problem;
use crate::transport::turns::Turn;
use crate::transport::websocket::Site;

/// RFC 9112, 3.2: HTTP/1.1 names one host. Whose pages may come in is judged by it.
pub(super) async fn of_one_host(request: Request, next: Next) -> Result<Response, Problem> {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(invalid("A request has one Host, no more and no less.").into());
    }
    Ok(next.run(request).await)
}

/// Who asks, by the token that the request brings. Stands before whatever else is read.
pub(super) struct User(pub(super) Principal);

impl FromRequestParts<Site> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        Ok(Self(site.door.guard.admit(bearer(&parts.headers)).await?))
    }
}

/// The same for a call: its turn goes with the answer.
pub(super) struct Call {
    pub(super) user: Uid,
    pub(super) turn: Extension<Turn>,
}

impl FromRequestParts<Site> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let User(Principal { uid: user, .. }) = User::from_request_parts(parts, site).await?;
        let turn = site.door.calls.turns.take(&user).map_err(Fault::from)?;
        let turn = Extension(turn);
        Ok(Self { user, turn })
    }
}

/// The job in the path. What is not even text, or nothing, is no job's id.
pub(super) struct WhichJob(pub(super) String);

impl FromRequestParts<Site> for WhichJob {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, site).await {
            Ok(Path(id)) if !id.is_empty() => Ok(Self(id)),
            _ => Err(Fault::NoSuchJob.into()),
        }
    }
}

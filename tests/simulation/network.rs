//! The cable between a client and the server: it takes its time, and breaks.

use std::time::Duration;

use proactive::session::{
    Caller, ClientMessage, Connection, Input, Lobby, OUTBOUND_QUEUE, ServerMessage,
};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A client's end of a stream. Dropping it leaves the stream without a word.
pub(crate) struct Cable {
    /// `None` once the client has closed its side.
    pub(crate) to_server: Option<mpsc::Sender<ClientMessage>>,
    pub(crate) from_server: mpsc::Receiver<Box<ServerMessage>>,
}

/// How a stream breaks.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// Both sides learn of it.
    Reset,
    /// Nothing goes through any more, and nobody is told.
    HalfOpen,
}

/// What happens to one stream.
struct Fate {
    at: Option<Instant>,
    how: Break,
    /// Of each message, either way.
    latency: u64,
    /// The client does not read for so long, once.
    stall: Option<(Instant, Duration)>,
}

impl Fate {
    fn draw(dice: &mut SmallRng) -> Self {
        let now = Instant::now();
        let mut within =
            |seconds: u64| Duration::from_millis(dice.random_range(0..seconds * 1_000));
        let (soon, late, stall_at, stall_for) = (within(5), within(60), within(40), within(14));
        let at = match dice.random_range(0..10) {
            0..2 => None,
            2..6 => Some(now + soon),
            _ => Some(now + late),
        };
        Self {
            at,
            how: match dice.random_bool(0.7) {
                true => Break::Reset,
                false => Break::HalfOpen,
            },
            latency: dice.random_range(0..300),
            stall: dice.random_bool(0.1).then_some((now + stall_at, stall_for)),
        }
    }
}

/// Opens a stream. `killed`: the server's machine is gone, and all its cables.
pub(crate) fn connect(
    lobby: &Lobby,
    caller: Caller,
    dice: &mut SmallRng,
    killed: CancellationToken,
    cables: &TaskTracker,
) -> Cable {
    let (to_session, inputs) = mpsc::channel(8);
    let (to_client, session_says) = mpsc::channel(OUTBOUND_QUEUE);
    let (ended, _) = oneshot::channel();
    lobby.open(Connection {
        caller,
        inputs: Box::pin(ReceiverStream::new(inputs)),
        to_client,
        opened: Instant::now(),
        ended,
    });
    let (to_server, client_says) = mpsc::channel(8);
    let (to_desk, from_server) = mpsc::channel(8);
    let fate = Fate::draw(dice);
    let wire = Wire {
        client_says,
        to_session,
        session_says,
        to_desk,
        latency: Duration::from_millis(fate.latency),
    };
    cables.spawn(wire.carry(fate, killed));
    Cable {
        to_server: Some(to_server),
        from_server,
    }
}

struct Wire {
    client_says: mpsc::Receiver<ClientMessage>,
    to_session: mpsc::Sender<Input>,
    session_says: mpsc::Receiver<Box<ServerMessage>>,
    to_desk: mpsc::Sender<Box<ServerMessage>>,
    latency: Duration,
}

impl Wire {
    async fn carry(self, fate: Fate, killed: CancellationToken) {
        let Self {
            mut client_says,
            to_session,
            mut session_says,
            to_desk,
            latency,
        } = self;
        // So that the session hears the end when the client closes its side.
        let session = to_session.downgrade();
        let desk = to_desk.clone();
        let up = async move {
            while let Some(message) = client_says.recv().await {
                sleep(latency).await;
                if to_session.send(Input::Message(message)).await.is_err() {
                    break;
                }
            }
            drop(to_session);
            // It has closed its side, and listens on; or it has just gone.
            desk.closed().await;
        };
        let down = async {
            while let Some(message) = session_says.recv().await {
                sleep(latency).await;
                if let Some((at, long)) = fate.stall
                    && at <= Instant::now()
                    && Instant::now() < at + long
                {
                    sleep_until(at + long).await;
                }
                if to_desk.send(message).await.is_err() {
                    return;
                }
            }
        };
        let broken = async {
            match fate.at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The server has ended the stream, or the client is gone.
            () = down => {}
            () = up => {}
            () = killed.cancelled() => {}
            () = broken => match fate.how {
                Break::Reset => {}
                Break::HalfOpen => {
                    // Each side finds out by itself.
                    let ignored = async {
                        if let Some(session) = session.upgrade() {
                            session.closed().await;
                        }
                    };
                    tokio::join!(ignored, to_desk.closed());
                    return;
                }
            },
        }
        drop((session_says, to_desk));
        // A session that is not listening finds out when it speaks.
        if let Some(session) = session.upgrade() {
            let _ = session.try_send(Input::Lost);
        }
    }
}

//! Says to a client what its session has for it, asks now and then whether it is
//! still there, and closes the stream with a code.

use std::io;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::Close;
use super::notes::{Ending, News, Notes};
use crate::session::{ServerMessage, StreamEnd};
use crate::transport::json;
use crate::transport::wire::outbound;

/// How long a client may take to hear the last words, and to hang up.
const LINGER: Duration = Duration::from_secs(3);
/// The longest header of a frame that is not masked.
const HEADER: usize = 10;

/// Runs until the stream is closed.
pub(super) async fn speak<W, R>(
    socket: W,
    messages: mpsc::Receiver<Box<ServerMessage>>,
    ended: oneshot::Receiver<StreamEnd>,
    notes: Notes<R>,
    ping_interval: Duration,
) where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let ended = ended.map(Result::ok).shared();
    let mut writer = Writer {
        socket,
        messages,
        notes,
        pings: pings(ping_interval),
    };
    let speaking = async {
        // Whoever does not hear any more needs no goodbye.
        let _: io::Result<()> = writer.run(ended.clone()).await;
    };
    let lingering = async {
        ended.clone().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = speaking => {}
        () = lingering => {}
    }
}

fn pings(interval: Duration) -> Interval {
    let mut pings = interval_at(Instant::now() + interval, interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

struct Writer<W, R> {
    socket: W,
    messages: mpsc::Receiver<Box<ServerMessage>>,
    notes: Notes<R>,
    pings: Interval,
}

impl<W, R> Writer<W, R>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    async fn run(&mut self, ended: impl Future<Output = Option<StreamEnd>>) -> io::Result<()> {
        self.say_all().await?;
        match self.notes.ending() {
            Some(Ending::Gone) => return Ok(()),
            Some(Ending::Theirs(code)) => self.close(code, "").await?,
            Some(Ending::Ours(close)) => self.close(Some(close.code()), close.reason()).await?,
            None => {
                let close = Close::of(ended.await);
                if close == Close::Crashed {
                    let crashed = json::text(outbound::crashed());
                    self.send(OpCode::Data(Data::Text), &crashed).await?;
                }
                self.close(Some(close.code()), close.reason()).await?;
            }
        }
        self.hang_up().await
    }

    /// Until the session has said its last, or the client listens no more.
    async fn say_all(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(message) => {
                        let text = json::text(outbound::event(*message));
                        self.send(OpCode::Data(Data::Text), &text).await?;
                    }
                    None => return Ok(()),
                },
                news = self.notes.news() => match news {
                    News::Pong(payload) => {
                        self.send(OpCode::Control(Control::Pong), &payload).await?;
                    }
                    News::Ending(Ending::Theirs(_) | Ending::Gone) => return Ok(()),
                    News::Ending(Ending::Ours(_)) => {
                        // What the session has to say about it is heard yet.
                        while let Some(message) = self.messages.recv().await {
                            let text = json::text(outbound::event(*message));
                            self.send(OpCode::Data(Data::Text), &text).await?;
                        }
                        return Ok(());
                    }
                },
                _ = self.pings.tick() => {
                    self.send(OpCode::Control(Control::Ping), &[]).await?;
                }
            }
        }
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let header = FrameHeader {
            is_final: true,
            opcode,
            ..FrameHeader::default()
        };
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        header
            .format(payload.len() as u64, &mut frame)
            .expect("memory can be written to");
        frame.extend_from_slice(payload);
        self.socket.write_all(&frame).await?;
        self.socket.flush().await
    }

    async fn close(&mut self, code: Option<u16>, reason: &str) -> io::Result<()> {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        self.send(OpCode::Control(Control::Close), &payload).await
    }

    /// Reads what is still on its way: a connection that is closed with bytes unread
    /// is reset, and the client might never see why.
    async fn hang_up(&mut self) -> io::Result<()> {
        self.socket.shutdown().await?;
        let mut socket = self.notes.socket().await;
        let mut unheard = vec![0; 4 << 10];
        while socket.read(&mut unheard).await? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinSet;

    use super::*;

    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// A writer's session, the notes of its reader, and its client.
    struct Stage {
        session: Option<mpsc::Sender<Box<ServerMessage>>>,
        ended: Option<oneshot::Sender<StreamEnd>>,
        notes: Notes<DuplexStream>,
        client: DuplexStream,
        /// The other way, which the client closes.
        hanging_up: DuplexStream,
        writing: JoinSet<()>,
    }

    impl Stage {
        fn new(ping_interval: Duration) -> Self {
            let (session, messages) = mpsc::channel(8);
            let (ended, end) = oneshot::channel();
            let (client, socket) = duplex(1 << 10);
            let (hanging_up, read_half) = duplex(1 << 10);
            let notes = Notes::new();
            notes.give_back(read_half);
            let mut writing = JoinSet::new();
            writing.spawn(speak(socket, messages, end, notes.clone(), ping_interval));
            Self {
                session: Some(session),
                ended: Some(ended),
                notes,
                client,
                hanging_up,
                writing,
            }
        }

        async fn says(&self) {
            let beat = ServerMessage::Heartbeat(Timestamp::UNIX_EPOCH);
            let session = self.session.as_ref().unwrap();
            session.send(Box::new(beat)).await.unwrap();
        }

        fn ends(&mut self, end: StreamEnd) {
            self.session = None;
            self.ended.take().unwrap().send(end).unwrap();
        }

        /// The next frame: its first byte and what it holds.
        async fn frame(&mut self) -> (u8, Vec<u8>) {
            let mut head = [0; 2];
            self.client.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; head[1].into()];
            self.client.read_exact(&mut payload).await.unwrap();
            (head[0], payload)
        }

        async fn closed(&mut self) -> u16 {
            let (first, payload) = self.frame().await;
            assert_eq!(first, 0x88, "{payload:?}");
            u16::from_be_bytes([payload[0], payload[1]])
        }
    }

    #[tokio::test]
    async fn b06_the_close_code_comes_behind_everything_that_was_said() {
        for (ending, code) in [(None, 4000), (Some(Ending::Ours(Close::Stalled)), 4004)] {
            let mut stage = Stage::new(NEVER);
            stage.says().await;
            stage.says().await;
            if let Some(ending) = ending {
                stage.notes.end(ending);
            }
            stage.ends(StreamEnd::Expired);
            for _ in 0..2 {
                let (first, text) = stage.frame().await;
                assert_eq!(first, 0x81);
                assert!(text.starts_with(br#"{"type":"server_heartbeat","sent_at":"1970-"#));
            }
            assert_eq!(stage.closed().await, code);
            drop(stage.hanging_up);
            stage.writing.join_all().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_answered_with_its_code_and_hears_no_more() {
        let mut stage = Stage::new(NEVER);
        stage.notes.end(Ending::Theirs(Some(1001)));
        assert_eq!(stage.closed().await, 1001);
        drop(stage.hanging_up);
        stage.writing.join_all().await;
        let gone = Stage::new(NEVER);
        gone.notes.end(Ending::Gone);
        gone.writing.join_all().await;
    }

    #[tokio::test]
    async fn a_session_that_crashed_is_told_as_internal_before_the_close() {
        let mut stage = Stage::new(NEVER);
        stage.session = None;
        stage.ended = None;
        let mut head = [0; 4];
        stage.client.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..2], [0x81, 126]);
        let mut text = vec![0; u16::from_be_bytes([head[2], head[3]]).into()];
        stage.client.read_exact(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("INTERNAL"), "{text}");
        assert_eq!(stage.closed().await, 1011);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_sent_and_answered_and_nobody_is_waited_for_long() {
        let mut stage = Stage::new(Duration::from_secs(30));
        let began = Instant::now();
        assert_eq!(stage.frame().await, (0x89, vec![]));
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        stage.notes.answer("x".into());
        assert_eq!(stage.frame().await, (0x8A, b"x".to_vec()));
        // It neither reads on nor hangs up.
        stage.ends(StreamEnd::Drained);
        stage.writing.join_all().await;
        assert_eq!(began.elapsed(), Duration::from_secs(30) + LINGER);
    }
}

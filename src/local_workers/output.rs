//! What a worker writes to its standard output and standard error, as lines of the log:
//! bounded, for neither a line nor their number has a limit there.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Characters of a line that are kept.
const LINE: usize = 1_000;
/// Enough bytes for them.
const LINE_BYTES: usize = LINE * 4;
const SECOND: Duration = Duration::from_secs(1);
/// Lines in a second, of both outputs together.
const LINES: usize = 100;
/// Lines of standard error that are kept to the end.
const LAST: usize = 10;
/// Bytes of one output that are read in a second. A worker that writes more waits, as it
/// would for a slow disk, and not the server for it.
const BYTES: usize = 1 << 20;
/// How long outputs are read after the worker has gone: what it said last is in them, but
/// something that it left behind may hold them open.
const REST: Duration = Duration::from_millis(500);

/// Writes them to the log until both are closed, or for a moment after `gone`. Gives back
/// the last lines of standard error, which say why a worker ended if anything does.
pub(super) async fn log(
    name: &str,
    out: impl AsyncRead + Unpin,
    err: impl AsyncRead + Unpin,
    gone: &CancellationToken,
) -> Vec<String> {
    let mut last = VecDeque::with_capacity(LAST);
    each(out, err, gone, |said| match said {
        Said::Out(line) => tracing::info!(worker.name = %name, "{line}"),
        Said::Err(line) => {
            tracing::warn!(worker.name = %name, "{line}");
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(line);
        }
        Said::LeftOut(lines) => tracing::warn!(
            worker.name = %name,
            lines,
            "a local worker says too much: lines were left out"
        ),
    })
    .await;
    last.into()
}

/// What is written to the log.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Out(String),
    Err(String),
    /// So many lines more.
    LeftOut(usize),
}

async fn each(
    out: impl AsyncRead + Unpin,
    err: impl AsyncRead + Unpin,
    gone: &CancellationToken,
    mut say: impl FnMut(Said),
) {
    let (mut out, mut err) = (Lines::new(out), Lines::new(err));
    let mut share = Share::new();
    let mut too_late = pin!(async {
        gone.cancelled().await;
        sleep(REST).await;
    });
    while out.open || err.open {
        let said = tokio::select! {
            line = out.next(), if out.open => line.map(Said::Out),
            line = err.next(), if err.open => line.map(Said::Err),
            () = sleep_until(share.until), if share.left_out > 0 => None,
            () = &mut too_late => break,
        };
        if let Some(left_out) = share.over() {
            say(Said::LeftOut(left_out));
        }
        if let Some(said) = said.filter(|_| share.take()) {
            say(said);
        }
    }
    if share.left_out > 0 {
        say(Said::LeftOut(share.left_out));
    }
}

/// The lines that may be written in this second.
struct Share {
    until: Instant,
    left: usize,
    left_out: usize,
}

impl Share {
    fn new() -> Self {
        Self {
            until: Instant::now() + SECOND,
            left: LINES,
            left_out: 0,
        }
    }

    /// Begins the next second, if it is time: then how many lines were left out in this
    /// one, if any.
    fn over(&mut self) -> Option<usize> {
        if Instant::now() < self.until {
            return None;
        }
        let left_out = self.left_out;
        *self = Self::new();
        Some(left_out).filter(|lines| *lines > 0)
    }

    /// Whether a line may be written; counts it if not.
    fn take(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.left_out += 1;
                return false;
            }
        }
        true
    }
}

/// One output, read line by line.
struct Lines<R> {
    reader: BufReader<R>,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    open: bool,
    until: Instant,
    read: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(output: R) -> Self {
        Self {
            reader: BufReader::new(output),
            line: Vec::new(),
            open: true,
            until: Instant::now() + SECOND,
            read: 0,
        }
    }

    /// The next line that says something; `None` if there are no more. May be dropped and
    /// called again.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.read >= BYTES {
                sleep_until(self.until).await;
            }
            if Instant::now() >= self.until {
                (self.until, self.read) = (Instant::now() + SECOND, 0);
            }
            match self.part().await {
                Ok(true) => {}
                // A pipe that fails has nothing more to say.
                Ok(false) | Err(_) => self.open = false,
            }
            let is_whole = !self.open || self.line.last() == Some(&b'\n');
            if is_whole {
                let line = shown(&self.line);
                self.line.clear();
                if !line.is_empty() {
                    return Some(line);
                }
            }
            if !self.open {
                return None;
            }
        }
    }

    /// Takes what is there of the line; `false` if there will be nothing more.
    async fn part(&mut self) -> io::Result<bool> {
        let there = self.reader.fill_buf().await?;
        if there.is_empty() {
            return Ok(false);
        }
        let end = there.iter().position(|byte| *byte == b'\n');
        let (part, taken) = match end {
            Some(end) => (&there[..end], end + 1),
            None => (there, there.len()),
        };
        // Of what is too long the rest is only read.
        let room = (LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        if end.is_some() {
            self.line.push(b'\n');
        }
        self.reader.consume(taken);
        self.read += taken;
        Ok(true)
    }
}

/// As it may stand in a log: one line of so many characters, none of which moves a
/// terminal's cursor.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(LINE).map(plain).collect();
    if text.chars().nth(LINE).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex, empty};
    use tokio::task::JoinSet;

    use super::*;

    /// What is said of these bytes.
    async fn said(out: &[u8], err: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        each(out, err, &CancellationToken::new(), |it| said.push(it)).await;
        said
    }

    #[tokio::test(start_paused = true)]
    async fn c09_each_line_is_told_with_where_it_came_from_the_last_without_an_end_as_well() {
        let told = said(b"one\r\n\n\ntwo\nthree", b"a\x1b[31m warning\xff\n").await;
        let of = |which: fn(&Said) -> Option<&String>| {
            let lines = told.iter().filter_map(which);
            lines.map(String::as_str).collect::<Vec<_>>()
        };
        let out = of(|said| match said {
            Said::Out(line) => Some(line),
            _ => None,
        });
        let err = of(|said| match said {
            Said::Err(line) => Some(line),
            _ => None,
        });
        assert_eq!(out, ["one", "two", "three"]);
        assert_eq!(err, ["a [31m warning\u{fffd}"]);
    }

    #[tokio::test(start_paused = true)]
    async fn c09_a_long_line_is_cut_and_never_held_whole() {
        let mut text = "é".repeat(LINE * 20).into_bytes();
        text.extend_from_slice(b"\nnext\n");
        let [Said::Out(cut), Said::Out(next)] = &said(&text, b"").await[..] else {
            panic!();
        };
        assert_eq!(cut.chars().count(), LINE + 1);
        assert!(cut.ends_with("é…"));
        assert_eq!(next, "next");
        let just = "x".repeat(LINE);
        assert_eq!(said(just.as_bytes(), b"").await, [Said::Out(just)]);
    }

    /// Lines that are told while a worker writes.
    fn told_of(
        out: DuplexStream,
        gone: &CancellationToken,
    ) -> (JoinSet<()>, Arc<Mutex<Vec<Said>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (mut reading, telling, gone) = (JoinSet::new(), told.clone(), gone.clone());
        reading.spawn(async move {
            each(out, empty(), &gone, |it| telling.lock().unwrap().push(it)).await;
        });
        (reading, told)
    }

    #[tokio::test(start_paused = true)]
    async fn c09_of_a_flood_a_hundred_lines_a_second_are_told_and_how_many_were_not() {
        let (mut write, read) = duplex(1 << 16);
        let (_reading, told) = told_of(read, &CancellationToken::new());
        write
            .write_all("flood\n".repeat(LINES + 50).as_bytes())
            .await
            .unwrap();
        sleep(SECOND * 2).await;
        write.write_all(b"calm\n").await.unwrap();
        sleep(SECOND).await;
        let told = told.lock().unwrap();
        assert_eq!(told.len(), LINES + 2);
        assert_eq!(told[LINES], Said::LeftOut(50));
        assert_eq!(told[LINES + 1], Said::Out("calm".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn c09_a_worker_that_writes_without_end_waits_and_is_not_read_faster() {
        let (mut write, read) = duplex(1 << 10);
        let (_reading, _) = told_of(read, &CancellationToken::new());
        let mut written = 0;
        let writing = async {
            loop {
                written += write.write(&[b'x'; 1 << 10]).await.unwrap();
            }
        };
        let began = Instant::now();
        let _ = tokio::time::timeout(SECOND * 4, writing).await;
        assert_eq!(began.elapsed(), SECOND * 4);
        assert!((3 * BYTES..6 * BYTES).contains(&written), "{written}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_output_that_something_holds_open_is_left_when_the_worker_is_gone() {
        let (mut write, read) = duplex(64);
        let gone = CancellationToken::new();
        let (mut reading, told) = told_of(read, &gone);
        gone.cancel();
        write.write_all(b"the last word\n").await.unwrap();
        let began = Instant::now();
        reading.join_next().await.unwrap().unwrap();
        assert_eq!(began.elapsed(), REST);
        assert_eq!(
            *told.lock().unwrap(),
            [Said::Out("the last word".to_owned())]
        );
    }
}

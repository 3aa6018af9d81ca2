//! What the desk prints, written by a thread of its own: whoever reads slowly, or not
//! at all, holds nothing else up.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Bytes that wait to be read; there is no room for more.
const MOST_WAITING: usize = 1024 * 1024;

/// Texts on their way out. The thread ends with them, or with the process if they are
/// never read.
pub(super) struct Output {
    texts: mpsc::UnboundedSender<String>,
    /// Bytes of them.
    waiting: Arc<AtomicUsize>,
    unread: CancellationToken,
    written: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    /// # Errors
    /// There can be no thread.
    pub(super) fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (texts, queue) = mpsc::unbounded_channel();
        let (tell, written) = oneshot::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let unread = CancellationToken::new();
        let (less, gone) = (waiting.clone(), unread.clone());
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let end = write(out, queue, &less).inspect_err(|_| gone.cancel());
                // Perhaps nobody waits for it any more.
                let _ = tell.send(end);
            })?;
        Ok(Self {
            texts,
            waiting,
            unread,
            written,
        })
    }

    /// Ends when nothing can be written any more.
    pub(super) fn unread(&self) -> CancellationToken {
        self.unread.clone()
    }

    /// Takes a text if there is room for it, and says whether.
    pub(super) fn offer(&self, text: String) -> bool {
        let room = self.waiting.load(Ordering::Relaxed) < MOST_WAITING;
        if room {
            self.add(text);
        }
        room
    }

    /// Takes a text in any case.
    pub(super) fn add(&self, text: String) {
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        // If the thread has ended, it has said why.
        let _ = self.texts.send(text);
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// The first error in writing anything at all, unless the reader simply left.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.texts);
        let end = self.written.await;
        match end.unwrap_or_else(|_| Err(io::Error::other("the writing thread failed"))) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            end => end,
        }
    }
}

fn write(
    mut out: impl Write,
    mut texts: mpsc::UnboundedReceiver<String>,
    waiting: &AtomicUsize,
) -> io::Result<()> {
    while let Some(text) = texts.blocking_recv() {
        out.write_all(text.as_bytes())?;
        out.flush()?;
        waiting.fetch_sub(text.len(), Ordering::Relaxed);
    }
    Ok(())
}

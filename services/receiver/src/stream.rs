use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connections::{Peer, Tap};

/// The largest head. A forge's has 1 to 2 KiB, and proxies add to it.
const LARGEST_HEAD: usize = 16 * 1024;
/// What is read of a body that is not wanted. Most are shorter than this, and then their client gets an orderly end.
const LARGEST_REST: usize = 64 * 1024;
/// How long one waits for that.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// What is read at once, before the HTTP server looks at it: it would take 128 KiB for each connection.
const LARGEST_GULP: usize = 32 * 1024;

/// A connection that gives the HTTP server no more than it may have: see [`Tap`].
pub(crate) struct Stream {
    inner: TcpStream,
    pub(crate) peer: Arc<Peer>,
    gulp: usize,
    seen_turns: u64,
    limit: Pin<Box<Sleep>>,
}

impl Stream {
    pub(crate) fn new(inner: TcpStream, peer: Arc<Peer>) -> Self {
        let limit = Box::pin(sleep_until(Instant::now() + peer.idle_limit()));
        Self { inner, seen_turns: peer.turns(), peer, gulp: 0, limit }
    }

    /// Says why in the only words that need no request, and ends. If the answer before it is still under way, the client
    /// does not read and misses nothing.
    fn refuse(&self, reason: &'static str, status: &str) -> Poll<io::Result<()>> {
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let _ = self.inner.try_write(answer.as_bytes());
        self.peer.count_hung_up(reason);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// How many bytes may be read now; None: as many as one likes.
    fn allowed(&self) -> Option<usize> {
        match self.peer.tap() {
            Tap::Head => Some(LARGEST_HEAD.saturating_sub(self.peer.bytes_read())),
            Tap::Shut => Some(0),
            Tap::Body => None,
            Tap::Rest => Some(LARGEST_REST.saturating_sub(self.peer.bytes_read())),
        }
    }

    fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let turns = self.peer.turns();
        if turns != self.seen_turns {
            self.seen_turns = turns;
            let wait = if self.peer.tap() == Tap::Rest { REST_LIMIT } else { self.peer.idle_limit() };
            self.limit.as_mut().reset(Instant::now() + wait);
        }
        match self.peer.tap() {
            Tap::Head | Tap::Rest => self.limit.as_mut().poll(context),
            Tap::Shut | Tap::Body => Poll::Pending,
        }
    }

    fn poll_inner(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>, most: usize) -> Poll<io::Result<()>> {
        let inner = Pin::new(&mut self.inner);
        let before = buffer.filled().len();
        if most >= buffer.remaining() {
            ready!(inner.poll_read(context, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(inner.poll_read(context, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        }
        let read = buffer.filled().len() - before;
        if self.peer.tap() == Tap::Head && self.peer.bytes_read() == 0 && read > 0 {
            // From the first byte on there is time for the head.
            let until = Instant::now() + self.peer.idle_limit();
            self.limit.as_mut().reset(until);
        }
        self.gulp += read;
        self.peer.add_read(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.peer.register(context.waker());
        if this.peer.is_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let (tap, most) = (this.peer.tap(), this.allowed().unwrap_or(LARGEST_GULP).min(LARGEST_GULP));
        if this.gulp > 0 && (most == 0 || this.gulp >= LARGEST_GULP) {
            this.gulp = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.poll_limit(context).is_ready() {
            return match tap {
                Tap::Head if this.peer.bytes_read() > 0 => this.refuse("slow_head", "408 Request Timeout"),
                Tap::Head => {
                    this.peer.count_hung_up("idle");
                    Poll::Ready(Ok(()))
                }
                _ => Poll::Ready(Ok(())),
            };
        }
        if most == 0 {
            return match tap {
                Tap::Head => this.refuse("large_head", "431 Request Header Fields Too Large"),
                _ => Poll::Pending,
            };
        }
        match this.poll_inner(context, buffer, most) {
            // A request that has come before the end is answered.
            Poll::Pending if tap == Tap::Head && this.peer.bytes_read() == 0 && this.peer.is_ending() => {
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                this.gulp = 0;
                this.peer.is_silent();
                Poll::Pending
            }
            ready => ready,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.peer.leave();
    }
}

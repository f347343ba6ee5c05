use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use crate::answer::Refusal;
use crate::budget::{Budget, Reserved, SMALL};
use crate::connections::Peer;

/// Reads bodies, within their limits of size, time and memory.
pub(crate) struct Bodies {
    pub(crate) budget: Budget,
    pub(crate) body_limit: usize,
    pub(crate) read_limit: Duration,
}

/// A body and the memory that was reserved for it.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) reserved: Reserved,
}

/// How often one looks whether a body comes fast enough.
const GLANCE: Duration = Duration::from_millis(250);

/// How fast a body has to come: as fast as is needed to be complete in time.
struct Pace {
    begun: Instant,
    limit: Duration,
    length: usize,
}

impl Pace {
    /// Whether so many bytes are enough by now. After a while, which is short if somebody else waits for the memory, a body
    /// that is behind is not waited for.
    fn holds(&self, read: usize, somebody_waits: bool) -> bool {
        let elapsed = self.begun.elapsed();
        let grace = if somebody_waits { GLANCE.min(self.limit) } else { self.limit / 5 };
        if elapsed >= self.limit {
            return false;
        }
        let passed = elapsed.saturating_sub(grace).as_secs_f64();
        let share = passed / (self.limit - grace).as_secs_f64().max(f64::EPSILON);
        #[expect(clippy::cast_precision_loss, reason = "some bytes do not matter")]
        let enough = read as f64 >= self.length as f64 * share;
        enough
    }
}

impl Bodies {
    /// Reads a body; `memory` tells how much so many bytes need. What is announced as too large is not read at all, what
    /// turns out to be is not read to its end.
    pub(crate) async fn read(
        &self,
        peer: &Peer,
        request: &HttpRequest,
        payload: &mut web::Payload,
        memory: impl Fn(usize) -> usize,
    ) -> Result<Body, Refusal> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let reserved = match announced {
            Some(length) if length > self.body_limit => return Err(Refusal::TooLarge(self.body_limit)),
            Some(length) if length > SMALL => self.budget.large(memory(length)).await?,
            Some(length) => self.budget.small(memory(length), peer).await?,
            None => self.budget.small(memory(SMALL), peer).await?,
        };
        peer.read_body();
        let pace = Pace { begun: Instant::now(), limit: self.read_limit, length: announced.unwrap_or_default() };
        let body = match announced {
            Some(length) => self.collect(payload, &pace, reserved, length).await?,
            None => self.collect_unannounced(peer, payload, &pace, reserved, memory).await?,
        };
        peer.is_complete();
        Ok(body)
    }

    async fn next(&self, payload: &mut web::Payload, pace: &Pace, read: usize) -> Result<Option<Bytes>, Refusal> {
        loop {
            let left = pace.limit.saturating_sub(pace.begun.elapsed());
            match timeout(GLANCE.min(left), payload.next()).await {
                Ok(Some(chunk)) => return chunk.map(Some).map_err(|_| Refusal::Broken),
                Ok(None) => return Ok(None),
                Err(_) if pace.holds(read, self.budget.is_wanted()) => {}
                Err(_) => return Err(Refusal::Slow),
            }
        }
    }

    async fn collect(
        &self,
        payload: &mut web::Payload,
        pace: &Pace,
        reserved: Reserved,
        length: usize,
    ) -> Result<Body, Refusal> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next(payload, pace, all.len()).await? {
            // Most webhooks come in one piece, which is then used as it is.
            if chunk.len() == length {
                return Ok(Body { bytes: chunk, reserved });
            }
            if all.is_empty() {
                all.reserve_exact(length);
            }
            all.extend_from_slice(&chunk);
            if !pace.holds(all.len(), self.budget.is_wanted()) {
                return Err(Refusal::Slow);
            }
        }
        Ok(Body { bytes: all.into(), reserved })
    }

    /// No forge sends a body without its length, but a proxy may. It counts as a small one until it is not, and then as one
    /// of the largest.
    async fn collect_unannounced(
        &self,
        peer: &Peer,
        payload: &mut web::Payload,
        pace: &Pace,
        mut reserved: Reserved,
        memory: impl Fn(usize) -> usize,
    ) -> Result<Body, Refusal> {
        let mut all = Vec::new();
        let mut is_small = true;
        while let Some(chunk) = self.next(payload, pace, all.len()).await? {
            let length = all.len() + chunk.len();
            if length > self.body_limit {
                return Err(Refusal::TooLarge(self.body_limit));
            }
            if is_small && length > SMALL {
                is_small = false;
                reserved = self.budget.large(memory(self.body_limit)).await?;
                peer.holds_no_more();
            }
            all.extend_from_slice(&chunk);
        }
        reserved.shrink(memory(all.len()));
        Ok(Body { bytes: all.into(), reserved })
    }
}

/// An answer to a request that was not read to its end. As long as somebody holds the rest, the server closes the
/// connection after the answer; otherwise it reads a body of unknown length to its end, if that ever comes.
pub(crate) fn closing(answer: HttpResponse, rest: web::Payload) -> HttpResponse {
    answer.map_body(|_, body| BoxBody::new(Closing { body, _rest: rest }))
}

struct Closing {
    body: BoxBody,
    _rest: web::Payload,
}

impl MessageBody for Closing {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_pin_mut().poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_in_time() {
        let pace = Pace { begun: Instant::now(), limit: Duration::from_secs(10), length: 1_000 };
        // After so many milliseconds, so many bytes: is it fast enough, and if somebody waits?
        let cases = [
            (0, 0, true, true),
            (200, 0, true, true),
            (1_000, 0, true, false),
            (1_000, 100, true, true),
            (2_500, 0, false, false),
            (6_000, 499, false, false),
            (6_000, 500, true, false),
            (6_000, 600, true, true),
            (9_900, 999, true, true),
            (10_000, 1_000, false, false),
        ];
        for (millis, read, alone, wanted) in cases {
            tokio::time::advance(Duration::from_millis(millis).saturating_sub(pace.begun.elapsed())).await;
            assert_eq!((pace.holds(read, false), pace.holds(read, true)), (alone, wanted), "{millis} ms, {read} bytes");
        }
    }
}

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::answer::Refusal;

/// Memory for bodies that are being read. Nobody is authenticated before the body is there, so strangers share it.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    free: Arc<AtomicUsize>,
    body_limit: usize,
    read_limit: Duration,
}

/// A body and the memory that was reserved for it.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _reserved: Reserved,
}

struct Reserved {
    free: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reserved {
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes));
        taken.map_err(|_| Refusal::Busy)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

impl Buffers {
    pub(crate) fn new(total: usize, body_limit: usize, read_limit: Duration) -> Self {
        Self { free: Arc::new(AtomicUsize::new(total)), body_limit, read_limit }
    }

    /// Reads a body. What is announced as too large is not read at all, what turns out to be is not read to its end.
    pub(crate) async fn read(&self, request: &HttpRequest, payload: &mut web::Payload) -> Result<Body, Refusal> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.body_limit) {
            return Err(Refusal::TooLarge(self.body_limit));
        }
        let read = self.collect(payload, announced);
        tokio::time::timeout(self.read_limit, read).await.map_err(|_| Refusal::Slow)?
    }

    async fn collect(&self, payload: &mut web::Payload, announced: Option<usize>) -> Result<Body, Refusal> {
        let mut reserved = Reserved { free: self.free.clone(), bytes: 0 };
        let mut next = async |length: usize| -> Result<Option<Bytes>, Refusal> {
            let Some(chunk) = payload.next().await else { return Ok(None) };
            let chunk = chunk.map_err(|_| Refusal::Broken)?;
            if length + chunk.len() > self.body_limit {
                return Err(Refusal::TooLarge(self.body_limit));
            }
            reserved.grow(chunk.len())?;
            Ok(Some(chunk))
        };
        // Most webhooks come in one piece, which is then used as it is.
        let first = next(0).await?.unwrap_or_default();
        let bytes = match next(first.len()).await? {
            None => first,
            Some(second) => {
                // Memory follows what has arrived, not what is announced.
                let capacity = announced.unwrap_or_default().min(4 * (first.len() + second.len()));
                let mut all = BytesMut::with_capacity(capacity);
                all.extend_from_slice(&first);
                all.extend_from_slice(&second);
                while let Some(chunk) = next(all.len()).await? {
                    all.extend_from_slice(&chunk);
                }
                all.freeze()
            }
        };
        Ok(Body { bytes, _reserved: reserved })
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

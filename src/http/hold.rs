//! Answers that wait (long polls): a bounded number of them, none for long, none when the server stops.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::conn::Conn;
use super::reply::Reply;
use crate::error::Error;

/// Answers that may wait at the same time: half of the connections that may be open, since each holds one of them.
const PLACES: usize = 4096;

/// The places of answers that wait.
#[derive(Debug)]
pub struct Holds {
    places: Semaphore,
}

impl Default for Holds {
    fn default() -> Self {
        Self { places: Semaphore::new(PLACES) }
    }
}

impl Holds {
    /// `reply` after `wait`, or as soon as the connection is told to finish; at once 503 when all places are taken.
    pub(super) async fn hold(&self, wait: Duration, conn: &Conn, reply: Reply) -> Reply {
        let Ok(_place) = self.places.try_acquire() else {
            return Reply::error(&Error::Limit("too many requests are waiting, try again later".into()));
        };
        let mut over = pin!(sleep(wait));
        // An order wakes the task of the connection, which is the one that waits here.
        std::future::poll_fn(|cx| if conn.is_ending() { Poll::Ready(()) } else { over.as_mut().poll(cx) }).await;
        reply
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Waker};
    use std::time::Instant;

    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;
    use crate::http::conn::{Common, Order};

    const LONG: Duration = Duration::from_secs(3600);

    fn conn() -> Conn {
        Conn::new(([127, 0, 0, 1], 1).into(), Arc::new(Common::new(100)))
    }

    fn status(reply: Reply) -> u16 {
        reply.into_response(&Method::POST, &HeaderMap::new()).status().as_u16()
    }

    #[tokio::test]
    async fn an_answer_comes_when_its_time_is_over() {
        let started = Instant::now();
        let reply = Holds::default().hold(Duration::from_millis(50), &conn(), Reply::text("")).await;
        assert_eq!(status(reply), 200);
        assert!(started.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn an_ending_connection_is_answered_at_once() {
        for order in [Order::Drain, Order::Cut] {
            let (holds, conn) = (Holds::default(), conn());
            let mut held = pin!(holds.hold(LONG, &conn, Reply::text("")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(held.as_mut().poll(&mut cx).is_pending());
            conn.give(order);
            assert!(held.as_mut().poll(&mut cx).is_ready(), "{order:?}");
        }
    }

    #[tokio::test]
    async fn more_than_there_are_places_are_refused_and_places_come_back() {
        let (holds, conn) = (Holds { places: Semaphore::new(1) }, conn());
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut held = pin!(holds.hold(LONG, &conn, Reply::text("")));
            assert!(held.as_mut().poll(&mut cx).is_pending());
            assert_eq!(status(holds.hold(LONG, &conn, Reply::text("")).await), 503);
        }
        assert_eq!(status(holds.hold(Duration::ZERO, &conn, Reply::text("")).await), 200);
    }
}

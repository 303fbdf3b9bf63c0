//! Answers that wait (long polls): a bounded number of them, in all and for one address, none for long, none when the
//! server stops. A client that goes away keeps its place until its time is over: nothing is read meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::conn::Conn;
use super::reply::Reply;
use crate::error::Error;

/// Each waiting answer holds a connection: at most one of so many may be used for that.
const SHARE_OF_CONNECTIONS: usize = 2;
/// One of so many places is the most that one address may take: a Dubbo application takes about three, and many may be
/// behind one address.
const SHARE_OF_ADDRESS: usize = 8;

/// The places of answers that wait.
#[derive(Debug)]
pub struct Holds {
    places: Semaphore,
    of_address: usize,
    /// How many each address has; none of them 0.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// Given back when dropped.
struct Place<'h> {
    taken: &'h Mutex<HashMap<IpAddr, usize>>,
    address: IpAddr,
    _one_of_all: SemaphorePermit<'h>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

impl Holds {
    /// For a server that serves so many connections at a time.
    pub fn of(max_connections: usize) -> Self {
        let places = (max_connections / SHARE_OF_CONNECTIONS).max(1);
        Self::new(places, (places / SHARE_OF_ADDRESS).max(1))
    }

    fn new(places: usize, of_address: usize) -> Self {
        Self { places: Semaphore::new(places), of_address, taken: Mutex::default() }
    }

    fn take(&self, address: IpAddr) -> Option<Place<'_>> {
        let one_of_all = self.places.try_acquire().ok()?;
        let mut taken = self.taken.lock();
        let count = taken.entry(address).or_default();
        if *count >= self.of_address {
            return None;
        }
        *count += 1;
        Some(Place { taken: &self.taken, address, _one_of_all: one_of_all })
    }

    /// `reply` after `wait`, or as soon as the connection is told to finish; at once 503 when all places are taken, or all
    /// that its address may have.
    pub(super) async fn hold(&self, wait: Duration, conn: &Conn, reply: Reply) -> Reply {
        let Some(_place) = self.take(conn.peer().ip().to_canonical()) else {
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
        conn_from([127, 0, 0, 1])
    }

    fn conn_from(address: [u8; 4]) -> Conn {
        Conn::new((address, 1).into(), Arc::new(Common::new(100)))
    }

    fn status(reply: Reply) -> u16 {
        reply.into_response(&Method::POST, &HeaderMap::new()).status().as_u16()
    }

    #[test]
    fn places_are_a_share_of_the_connections() {
        for (connections, places, of_address) in [(8192, 4096, 512), (1000, 500, 62), (1, 1, 1), (0, 1, 1)] {
            let holds = Holds::of(connections);
            assert_eq!((holds.places.available_permits(), holds.of_address), (places, of_address), "{connections}");
        }
    }

    #[tokio::test]
    async fn an_answer_comes_when_its_time_is_over() {
        let started = Instant::now();
        let reply = Holds::of(8192).hold(Duration::from_millis(50), &conn(), Reply::text("")).await;
        assert_eq!(status(reply), 200);
        assert!(started.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn an_ending_connection_is_answered_at_once() {
        for order in [Order::Drain, Order::Cut] {
            let (holds, conn) = (Holds::of(8192), conn());
            let mut held = pin!(holds.hold(LONG, &conn, Reply::text("")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(held.as_mut().poll(&mut cx).is_pending());
            conn.give(order);
            assert!(held.as_mut().poll(&mut cx).is_ready(), "{order:?}");
        }
    }

    #[tokio::test]
    async fn more_than_there_are_places_are_refused_and_places_come_back() {
        let (holds, conn) = (Holds::new(1, 1), conn());
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut held = pin!(holds.hold(LONG, &conn, Reply::text("")));
            assert!(held.as_mut().poll(&mut cx).is_pending());
            assert_eq!(status(holds.hold(LONG, &conn, Reply::text("")).await), 503);
        }
        assert_eq!(status(holds.hold(Duration::ZERO, &conn, Reply::text("")).await), 200);
    }

    #[tokio::test]
    async fn one_address_does_not_take_all_places() {
        let (holds, one, other) = (Holds::new(4, 2), conn(), conn_from([127, 0, 0, 2]));
        let mut cx = Context::from_waker(Waker::noop());
        let mut hold = |conn| {
            let mut held = Box::pin(holds.hold(LONG, conn, Reply::text("")));
            assert!(held.as_mut().poll(&mut cx).is_pending());
            held
        };
        let held = [hold(&one), hold(&one)];
        assert_eq!(status(holds.hold(LONG, &one, Reply::text("")).await), 503);
        let of_other = hold(&other);
        drop(held);
        let again = hold(&one);
        assert_eq!(holds.taken.lock().len(), 2);
        drop((of_other, again));
        assert!(holds.taken.lock().is_empty(), "addresses that hold nothing are forgotten");
    }
}

//! Work that takes long on a processor (password checks; what members of a cluster tell each other), kept off the threads
//! that answer requests. Each kind has a gate of its own.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// More work than this may wait for its turn; what comes then is refused.
const MAX_WAITING: usize = 64;
/// Most processors that may be busy with it.
const MAX_RUNNING: usize = 4;

/// Lets a few pieces of work run at a time, a few more wait, and refuses the rest.
pub struct Gate {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    too_many: &'static str,
}

impl Default for Gate {
    /// For logins.
    fn default() -> Self {
        Self::with_places(MAX_WAITING, "too many logins at once, try again later")
    }
}

impl Gate {
    /// Lets as much run as leaves one processor for everything else, where there are two, and `waiting` more wait;
    /// `too_many` is what the others are told.
    pub fn with_places(waiting: usize, too_many: &'static str) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(waiting, processors.saturating_sub(1).clamp(1, MAX_RUNNING), too_many)
    }

    fn new(waiting: usize, running: usize, too_many: &'static str) -> Self {
        let (places, running) = (Semaphore::new(waiting + running), Semaphore::new(running));
        Self { places: Arc::new(places), running: Arc::new(running), too_many }
    }

    /// Runs `work` on a thread for such things. A caller that goes away does not stop work that has begun, and that
    /// keeps its place until it ends.
    ///
    /// # Errors
    /// [`Error::Limit`] when too much is waiting; [`Error::Unavailable`] when the work came to no end.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Error::Limit(self.too_many.into()))?;
        let ended = |_| Error::Unavailable("the server is stopping".into());
        let turn = self.running.clone().acquire_owned().await.map_err(|_| ended(()))?;
        let held = move || {
            let _until_the_end = (place, turn);
            work()
        };
        tokio::task::spawn_blocking(held).await.map_err(|_| ended(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_few_run_a_few_wait_and_the_rest_is_refused() {
        let gate = Arc::new(Gate::new(1, 1, "too many"));
        let (go, wait) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let own = gate.clone();
        let first = tokio::spawn(async move {
            own.run(move || {
                began.send(()).unwrap();
                wait.recv().unwrap();
            })
            .await
        });
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        let own = gate.clone();
        let second = tokio::spawn(async move { own.run(|| 2).await });
        while gate.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(gate.run(|| 3).await, Err(Error::Limit(_))));
        go.send(()).unwrap();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(2)));
        assert_eq!(gate.run(|| 4).await, Ok(4));
    }
}

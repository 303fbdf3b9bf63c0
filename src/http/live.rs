//! What the handlers' side of the server is told anew while it runs (`nacre.cors.allow-origins`,
//! `nacre.http.max-body-bytes`, `nacre.cluster.max-body-bytes`). Read for every request, so reading costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;

/// See the module.
pub struct Live {
    has_origins: AtomicBool,
    origins: RwLock<Arc<[String]>>,
    max_body_bytes: AtomicUsize,
    max_peer_body_bytes: AtomicUsize,
}

impl Live {
    /// Origins of other web pages that may call, `*` for any; the size of the largest body; and of the largest that a
    /// server of the cluster may send.
    pub fn new(origins: Vec<String>, max_body_bytes: usize, max_peer_body_bytes: usize) -> Self {
        Self {
            has_origins: AtomicBool::new(!origins.is_empty()),
            origins: RwLock::new(origins.into()),
            max_body_bytes: AtomicUsize::new(max_body_bytes),
            max_peer_body_bytes: AtomicUsize::new(max_peer_body_bytes),
        }
    }

    /// Replaces all, for requests that come from now on.
    pub fn set(&self, origins: Vec<String>, max_body_bytes: usize, max_peer_body_bytes: usize) {
        let any = !origins.is_empty();
        *self.origins.write() = origins.into();
        self.has_origins.store(any, Ordering::Release);
        self.max_body_bytes.store(max_body_bytes, Ordering::Relaxed);
        self.max_peer_body_bytes.store(max_peer_body_bytes, Ordering::Relaxed);
    }

    /// Origins that may call.
    pub fn origins(&self) -> Origins {
        Origins(self.has_origins.load(Ordering::Acquire).then(|| self.origins.read().clone()))
    }

    /// Largest body in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body_bytes.load(Ordering::Relaxed)
    }

    /// Largest body of a server of the cluster, in bytes.
    pub fn max_peer_body_bytes(&self) -> usize {
        self.max_peer_body_bytes.load(Ordering::Relaxed)
    }
}

/// The origins at one moment.
pub struct Origins(Option<Arc<[String]>>);

impl std::ops::Deref for Origins {
    type Target = [String];

    fn deref(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_last_counts() {
        let live = Live::new(Vec::new(), 1, 10);
        assert_eq!((live.origins().len(), live.max_body_bytes(), live.max_peer_body_bytes()), (0, 1, 10));
        live.set(vec!["*".into()], 2, 20);
        assert_eq!((&*live.origins(), live.max_body_bytes()), (&["*".to_owned()][..], 2));
        assert_eq!(live.max_peer_body_bytes(), 20);
        live.set(Vec::new(), 3, 30);
        assert!(live.origins().is_empty());
    }
}

//! Which services are due: the first change at once, those within the merge delay after a push together.

use std::collections::HashMap;

use crate::model::ServiceKey;

/// Between two pushes of a service, in ms (`spec/push.md`).
pub const MERGE_MS: u64 = 1_000;

/// A service that was pushed a short time ago.
struct Pause {
    until_ms: u64,
    changed: bool,
}

/// Services that were pushed within the last [`MERGE_MS`].
#[derive(Default)]
pub struct Merge(HashMap<ServiceKey, Pause>);

impl Merge {
    /// The service has changed. True: push it now. The pause after that begins before the state is read, so that no
    /// change falls between.
    pub fn changed(&mut self, service: ServiceKey, now_ms: u64) -> bool {
        if let Some(pause) = self.0.get_mut(&service) {
            pause.changed = true;
            return false;
        }
        self.0.insert(service, Pause { until_ms: now_ms + MERGE_MS, changed: false });
        true
    }

    /// The services whose pause has ended and that have changed meanwhile: push them now.
    pub fn due(&mut self, now_ms: u64) -> Vec<ServiceKey> {
        let mut due = Vec::new();
        self.0.retain(|service, pause| {
            if pause.until_ms > now_ms {
                return true;
            }
            let again = std::mem::take(&mut pause.changed);
            if again {
                pause.until_ms = now_ms + MERGE_MS;
                due.push(service.clone());
            }
            again
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_at_once_later_ones_together() {
        let (mut merge, a) = (Merge::default(), ServiceKey::new("n", "g@@a"));
        assert!(merge.changed(a.clone(), 0));
        assert!(!merge.changed(a.clone(), 1) && !merge.changed(a.clone(), 900));
        assert!(merge.changed(ServiceKey::new("n", "g@@b"), 1));
        assert!(merge.due(999).is_empty());
        assert_eq!(merge.due(1000), std::slice::from_ref(&a));
        assert!(!merge.changed(a.clone(), 1500));
        assert!(merge.due(1999).is_empty());
        assert_eq!(merge.due(2000), std::slice::from_ref(&a));
        assert!(merge.due(3000).is_empty());
        assert!(merge.0.is_empty());
        assert!(merge.changed(a, 3000));
    }
}

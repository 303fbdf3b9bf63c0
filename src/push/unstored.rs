//! What the store does not know yet of who is subscribed: new subscriptions and ended ones. Renewals change nothing in
//! it, and what comes and goes between two looks never gets there.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::subscription::{Subscription, SubscriptionKey};

/// A subscription to be stored, or (`None`) one to be removed.
pub type Change = (SubscriptionKey, Option<Arc<Subscription>>);

/// Keys of such; together not more than subscriptions are allowed.
#[derive(Default)]
pub struct Unstored {
    made: HashSet<SubscriptionKey>,
    gone: HashSet<SubscriptionKey>,
}

impl Unstored {
    /// A subscription was made. True: the store still has an earlier one under this key.
    pub fn made(&mut self, key: SubscriptionKey) -> bool {
        let is_stored = self.gone.remove(&key);
        self.made.insert(key);
        is_stored
    }

    /// A subscription has ended.
    pub fn gone(&mut self, key: SubscriptionKey, is_stored: bool) {
        self.made.remove(&key);
        if is_stored {
            self.gone.insert(key);
        }
    }

    /// At most `limit` changes that are still to be told; `look_up` finds what was made. Ended ones come first, so that
    /// the store never has more rows than there may be subscriptions.
    pub fn next(&self, limit: usize, look_up: impl Fn(&SubscriptionKey) -> Option<Arc<Subscription>>) -> Vec<Change> {
        let gone = self.gone.iter().map(|key| (key.clone(), None));
        let made = self.made.iter().map(|key| (key.clone(), look_up(key)));
        gone.chain(made).take(limit).collect()
    }

    /// The store was told of `changes`.
    pub fn told(&mut self, changes: &[Change]) {
        for (key, _) in changes {
            self.made.remove(key);
            self.gone.remove(key);
        }
    }
}

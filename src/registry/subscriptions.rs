//! Subscriptions as the store has them. `push` knows which of them live, and tells the committer; this is what a store
//! is healed from, and what `push` begins with after a restart.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::model::Row;
use crate::model::subscription::{Subscription, SubscriptionKey};

/// The stored subscriptions of all services; as many as `push` allows.
#[derive(Default)]
pub struct Subscriptions(RwLock<HashMap<SubscriptionKey, Arc<Subscription>, foldhash::fast::RandomState>>);

impl Subscriptions {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.read().len()
    }

    /// All of them, in no particular order.
    pub fn all(&self) -> Vec<(SubscriptionKey, Arc<Subscription>)> {
        self.0.read().iter().map(|(key, one)| (key.clone(), one.clone())).collect()
    }

    pub(super) fn apply(&self, key: SubscriptionKey, subscription: Option<Arc<Subscription>>) {
        let mut all = self.0.write();
        match subscription {
            Some(subscription) => all.insert(key, subscription),
            None => all.remove(&key),
        };
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.all().into_iter().map(|(key, one)| Row::Subscription(key, Some(one))).collect()
    }
}

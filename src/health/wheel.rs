//! A timing wheel: insert and tick, nothing else. Pure; time is a number that the caller brings.

/// Width of a bucket.
const BUCKET_MS: u64 = 50;
/// Buckets; what is further away than all of them is looked at once a turn (102.4 s) and put in again.
const BUCKETS: usize = 2048;

struct Entry<T> {
    deadline_ms: u64,
    item: T,
}

/// Items that come back when their time has come, never before.
pub struct Wheel<T> {
    buckets: Vec<Vec<Entry<T>>>,
    /// The first bucket, counted from time 0, that was not yet emptied.
    next: u64,
    len: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), next: now_ms / BUCKET_MS, len: 0 }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `item` in, to come back at the first tick after `deadline_ms`.
    pub fn insert(&mut self, deadline_ms: u64, item: T) {
        let furthest = self.next + BUCKETS as u64 - 1;
        let bucket = (deadline_ms / BUCKET_MS + 1).clamp(self.next, furthest);
        self.len += 1;
        self.bucket(bucket).push(Entry { deadline_ms, item });
    }

    /// All items whose deadline has passed at `now_ms`, with it, in order of time to within a bucket.
    pub fn tick(&mut self, now_ms: u64) -> Vec<(u64, T)> {
        let end = now_ms / BUCKET_MS;
        let mut due = Vec::new();
        // A longer jump than a turn passes every bucket once.
        let start = self.next.max((end + 1).saturating_sub(BUCKETS as u64));
        let mut early = Vec::new();
        for bucket in start..=end {
            self.next = bucket + 1;
            let entries = std::mem::take(self.bucket(bucket));
            self.len -= entries.len();
            for entry in entries {
                if entry.deadline_ms <= now_ms {
                    due.push((entry.deadline_ms, entry.item));
                } else {
                    early.push(entry);
                }
            }
        }
        for entry in early {
            self.insert(entry.deadline_ms, entry.item);
        }
        due
    }

    #[allow(clippy::indexing_slicing, reason = "a number modulo the length is an index")]
    fn bucket(&mut self, number: u64) -> &mut Vec<Entry<T>> {
        &mut self.buckets[(number % BUCKETS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(due: Vec<(u64, u64)>) -> Vec<u64> {
        let mut items: Vec<u64> = due.into_iter().map(|(deadline, item)| deadline.min(item)).collect();
        items.sort_unstable();
        items
    }

    #[test]
    fn items_come_back_after_their_deadline_and_soon() {
        let mut wheel = Wheel::new(0);
        for deadline in [0, 49, 50, 51, 15_000, 30_000] {
            wheel.insert(deadline, deadline);
        }
        let mut seen = Vec::new();
        for now in (0..31_000).step_by(50) {
            for (deadline, item) in wheel.tick(now) {
                assert_eq!(deadline, item);
                assert!(now >= deadline && now <= deadline + 2 * BUCKET_MS, "{deadline} came at {now}");
                seen.push(item);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 49, 50, 51, 15_000, 30_000]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_kept_until_its_time() {
        let mut wheel = Wheel::new(1_000);
        let far = 3 * BUCKETS as u64 * BUCKET_MS;
        wheel.insert(far, far);
        for now in (1_000..far).step_by(500) {
            assert_eq!(items(wheel.tick(now)), [] as [u64; 0]);
            assert_eq!(wheel.len(), 1);
        }
        assert_eq!(items(wheel.tick(far + 100)), [far]);
    }

    #[test]
    fn a_jump_of_several_turns_loses_nothing() {
        let mut wheel = Wheel::new(0);
        for deadline in (0..200_000).step_by(997) {
            wheel.insert(deadline, deadline);
        }
        let jump = 10 * BUCKETS as u64 * BUCKET_MS;
        assert_eq!(wheel.tick(jump).len(), 201);
        assert!(wheel.is_empty());
        wheel.insert(5, 5);
        assert_eq!(items(wheel.tick(jump + 100)), [5], "what is already past comes at the next tick");
    }
}

//! What was done to a key and what became of it, and whether what is there now can have come of that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a server that was killed had passed on may still be read where it went.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What became of a write, as far as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged.
    Done,
    /// It was refused with an answer that says that nothing was done.
    Refused,
    /// Nobody said.
    Unknown,
}

/// A write: the number that it leaves behind, which is that of no other write, or `None` for a removal.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) value: Option<u64>,
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    pub(super) fate: Fate,
    /// For people.
    pub(super) note: String,
}

impl Write {
    /// Until when it may have taken effect.
    fn until(&self) -> Instant {
        if self.fate == Fate::Unknown { self.answered + ON_ITS_WAY } else { self.answered }
    }
}

/// The writes to each key since its value was last looked at by all.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<String, Vec<Write>>);

impl History {
    pub(super) fn add(&mut self, key: String, write: Write) {
        self.0.entry(key).or_default().push(write);
    }

    /// All of `other` too.
    pub(super) fn join(&mut self, other: Self) {
        for (key, mut writes) in other.0 {
            self.0.entry(key).or_default().append(&mut writes);
        }
    }

    pub(super) fn count(&self, fate: Fate) -> usize {
        self.0.values().flatten().filter(|write| write.fate == fate).count()
    }

    /// What is wrong about these values, which all servers show when no write is under way. If nothing is, they are what
    /// everybody has seen from now on.
    pub(super) fn settle(&mut self, seen: &BTreeMap<String, u64>) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, writes) in &mut self.0 {
            let value = seen.get(key).copied();
            if !is_possible(writes, value) {
                let notes: Vec<_> = writes.iter().rev().take(12).map(|w| (w.value, w.fate, &w.note)).collect();
                faults.push(format!("{key} is {value:?} everywhere; the last writes, newest first: {notes:#?}"));
            }
            let now = Instant::now();
            *writes = vec![Write { value, sent: now, answered: now, fate: Fate::Done, note: "seen by all".to_owned() }];
        }
        let made_up = seen.keys().filter(|key| !self.0.contains_key(*key));
        faults.extend(made_up.map(|key| format!("{key} is there, and nobody wrote it")));
        faults
    }
}

/// Whether a write of `value` can have been the last one to take effect: none that was acknowledged began after it had to be
/// over.
fn is_possible(writes: &[Write], value: Option<u64>) -> bool {
    let last_began = writes.iter().filter(|write| write.fate == Fate::Done).map(|write| write.sent).max();
    let Some(last_began) = last_began else {
        // Nothing was there before the first one.
        return value.is_none() || writes.iter().any(|write| write.fate == Fate::Unknown && write.value == value);
    };
    writes.iter().any(|write| write.fate != Fate::Refused && write.value == value && write.until() >= last_began)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that can be seen after writes of 0, 1, ... (odd seconds: sent, even ones: answered).
    fn possible(fates: &[Fate]) -> Vec<Option<u64>> {
        let began = Instant::now();
        let at = |second: usize| began + Duration::from_secs(second as u64);
        let write = |(number, fate): (usize, &Fate)| Write {
            value: Some(number as u64),
            sent: at(10 * number),
            answered: at(10 * number + 5),
            fate: *fate,
            note: String::new(),
        };
        let writes: Vec<Write> = fates.iter().enumerate().map(write).collect();
        let all = (0..fates.len() as u64).map(Some).chain([None]);
        all.filter(|value| is_possible(&writes, *value)).collect()
    }

    #[test]
    fn what_can_be_seen_afterwards() {
        use Fate::{Done, Refused, Unknown};
        assert_eq!(possible(&[Done, Done]), [Some(1)], "the last one that was acknowledged");
        assert_eq!(possible(&[Done, Refused]), [Some(0)], "what was refused was not done");
        assert_eq!(possible(&[Done, Unknown, Unknown]), [Some(0), Some(1), Some(2)], "either way");
        assert_eq!(possible(&[Unknown, Done]), [Some(1)], "nothing comes after what came later");
        assert_eq!(possible(&[Unknown, Refused]), [Some(0), None]);
    }

    #[test]
    fn of_writes_at_the_same_time_either_may_be_the_last() {
        let now = Instant::now();
        let write = |value, sent, answered| Write {
            value,
            sent: now + Duration::from_secs(sent),
            answered: now + Duration::from_secs(answered),
            fate: Fate::Done,
            note: String::new(),
        };
        let writes = [write(Some(1), 0, 5), write(Some(2), 4, 6), write(None, 1, 2)];
        assert!(is_possible(&writes, Some(1)) && is_possible(&writes, Some(2)));
        assert!(!is_possible(&writes, None), "it was over before another one began");
    }
}

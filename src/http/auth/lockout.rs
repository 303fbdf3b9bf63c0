//! Slows down whoever tries passwords (`spec/auth.md` 2 asks for it; the reference has no limit).
//!
//! Failures are counted for a user from one address, for an address whoever it names, and for a user wherever they come
//! from. Each count runs off with time. While one is full, no password is looked at, so the right one fails as well;
//! tokens are not affected. The limits for one address are the tightest: somebody who guesses from there can't keep
//! the user out elsewhere. Names that don't exist count like others, so a lock tells nothing about them.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// A count: how many failures fill it, and how long one takes to run off, in ms.
#[derive(Clone, Copy)]
struct Measure {
    capacity: u64,
    drains_ms: u64,
}

/// 10 failures, then one try every 30 s.
const BOTH: Measure = Measure { capacity: 10, drains_ms: 30_000 };
/// 50 failures, then one try every 3 s: there may be many clients behind one address.
const ADDRESS: Measure = Measure { capacity: 50, drains_ms: 3_000 };
/// 100 failures, then one try a second.
const USER: Measure = Measure { capacity: 100, drains_ms: 1_000 };

/// Counts that are kept; when there are more, those that are nearest to empty go.
const MAX_COUNTS: usize = 10_000;

/// Failed logins of late.
#[derive(Default)]
pub(super) struct Lockout {
    /// When each count will be empty, ms.
    empty_at_ms: Mutex<HashMap<u64, u64>>,
    /// Users can't choose names that share a count.
    hasher: RandomState,
}

impl Lockout {
    fn counts(&self, user: &str, address: IpAddr) -> [(u64, Measure); 3] {
        [
            (self.hasher.hash_one((1_u8, user, address)), BOTH),
            (self.hasher.hash_one((2_u8, address)), ADDRESS),
            (self.hasher.hash_one((3_u8, user)), USER),
        ]
    }

    /// How long `user` has to wait before it may try a password from `address`, in whole seconds; `None` when it needn't.
    pub(super) fn wait_s(&self, user: &str, address: IpAddr, now_ms: u64) -> Option<u64> {
        let empty_at_ms = self.empty_at_ms.lock();
        let waits = self.counts(user, address).into_iter().filter_map(|(count, measure)| {
            let filled_ms = empty_at_ms.get(&count)?.saturating_sub(now_ms);
            // There is room for one more once at most capacity - 1 failures are left.
            filled_ms.checked_sub((measure.capacity - 1) * measure.drains_ms).filter(|over_ms| *over_ms > 0)
        });
        waits.max().map(|wait_ms| wait_ms.div_ceil(1_000))
    }

    /// A wrong password, or a name that doesn't exist.
    pub(super) fn failed(&self, user: &str, address: IpAddr, now_ms: u64) {
        let mut empty_at_ms = self.empty_at_ms.lock();
        for (count, measure) in self.counts(user, address) {
            let at = empty_at_ms.entry(count).or_default();
            *at = (*at).max(now_ms) + measure.drains_ms;
        }
        if empty_at_ms.len() > MAX_COUNTS {
            make_room(&mut empty_at_ms, now_ms);
        }
    }

    /// The right password: what this user failed to type from this address is forgotten.
    pub(super) fn passed(&self, user: &str, address: IpAddr) {
        let [(both, _), ..] = self.counts(user, address);
        self.empty_at_ms.lock().remove(&both);
    }
}

/// Drops the empty counts and, if that is not enough, the half that is nearest to empty.
fn make_room(empty_at_ms: &mut HashMap<u64, u64>, now_ms: u64) {
    empty_at_ms.retain(|_, at| *at > now_ms);
    if empty_at_ms.len() <= MAX_COUNTS / 2 {
        return;
    }
    let mut times: Vec<u64> = empty_at_ms.values().copied().collect();
    let (_, middle, _) = times.select_nth_unstable(MAX_COUNTS / 2);
    let least = *middle;
    empty_at_ms.retain(|_, at| *at > least);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last))
    }

    #[test]
    fn ten_failures_lock_one_user_at_one_address() {
        let lockout = Lockout::default();
        for n in 0..10 {
            assert_eq!(lockout.wait_s("u", address(1), 1_000), None, "{n}");
            lockout.failed("u", address(1), 1_000);
        }
        assert_eq!(lockout.wait_s("u", address(1), 1_000), Some(30));
        assert_eq!(lockout.wait_s("u", address(2), 1_000), None);
        assert_eq!(lockout.wait_s("v", address(1), 1_000), None);
        assert_eq!(lockout.wait_s("u", address(1), 30_999), Some(1));
        assert_eq!(lockout.wait_s("u", address(1), 31_000), None);
        lockout.failed("u", address(1), 31_000);
        assert_eq!(lockout.wait_s("u", address(1), 31_001), Some(30));
    }

    #[test]
    fn the_right_password_clears_what_was_mistyped() {
        let lockout = Lockout::default();
        for _ in 0..5 {
            (0..9).for_each(|_| lockout.failed("u", address(1), 0));
            lockout.passed("u", address(1));
            assert_eq!(lockout.wait_s("u", address(1), 0), None);
        }
    }

    #[test]
    fn many_names_from_one_address_and_one_name_from_many_are_limited_too() {
        let lockout = Lockout::default();
        (0..50).for_each(|n| lockout.failed(&format!("u{n}"), address(1), 0));
        assert_eq!(lockout.wait_s("other", address(1), 0), Some(3));
        assert_eq!(lockout.wait_s("other", address(2), 0), None);
        (0..100).for_each(|n| lockout.failed("u", address(100 + n), 0));
        assert_eq!(lockout.wait_s("u", address(3), 0), Some(1));
        // One that keeps failing as often as it may does not keep others of its address out for ever.
        for minute in 1..60 {
            lockout.failed("v", address(4), minute * 60_000);
            assert_eq!(lockout.wait_s("w", address(4), minute * 60_000), None);
        }
    }

    #[test]
    fn memory_is_bounded_and_full_counts_stay() {
        let lockout = Lockout::default();
        (0..10).for_each(|_| lockout.failed("victim", address(1), 0));
        for n in 0..20_000 {
            lockout.failed(&format!("u{n}"), address(n + 2), 0);
            assert!(lockout.empty_at_ms.lock().len() <= MAX_COUNTS + 3);
        }
        assert!(lockout.wait_s("victim", address(1), 0).is_some());
    }
}

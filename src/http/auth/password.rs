//! Passwords: bcrypt, as the reference stores them, and what keeps it from costing too much and from telling too much.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use bcrypt::Version;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

use super::lockout::Lockout;
use crate::error::{Error, Result};
use crate::model::account::PasswordHash;

/// Rounds (as a power of two) of new hashes, as in the reference.
const COST: u32 = 10;
/// Hash of a password that was thrown away: checking against it takes as long as for a user who exists.
const NOBODY: &str = "$2a$10$i83W.Uum4GLRGiObLkWvwO.1q/PxfKHcRp8d0rwQ00FnOYpWLrXJS";
/// Right passwords that are remembered, so that clients that send them with every request don't cost a check each.
const MAX_KNOWN: usize = 1_024;

/// What came of a user name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They belong together.
    Right,
    /// The password is wrong, or there is no such user: the two can't be told apart, nor by time.
    Wrong,
    /// There were too many failures: not looked at, and won't be for this many seconds.
    Wait(u64),
}

/// Who tries what.
#[derive(Clone)]
pub struct Attempt {
    /// Name as it was given.
    pub user: String,
    /// Password as it was given.
    pub password: String,
    /// What is stored for that user; `None` when there is none.
    pub stored: Option<String>,
    /// From where.
    pub address: IpAddr,
}

/// Checks passwords.
pub struct Passwords {
    lockout: Lockout,
    known: Mutex<Known>,
    /// Under a key of this process, so that what is remembered is of no use elsewhere.
    digest: Hmac<Sha256>,
}

#[derive(Default)]
struct Known {
    digests: HashSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Passwords {
    /// With nothing remembered.
    ///
    /// # Errors
    /// [`Error::Setup`] when the system has no random numbers.
    pub fn new() -> Result<Self> {
        let key = random::<32>()?;
        let digest = Hmac::new_from_slice(&key).map_err(|_| Error::Setup("no HMAC".into()))?;
        Ok(Self { lockout: Lockout::default(), known: Mutex::default(), digest })
    }

    /// The verdict, if it can be had without work: one locked out, or a password that was right before.
    pub fn recall(&self, attempt: &Attempt, now_ms: u64) -> Option<Verdict> {
        if let Some(wait_s) = self.lockout.wait_s(&attempt.user, attempt.address, now_ms) {
            return Some(Verdict::Wait(wait_s));
        }
        let digest = self.digest_of(attempt)?;
        self.known.lock().digests.contains(&digest).then_some(Verdict::Right)
    }

    /// The verdict. Takes tens of milliseconds of a processor.
    pub fn check(&self, attempt: &Attempt, now_ms: u64) -> Verdict {
        if let Some(verdict) = self.recall(attempt, now_ms) {
            return verdict;
        }
        let stored = attempt.stored.as_deref();
        let fits = fits(&attempt.password, stored.unwrap_or(NOBODY));
        let Some(digest) = self.digest_of(attempt).filter(|_| fits) else {
            self.lockout.failed(&attempt.user, attempt.address, now_ms);
            return Verdict::Wrong;
        };
        self.lockout.passed(&attempt.user, attempt.address);
        let mut known = self.known.lock();
        if known.digests.insert(digest) {
            known.oldest_first.push_back(digest);
            if known.oldest_first.len() > MAX_KNOWN
                && let Some(oldest) = known.oldest_first.pop_front()
            {
                known.digests.remove(&oldest);
            }
        }
        Verdict::Right
    }

    /// Covers what is stored, so that a changed password is not remembered as right. `None` without a user.
    fn digest_of(&self, attempt: &Attempt) -> Option<[u8; 32]> {
        let mut digest = self.digest.clone();
        for part in [attempt.stored.as_deref()?, &attempt.user, &attempt.password] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        Some(digest.finalize().into_bytes().into())
    }
}

/// Whether `password` is the one of `hash`. Takes tens of milliseconds of a processor.
pub fn fits(password: &str, hash: &str) -> bool {
    let verified = bcrypt::verify(password, hash);
    #[cfg(test)]
    tests::count_rounds(hash, verified.is_ok());
    verified.unwrap_or(false)
}

/// What to store for `password`; only its first 72 bytes count. Takes tens of milliseconds of a processor.
///
/// # Errors
/// [`Error::Refused`] when the system has no random numbers.
pub fn hash(password: &str) -> Result<PasswordHash> {
    let parts = bcrypt::hash_with_result(password, COST);
    let parts = parts.map_err(|_| Error::Refused("the password could not be hashed".into()))?;
    Ok(PasswordHash(parts.format_for_version(Version::TwoA)))
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// [`Error::Setup`] when the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Setup(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    use super::*;

    thread_local! {
        static ROUNDS: Cell<u64> = const { Cell::new(0) };
    }

    /// Called for every hash that a password was held against; one that can't be read costs nothing.
    pub(super) fn count_rounds(hash: &str, readable: bool) {
        let cost = hash.split('$').nth(2).and_then(|cost| cost.parse().ok()).filter(|_| readable);
        ROUNDS.set(ROUNDS.get() + cost.map_or(0, |cost: u32| 1 << cost));
    }

    fn attempt(password: &str, stored: Option<&str>) -> Attempt {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Attempt { user: "u".into(), password: password.into(), stored: stored.map(Into::into), address }
    }

    #[test]
    fn hashes_have_the_form_of_the_reference_and_only_72_bytes_count() {
        let PasswordHash(hash) = super::hash(&"x".repeat(72)).unwrap();
        assert!(hash.starts_with("$2a$10$") && hash.len() == 60, "{hash}");
        assert!(fits(&"x".repeat(80), &hash) && !fits(&"x".repeat(71), &hash));
        assert!(fits("\u{e9}", &super::hash("\u{e9}").unwrap().0));
        assert!(!fits("x", "not a hash") && !fits("x", "$2a$99$"));
        assert_eq!(format!("{:?}", PasswordHash(hash)), "PasswordHash(..)");
    }

    #[test]
    fn hashes_of_other_bcrypts_are_read() {
        // Of `pw`, by libxcrypt.
        let rest = "04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW";
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let hash = [prefix, rest].concat();
            assert!(fits("pw", &hash) && !fits("pW", &hash), "{hash}");
        }
    }

    #[test]
    fn a_right_password_is_remembered_until_it_changes() {
        let passwords = Passwords::new().unwrap();
        let (old, new) = (super::hash("old").unwrap().0, super::hash("new").unwrap().0);
        let right = attempt("old", Some(&old));
        assert_eq!(passwords.recall(&right, 0), None);
        assert_eq!(passwords.check(&right, 0), Verdict::Right);
        assert_eq!(passwords.recall(&right, 0), Some(Verdict::Right));
        assert_eq!(passwords.recall(&attempt("new", Some(&old)), 0), None);
        assert_eq!(passwords.recall(&attempt("old", Some(&new)), 0), None);
        assert_eq!(passwords.recall(&attempt("old", None), 0), None);
        assert_eq!(passwords.check(&attempt("old", Some(&new)), 0), Verdict::Wrong);
    }

    #[test]
    fn unknown_users_cost_the_same_work_and_are_locked_the_same() {
        let passwords = Passwords::new().unwrap();
        let stored = super::hash("pw").unwrap().0;
        // Rounds and not time: a busy machine takes any time.
        let rounds = |stored: Option<&str>| {
            ROUNDS.set(0);
            assert_eq!(Passwords::new().unwrap().check(&attempt("x", stored), 0), Verdict::Wrong);
            ROUNDS.get()
        };
        assert_eq!((rounds(Some(&stored)), rounds(None)), (1 << COST, 1 << COST));
        assert_eq!(rounds(Some("not a hash")), 0);
        (0..10).for_each(|_| assert_eq!(passwords.check(&attempt("x", None), 0), Verdict::Wrong));
        assert_eq!(passwords.check(&attempt("pw", Some(&stored)), 0), Verdict::Wait(30));
        assert_eq!(passwords.check(&attempt("pw", Some(&stored)), 30_000), Verdict::Right);
    }
}

//! Which member is responsible for which service (`spec/distro.md` 4): the same hash over the same sorted list on every
//! member. Pure.

use std::sync::Arc;

/// The divisor of the reference, `Integer.MAX_VALUE`.
const MODULUS: i32 = i32::MAX;

/// Who counts as alive, in the eyes of this server, at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Addresses, this server's own among them, sorted as texts.
    healthy: Vec<Arc<str>>,
    own: Arc<str>,
    alone: bool,
}

/// Who is responsible for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// This server.
    Here,
    /// Another member, by address.
    Peer(&'a Arc<str>),
}

impl View {
    /// This server and those of the others that are healthy. `alone`: there are no others at all, healthy or not.
    pub fn new(own: Arc<str>, others: impl IntoIterator<Item = Arc<str>>, alone: bool) -> Self {
        let mut healthy: Vec<Arc<str>> = others.into_iter().chain([own.clone()]).collect();
        healthy.sort_unstable();
        healthy.dedup();
        Self { healthy, own, alone }
    }

    /// The owner of the service with this grouped name. The namespace does not count.
    pub fn owner(&self, name: &str) -> Owner<'_> {
        if self.alone || self.healthy.len() < 2 {
            return Owner::Here;
        }
        let number = hash(name) as usize % self.healthy.len();
        match self.healthy.get(number) {
            Some(address) if *address != self.own => Owner::Peer(address),
            _ => Owner::Here,
        }
    }

    /// Whether this server is the owner.
    pub fn is_owner(&self, name: &str) -> bool {
        self.owner(name) == Owner::Here
    }

    /// Everybody who counts, in order.
    pub fn healthy(&self) -> &[Arc<str>] {
        &self.healthy
    }

    /// The address of this server.
    pub fn own(&self) -> &Arc<str> {
        &self.own
    }

    /// Whether there are no other members, healthy or not.
    pub fn is_alone(&self) -> bool {
        self.alone
    }
}

/// A number from 0 to 2^31 - 2: the absolute value of the remainder of Java's hash of `name`.
pub fn hash(name: &str) -> u32 {
    let java = name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (java % MODULUS).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_reference() {
        for (name, number) in [
            ("DEFAULT_GROUP@@owna-2", 243_471_807),
            ("DEFAULT_GROUP@@ownb-0", 243_470_848),
            ("DEFAULT_GROUP@@ownc-1", 243_469_886),
            ("polygenelubricants", 1),
            ("", 0),
        ] {
            assert_eq!(hash(name), number, "{name}");
        }
    }

    #[test]
    fn the_hash_picks_from_the_sorted_list() {
        let at = |own: &str| {
            let others = ["127.0.0.1:8848", "127.0.0.1:18301", "127.0.0.1:18311"].map(Arc::from);
            View::new(own.into(), others, false)
        };
        let view = at("127.0.0.1:18301");
        assert!(view.is_owner("DEFAULT_GROUP@@owna-2"));
        assert_eq!(view.owner("DEFAULT_GROUP@@ownb-0"), Owner::Peer(&"127.0.0.1:18311".into()));
        assert_eq!(view.owner("DEFAULT_GROUP@@ownc-1"), Owner::Peer(&"127.0.0.1:8848".into()), "sorted as text");
        assert!(at("127.0.0.1:8848").is_owner("DEFAULT_GROUP@@ownc-1"));
        assert!(View::new("a".into(), [], true).is_owner("DEFAULT_GROUP@@ownc-1"));
    }
}

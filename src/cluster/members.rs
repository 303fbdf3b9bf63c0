//! Who the members are (`spec/operator-api.md` 5). One record of each, this server's own included.

use parking_lot::RwLock;

use crate::model::member::Member;

/// The members, this server among them.
pub struct Members {
    own: RwLock<Member>,
}

impl Members {
    /// This server alone.
    pub fn alone(own: Member) -> Self {
        Self { own: RwLock::new(own) }
    }

    /// This server.
    pub fn own(&self) -> Member {
        self.own.read().clone()
    }

    /// Everyone, in order of addresses.
    pub fn all(&self) -> Vec<Member> {
        vec![self.own()]
    }

    /// Whether a member has this address.
    pub fn knows(&self, address: &str) -> bool {
        self.all().iter().any(|member| member.address() == address)
    }

    /// A report came about the member at `address` at `now_ms` (epoch): answers whether there is one. What is said
    /// about this server itself changes nothing but the time: it knows itself best.
    pub fn note_report(&self, address: &str, now_ms: u64) -> bool {
        if !self.knows(address) {
            return false;
        }
        self.own.write().refreshed_ms = Some(now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reports_about_members_count() {
        let members = Members::alone(Member::new("10.0.0.1", 8848));
        assert!(!members.note_report("10.0.0.2:8848", 5));
        assert_eq!(members.own().refreshed_ms, None);
        assert!(members.note_report("10.0.0.1:8848", 5));
        assert_eq!((members.own().refreshed_ms, members.all().len()), (Some(5), 1));
    }
}

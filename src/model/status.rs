//! What a server lets through (`spec/operator-api.md` 3).

use serde::{Deserialize, Serialize};

/// Status of a server. It decides which requests of the naming API are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerStatus {
    /// Everything is answered.
    Up,
    /// Nothing is.
    Down,
    /// Nothing is, yet.
    Starting,
    /// Nothing is.
    Paused,
    /// Everything but GET.
    WriteOnly,
    /// GET alone.
    ReadOnly,
}

impl ServerStatus {
    const NAMES: [(&'static str, Self); 6] = [
        ("UP", Self::Up),
        ("DOWN", Self::Down),
        ("STARTING", Self::Starting),
        ("PAUSED", Self::Paused),
        ("WRITE_ONLY", Self::WriteOnly),
        ("READ_ONLY", Self::ReadOnly),
    ];

    /// The status of that name; case counts.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, status)| *status)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, status)| *status == self).map_or("", |(name, _)| name)
    }

    /// Whether a request that reads (GET) or writes (any other method) is answered.
    pub fn allows(self, reads: bool) -> bool {
        match self {
            Self::Up => true,
            Self::ReadOnly => reads,
            Self::WriteOnly => !reads,
            Self::Down | Self::Starting | Self::Paused => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_they_let_through() {
        let table = [
            ("UP", true, true),
            ("DOWN", false, false),
            ("STARTING", false, false),
            ("PAUSED", false, false),
            ("WRITE_ONLY", false, true),
            ("READ_ONLY", true, false),
        ];
        for (name, reads, writes) in table {
            let status = ServerStatus::parse(name).unwrap();
            assert_eq!((status.name(), status.allows(true), status.allows(false)), (name, reads, writes));
        }
        assert_eq!(["up", "", "null", "BROKEN"].map(ServerStatus::parse), [None; 4]);
    }
}

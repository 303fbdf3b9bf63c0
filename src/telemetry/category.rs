//! Which line goes to which file: Nacos' names (`spec/configuration.md` 7). Pure.

/// Logs by the names of their files, without `.log`. A file comes with its first line. Of Nacos' others,
/// `naming-distro`, `protocol-raft` and `alipay-jraft` have nothing here to tell.
pub(super) const LOGS: &[&str] = &[
    MAIN,
    "naming-server",
    "naming-event",
    "naming-push",
    "naming-rt",
    "naming-performance",
    "naming-raft",
    "protocol-distro",
    "nacos-cluster",
    "core-auth",
];

/// Takes everything that has no log of its own.
const MAIN: &str = "nacos";

/// Targets and their logs. The longest that a line's target is or is below counts.
const TARGETS: &[(&str, &str)] = &[
    ("nacre::http", "naming-server"),
    (SERVICES, "naming-server"),
    (REFUSED, "naming-server"),
    ("nacre::health", "naming-event"),
    (EVENTS, "naming-event"),
    ("nacre::push", "naming-push"),
    (TIMES, "naming-rt"),
    (PERFORMANCE, "naming-performance"),
    ("nacre::consensus", "naming-raft"),
    ("openraft", "naming-raft"),
    ("nacre::cluster", "nacos-cluster"),
    ("nacre::cluster::core", "protocol-distro"),
    ("nacre::cluster::driver", "protocol-distro"),
    ("nacre::http::auth", "core-auth"),
    ("nacre::node::accounts", "core-auth"),
    (ACCOUNTS, "core-auth"),
];

/// One line for each change of an instance.
const EVENTS: &str = "nacre::event";
/// One line for each service that comes or goes, and each instance that is removed for its silence.
const SERVICES: &str = "nacre::service";
/// One line for each change of users, roles and permissions.
const ACCOUNTS: &str = "nacre::account";
/// One line for each request that is answered with an error.
const REFUSED: &str = "nacre::refused";
/// One line for each check of a persistent instance.
const TIMES: &str = "nacre::rt";
/// One line every five minutes.
pub(super) const PERFORMANCE: &str = "nacre::performance";

/// Whether lines of this target would drown the others on a console: they are for files alone.
pub(super) fn is_for_files(target: &str) -> bool {
    [EVENTS, SERVICES, REFUSED, TIMES, PERFORMANCE].contains(&target)
}

/// Whether every line of this target is about something else than the one before.
pub(super) fn is_change(target: &str) -> bool {
    [EVENTS, SERVICES, ACCOUNTS].contains(&target)
}

/// Index in [`LOGS`] of the log for this target.
pub(super) fn log_of(target: &str) -> usize {
    let is_in = |room: &str| target.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let rows = TARGETS.iter().filter(|(room, _)| is_in(room));
    let name = rows.max_by_key(|(room, _)| room.len()).map_or(MAIN, |(_, name)| name);
    LOGS.iter().position(|known| *known == name).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_log_of_the_longest_target() {
        for (target, name) in [
            ("nacre", "nacos"),
            ("nacre::node", "nacos"),
            ("nacre::store::disk", "nacos"),
            ("nacre::commit", "nacos"),
            ("sled::pagecache", "nacos"),
            ("nacre::node::accounts", "core-auth"),
            ("nacre::http::auth::login", "core-auth"),
            ("nacre::http::router", "naming-server"),
            ("nacre::httpd", "nacos"),
            ("nacre::service", "naming-server"),
            ("nacre::event", "naming-event"),
            ("nacre::health::checks", "naming-event"),
            ("nacre::push::sender", "naming-push"),
            ("nacre::rt", "naming-rt"),
            ("nacre::performance", "naming-performance"),
            ("nacre::cluster::members", "nacos-cluster"),
            ("nacre::cluster::core::verify", "protocol-distro"),
        ] {
            assert_eq!(LOGS.get(log_of(target)), Some(&name), "{target}");
        }
    }

    #[test]
    fn every_target_has_a_known_log() {
        for (target, name) in TARGETS {
            // The one crate whose warnings are told with what it is for.
            let is_known = target.starts_with("nacre::") || *target == "openraft";
            assert!(LOGS.contains(name) && is_known, "{target}");
        }
    }
}

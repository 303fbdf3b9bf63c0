//! What a configuration that was read again would change.

use std::collections::BTreeSet;

use super::{Config, KEYS, Key, Member, keys};

/// Names of the properties that differ, in the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Those that can take effect at once.
    pub live: Vec<&'static str>,
    /// Those that take effect at the next start.
    pub at_start: Vec<&'static str>,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.at_start.is_empty()
    }
}

/// What differs between the configuration in force and one read later. Texts are compared, so `8MB` and `8192KB` differ;
/// where a value comes from does not count. For `nacos.member.list` the members count, whoever names them, in any
/// order; they are live in a cluster, but one server alone makes none and a list of nobody ends none before the next start.
pub fn diff(before: &Config, after: &Config) -> Diff {
    let mut found = Diff::default();
    let listed = |config: &Config| config.members.iter().map(Member::to_string).collect::<BTreeSet<_>>();
    let text = |config: &'_ Config, key| {
        config.settings.iter().find(|setting| setting.key == key).map(|setting| setting.text.0.clone())
    };
    for key in KEYS {
        let same = match *key {
            keys::MEMBERS => listed(before) == listed(after),
            _ => text(before, key.name) == text(after, key.name),
        };
        if same {
            continue;
        }
        let names = if is_live(key, before, after) { &mut found.live } else { &mut found.at_start };
        names.push(key.name);
    }
    found
}

/// Whether what `after` says of the property can take effect at once.
pub(super) fn is_live(key: &Key, before: &Config, after: &Config) -> bool {
    key.is_live() && (*key != keys::MEMBERS || !(before.standalone || after.members.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::Flags;
    use super::*;

    fn load(home: &Path, properties: &str) -> Config {
        fs::create_dir_all(home.join("conf")).unwrap();
        fs::write(home.join("conf/application.properties"), properties).unwrap();
        let flags = Flags { home: Some(home.to_owned()), port: Some("9".into()), ..Flags::default() };
        Config::load(&flags, []).unwrap()
    }

    #[test]
    fn says_what_differs_and_when_it_counts() {
        let home = tempfile::tempdir().unwrap();
        let before = load(home.path(), "nacre.log.level=info\nnacre.cors.allow-origins=*\nserver.port=1\n");
        assert_eq!(diff(&before, &before), Diff::default());
        let moved = load(home.path(), "server.port=2\n\n\nnacre.cors.allow-origins=*");
        assert!(diff(&before, &moved).is_empty(), "a flag wins over the port, and info is the default");
        let after = load(
            home.path(),
            "nacre.log.level=debug\nnacre.store.durability=off\nnacre.restore.max-downtime-ms=5\nnacre.shutdown.drain-ms=1",
        );
        let found = diff(&before, &after);
        let live = ["nacre.shutdown.drain-ms", "nacre.cors.allow-origins", "nacre.log.level"];
        assert_eq!(found.live, live);
        assert_eq!(found.at_start, ["nacre.store.durability", "nacre.restore.max-downtime-ms"]);
    }

    #[test]
    fn what_was_taken_over_no_longer_differs_and_the_rest_still_does() {
        let home = tempfile::tempdir().unwrap();
        let mut config = load(home.path(), "");
        let later = load(home.path(), "nacre.shutdown.drain-ms=1\nnacre.log.level=off\nnacre.log.format=json");
        config.take_live(later.clone());
        assert_eq!(diff(&config, &later), Diff { live: Vec::new(), at_start: vec!["nacre.log.format"] });
        assert_eq!((config.http.drain_ms, config.log.level), (1, later.log.level));
        assert_ne!(config.log.format, later.log.format);
    }

    #[test]
    fn a_secret_that_changes_shows_by_its_name_alone() {
        let home = tempfile::tempdir().unwrap();
        let [a, b] =
            ["first-word", "second-word"].map(|word| load(home.path(), &format!("nacre.auth.admin.password={word}\n")));
        assert_eq!(diff(&a, &b).live, ["nacre.auth.admin.password"]);
        assert!(!format!("{a:?}").contains("first-word"), "{a:?}");
    }

    #[test]
    fn members_of_the_file_count() {
        let home = tempfile::tempdir().unwrap();
        let before = load(home.path(), "");
        fs::write(home.path().join("conf/cluster.conf"), "127.0.0.1:9\n").unwrap();
        assert_eq!(diff(&before, &load(home.path(), "")).at_start, [keys::MEMBERS.name]);
        fs::write(home.path().join("conf/cluster.conf"), "127.0.0.1:9\n10.0.0.2\n").unwrap();
        let mut two = load(home.path(), "");
        assert_eq!(diff(&before, &two).at_start, [keys::MEMBERS.name], "one server alone stays alone");
        fs::write(home.path().join("conf/cluster.conf"), "127.0.0.1:9\n").unwrap();
        let one = load(home.path(), "");
        assert_eq!(diff(&two, &one).live, [keys::MEMBERS.name]);
        fs::write(home.path().join("conf/cluster.conf"), "# nobody\n").unwrap();
        let nobody = load(home.path(), "");
        assert_eq!(diff(&two, &nobody).at_start, [keys::MEMBERS.name]);
        two.take_live(nobody);
        assert_eq!(two.members.len(), 2);
        two.take_live(one.clone());
        assert_eq!((&two.members, two.standalone), (&one.members, false));
        assert!(diff(&two, &one).is_empty());
    }

    #[test]
    fn the_shipped_file_marks_what_is_live() {
        let file = include_str!("../../conf/application.properties");
        for part in file.split("\n\n") {
            let (comment, keys): (Vec<_>, Vec<_>) = part.lines().partition(|line| line.starts_with("# "));
            for key in KEYS.iter().filter(|key| keys.iter().any(|line| line.starts_with(&format!("#{}=", key.name)))) {
                let marked = comment.first().is_some_and(|line| line.starts_with("# Live. "));
                assert_eq!(marked, key.is_live(), "{}", key.name);
            }
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::http::world::World;
use crate::model::Row;
use crate::model::settings::SettingKey;

fn decide(world: &World, user: &str, access: Access, query: &str) -> Result<(), Refusal> {
    world.with_call(query, |call| access.decide(world.app.registry.settings(), user, call))
}

#[test]
fn resources_are_made_of_the_names_that_are_used() {
    let world = World::alone();
    let resource = |target: Target, query: &str| world.with_call(query, |call| target.resource(call));
    let cases = [
        (Target::Service, "serviceName=s", ":DEFAULT_GROUP:naming/s"),
        (Target::Service, "serviceName=s&namespaceId=public", ":DEFAULT_GROUP:naming/s"),
        (Target::Service, "serviceName=s&namespaceId=dev&groupName=G", "dev:G:naming/s"),
        // The group in the name is the one that is used.
        (Target::Service, "serviceName=G1@@s&groupName=G2", ":G1:naming/s"),
        (Target::Service, "serviceName=a@@b@@c", ":a:naming/b@@c"),
        (Target::Service, "dom=s", ":DEFAULT_GROUP:naming/s"),
        (Target::Service, "dom=G1@@s", ":G1:naming/s"),
        (Target::Service, "dom=x&serviceName=s", ":DEFAULT_GROUP:naming/s"),
        // These are namespaces of their own.
        (Target::Service, "serviceName=s&namespaceId=PUBLIC", "PUBLIC:DEFAULT_GROUP:naming/s"),
        (Target::Service, "serviceName=s&namespaceId=null", "null:DEFAULT_GROUP:naming/s"),
        (Target::Service, "", ":*:naming/*"),
        (Target::Service, "serviceName=+&namespaceId=dev", "dev:*:naming/*"),
        (Target::Dom, "dom=G1@@s&groupName=G2&serviceName=t", ":DEFAULT_GROUP:naming/G1@@s"),
        (Target::Group, "namespaceId=dev", "dev:*:naming/*"),
        (Target::Group, "namespaceId=dev&groupName=G", "dev:G:naming/*"),
        (Target::Namespace, "namespaceId=dev&groupName=G&serviceName=s", "dev:*:naming/*"),
        (Target::Everything, "", "*:*:naming/*"),
        (Target::Everything, "namespaceId=dev", "dev:*:naming/*"),
        (Target::Everything, "namespaceId=public", ":*:naming/*"),
    ];
    for (target, query, expected) in cases {
        assert_eq!(resource(target, query).as_deref(), Some(expected), "{query}");
    }
    for unclear in ["serviceName=s&namespaceId=dev:G1", "serviceName=s&groupName=G:naming/s"] {
        assert_eq!(resource(Target::Service, unclear), None, "{unclear}");
    }
    assert_eq!(resource(Target::Service, &format!("serviceName={}", "x".repeat(9_000))), None);
}

#[test]
fn permissions_cover_what_the_table_of_the_spec_says() {
    let world = World::alone();
    world.user("nacos", &[ADMIN_ROLE]);
    world.user("nobody", &[]);
    for (user, resource, action) in [
        ("public-r", ":*:*", "r"),
        ("dev-rw", "dev:*:*", "rw"),
        ("g1-w", "dev:G1:naming/svc*", "w"),
        ("all", "*", "rw"),
        ("switcher", "naming/switches", "w"),
    ] {
        world.user(user, &[user]);
        world.permit(user, resource, action);
    }
    let may = |user: &str, access, query: &str| decide(&world, user, access, query).is_ok();
    assert!(may("public-r", READ, "serviceName=s") && !may("public-r", WRITE, "serviceName=s"));
    assert!(!may("public-r", READ, "serviceName=s&namespaceId=dev") && !may("public-r", READ_ALL, ""));
    assert!(may("dev-rw", WRITE, "serviceName=s&namespaceId=dev") && may("dev-rw", READ_GROUP, "namespaceId=dev"));
    assert!(!may("dev-rw", READ, "serviceName=s&namespaceId=dev-2") && !may("dev-rw", READ, "serviceName=s"));
    assert!(may("g1-w", WRITE, "serviceName=svc1&namespaceId=dev&groupName=G1"));
    assert!(!may("g1-w", READ, "serviceName=svc1&namespaceId=dev&groupName=G1"));
    assert!(!may("g1-w", WRITE, "serviceName=G2@@svc1&namespaceId=dev&groupName=G1"));
    assert!(!may("g1-w", WRITE, "serviceName=other&namespaceId=dev&groupName=G1"));
    assert!(
        may("all", READ_ALL, "") && may("all", WRITE, "serviceName=s&namespaceId=x") && may("all", WRITE_SWITCHES, "")
    );
    assert!(may("switcher", WRITE_SWITCHES, "") && !may("dev-rw", WRITE_SWITCHES, ""));
    for access in [ADMIN, READ_ACCOUNTS, WRITE_ACCOUNTS, PEER_OR_ADMIN] {
        assert!(may("nacos", access, "") && !may("all", access, ""), "{access:?}");
    }
    for access in [READ, WRITE_DOM, READ_DOM, WRITE_SWITCHES] {
        assert!(may("nacos", access, "serviceName=s&namespaceId=a:b") && !may("nobody", access, "serviceName=s"));
    }
    assert!(!may("nacos", PEER, "") && may("nobody", LOGGED_IN, "") && may("nobody", OWN, ""));
    assert_eq!(decide(&world, "dev-rw", READ, "serviceName=s&namespaceId=dev:x"), Err(Refusal::Unclear));
}

#[test]
fn names_of_users_who_are_gone_may_nothing() {
    let world = World::alone();
    world.user("gone", &[ADMIN_ROLE, "r"]);
    world.permit("r", "*", "rw");
    assert_eq!(decide(&world, "gone", READ, "serviceName=s"), Ok(()));
    world.app.registry.apply(Row::Setting(SettingKey::User("gone".into()), None), 0, false);
    for access in [LOGGED_IN, OWN, READ, WRITE, ADMIN, PEER, WRITE_SWITCHES] {
        assert_eq!(decide(&world, "gone", access, "serviceName=s"), Err(Refusal::Forbidden), "{access:?}");
    }
}

#[test]
fn only_the_star_is_special_in_patterns() {
    for (pattern, text, fits) in [
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
        ("a*c", "abbc", true),
        ("a*c", "abcb", false),
        ("a.c", "abc", false),
        ("a.c", "a.c", true),
        ("(a|b)*", "a", false),
        ("a**b*", "ab", true),
        ("*ab*ab", "abab", true),
        ("*ab*ab", "ab", false),
        ("dev", "dev:G:naming/s", false),
        ("\u{e9}*\u{e9}", "\u{e9}\u{e9}", true),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}

proptest! {
    #[test]
    fn patterns_do_what_expressions_do(pattern in "[ab*]{0,8}", text in "[ab]{0,12}") {
        let expression = format!("^{}$", pattern.replace('*', ".*"));
        prop_assert_eq!(matches(&pattern, &text), regex::Regex::new(&expression).unwrap().is_match(&text));
    }
}

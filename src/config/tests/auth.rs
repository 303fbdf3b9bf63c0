//! `nacos.core.auth.*`.

use super::*;

const ON: &str = "nacos.core.auth.enabled=true\n";
/// Base64 of 43 bytes.
const GOOD_KEY: &str = "bmFjcmUtdW5pdC10ZXN0LXNlY3JldC1rZXktMDEyMzQ1Njc4OS0wMTIzNA==";

fn key(text: &str) -> String {
    format!("{ON}nacos.core.auth.default.token.secret.key={text}")
}

#[test]
fn authentication_is_off_unless_asked_for() {
    let off = load("").unwrap().auth;
    assert!(!off.enabled && off.token_key.is_none() && off.identity.is_none() && off.admin_password.is_none());
    assert_eq!(off.token_ttl_s, 18_000);
    let home = home_with("");
    assert!(Config::load(&Flags { auth: true, ..flags(&home) }, []).unwrap().auth.enabled);
    assert!(load(ON).unwrap().auth.enabled);
}

#[test]
fn keys_that_everybody_knows_or_could_guess_are_refused() {
    let name = "nacos.core.auth.default.token.secret.key=(hidden) (from FILE line 2): must be";
    let known = format!("{name} a key of your own: this one is known to everybody");
    assert_eq!(refused(&key("SecretKey012345678901234567890123456789012345678901234567890123456789")), known);
    assert_eq!(refused(&key("VGhpc0lzTXlDdXN0b21TZWNyZXRLZXkwMTIzNDU2Nzg=")), known);
    assert_eq!(refused(&key("VGhpc0lzTXlDdXN0b21TZWNyZXRLZXkwMTIzNDU2Nzg")), known);
    for bad in [
        "short",
        "c2hvcnQ=",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA==",
        "not base64 at all, however long it may be!",
    ] {
        assert!(refused(&key(bad)).starts_with(&format!("{name} Base64 of at least 32 bytes")), "{bad}");
    }
    let good = load(&key(GOOD_KEY)).unwrap().auth.token_key.unwrap();
    assert_eq!(good.0, b"nacre-unit-test-secret-key-0123456789-01234");
    assert_eq!(load(&key(GOOD_KEY.trim_end_matches('='))).unwrap().auth.token_key.unwrap(), good);
    // Shipped files carry bad keys; while nothing is signed they don't matter.
    assert_eq!(load("nacos.core.auth.default.token.secret.key=short").unwrap().auth.token_key, None);
}

#[test]
fn an_identity_is_a_header_and_a_value_of_ones_own() {
    let identity = |key: &str, value: &str| {
        format!("{ON}nacos.core.auth.server.identity.key={key}\nnacos.core.auth.server.identity.value={value}\n")
    };
    let config = load(&identity("x-cluster", "0123456789abcdef")).unwrap();
    assert_eq!(config.auth.identity, Some(("x-cluster".to_owned(), Secret("0123456789abcdef".to_owned()))));
    assert_eq!(config.notes, []);
    assert_eq!(load(&identity("x-cluster", "short")).unwrap().notes.len(), 1);
    let names = "nacos.core.auth.server.identity.key and nacos.core.auth.server.identity.value";
    assert_eq!(refused(&identity("x-cluster", "")), format!("{names}: set both or neither"));
    assert_eq!(refused(&identity("", "x")), format!("{names}: set both or neither"));
    let known = format!("{names}: choose your own, this pair is known to everybody");
    assert_eq!(refused(&identity("serverIdentity", "security")), known);
    assert!(refused(&identity("a b", "x")).ends_with("must be the name of an HTTP header"));
    // What nothing is guarded by stops no start.
    let off = |key: &str, value: &str| {
        let config = load(identity(key, value).strip_prefix(ON).unwrap()).unwrap();
        (config.auth.identity.map(|(header, Secret(value))| (header, value)), config.notes.len())
    };
    let good = Some(("x-cluster".to_owned(), "0123456789abcdef".to_owned()));
    assert_eq!(off("x-cluster", "0123456789abcdef"), (good, 0), "members know each other by it");
    assert_eq!(
        [off("serverIdentity", "security"), off("x-cluster", ""), off("", "x")],
        [(None, 0), (None, 0), (None, 0)]
    );
    let bad = refused(&identity("x-cluster", "sesam\u{e9}"));
    assert!(bad.contains("identity.value=(hidden)") && !bad.contains("sesam"), "{bad}");
}

#[test]
fn only_the_one_kind_is_taken_and_agents_are_never_trusted() {
    assert!(
        refused(&format!("{ON}nacos.core.auth.system.type=ldap")).ends_with("must be nacos, the only kind there is")
    );
    assert!(load("nacos.core.auth.system.type=ldap").is_ok());
    let config = load("nacos.core.auth.enable.userAgentAuthWhite=true").unwrap();
    assert!(config.notes.iter().any(|note| note.level == NoteLevel::Warn && note.text.contains("no effect")));
    assert!(refused("nacos.core.auth.default.token.expire.seconds=0").contains("must be a whole number from 1"));
}

#[test]
fn secrets_are_shown_nowhere() {
    let secret = "Sesame-Open-0123456789-0123456789-Sesame";
    let properties = format!(
        "{}\nnacre.auth.admin.password={secret}\nnacos.core.auth.server.identity.key=x\n\
         nacos.core.auth.server.identity.value={secret}\n",
        key(GOOD_KEY)
    );
    let config = load(&properties).unwrap();
    assert_eq!(config.auth.admin_password, Some(Secret(secret.to_owned())));
    let shown = format!("{config:?}");
    assert!(!shown.contains("Sesame") && !shown.contains(GOOD_KEY) && !shown.contains("[110, 97"), "{shown}");
    assert_eq!(config.settings.iter().filter(|setting| setting.value == "(hidden)").count(), 3);
    let broken = refused(&format!("nacre.auth.admin.password={secret}${{Sesame"));
    assert!(!broken.contains("Sesame"), "{broken}");
}

#[test]
fn members_are_checked_unless_somebody_says_otherwise() {
    let config = load("").unwrap();
    assert!(config.auth.check_peers && config.notes.is_empty());
    let config = load("nacre.cluster.check-peers=false").unwrap();
    assert!(!config.auth.check_peers);
    assert_eq!(config.notes.iter().map(|note| note.level).collect::<Vec<_>>(), [NoteLevel::Warn]);
    assert!(config.notes[0].text.starts_with("nacre.cluster.check-peers=false: "), "{}", config.notes[0].text);
}

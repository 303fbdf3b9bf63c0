use proptest::prelude::*;

use super::*;

fn refusal(entry: &str, value: &str) -> String {
    match parse(entry, value) {
        Err(Error::Input(text)) => text,
        other => panic!("{entry}={value}: {other:?}"),
    }
}

fn set(entry: &str, value: &str) -> Switch {
    parse(entry, value).unwrap().unwrap()
}

fn map(pairs: &[(&str, i32)]) -> BTreeMap<String, i32> {
    pairs.iter().map(|(url, status)| ((*url).to_owned(), *status)).collect()
}

#[test]
fn every_entry_is_known_and_sets_its_switch() {
    use Switch::*;
    for (entry, value, expected) in [
        ("distroThreshold", "0.5", DistroThreshold(0.5)),
        ("clientBeatInterval", "7000", ClientBeatInterval(7_000)),
        ("clientBeatInterval", "-1", ClientBeatInterval(-1)),
        ("pushVersion", "java:1.2.3", PushVersion(PushLanguage::Java, "1.2.3".into())),
        ("pushVersion", "python:0.0.10", PushVersion(PushLanguage::Python, "0.0.10".into())),
        ("pushVersion", "go:1.0.9", PushVersion(PushLanguage::Go, "1.0.9".into())),
        ("pushVersion", "c:3.1.4:more", PushVersion(PushLanguage::C, "3.1.4".into())),
        ("pushCacheMillis", "10000", DefaultPushCacheMillis(10_000)),
        ("defaultCacheMillis", "1000", DefaultCacheMillis(1_000)),
        ("masters", "a,b", Masters(vec!["a".into(), "b".into()])),
        ("masters", "", Masters(vec![String::new()])),
        ("distro", "FALSE", DistroEnabled(false)),
        ("check", "true", HealthCheckEnabled(true)),
        ("check", "yes", HealthCheckEnabled(false)),
        ("pushEnabled", "True", PushEnabled(true)),
        ("serviceStatusSynchronizationPeriodMillis", "5000", ServiceStatusSynchronizationPeriodMillis(5_000)),
        ("serverStatusSynchronizationPeriodMillis", "1000", ServerStatusSynchronizationPeriodMillis(1_000)),
        ("healthCheckTimes", "5", CheckTimes(5)),
        ("disableAddIP", "true", DisableAddIp(true)),
        ("sendBeatOnly", "true", SendBeatOnly(true)),
        ("limitedUrlMap", "/a:404,/b:503:x", LimitedUrlMap(map(&[("/a", 404), ("/b", 503)]))),
        ("limitedUrlMap", ",", LimitedUrlMap(map(&[]))),
        ("overriddenServerStatus", "READ_ONLY", OverriddenServerStatus(Some(ServerStatus::ReadOnly))),
        ("overriddenServerStatus", "null", OverriddenServerStatus(None)),
        ("overriddenServerStatus", "", OverriddenServerStatus(None)),
        ("defaultInstanceEphemeral", "false", DefaultInstanceEphemeral(false)),
        ("distroServerExpiredMillis", "1", DistroServerExpiredMillis(1)),
        ("lightBeatEnabled", "on", LightBeatEnabled(true)),
        ("lightBeatEnabled", "1", LightBeatEnabled(false)),
        ("autoChangeHealthCheckEnabled", "yes", AutoChangeHealthCheckEnabled(true)),
    ] {
        assert_eq!(set(entry, value), expected, "{entry}={value}");
    }
}

#[test]
fn what_changes_nothing() {
    for (entry, value) in [("nosuch", "1"), ("enableStandalone", "false"), ("limitedUrlMap", ""), ("", "")] {
        assert_eq!(parse(entry, value), Ok(None), "{entry}={value}");
    }
}

#[test]
fn bad_values_are_refused_with_the_texts_of_the_reference() {
    for (entry, value, text) in [
        ("distroThreshold", "0", "distroThreshold can not be zero or negative: 0.0"),
        ("distroThreshold", "-1.5", "distroThreshold can not be zero or negative: -1.5"),
        ("distroThreshold", "Infinity", "For input string: \"Infinity\""),
        ("distroThreshold", "NaN", "For input string: \"NaN\""),
        ("clientBeatInterval", "x", "For input string: \"x\""),
        ("clientBeatInterval", "", "For input string: \"\""),
        ("clientBeatInterval", "9223372036854775808", "For input string: \"9223372036854775808\""),
        ("pushCacheMillis", "9999", "min cache time for http or tcp is too small(<10000)"),
        ("defaultCacheMillis", "999", "min default cache time  is too small(<1000)"),
        (
            "serviceStatusSynchronizationPeriodMillis",
            "4999",
            "serviceStatusSynchronizationPeriodMillis is too small(<5000)",
        ),
        (
            "serverStatusSynchronizationPeriodMillis",
            "999",
            "serverStatusSynchronizationPeriodMillis is too small(<15000)",
        ),
        ("healthCheckTimes", "2147483648", "For input string: \"2147483648\""),
        ("distroServerExpiredMillis", "1.5", "For input string: \"1.5\""),
        ("pushVersion", "java:1.x", "illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+"),
        ("pushVersion", "java:1.2.3.4", "illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+"),
        ("pushVersion", "csharp:1.0.0", "unsupported client type: csharp"),
        ("limitedUrlMap", "/x", "invalid input for limited urls"),
        ("limitedUrlMap", "/x:", "invalid input for limited urls"),
        ("limitedUrlMap", "/a:404,,/b:404", "invalid input for limited urls"),
        ("limitedUrlMap", ":404", "url can not be empty, url: "),
        ("limitedUrlMap", "/x:0", "illegal normal status code: 0"),
        ("limitedUrlMap", "/x:100", "illegal normal status code: 100"),
        ("limitedUrlMap", "/x:1000", "illegal normal status code: 1000"),
        ("limitedUrlMap", "/x:y", "For input string: \"y\""),
        ("overriddenServerStatus", "BROKEN", "unknown server status: BROKEN"),
        ("overriddenServerStatus", "up", "unknown server status: up"),
    ] {
        assert_eq!(refusal(entry, value), text, "{entry}={value}");
    }
    assert!(matches!(parse("pushVersion", "java"), Err(Error::Refused(_))));
}

#[test]
fn a_batch_is_the_defaults_and_what_it_names() {
    assert_eq!(set("batch", "{}"), Switch::All(Box::default()));
    let text = r#"{"defaultCacheMillis":5000,"httpHealthParams":{"max":4000,"min":600,"factor":0.5},"unknown":[1],
        "healthCheckWhiteList":["g@@s"],"pushCSharpVersion":"2.0.0","distroEnabled":null,"masters":null}"#;
    let expected = Switches {
        default_cache_millis: 5_000,
        http_health_params: CheckParams { max: 4_000, min: 600, factor: 0.5 },
        health_check_white_list: vec!["g@@s".into()],
        push_csharp_version: "2.0.0".into(),
        ..Switches::default()
    };
    assert_eq!(set("batch", text), Switch::All(Box::new(expected)));
    let shown = json(&Switches::default()).unwrap();
    assert_eq!(set("batch", std::str::from_utf8(&shown).unwrap()), Switch::All(Box::default()));
}

#[test]
fn a_bad_batch_is_refused_whole() {
    for (value, text) in [
        (
            r#"{"httpHealthParams":{"max":4000,"min":400,"factor":0.5}}"#,
            "min check time for http or tcp is too small(<500)",
        ),
        (
            r#"{"tcpHealthParams":{"max":2000,"min":500,"factor":0.5}}"#,
            "max check time for http or tcp is too small(<3000)",
        ),
        (r#"{"tcpHealthParams":{"max":4000,"min":500,"factor":1.5}}"#, "malformed factor"),
        (r#"{"httpHealthParams":{"max":4000,"min":500,"factor":-0.1}}"#, "malformed factor"),
        (r#"{"mysqlHealthParams":{"max":4000,"min":500,"factor":1e300}}"#, "malformed factor"),
        (r#"{"distroThreshold":1e300}"#, "distroThreshold is not a number"),
        (r#"{"limitedUrlMap":{"/x":7}}"#, "illegal normal status code: 7"),
        (r#"{"limitedUrlMap":{"":404}}"#, "url can not be empty, url: "),
        (r#"{"overriddenServerStatus":"BROKEN"}"#, "unknown server status: BROKEN"),
    ] {
        assert_eq!(refusal("batch", value), text, "{value}");
    }
    for value in ["", "nonsense", "[]", "1", r#"{"clientBeatInterval":"x"}"#, r#"{"httpHealthParams":{"max":4000}}"#] {
        assert!(matches!(parse("batch", value), Err(Error::Refused(_))), "{value}");
    }
}

#[test]
fn the_json_has_the_members_of_the_reference_in_its_order() {
    let shown = String::from_utf8(json(&Switches::default()).unwrap()).unwrap();
    assert!(shown.starts_with(r#"{"masters":null,"adWeightMap":{},"defaultPushCacheMillis":10000,"#), "{shown}");
    assert!(shown.contains(r#""distroThreshold":0.7,"#) && shown.contains(r#""factor":0.85}"#), "{shown}");
    assert!(shown.ends_with(r#""name":"00-00---000-NACOS_SWITCH_DOMAIN-000---00-00","checksum":null}"#), "{shown}");
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_it_takes_can_be_stored(
        entry in "batch|limitedUrlMap|pushVersion|distroThreshold|masters|overriddenServerStatus|healthCheckTimes",
        value in "[{}\\[\\]\",:a1 ./exnull-]{0,24}",
    ) {
        if let Ok(Some(Switch::All(all))) = parse(&entry, &value) {
            let text = json(&all).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Switches>(&text).unwrap(), &*all);
        }
    }
}

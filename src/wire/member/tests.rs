use proptest::prelude::*;

use super::*;

/// As a real node shows and reports it (`spec/members.md` 2).
const CAPTURED: &str = concat!(
    r#"{"ip":"127.0.0.1","port":18311,"state":"UP","extendInfo":{"lastRefreshTime":1795301880237,"#,
    r#""raftMetaData":{"metaDataMap":{"naming_persistent_service":{"leader":"127.0.0.1:17311","#,
    r#""raftGroupMember":["127.0.0.1:17321","127.0.0.1:17311","127.0.0.1:17301"],"term":1}}},"#,
    r#""raftPort":"17311","version":"1.4.8"},"address":"127.0.0.1:18311","failAccessCnt":0}"#
);

fn text(member: &Member, version: Option<&str>) -> String {
    let mut out = Vec::new();
    write(member, version, &mut out);
    String::from_utf8(out).unwrap()
}

fn read(text: &str) -> Member {
    report(text.as_bytes()).unwrap().unwrap()
}

fn standing(phase: Phase, from_ms: u64, to_ms: u64) -> Standing {
    Standing { phase, gap: Gap { from_ms, to_ms } }
}

#[test]
fn what_a_real_node_reported_is_read_and_written_alike() {
    let member = read(CAPTURED);
    assert_eq!((member.address().as_str(), member.state, member.failures), ("127.0.0.1:18311", State::Up, 0));
    assert_eq!(member.extend.refreshed_ms, Some(1795301880237));
    assert_eq!(member.extend.version.as_deref(), Some("1.4.8"));
    assert!(!member.is_nacre());
    assert_eq!(text(&member, None), CAPTURED);
    let spread = CAPTURED.replace(',', " ,\n\t").replace(':', ": ").replace("127.0.0.1: ", "127.0.0.1:");
    assert_eq!(read(&spread).extend, member.extend);
}

#[test]
fn a_member_shows_all_that_it_said() {
    let mut member = Member::new("10.0.0.1", 8848);
    assert_eq!(
        text(&member, Some("1.4.8")),
        "{\"ip\":\"10.0.0.1\",\"port\":8848,\"state\":\"UP\",\"extendInfo\":{\"raftPort\":\"7848\",\
         \"version\":\"1.4.8\"},\"address\":\"10.0.0.1:8848\",\"failAccessCnt\":0}"
    );
    assert!(!text(&member, None).contains("version"));
    member.state = State::Suspicious;
    member.failures = 2;
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    member.extend = Extend {
        refreshed_ms: Some(5),
        raft_port: Some("9".into()),
        version: Some("1.4.1".into()),
        raft_meta: Some("{}".into()),
        standing: Some(standing(Phase::Ready, 1795301880237, 1795301900000)),
        others: vec![own("weight", "\"1\""), own("site", "\"a b\""), own("adWeight", "0")],
    };
    assert_eq!(
        text(&member, None),
        "{\"ip\":\"10.0.0.1\",\"port\":8848,\"state\":\"SUSPICIOUS\",\"extendInfo\":{\"adWeight\":0,\
         \"lastRefreshTime\":5,\"nacre\":\"ready;1795301880237;1795301900000\",\"raftMetaData\":{},\
         \"raftPort\":\"9\",\"site\":\"a b\",\"version\":\"1.4.1\",\"weight\":\"1\"},\
         \"address\":\"10.0.0.1:8848\",\"failAccessCnt\":2}"
    );
    assert!(text(&member, Some("1.4.8")).contains("\"version\":\"1.4.8\""));
    member.extend.others.sort();
    assert_eq!(read(&text(&member, None)), member);
}

#[test]
fn reports_that_lack_something_are_none_and_broken_ones_refused() {
    for lacking in [
        "{}",
        r#"{"ip":"a","port":1}"#,
        r#"{"ip":" ","port":1,"address":"a:1"}"#,
        r#"{"ip":"a","address":"a:1"}"#,
        r#"{"ip":"a","port":-1,"address":"a:1"}"#,
        r#"{"ip":"a","port":65536,"address":"a:1"}"#,
        r#"{"ip":"a","port":1,"address":" "}"#,
    ] {
        assert_eq!(report(lacking.as_bytes()), Ok(None), "{lacking}");
    }
    let with = |member: &str| format!(r#"{{"ip":"a","port":1,"address":"a:1",{member}}}"#);
    let many = |count: usize| {
        let entries: Vec<String> = (0..count).map(|at| format!("\"e{at}\":1")).collect();
        with(&format!("\"extendInfo\":{{{}}}", entries.join(",")))
    };
    let large = |bytes: usize| with(&format!("\"extendInfo\":{{\"a\":\"{}\"}}", "x".repeat(bytes)));
    for wrong in [
        String::new(),
        "[]".into(),
        "null".into(),
        "1".into(),
        with(r#""state":"GONE""#),
        with(r#""extendInfo":[]"#),
        many(65),
        large(64 * 1024),
    ] {
        assert!(matches!(report(wrong.as_bytes()), Err(Error::Refused(_))), "{}", &wrong[..wrong.len().min(100)]);
    }
    assert_eq!(read(&many(64)).extend.others.len(), 64);
    assert_eq!(read(&large(60 * 1024)).extend.others.len(), 1);
}

#[test]
fn the_address_tells_who_reports() {
    for (address, expected) in
        [("b:2", "b:2"), ("[::1]:2", "[::1]:2"), ("b", "b:1"), ("[::1]", "[::1]:1"), ("::1:2", "[::1]:2")]
    {
        let member = read(&format!(r#"{{"ip":"a","port":1,"address":"{address}"}}"#));
        assert_eq!(member.address(), expected);
    }
}

#[test]
fn a_report_without_extend_info_says_the_defaults_of_the_reference() {
    let member = read(r#"{"ip":"a","port":1,"address":"a:1","failAccessCnt":-1}"#);
    assert!(text(&member, None).contains(
        r#""extendInfo":{"adWeight":"0","raftPort":"-999","site":"unknow","weight":"1"},"address":"a:1","failAcc"#
    ));
    assert_eq!(member.failures, 0);
    let bare = read(r#"{"ip":"a","port":1,"address":"a:1","extendInfo":{},"more":[null]}"#);
    assert_eq!(bare.extend, Extend::default());
}

#[test]
fn odd_values_in_extend_info_are_no_reason_to_refuse() {
    let odd = r#"{"ip":"a","port":1,"address":"a:1","extendInfo":{"lastRefreshTime":"x","raftPort":7,"version":null,
        "raftMetaData":null,"nacre":{},"twice":1,"twice":[ "a \" b" , 2 ]}}"#;
    let others = vec![("twice".to_owned(), r#"["a \" b",2]"#.to_owned())];
    assert_eq!(read(odd).extend, Extend { raft_port: Some("7".into()), others, ..Extend::default() });
}

#[test]
fn standings() {
    for (text, expected) in [
        ("loading;0;5", Some(standing(Phase::Loading, 0, 5))),
        ("restored;1;2", Some(standing(Phase::Restored, 1, 2))),
        ("ready;1;2;of a later version", Some(standing(Phase::Ready, 1, 2))),
        ("ready", None),
        ("ready;1", None),
        ("ready;-1;2", None),
        ("READY;1;2", None),
        ("", None),
    ] {
        assert_eq!(standing_of(text), expected, "{text}");
    }
    for phase in [Phase::Loading, Phase::Restored, Phase::Ready] {
        let standing = standing(phase, 0, u64::MAX);
        assert_eq!(standing_of(&standing_text(standing)), Some(standing));
    }
}

#[test]
fn answers_of_members() {
    let wrapped = format!(r#"{{"code":200,"message":null,"data":{CAPTURED}}}"#);
    assert_eq!(own(wrapped.as_bytes()), Ok(read(CAPTURED)));
    for wrong in ["", "{}", r#"{"code":200,"data":null}"#, r#"{"code":200,"data":{}}"#, r#"{"code":500,"data":null}"#] {
        assert!(matches!(own(wrong.as_bytes()), Err(Error::Refused(_))), "{wrong}");
    }
    for (body, known) in [
        (r#"{"code":200,"message":null,"data":"true"}"#, true),
        (r#"{"code":200,"message":null,"data":"false"}"#, false),
        (r#"{"code":0,"data":"true"}"#, true),
        (r#"{"code":0,"data":true}"#, true),
        (r#"{"code":0}"#, false),
        (r#"{"code":200,"data":{}}"#, false),
    ] {
        assert_eq!(report_answer(body.as_bytes()), Ok(known), "{body}");
    }
    let failed = report_answer(br#"{"code":400,"message":"Node information is illegal","data":null}"#);
    assert_eq!(failed, Err(Error::Refused("code 400: Node information is illegal".into())));
    assert!(report_answer(b"ok").is_err());
}

#[test]
fn lists_of_addresses() {
    assert_eq!(addresses(br#"["a:1"]"#), Ok(vec!["a:1".to_owned()]));
    assert!(matches!(addresses(b"{}"), Err(Error::Refused(_))));
}

proptest! {
    #[test]
    fn compact_values_mean_the_same(texts in prop::collection::vec(any::<String>(), 0..4)) {
        let pretty = serde_json::to_string_pretty(&texts).unwrap();
        prop_assert_eq!(compact(&pretty), serde_json::to_string(&texts).unwrap());
    }

    #[test]
    fn reading_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let wrapped = format!(r#"{{"code":200,"message":null,"data":{CAPTURED}}}"#);
        for mut body in [CAPTURED.as_bytes().to_vec(), wrapped.into_bytes()] {
            for (at, byte, cut) in &changes {
                let at = at.index(body.len());
                if *cut {
                    body.remove(at);
                } else {
                    body[at] = *byte;
                }
            }
            let _ = (report(&body), own(&body), report_answer(&body));
        }
    }
}

//! Members, and the settings of what they do for each other.

use super::*;

fn shown(members: &[Member]) -> Vec<String> {
    members.iter().map(Member::to_string).collect()
}

/// Members of a cluster.conf, or its first fault.
fn file(text: &str) -> Result<Vec<String>, (usize, String)> {
    members::file(text).map(|members| shown(&members))
}

#[test]
fn the_file_is_that_of_nacos() {
    let one = Ok(vec!["127.0.0.1:18301".to_owned()]);
    for text in [
        "127.0.0.1:18301",
        "  127.0.0.1:18301\t\r\n",
        "# a comment\n\n \n127.0.0.1:18301 # another\n#127.0.0.1:2",
        "\u{feff}127.0.0.1:18301\n",
        "127.0.0.1:18301\r127.0.0.1:18301",
        "127.0.0.1:18301?raft_port=17301",
        "127.0.0.1:18301\n127.0.0.1:18301,127.0.0.1:18301",
        ",127.0.0.1:18301,",
    ] {
        assert_eq!(file(text), one, "{text}");
    }
    let two = Ok(vec!["a:1".to_owned(), "b:2".to_owned()]);
    for text in ["a:1\nb:2", "a:1,b:2", "a:1 , b:2", "a:1\r\nb:2\r\n", "a:1\rb:2", "a:1,b:2,a:1 # a,c"] {
        assert_eq!(file(text), two, "{text}");
    }
    assert_eq!(file("127.0.0.1\nlocalhost"), Ok(vec!["127.0.0.1:8848".into(), "localhost:8848".into()]));
    let v6 = Ok(vec!["[2001:db8::1]:8848".to_owned(), "[2001:db8::1]:7".to_owned()]);
    assert_eq!(file("[2001:DB8:0::1]:8848\n2001:db8::1\n[2001:db8::1]\n[2001:db8::1]:7"), v6);
    for nobody in ["", "\n\n", "# nobody", "\u{feff}", ","] {
        assert_eq!(file(nobody), Ok(vec![]), "{nobody}");
    }
}

#[test]
fn one_wrong_entry_makes_the_file_wrong() {
    let allowed = "host:port, such as 192.168.16.101:8848 or [2001:db8::1]:8848";
    for wrong in
        ["a:x", "a:0", "a:65536", "a:+1", "a b:1", "a:1 b:2", "1.2.3:4", "[::1:4", "[::g]:4", "a:1:2", ":1", "é"]
    {
        let fault = Err((3, format!("{wrong} must be {allowed}")));
        assert_eq!(file(&format!("# us\r\nb:1\r\n{wrong}\r\nc:2")), fault);
    }
    assert!(file("x\u{1b}[2J:1").is_err_and(|(_, fault)| !fault.contains('\u{1b}')));
    let many = |count: usize| (0..count).map(|n| format!("n{n}:1\nn{n}:1\n")).collect::<String>();
    assert_eq!(file(&many(1_000)).map(|members| members.len()), Ok(1_000));
    assert_eq!(file(&many(1_001)), Err((2_001, "there may be at most 1000 members".to_owned())));
    let list = many(1_001).replace('\n', ",");
    assert_eq!(members::list(&list), Err("at most 1000 members".to_owned()));
}

#[test]
fn the_example_of_members_is_understood() {
    let wanted = [
        "192.168.16.101:8847",
        "192.168.16.102:8848",
        "[2001:db8::1]:8848",
        "host.example:8848",
        "192.168.16.104:8848",
    ];
    assert_eq!(file(include_str!("../../../conf/cluster.conf.example")).unwrap(), wanted);
}

#[test]
fn members_are_named_by_flag_file_or_property_in_this_order() {
    let home = home_with("nacos.server.ip=10.0.0.1\nnacos.member.list=10.0.0.1,10.0.0.4, 10.0.0.4\n");
    let path = home.path().join("conf/cluster.conf");
    let found = |config: &Config| (shown(&config.members), config.standalone, config.named_by.heeds_file());
    let names = |names: &[&str]| names.iter().map(|name| format!("{name}:8848")).collect::<Vec<_>>();
    let by_list = Config::load(&flags(&home), []).unwrap();
    assert_eq!(found(&by_list), (names(&["10.0.0.1", "10.0.0.4"]), false, true));
    assert!(by_list.named_by.to_string().ends_with("application.properties line 2"), "{}", by_list.named_by);
    fs::write(&path, "# nobody\n").unwrap();
    assert_eq!(found(&Config::load(&flags(&home), []).unwrap()), found(&by_list));
    fs::write(&path, b"# \xb6\xcb\n10.0.0.1,10.0.0.3").unwrap();
    let by_file = Config::load(&flags(&home), []).unwrap();
    assert_eq!(found(&by_file), (names(&["10.0.0.1", "10.0.0.3"]), false, true));
    assert!(by_file.notes[0].text.contains("line 2) is ignored: "), "{:?}", by_file.notes);
    let flag = Flags { members: vec!["10.0.0.1".into(), "10.0.0.2".into()], ..flags(&home) };
    let by_flag = Config::load(&flag, []).unwrap();
    assert_eq!(found(&by_flag), (names(&["10.0.0.1", "10.0.0.2"]), false, false));
    for (line, alone) in [("localhost", true), ("127.0.0.1", true), ("10.0.0.1", true), ("10.0.0.1:1", false)] {
        fs::write(&path, line).unwrap();
        assert_eq!(Config::load(&flags(&home), []).unwrap().standalone, alone, "{line}");
    }
    fs::write(&path, "10.0.0.1\n10.0.0.3:x").unwrap();
    let alone = Config::load(&flags(&home), env(&[("NACOS_STANDALONE", "true")])).unwrap();
    assert_eq!(found(&alone), (vec![], true, false));
    assert!(alone.notes.len() == 1 && alone.notes[0].text.contains("are ignored"), "{:?}", alone.notes);
    let error = Config::load(&flags(&home), []).unwrap_err();
    let fault = "10.0.0.3:x must be host:port, such as 192.168.16.101:8848 or [2001:db8::1]:8848";
    assert_eq!(one_line(&error, &home), format!("CONF/cluster.conf line 2: {fault}"));
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert_eq!(one_line(&error, &home), "CONF/cluster.conf can't be read: it is larger than 1048576 bytes");
}

#[test]
fn a_lookup_that_is_not_there_is_refused() {
    assert!(load("nacos.core.member.lookup.type=file").is_ok());
    assert!(load("nacos.core.member.lookup.type=address-server\nnacos.standalone=true").is_ok());
    let fault = refused("nacos.core.member.lookup.type=address-server");
    assert!(
        fault.starts_with("nacos.core.member.lookup.type=address-server (from FILE line 1): must be file"),
        "{fault}"
    );
    assert!(fault.contains("conf/cluster.conf"), "{fault}");
}

#[test]
fn settings_between_members() {
    let config = load(
        "nacos.core.member.fail-access-cnt=0\nnacos.naming.distro.taskDispatchPeriod=2000\n\
         nacos.naming.distro.batchSyncKeyCount=1\nnacos.naming.distro.syncRetryDelay=5000\n\
         nacos.naming.distro.loadDataRetryDelayMillis=0\nnacos.naming.data.warmup=true\n\
         nacos.core.protocol.distro.data.verifyIntervalMs=100\n",
    );
    let wanted = ClusterSettings {
        max_failures: 0,
        dispatch_ms: 2_000,
        batch_keys: 1,
        sync_retry_ms: 5_000,
        load_wait_ms: 0,
        verify_interval_ms: 100,
        warmup: true,
    };
    assert_eq!(config.unwrap().cluster, wanted);
    let config = load("nacos.core.protocol.distro.data.sync_retry_delay_ms=1\n").unwrap();
    let [note] = &config.notes[..] else { panic!("{:?}", config.notes) };
    assert!(note.text.ends_with("as in Nacos: nacos.naming.distro.syncRetryDelay counts"), "{note:?}");
}

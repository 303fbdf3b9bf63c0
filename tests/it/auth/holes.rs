//! The known holes of the reference and its security history (`spec/reliability.md` 4): a test a row, each closed.

use std::fs;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{PROPERTIES, Site, json, refusal};
use crate::logs::{ACCESS, log_files};
use crate::server::Server;

const LIST: &str = "/v1/ns/instance/list?serviceName=s";
const USERS: &str = "/v1/auth/users?pageNo=1&pageSize=9";

/// Why a server with these properties does not start.
fn refused_start(properties: &str) -> String {
    let mut server = Server::stopped(&["--auth"], |_| {});
    server.configure(properties);
    server.spawn();
    server.wait_ready().expect_err("the server starts")
}

#[test]
fn cve_2021_29441_the_agent_of_a_server_opens_nothing() {
    let properties = PROPERTIES.replace("userAgentAuthWhite=false", "userAgentAuthWhite=true");
    let site = Site::start_with(&properties, &[]);
    for agent in ["Nacos-Server", "Nacos-Server:v1.4.8"] {
        for target in [LIST, USERS] {
            let answer = site.send("GET", target, &[("User-Agent", agent)]);
            assert_eq!(refusal(&answer).as_deref(), Some("unknown user!"), "{agent} {target}");
        }
    }
    assert!(site.server.log().contains("userAgentAuthWhite=true has no effect"));
}

#[test]
fn issue_4701_another_spelling_of_a_path_opens_nothing() {
    let site = Site::start();
    for path in [
        "/v1/auth/users/",
        "/v1/auth//users",
        "/v1/auth/./users",
        "/v1/auth/users;a",
        "/v1/auth/%75sers",
        "/v1/auth/users%2f",
    ] {
        let answer = site.send("GET", &format!("{path}?pageNo=1&pageSize=9"), &[]);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(site.send("HEAD", USERS, &[]).status, 403);
}

#[test]
fn cve_2021_29442_and_derby_there_is_no_sql() {
    let site = Site::start();
    for (method, path) in [
        ("GET", "/v1/cs/ops/derby?sql=select+1"),
        ("GET", "/v1/cs/ops/derby/?sql=select+1"),
        ("POST", "/v1/cs/ops/data/removal"),
        ("GET", "/v1/cs/configs?dataId=a&group=b"),
    ] {
        assert_eq!(site.by(&site.admin, method, path).status, 404, "{path}");
    }
}

#[test]
fn qvd_2023_6271_there_is_no_default_key() {
    let known = "SecretKey012345678901234567890123456789012345678901234567890123456789";
    for key in [known, "c2hvcnQ=", "no Base64!"] {
        let reason = refused_start(&format!("nacos.core.auth.default.token.secret.key={key}\n"));
        assert!(reason.contains("secret.key=(hidden)") && !reason.contains(key), "{reason}");
    }
    // Two servers without a key don't take each other's tokens, and the file is for the owner alone.
    let own = "nacos.core.auth.enabled=true\nnacre.auth.admin.password=nacos\n";
    let (one, two) = (Site::start_with(own, &[]), Site::start_with(own, &[]));
    assert_eq!(refusal(&two.by(&one.admin, "GET", USERS)).as_deref(), Some("token invalid!"));
    assert_eq!(refusal(&one.by(&one.admin, "GET", USERS)), None);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = fs::metadata(one.server.home().join("data/token.key")).expect("a key file");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn there_is_no_default_identity_and_a_part_of_the_right_one_is_none() {
    let site = Site::start();
    for (header, value) in [
        ("serverIdentity", "security"),
        ("conformance-identity", ""),
        ("conformance-identity", "conformance-valu"),
        ("conformance-identity", "conformance-value2"),
        ("conformance-identity", "Conformance-value"),
    ] {
        let answer = site.send("GET", LIST, &[(header, value)]);
        assert_eq!(refusal(&answer).as_deref(), Some("unknown user!"), "{header}: {value}");
    }
    assert_eq!(site.send("GET", LIST, &[("Conformance-Identity", "conformance-value")]).status, 200);
    let pair = "nacos.core.auth.server.identity.key=serverIdentity\nnacos.core.auth.server.identity.value=security\n";
    assert!(refused_start(pair).contains("this pair is known to everybody"));
    // Without one, what is for servers is closed.
    let alone = Site::start_with("nacos.core.auth.enabled=true\nnacre.auth.admin.password=nacos\n", &[]);
    assert!(refusal(&alone.send("GET", "/v1/ns/instance/statuses?key=a", &[("", "x")][1..])).is_some());
}

/// The local ports on which a process listens.
#[cfg(target_os = "linux")]
fn listening(pid: u32) -> Vec<u16> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("the files of the server");
    let own: Vec<String> = links
        .filter_map(|link| fs::read_link(link.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6"].map(|kind| fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default());
    let rows =
        tables.iter().flat_map(|table| table.lines().skip(1)).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // Column 1 is the local address, 3 the state (0A: listening), 9 the inode.
    rows.filter(|row| row.get(3) == Some(&"0A") && row.get(9).is_some_and(|inode| own.iter().any(|own| own == inode)))
        .map(|row| u16::from_str_radix(row[1].rsplit(':').next().expect("a port"), 16).expect("hex digits"))
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn cnvd_2023_45001_there_is_one_port_and_no_raft_on_another() {
    let site = Site::start();
    assert_eq!(listening(site.server.pid()), [site.server.address().port()]);
    for path in ["/v1/ns/raft/state", "/v1/ns/raft/datum", "/v1/ns/raft/leader"] {
        assert!(site.send("GET", path, &[]).status >= 400, "{path}");
    }
}

#[test]
fn cve_2020_19676_reading_needs_a_login_too() {
    let site = Site::start();
    for path in [
        "/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80",
        LIST,
        "/v1/ns/api/srvIPXT?dom=s",
        "/v1/ns/api/allDomNames",
        "/v1/auth/roles?pageNo=1&pageSize=9",
        "/v1/auth/permissions?pageNo=1&pageSize=9",
        "/v1/auth/users/search?username=n",
    ] {
        assert_eq!(refusal(&site.send("GET", path, &[])).as_deref(), Some("unknown user!"), "{path}");
    }
}

#[test]
fn cve_2021_43116_an_edited_token_or_answer_makes_no_admin() {
    let site = Site::start();
    let token = site.user("u", "pw", &[]);
    assert_eq!(json(&site.login("u", "pw"))["globalAdmin"], false);
    let parts: Vec<&str> = token.split('.').collect();
    let coded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let admin = coded(r#"{"sub":"nacos","exp":4102444800}"#);
    for edited in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{admin}.", coded(r#"{"alg":"none"}"#)),
        format!("{}.{}.{}", coded(r#"{"alg":"none"}"#), parts[1], parts[2]),
    ] {
        assert_eq!(refusal(&site.by(&edited, "GET", USERS)).as_deref(), Some("token invalid!"), "{edited}");
    }
    let claiming = site.by(&token, "GET", &format!("{USERS}&globalAdmin=true&username=nacos"));
    assert_eq!(refusal(&claiming).as_deref(), Some("authorization failed!"));
}

#[test]
fn cve_2021_44667_page_numbers_are_not_repeated() {
    let site = Site::start();
    for query in ["pageNo=%3Cscript%3E&pageSize=1", "pageNo=1&pageSize=%3Cscript%3E", "pageNo=%3Cscript%3E"] {
        let answer =
            site.send("GET", &format!("/v1/auth/users?{query}&accessToken={}", site.admin), &[("Accept", "text/html")]);
        let kind = answer.header("Content-Type").unwrap_or_default();
        assert!(!kind.contains("html") && !answer.text().contains("script"), "{kind} {}", answer.text());
    }
}

#[test]
fn issue_8967_a_password_is_changed_by_its_user_or_an_admin() {
    let site = Site::start();
    let (u, v) = (site.user("u", "pw", &[("*", "rw")]), site.user("v", "pw", &[]));
    let change = |token: &str, user: &str| {
        let answer = site.by(token, "PUT", &format!("/v1/auth/users?username={user}&newPassword=new"));
        (answer.status, answer.text())
    };
    let refused = r#"{"code":403,"message":"authorization failed!","data":null}"#;
    for user in ["v", "nacos", "nobody"] {
        assert_eq!(change(&u, user), (200, refused.to_owned()), "{user}");
    }
    assert!(site.login("v", "pw").status == 200 && site.login("nacos", "nacos").status == 200);
    let done = r#"{"code":200,"message":"update user ok!","data":null}"#;
    assert_eq!(change(&v, "v"), (200, done.to_owned()));
    assert!(site.login("v", "pw").status == 403 && site.login("v", "new").status == 200);
    assert_eq!(change(&site.admin, "u"), (200, done.to_owned()));
    assert_eq!(change(&site.admin, "nobody"), (400, "caused: user nobody not exist!;".to_owned()));
}

#[test]
fn issue_15682_an_unknown_user_looks_like_a_wrong_password() {
    let site = Site::start();
    site.user("u", "pw", &[]);
    let answers: Vec<_> = ["u", "nobody"]
        .map(|user| {
            let began = Instant::now();
            let times = (0..5).map(|_| {
                let answer = site.login(user, "wrong");
                let took = began.elapsed().as_secs_f64();
                assert_eq!((answer.status, answer.text()), (403, "unknown user!".to_owned()));
                took
            });
            times.fold(f64::MAX, f64::min)
        })
        .into();
    assert!(answers[0] < answers[1] * 3.0 && answers[1] < answers[0] * 3.0, "{answers:?}");
    // Both are locked after the same number of failures, and the right password doesn't help then.
    for (user, right) in [("u", "pw"), ("nobody", "pw")] {
        (0..5).for_each(|_| assert_eq!(site.login(user, "wrong").status, 403));
        let locked = site.login(user, right);
        assert_eq!(locked.status, 429, "{user}: {}", locked.text());
        assert!(locked.text().starts_with("too many failed logins, try again in "), "{}", locked.text());
        assert!(locked.header("Retry-After").is_some());
        let by_parameters = site.send("GET", &format!("{LIST}&username={user}&password={right}"), &[]);
        assert_eq!(by_parameters.status, 429, "{user}");
    }
    site.token("nacos", "nacos");
}

#[test]
fn there_is_no_default_password() {
    let mut server = Server::start(&["--auth"]);
    let log = server.whole_log();
    let (_, rest) = log.split_once("user nacos, password ").expect("the password is shown");
    let password = rest.split(' ').next().expect("a word").to_owned();
    assert!(password.len() >= 20, "{password}");
    server.kill9();
    server.restart();
    assert_eq!(server.whole_log().matches(&password).count(), 1, "shown once");
    let site = Site { server, admin: String::new() };
    assert_eq!(site.login("nacos", "nacos").status, 403);
    site.token("nacos", &password);
}

#[test]
fn a_password_that_everybody_knows_is_warned_of_at_every_start_until_it_is_changed() {
    let mut site = Site::start();
    let warned = |site: &Site| site.server.whole_log().matches("the password that everybody tries first").count();
    assert_eq!(warned(&site), 1);
    site.server.term();
    site.server.restart();
    assert_eq!(warned(&site), 2);
    site.admin("PUT", "/v1/auth/users?username=nacos&newPassword=a+much+better+one");
    site.server.term();
    site.server.restart();
    assert_eq!(warned(&site), 2);
}

#[test]
fn issue_4449_no_log_shows_a_token_a_password_or_an_identity() {
    let mut site = Site::start_with(&format!("{PROPERTIES}{ACCESS}"), &["--log-level", "trace"]);
    let token = site.user("u", "Sesame-1", &[("*", "rw")]);
    site.admin("PUT", "/v1/auth/users?username=u&newPassword=Sesame-2");
    site.login("u", "Sesame-wrong");
    site.send("GET", &format!("{LIST}&accessToken={token}"), &[]);
    site.send("GET", &format!("{LIST}&username=u&password=Sesame-2"), &[]);
    site.send("GET", LIST, &[("conformance-identity", "conformance-value")]);
    site.by("Sesame.Sesame.Sesame", "GET", LIST);
    let users = site.admin("GET", USERS);
    assert!(users["pageItems"].as_array().expect("a list").iter().all(|user| user["password"] == ""), "{users}");
    site.server.term();
    let mut logs = log_files(&site.server);
    assert!(["core-auth.log", "access_log."].iter().all(|log| logs.keys().any(|name| name.starts_with(log))));
    logs.insert("standard error".to_owned(), site.server.whole_log());
    for (name, log) in &logs {
        for secret in ["Sesame", &token, &site.admin, "conformance-value", "$2a$", "bmFjb3Mt"] {
            assert!(!log.contains(secret), "{secret} is in {name}");
        }
    }
}

#[test]
fn the_actuator_shows_nothing() {
    let site = Site::start();
    for path in ["/actuator/env", "/actuator/heapdump", "/actuator/prometheus", "/actuator/beans"] {
        assert_eq!(site.by(&site.admin, "GET", path).status, 404, "{path}");
    }
}

#[test]
fn what_the_reference_forgot_to_check_is_closed() {
    let site = Site::start();
    let reader = site.user("reader", "pw", &[("*", "rw")]);
    for (method, path) in [
        ("GET", "/v1/ns/distro/datums"),
        ("PUT", "/v1/ns/distro/datum"),
        ("GET", "/v1/ns/distro/checksum"),
        ("GET", "/v1/ns/raft/datum"),
        ("POST", "/v1/core/cluster/report"),
        ("POST", "/v1/core/cluster/server/leave"),
        ("POST", "/v1/core/cluster/switch/lookup"),
        ("POST", "/v1/ns/service/status"),
        ("GET", "/v1/ns/service/checksum?serviceName=s"),
        ("PUT", "/v1/ns/operator/log"),
        ("PUT", "/v1/core/ops/log"),
        ("GET", "/v1/core/ops/idInfo"),
        ("GET", "/v1/ns/instance/statuses?key=public%23%23DEFAULT_GROUP@@s"),
    ] {
        // Not built, or closed: never answered, not even to somebody with every permission.
        for headers in [vec![], vec![("Authorization", format!("Bearer {reader}"))]] {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = site.send(method, path, &headers);
            assert!(matches!(answer.status, 403 | 404 | 501), "{method} {path}: {} {}", answer.status, answer.text());
        }
    }
    for (method, path) in [("GET", "/v1/ns/api/srvIPXT?dom=s"), ("GET", "/v1/ns/api/clientBeat?dom=s")] {
        assert_eq!(refusal(&site.send(method, path, &[])).as_deref(), Some("unknown user!"), "{path}");
    }
}

#[test]
fn a_login_looks_at_the_password_whatever_token_comes_along() {
    let site = Site::start();
    let answer = site.by(&site.admin, "POST", "/v1/auth/login?username=nacos&password=wrong");
    assert_eq!((answer.status, answer.text()), (403, "unknown user!".to_owned()));
    let good = site.login("nacos", "nacos");
    let token = json(&good)["accessToken"].as_str().expect("a token").to_owned();
    assert_eq!(good.header("Authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(good.header("Set-Cookie"), None);
}

#[test]
fn resource_and_operation_are_of_the_same_names() {
    let site = Site::start();
    let token = site.user("u", "pw", &[(":G2:naming/x", "rw"), ("dev:G2:naming/x", "rw")]);
    let register =
        |query: &str| refusal(&site.by(&token, "POST", &format!("/v1/ns/instance?ip=10.0.0.1&port=80&{query}")));
    let failed = Some("authorization failed!".to_owned());
    assert_eq!(register("serviceName=G2@@x"), None);
    assert_eq!(register("serviceName=x&groupName=G2&namespaceId=dev"), None);
    assert_eq!(register("serviceName=G1@@x&groupName=G2"), failed);
    assert_eq!(register("dom=G1@@x&groupName=G2"), failed);
    assert_eq!(register("serviceName=x&groupName=G2&namespaceId=PUBLIC"), failed);
    assert_eq!(register("serviceName=x&groupName=G2&namespaceId=dev:y"), Some("resource name invalid!".to_owned()));
    // Setting health is a write to the service.
    let health = "/v1/ns/health?ip=10.0.0.1&port=80&healthy=true";
    assert_eq!(refusal(&site.by(&token, "PUT", &format!("{health}&serviceName=G2@@x"))), None);
    assert_eq!(refusal(&site.by(&token, "PUT", &format!("{health}&serviceName=G1@@x"))), failed);
}

#[test]
fn names_of_other_namespaces_are_not_shown() {
    let site = Site::start();
    for namespace in ["dev", "prod"] {
        let path = format!("/v1/ns/instance?namespaceId={namespace}&serviceName=of-{namespace}&ip=1.1.1.1&port=80");
        assert_eq!(site.by(&site.admin, "POST", &path).status, 200);
    }
    let reader = site.user("reader", "pw", &[("dev:*:*", "r")]);
    for path in ["/v1/ns/api/allDomNames", "/v1/ns/service/names"] {
        assert_eq!(site.by(&reader, "GET", path).status, 403, "{path}");
        let answer = site.by(&reader, "GET", &format!("{path}?namespaceId=dev"));
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains("of-dev") && !answer.text().contains("of-prod"), "{path}: {}", answer.text());
    }
}

//! Users, roles and permissions: the rules that the recorded cases don't show.

use super::{Site, json, refusal};
use crate::server::Server;

#[test]
fn everything_about_users_survives_a_kill() {
    let mut site = Site::start_with(&super::PROPERTIES.replace("nacos.core.auth.default.token.secret.key", "#x"), &[]);
    let token = site.user("u", "pw", &[("dev:*:*", "r"), ("*", "rw")]);
    site.admin("DELETE", "/v1/auth/permissions?role=u&resource=*&action=rw");
    site.admin("PUT", "/v1/auth/users?username=u&newPassword=pw2");
    let everything = |site: &Site| {
        ["users", "roles", "permissions"].map(|list| site.admin("GET", &format!("/v1/auth/{list}?pageNo=1&pageSize=9")))
    };
    let before = everything(&site);
    assert_eq!(before[0]["pageItems"].as_array().expect("a list").len(), 2);
    site.server.kill9();
    site.server.restart();
    // The admin's old token too: the key that was made at the first start was kept.
    assert_eq!(everything(&site), before);
    assert_eq!(refusal(&site.by(&token, "GET", "/v1/ns/instance/list?namespaceId=dev&serviceName=s")), None);
    assert!(refusal(&site.by(&token, "PUT", "/v1/ns/instance/beat?namespaceId=dev&serviceName=s")).is_some());
    site.token("u", "pw2");
    assert_eq!(site.login("u", "pw").status, 403);
}

#[test]
fn changes_count_at_once() {
    let site = Site::start();
    let token = site.user("u", "pw", &[("dev:*:*", "r")]);
    let list = || refusal(&site.by(&token, "GET", "/v1/ns/instance/list?namespaceId=dev&serviceName=s"));
    let failed = Some("authorization failed!".to_owned());
    assert_eq!(list(), None);
    site.admin("DELETE", "/v1/auth/permissions?role=u&resource=dev:*:*&action=r");
    assert_eq!(list(), failed);
    site.admin("POST", "/v1/auth/permissions?role=u&resource=dev:*:*&action=rw");
    assert_eq!(list(), None);
    site.admin("DELETE", "/v1/auth/roles?role=u&username=u");
    assert_eq!(list(), failed);
    // A new role of the old name has nothing of the old one.
    site.admin("POST", "/v1/auth/roles?role=u&username=u");
    assert_eq!(list(), failed);
    site.admin("POST", "/v1/auth/permissions?role=u&resource=*&action=r");
    assert_eq!(list(), None);
    site.admin("DELETE", "/v1/auth/users?username=u");
    assert_eq!(list(), failed);
}

#[test]
fn what_is_not_to_be_made_is_refused() {
    let site = Site::start();
    site.user("u", "pw", &[("x", "r")]);
    let long = "x".repeat(51);
    for target in [
        "POST /v1/auth/users?username=&password=p".to_owned(),
        "POST /v1/auth/users?username=+&password=p".to_owned(),
        "POST /v1/auth/users?username=a%0Ab&password=p".to_owned(),
        "POST /v1/auth/users?username=a&password=".to_owned(),
        format!("POST /v1/auth/users?username={long}&password=p"),
        "PUT /v1/auth/users?username=u&newPassword=+".to_owned(),
        format!("POST /v1/auth/roles?role={long}&username=u"),
        "POST /v1/auth/permissions?role=u&resource=x&action=x".to_owned(),
        "POST /v1/auth/permissions?role=u&resource=x&action=wr".to_owned(),
        "POST /v1/auth/permissions?role=u&resource=&action=r".to_owned(),
        format!("POST /v1/auth/permissions?role=u&resource={}&action=r", "x".repeat(513)),
        "DELETE /v1/auth/roles?role=ROLE_ADMIN".to_owned(),
        "GET /v1/auth/users?pageNo=0&pageSize=1".to_owned(),
        "GET /v1/auth/roles?pageNo=1&pageSize=-1".to_owned(),
    ] {
        let (method, target) = target.split_once(' ').expect("two words");
        let answer = site.by(&site.admin, method, target);
        assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
    }
    let page = site.admin("GET", "/v1/auth/users?pageNo=2147483647&pageSize=2147483647");
    assert_eq!((page["totalCount"].as_u64(), page["pageItems"].as_array().map(Vec::len)), (Some(2), Some(0)));
    let second = site.admin("GET", "/v1/auth/users?pageNo=2&pageSize=1");
    assert_eq!(second["pageItems"][0]["username"], "u");
    assert_eq!(second["pagesAvailable"], 2);
    assert_eq!(site.admin("GET", "/v1/auth/users/search?username=%25"), serde_json::json!([]));
    assert_eq!(site.by(&site.admin, "PUT", "/v1/auth/users/password?oldPassword=a&newPassword=b").status, 404);
}

#[test]
fn with_authentication_off_nobody_changes_users() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for target in [
        "POST /v1/auth/users?username=u&password=p",
        "PUT /v1/auth/users?username=nacos&newPassword=p",
        "DELETE /v1/auth/users?username=u",
        "POST /v1/auth/roles?role=r&username=u",
        "DELETE /v1/auth/roles?role=r",
        "POST /v1/auth/permissions?role=r&resource=*&action=rw",
        "DELETE /v1/auth/permissions?role=r&resource=*&action=rw",
    ] {
        let (method, target) = target.split_once(' ').expect("two words");
        let answer = client.send(method, &format!("/nacos{target}"), &[], None).expect("an answer");
        let message = refusal(&answer).unwrap_or_else(|| panic!("{method} {target}: {}", answer.text()));
        assert!(message.starts_with("authentication is off"), "{message}");
    }
    let users = client.get("/nacos/v1/auth/users?pageNo=1&pageSize=9").expect("an answer");
    assert_eq!(json(&users)["totalCount"], 0);
}

#[test]
fn a_token_from_before_means_nothing_once_authentication_is_on() {
    let mut server = Server::start(&[]);
    let login = "/nacos/v1/auth/login?username=nacos&password=nacos";
    let answer = server.client().send("POST", login, &[], None).expect("an answer");
    let token = json(&answer)["accessToken"].as_str().expect("a token").to_owned();
    server.term();
    server.configure(super::PROPERTIES);
    server.restart();
    let site = Site { server, admin: token.clone() };
    let refused = refusal(&site.by(&token, "GET", "/v1/auth/users?pageNo=1&pageSize=9"));
    assert_eq!(refused.as_deref(), Some("token invalid!"));
    site.token("nacos", "nacos");
}

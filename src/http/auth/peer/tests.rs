use std::net::SocketAddr;

use crate::http::auth::access::{PEER, PEER_OR_ADMIN};
use crate::http::auth::{Options, now_s};
use crate::http::router::{ROUTES, Route};
use crate::http::world::{Heard, World, options, send};
use crate::model::account::ADMIN_ROLE;

const MEMBER: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.9";

async fn ask(ip: &str, to: SocketAddr, method: &str, path: &str, headers: &str) -> Heard {
    let head = format!("{method} /nacos{path}\nContent-Type: application/json\n{headers}");
    send(ip, to, &head, b"[]").await
}

#[tokio::test]
async fn a_stranger_gets_at_nothing_that_is_for_members() {
    let world = World::of(options(false), [MEMBER]);
    let to = world.serve().await;
    let mut of_peers = 0;
    for Route(method, path, _, access) in ROUTES {
        let method = method.as_str();
        let heard = ask(STRANGER, to, method, path, "User-Agent: Nacos-Server:1.4.8").await;
        let guarded = [PEER, PEER_OR_ADMIN].contains(access);
        of_peers += usize::from(guarded);
        let refused = heard.status == 403 && heard.text().contains("only servers of this cluster may do this");
        assert_eq!(refused, guarded, "{method} {path}: {} {}", heard.status, heard.text());
        if guarded {
            let heard = ask(MEMBER, to, method, path, "").await;
            assert_ne!(heard.status, 403, "{method} {path}: {}", heard.text());
        }
    }
    assert!(of_peers > 20);
}

#[tokio::test]
async fn a_server_that_stands_alone_asks_nobody() {
    let world = World::of_one();
    let to = world.serve().await;
    for Route(method, path, ..) in ROUTES.iter().filter(|Route(.., access)| access.is_of_peers()) {
        let heard = ask(STRANGER, to, method.as_str(), path, "").await;
        assert_ne!(heard.status, 403, "{method} {path}: {}", heard.text());
    }
}

#[tokio::test]
async fn an_admin_may_what_admins_may_with_authentication_on() {
    let world = World::of(options(true), [MEMBER]);
    world.user("nacos", &[ADMIN_ROLE]);
    world.user("other", &[]);
    let to = world.serve().await;
    let bearer = |user: &str| {
        let token = world.app.auth.rules().tokens.issue(user, now_s()).unwrap();
        format!("Authorization: Bearer {token}")
    };
    for Route(method, path, _, access) in ROUTES.iter().filter(|Route(.., access)| access.is_of_peers()) {
        let status = async |ip: &str, headers: &str| ask(ip, to, method.as_str(), path, headers).await.status;
        assert_ne!(status(MEMBER, "").await, 403, "{method} {path}");
        assert_eq!(status(STRANGER, "").await, 403, "{method} {path}");
        assert_eq!(status(STRANGER, &bearer("other")).await, 403, "{method} {path}");
        let admitted = status(STRANGER, &bearer("nacos")).await != 403;
        assert_eq!(admitted, *access == PEER_OR_ADMIN, "{method} {path}");
    }
    let list = ask(MEMBER, to, "GET", "/v1/ns/instance/list?serviceName=s", "").await;
    assert_eq!(list.status, 403, "where a connection comes from is no login");
}

#[tokio::test]
async fn the_check_can_be_left_out_but_no_identity_can() {
    let identity = || Some(("x-cluster".to_owned(), "sesame".to_owned()));
    for (enabled, identity, status) in
        [(false, None, 200), (false, identity(), 200), (true, None, 200), (true, identity(), 403)]
    {
        let told = format!("authentication {enabled}, identity {}", identity.is_some());
        let world = World::of(Options { identity, check_peers: false, ..options(enabled) }, [MEMBER]);
        let to = world.serve().await;
        let heard = send(STRANGER, to, "PUT /nacos/v1/ns/distro/datum", b"{}").await;
        assert_eq!(heard.status, status, "{told}: {}", heard.text());
    }
}

#[tokio::test]
async fn who_leaves_is_a_stranger() {
    let world = World::of(options(false), [MEMBER, "127.0.0.3"]);
    let to = world.serve().await;
    let push = async |ip: &str| send(ip, to, "PUT /nacos/v1/ns/distro/datum", b"{}").await.status;
    assert_eq!(push("127.0.0.3").await, 200);
    let leave = "POST /nacos/v1/core/cluster/server/leave\nContent-Type: application/json";
    let heard = send(MEMBER, to, leave, br#"["127.0.0.3:8848","10.0.0.1:8848","8.8.8.8:1"]"#).await;
    assert_eq!(heard.text(), r#"{"code":200,"message":null,"data":"ok"}"#);
    assert_eq!(push("127.0.0.3").await, 403);
    let left: Vec<String> = world.app.members.all().iter().map(|member| member.address()).collect();
    assert_eq!(left, ["10.0.0.1:8848", "127.0.0.2:8848"]);
}

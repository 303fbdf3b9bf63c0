//! An app for tests, alone or in a cluster, whose settings are put into the registry directly.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::actuator::Actuator;
use super::auth::{Auth, Options};
use super::call::{App, Call, Caller};
use super::conn::Conn;
use super::live::Live;
use super::params::Params;
use super::router::{self, Router};
use super::server::{Limits, Server};
use crate::cluster::core::Settings;
use crate::cluster::driver::Notes;
use crate::cluster::members::Members;
use crate::cluster::peer::{PeerOptions, Peers};
use crate::cluster::{Cluster, Parts};
use crate::commit::{self, Commit};
use crate::model::Row;
use crate::model::clock::AwakeClock;
use crate::model::member::Member;
use crate::model::settings::{Setting, SettingKey, Switches, User};
use crate::push::Push;
use crate::registry::Registry;
use crate::store::{Durability, OnFailure, Options as StoreOptions, Store};

/// Largest bodies: of clients, of members.
const MAX_BODY_BYTES: (usize, usize) = (1 << 20, 4 << 20);

/// See the module.
pub(super) struct World {
    pub(super) app: Arc<App>,
    _dir: tempfile::TempDir,
}

/// With authentication on or off and no server identity.
pub(super) fn options(enabled: bool) -> Options {
    Options { enabled, token_key: vec![1; 32], token_ttl_s: 60, identity: None, check_peers: true }
}

/// A cluster that has restored its data, as of `as_of_ms`, or has none yet; it has met nobody.
fn cluster(
    as_of_ms: Option<u64>,
    members: &Arc<Members>,
    identity: Option<(String, String)>,
    registry: &Arc<Registry>,
    commit: &Commit,
    clock: &AwakeClock,
) -> Cluster {
    let own = members.own().address();
    let peers = Peers::new(PeerOptions { context: "/nacos".into(), own, identity }).unwrap();
    Cluster::new(Parts {
        settings: Settings::default(),
        members: members.clone(),
        registry: registry.clone(),
        commit: commit.clone(),
        clock: clock.clone(),
        peers: Arc::new(peers),
        notes: Notes::default(),
        as_of_ms,
    })
}

impl World {
    /// A server on its own, with authentication.
    pub(super) fn alone() -> Self {
        Self::new(options(true), Members::alone(Member::new("10.0.0.1", 8848)), false)
    }

    /// The same without authentication.
    pub(super) fn of_one() -> Self {
        Self::new(options(false), Members::alone(Member::new("10.0.0.1", 8848)), false)
    }

    /// One of 10.0.0.1 (this one), 10.0.0.2 and 10.0.0.3, without authentication.
    pub(super) fn of_three() -> Self {
        Self::of(options(false), ["10.0.0.2", "10.0.0.3"])
    }

    /// 10.0.0.1 and the servers on these hosts, all on port 8848.
    pub(super) fn of<'a>(auth: Options, others: impl IntoIterator<Item = &'a str>) -> Self {
        let others = others.into_iter().map(|host| Member::new(host, 8848));
        Self::new(auth, Members::new(Member::new("10.0.0.1", 8848), others, 3), true)
    }

    /// Which shows the others the identity that it asks of them.
    pub(super) fn new(auth: Options, members: Members, clustered: bool) -> Self {
        Self::as_of(Some(1), auth, members, clustered)
    }

    /// The same with data as of that time, or none yet.
    pub(super) fn as_of(as_of_ms: Option<u64>, auth: Options, members: Members, clustered: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store_options = StoreOptions { durability: Durability::Off, ..StoreOptions::new(dir.path()) };
        let (store, _) = Store::open(store_options, 0, &mut |_| {}, &|_| {}).unwrap();
        let (registry, clock) = (Arc::new(Registry::default()), AwakeClock::starting_at(1));
        let commit_options = commit::Options { queue_len: 10, batch_rows: 10, on_failure: OnFailure::Refuse };
        let (commit, _) = commit::start(registry.clone(), store, clock.clone(), commit_options, Vec::new()).unwrap();
        let members = Arc::new(members);
        let app = App {
            cluster: clustered.then(|| {
                let identity = auth.identity.clone();
                Arc::new(cluster(as_of_ms, &members, identity, &registry, &commit, &clock))
            }),
            consensus: None,
            registry,
            commit,
            push: Push::new(clock.clone(), Vec::new()),
            clock,
            context: "/nacos".into(),
            members,
            live: Live::new(Vec::new(), MAX_BODY_BYTES.0, MAX_BODY_BYTES.1),
            port: 8848,
            function_mode: None,
            auth: Auth::new(auth).unwrap(),
            restore_report: Default::default(),
            traffic: Arc::new(router::traffic()),
            actuator: Actuator { info: false, prometheus: false, collect: Arc::new(|| Ok(String::new())) },
        };
        Self { app: Arc::new(app), _dir: dir }
    }

    pub(super) fn put(&self, key: SettingKey, setting: Setting) {
        self.app.registry.apply(Row::Setting(key, Some(Arc::new(setting))), 0, false);
    }

    pub(super) fn user(&self, name: &str, roles: &[&str]) {
        let user = User { password_hash: String::new(), created: 1 };
        self.put(SettingKey::User(name.into()), Setting::User(user));
        for role in roles {
            self.put(SettingKey::Role { role: (*role).into(), user: name.into() }, Setting::Role(1));
        }
    }

    pub(super) fn permit(&self, role: &str, resource: &str, action: &str) {
        let (role, resource, action) = (role.into(), resource.into(), action.into());
        self.put(SettingKey::Permission { role, resource, action }, Setting::Permission(1));
    }

    pub(super) fn with_call<T>(&self, query: &str, look: impl FnOnce(&Call<'_>) -> T) -> T {
        let headers = HeaderMap::new();
        let (params, peer) = (Params::of_query(Some(query)), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (method, path, caller) = (&Method::GET, "/", Caller::Anybody);
        let (switches, body) = (Switches::default(), Bytes::new());
        let (app, headers, switches, body) = (&self.app, &headers, &switches, &body);
        look(&Call { app, method, path, headers, params, body, switches, peer, caller })
    }

    /// Serves on the loopback until the runtime ends.
    pub(super) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Arc::new(Router::new(self.app.clone(), 100));
        let answer = move |request, conn: Arc<Conn>| router.answer(request, conn);
        tokio::spawn(async move { Server::new(Limits::default()).run(listener, answer, std::future::pending()).await });
        address
    }
}

/// An answer: status, head, body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Heard {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request from `ip` (of the loopback) to `to`. `head` is its first line without the version, and its headers
/// without the length.
pub(super) async fn send(ip: &str, to: SocketAddr, head: &str, body: &[u8]) -> Heard {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{}\r\n", header.trim())).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{length}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses doesn't take the body.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Heard { status, head, body }
}

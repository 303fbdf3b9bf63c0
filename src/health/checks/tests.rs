use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::model::{ClusterSettings, Instance, InstanceKey, Row, ServiceKey};
use crate::registry::{Change, Registry};

/// A port on which connections are neither accepted nor refused, as long as the sockets live.
fn hanging() -> (Vec<Socket>, i32) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&address);
        sockets.push(waiting);
    }
    std::thread::sleep(Duration::from_millis(50));
    (sockets, address.as_socket().unwrap().port().into())
}

fn job(port: i32, settings: Option<ClusterSettings>, kind: Kind) -> Job {
    let service = ServiceKey::new("public", "g@@s");
    let key = InstanceKey { service, cluster: "c".into(), ip: "127.0.0.1".into(), port, ephemeral: false };
    let row = Row::Instance(key, Some(Arc::new(Instance::default())));
    let Some(Change::Put { slot, .. }) = Registry::default().apply(row, 0, true) else { panic!("not put") };
    Job { number: 1, slot, kind, settings: settings.map(Arc::new) }
}

async fn closed_port() -> i32 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().into()
}

#[tokio::test]
async fn every_row_of_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = i32::from(listener.local_addr().unwrap().port());
    for host in ["127.0.0.1", "localhost"] {
        assert!(matches!(tcp::check(host, open).await, Finding::Ok(ms) if ms < 500.0), "{host}");
        let (mut peer, _) = listener.accept().await.unwrap();
        let closed = tokio::time::timeout(Duration::from_millis(400), peer.read(&mut [0; 8])).await;
        assert_eq!(closed.expect("closed at once").unwrap(), 0, "nothing is sent");
    }
    assert_eq!(tcp::check("127.0.0.1", closed_port().await).await, Finding::FailNow);
    let (_sockets, port) = hanging();
    let start = Instant::now();
    assert_eq!(tcp::check("127.0.0.1", port).await, Finding::Busy);
    assert!((450..2_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    for (host, port) in [("no.such.host.invalid", 80), ("", 80), ("a b", 80), ("127.0.0.1", -1), ("127.0.0.1", 65_536)]
    {
        let found = tcp::check(host, port).await;
        assert!(matches!(found, Finding::Fail | Finding::Busy), "{host:?}:{port} {found:?}");
    }
}

#[tokio::test]
async fn addresses() {
    for (host, found) in [
        ("10.0.0.1", Ok("10.0.0.1:80")),
        ("::1", Ok("[::1]:80")),
        ("[::1]", Ok("[::1]:80")),
        ("[::1", Err(Finding::Fail)),
    ] {
        let expected = found.map(|text| text.parse().unwrap());
        assert_eq!(target::address(host, 80).await, expected, "{host}");
    }
    assert_eq!(target::address("10.0.0.1", 65_536).await, Err(Finding::Fail));
}

#[test]
fn what_this_machine_lacks_is_held_against_nobody() {
    let of = |number| target::finding_of(&io::Error::from_raw_os_error(number), true);
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL.
    assert_eq!([24, 23, 105, 12, 99].map(of), [Finding::Unknown; 5]);
    assert_eq!(target::finding_of(&io::Error::from_raw_os_error(99), false), Finding::Fail, "no IPv6 here");
    // ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EINVAL.
    let expected = [Finding::FailNow, Finding::Busy, Finding::Fail, Finding::Fail, Finding::Fail];
    assert_eq!([111, 110, 101, 113, 22].map(of), expected);
}

#[tokio::test]
async fn the_port_of_the_cluster_or_of_the_instance() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (open, closed) = (i32::from(listener.local_addr().unwrap().port()), closed_port().await);
    let http = HealthChecker::Http { path: "/".into(), headers: String::new(), expected_code: 200 };
    let mysql = HealthChecker::Mysql { user: None, pwd: None, cmd: None };
    let settings = |checker: &HealthChecker, check_port, use_instance_port| {
        let checker = checker.clone();
        Some(ClusterSettings { checker, check_port, use_instance_port, ..ClusterSettings::default() })
    };
    assert!(matches!(check(&job(open, None, Kind::Tcp)).await, Finding::Ok(_)));
    let tcp = HealthChecker::Tcp;
    assert!(matches!(check(&job(closed, settings(&tcp, open, false), Kind::Tcp)).await, Finding::Ok(_)));
    assert!(matches!(check(&job(open, settings(&tcp, closed, true), Kind::Tcp)).await, Finding::Ok(_)));
    assert_eq!(check(&job(open, settings(&tcp, closed, false), Kind::Tcp)).await, Finding::FailNow);
    assert_eq!(check(&job(open, settings(&http, closed, false), Kind::Http)).await, Finding::FailNow);
    // MYSQL asks the instance's port whatever the settings say; nobody greets there.
    assert_eq!(check(&job(open, settings(&mysql, closed, false), Kind::Mysql)).await, Finding::Busy);
    assert_eq!(check(&job(closed, settings(&mysql, open, false), Kind::Mysql)).await, Finding::FailNow);
}

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::*;
use crate::config::flags::Scenario;
use crate::tools::client::Server;
use crate::tools::client::fake::Fake;
use crate::tools::fleet::Kind;
use crate::tools::verify::verify;

const PLAN: Plan = Plan { connections: 4, threads: 2, timeout: Duration::from_secs(20), seed: 1 };

fn fleet() -> Fleet {
    Fleet {
        services: 4,
        instances: 12,
        prefix: "p".into(),
        namespace: "public".into(),
        group: "G".into(),
        metadata: "{}".into(),
        period_ms: 5_000,
    }
}

/// A registry that forgets the instance with this number, if any, on its registration.
fn registry(forgets: Option<u32>) -> impl Fn(&str) -> String + Send + Sync {
    let known: Mutex<BTreeMap<String, String>> = Mutex::default();
    move |request| {
        let between = |from: &str, to: char| {
            let rest = request.split_once(from).map_or("", |(_, rest)| rest);
            rest.split([to, ' ']).next().unwrap_or_default().to_owned()
        };
        let (service, ip) = (between("serviceName=", '&'), between("&ip=", '&'));
        let mut known = known.lock();
        if request.starts_with("POST ") {
            if forgets.is_none_or(|forgets| ip != format!("10.0.0.{forgets}")) {
                known.insert(ip, service);
            }
            Fake::ok("ok")
        } else if request.starts_with("DELETE ") {
            known.remove(&ip);
            Fake::ok("ok")
        } else if request.starts_with("PUT ") {
            let code = if known.contains_key(&ip) { 10_200 } else { 20_404 };
            Fake::ok(&format!(r#"{{"code":{code},"lightBeatEnabled":true}}"#))
        } else {
            let host = |ip: &String| format!(r#"{{"instanceId":"x","ip":"{ip}","port":8080,"healthy":true}}"#);
            let hosts: Vec<_> = known.iter().filter(|(_, s)| **s == service).map(|(ip, _)| host(ip)).collect();
            Fake::ok(&format!(r#"{{"hosts":[{}]}}"#, hosts.join(",")))
        }
    }
}

async fn engine(forgets: Option<u32>) -> (Fake, Arc<Session>, Engine) {
    let fake = Fake::start(registry(forgets)).await;
    let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
    let engine = Engine::new(Arc::clone(&session), fleet(), PLAN, Arc::default());
    (fake, session, engine)
}

async fn pass(engine: Engine, pass: Pass) -> (Engine, Record) {
    let mut engine = engine;
    tokio::task::spawn_blocking(move || {
        let record = engine.pass(pass, &mut |_| {}).unwrap();
        (engine, record)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn all_is_registered_used_and_removed() {
    let (_fake, session, engine) = engine(None).await;
    let (engine, record) = pass(engine, Pass::once(Work::Prepare)).await;
    assert_eq!((record.good_count(), record.fault_count()), (12, 0), "{:?}", record.faults());
    assert_eq!(engine.expected(), [Expect::Present; 12]);
    for scenario in [Scenario::List, Scenario::BeatFull, Scenario::BeatLight, Scenario::Register] {
        let count =
            Pass { work: Work::Scenario(scenario), until: Until::Count(50), warm_up: Duration::ZERO, rate: None };
        let (_, record) = pass(Engine::new(Arc::clone(&session), fleet(), PLAN, Arc::default()), count).await;
        assert_eq!((record.good_count(), record.fault_count()), (50, 0), "{scenario:?}: {:?}", record.faults());
    }
    let (engine, record) = pass(engine, Pass::once(Work::Clean)).await;
    assert_eq!((record.good_count(), engine.expected()), (12, &[Expect::Absent; 12][..]));
    assert!(verify(&session, engine.fleet(), engine.expected(), Duration::ZERO).await.is_good());
}

#[tokio::test]
async fn an_instance_that_the_server_loses_is_found() {
    let (_fake, session, engine) = engine(Some(5)).await;
    let (engine, record) = pass(engine, Pass::once(Work::Prepare)).await;
    assert_eq!(record.fault_count(), 0, "the server lies");
    let found = verify(&session, engine.fleet(), engine.expected(), Duration::ZERO).await;
    assert_eq!((found.missing, &found.examples[..]), (1, &["missing: instance 5 of p-00001".to_owned()][..]));
    let work = Work::Scenario(Scenario::BeatLight);
    let (_, record) = pass(engine, Pass { work, until: Until::Count(60), warm_up: Duration::ZERO, rate: None }).await;
    assert!(record.forgotten > 0 && record.faults()[0].fault == "code 20404", "{:?}", record.faults());
}

#[tokio::test]
async fn churn_is_accounted_for_to_the_last_request() {
    let (_fake, session, engine) = engine(None).await;
    let work = Work::Scenario(Scenario::Churn);
    let (engine, record) =
        pass(engine, Pass { work, until: Until::Count(500), warm_up: Duration::ZERO, rate: None }).await;
    let good: BTreeMap<_, _> = record.tallies().map(|(kind, tally)| (kind, tally.good)).collect();
    assert!(good[&Kind::Register] > good[&Kind::Deregister] && good.values().sum::<u64>() == 500, "{good:?}");
    let found = verify(&session, engine.fleet(), engine.expected(), Duration::ZERO).await;
    assert!(found.is_good() && found.registered > 0 && found.deregistered > 0, "{found:?}");
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate_and_counts_what_waited() {
    let (_fake, _session, engine) = engine(None).await;
    let work = Work::Scenario(Scenario::Register);
    let until = Until::After(Duration::from_millis(500));
    let (_, record) = pass(engine, Pass { work, until, warm_up: Duration::from_millis(100), rate: Some(400.0) }).await;
    assert_eq!((record.good_count() + record.fault_count(), record.waited.count()), (200, 200));
    let (first, last) = record.span.unwrap();
    assert!(first >= Duration::from_millis(100) && last >= Duration::from_millis(595), "{first:?} {last:?}");
}

#[tokio::test]
async fn a_stop_ends_the_run_and_no_server_is_an_error() {
    let (fake, session, mut engine) = engine(None).await;
    engine.stop.store(true, Ordering::Relaxed);
    let until = Until::After(Duration::from_secs(600));
    let forever = Pass { work: Work::Scenario(Scenario::Mixed), until, warm_up: Duration::ZERO, rate: Some(1.0) };
    let (_, record) = pass(engine, forever).await;
    assert_eq!(record.good_count(), 0);
    drop(fake);
    tokio::task::yield_now().await;
    engine = Engine::new(session, fleet(), PLAN, Arc::default());
    let ended = tokio::task::spawn_blocking(move || engine.pass(forever, &mut |_| {}).map(|_| ())).await.unwrap();
    assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
}

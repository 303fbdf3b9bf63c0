//! What operators set on services, clusters and instances is as before after `kill -9`.

use serde_json::{Value, json};

use crate::client::{Answer, form};
use crate::server::Server;

/// Sends a request of the naming API with its parameters in the query.
fn send(server: &Server, method: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let target = format!("/nacos/v1/ns/{path}?{}", form(pairs));
    server.client().send(method, &target, &[], None).expect("an answer")
}

/// The same, which must answer `ok`.
fn done(server: &Server, method: &str, path: &str, pairs: &[(&str, &str)]) {
    let answer = send(server, method, path, pairs);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{method} {path} {pairs:?}");
}

fn get(server: &Server, path: &str, pairs: &[(&str, &str)]) -> Value {
    let answer = send(server, "GET", path, pairs);
    assert_eq!(answer.status, 200, "{path} {pairs:?}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The instances that the catalog shows of a cluster, without the time of the last beat, which is never stored.
fn instances(server: &Server, service: &str, cluster: &str) -> Vec<Value> {
    let pairs = [("serviceName", service), ("clusterName", cluster), ("pageNo", "1"), ("pageSize", "100")];
    let mut body = get(server, "catalog/instances", &pairs);
    let list = body["list"].as_array_mut().expect("a list");
    for instance in list.iter_mut() {
        assert!(instance["lastBeat"].as_u64().expect("a time") > 1_600_000_000_000, "{instance}");
        instance.as_object_mut().expect("an object").remove("lastBeat");
    }
    list.clone()
}

/// All that the server shows of these services.
fn shown(server: &Server, services: &[&str]) -> Vec<Value> {
    let mut all = vec![get(server, "service/list", &[("pageNo", "1"), ("pageSize", "100")])];
    all.push(get(server, "catalog/services", &[("pageNo", "1"), ("pageSize", "100")]));
    for service in services {
        let mut body = get(server, "catalog/service", &[("serviceName", service)]);
        let clusters = body["clusters"].as_array_mut().expect("a list");
        // Their order is not specified.
        clusters.sort_by_key(|cluster| cluster["name"].to_string());
        let names: Vec<String> = clusters.iter().filter_map(|cluster| Some(cluster["name"].as_str()?.into())).collect();
        all.push(body);
        all.extend(names.iter().map(|name| Value::Array(instances(server, service, name))));
    }
    all
}

#[test]
fn services_clusters_and_persistent_instances_are_as_before() {
    let mut server = Server::start(&[]);
    let label = r#"{"type":"label","expression":"CONSUMER.label.A = PROVIDER.label.A"}"#;
    let threshold = ("protectThreshold", "0.35");
    done(&server, "POST", "service", &[("serviceName", "made"), threshold, ("metadata", "a=b"), ("selector", label)]);
    done(&server, "POST", "service", &[("serviceName", "gone")]);
    done(&server, "DELETE", "service", &[("serviceName", "gone")]);
    let http = r#"{"type":"HTTP","path":"/alive","headers":"h:v","expectedResponseCode":204}"#;
    let mysql = r#"{"type":"MYSQL","user":"u","pwd":"secret","cmd":"select 1"}"#;
    for (name, checker, port, own) in [("c1", http, "81", "true"), ("c2", mysql, "3306", "false")] {
        let place = [("serviceName", "made"), ("clusterName", name), ("checkPort", port)];
        let more = [("useInstancePort4Check", own), ("healthChecker", checker), ("metadata", "k=v")];
        done(&server, "PUT", "cluster", &[place, more].concat());
    }
    for (ip, cluster) in [("10.0.0.1", "c2"), ("10.0.0.2", "other")] {
        let place = [("serviceName", "made"), ("ip", ip), ("port", "80"), ("clusterName", cluster)];
        let more = [("ephemeral", "false"), ("weight", "2.5"), ("metadata", "x=y"), ("app", "shop")];
        done(&server, "POST", "instance", &[&place[..], &more, &[("enabled", "false")]].concat());
    }
    // In memory only until somebody sets something; then stored with the cluster that its instance made.
    let ephemeral = [("serviceName", "registered"), ("ip", "10.0.0.3"), ("port", "80"), ("clusterName", "c3")];
    done(&server, "POST", "instance", &ephemeral);
    done(&server, "PUT", "service", &[("serviceName", "registered"), threshold]);
    done(&server, "DELETE", "instance", &ephemeral);

    let services = ["made", "registered"];
    let before = shown(&server, &services);
    assert_eq!(before[0], json!({"doms": ["made", "registered"], "count": 2}));
    assert!(before.iter().any(|part| part.to_string().contains("10.0.0.2")), "{before:?}");
    for round in ["first", "second"] {
        server.kill9();
        server.restart();
        assert_eq!(shown(&server, &services), before, "after the {round} restart");
    }
}

#[test]
fn a_masked_password_keeps_the_one_that_is_set() {
    let server = Server::start(&[]);
    done(&server, "POST", "service", &[("serviceName", "s")]);
    let put = |cluster: &str, checker: Value, port: &str| {
        let place = [("serviceName", "s"), ("clusterName", cluster), ("checkPort", port)];
        let checker = checker.to_string();
        let more = [("useInstancePort4Check", "true"), ("healthChecker", checker.as_str())];
        send(&server, "PUT", "cluster", &[place.as_slice(), &more].concat())
    };
    let sum = || {
        let answer = send(&server, "PUT", "service/checksum", &[("serviceName", "s")]);
        serde_json::from_slice::<Value>(&answer.body).expect("JSON")["checksum"].clone()
    };
    let checker = |pwd: &str| json!({"type": "MYSQL", "user": "u", "pwd": pwd, "cmd": "select 1"});
    assert_eq!(put("c", checker("******"), "80").status, 400, "there is none to keep");
    assert_eq!(put("c", checker("secret"), "80").text(), "ok");
    // The checksum is made from the true password.
    let (original, shown) = (sum(), get(&server, "service", &[("serviceName", "s")]));
    let checker_shown = shown["clusters"][0]["healthChecker"].clone();
    assert_eq!(checker_shown["pwd"], "******");
    assert_eq!(put("c", checker_shown, "80").text(), "ok");
    assert_eq!(sum(), original);
    assert_eq!(put("c", checker("other"), "80").text(), "ok");
    assert_ne!(sum(), original);
}

#[test]
fn what_an_operator_set_on_an_instance_outlives_restarts_and_beats_but_no_registration() {
    let mut server = Server::start(&[]);
    let place = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80")];
    done(&server, "POST", "instance", &[&place[..], &[("metadata", "v=1")]].concat());
    done(&server, "POST", "instance", &[("serviceName", "s"), ("ip", "10.0.0.2"), ("port", "80")]);
    // As the console does it, then as newer tools do.
    let by_put = [("enabled", "false"), ("weight", "7.5"), ("metadata", "v=2"), ("ephemeral", "true")];
    done(&server, "PUT", "instance", &[&place[..], &by_put].concat());
    done(&server, "PATCH", "instance", &[&place[..], &[("weight", "8.5")]].concat());
    let target = r#"[{"ip":"10.0.0.1","port":80,"ephemeral":true,"clusterName":"DEFAULT"}]"#;
    let batch = [("serviceName", "s"), ("instances", target), ("metadata", r#"{"by":"operator"}"#)];
    assert_eq!(send(&server, "PUT", "instance/metadata/batch", &batch).status, 200);

    let holds = |server: &Server| {
        let all = instances(server, "s", "DEFAULT");
        assert_eq!(all.len(), 2, "{all:?}");
        let seen = [&all[0]["enabled"], &all[0]["weight"], &all[0]["metadata"]];
        assert_eq!(seen, [&json!(false), &json!(8.5), &json!({"v": "2", "by": "operator"})]);
        let list = get(server, "instance/list", &[("serviceName", "s")]);
        let ips: Vec<&Value> = list["hosts"].as_array().expect("hosts").iter().map(|host| &host["ip"]).collect();
        assert_eq!(ips, ["10.0.0.2"], "an instance that is offline is not listed");
    };
    holds(&server);
    server.kill9();
    server.restart();
    holds(&server);

    let beat = json!({"serviceName": "DEFAULT_GROUP@@s", "ip": "10.0.0.1", "port": 80, "weight": 1.0,
        "metadata": {"v": "1"}, "cluster": "DEFAULT"});
    let beat = beat.to_string();
    for more in [vec![], vec![("beat", beat.as_str())]] {
        let answer = send(&server, "PUT", "instance/beat", &[&place[..], &more].concat());
        assert!(answer.text().contains(r#""code":10200"#), "{}", answer.text());
        holds(&server);
    }

    done(&server, "POST", "instance", &[&place[..], &[("metadata", "v=3")]].concat());
    let first = instances(&server, "s", "DEFAULT").swap_remove(0);
    let seen = [&first["enabled"], &first["weight"], &first["metadata"]];
    assert_eq!(seen, [&json!(true), &json!(1.0), &json!({"v": "3"})], "the client's word counts, as in 1.4.8");
}

//! What three real processes have to agree on: persistent instances, settings of services, switches, users.

mod checked;
mod failover;
mod first;
mod history;
mod lost;
mod minority;
mod rounds;
mod writer;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::trio::{Trio, within};
use crate::client::Client;

/// Nobody removes services meanwhile, nor checks instances that are not there.
const PROPERTIES: &str = "nacos.naming.empty-service.auto-clean=false\n";
/// Until somebody leads who all agree on.
const LEADER_LIMIT: Duration = Duration::from_secs(20);

/// Address of the leader, as the server at `asked` knows it.
fn leader_of(asked: SocketAddr) -> Option<SocketAddr> {
    let answer = Client::new(asked).get("/nacos/v1/core/cluster/nodes").ok()?;
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let own = body["data"].as_array()?.iter().find(|node| node["address"] == asked.to_string())?;
    let group = &own["extendInfo"]["raftMetaData"]["metaDataMap"]["naming_persistent_service"];
    let leader: SocketAddr = group["leader"].as_str()?.parse().ok()?;
    // The port of the reference's protocol.
    Some(SocketAddr::new(leader.ip(), leader.port() + 1_000))
}

/// The number of the leader that these servers agree on.
fn leader(trio: &Trio, among: &[usize]) -> usize {
    let addresses = trio.addresses();
    let mut leader = None;
    within(LEADER_LIMIT, "one leader", || {
        let known: Vec<_> = among.iter().map(|number| leader_of(addresses[*number])).collect();
        leader = known[0].and_then(|first| addresses.iter().position(|address| *address == first));
        let agreed = known.windows(2).all(|two| two[0] == two[1]);
        if agreed && leader.is_some_and(|leader| among.contains(&leader)) { Ok(()) } else { Err(format!("{known:?}")) }
    });
    leader.expect("there is one")
}

/// The middle one and the one that at most one of a hundred is above.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
    (at(50), at(99))
}

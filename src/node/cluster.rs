//! This server among its members: who they are at the start, and what happens when others are named while it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::{accounts, address, watch};
use crate::cluster::core::Settings;
use crate::cluster::driver::{Driver, Notes};
use crate::cluster::members::Members;
use crate::cluster::peer::{PeerOptions, Peers};
use crate::cluster::{Cluster, Parts};
use crate::commit::Commit;
use crate::config::{self, Config, Durability, NamedBy};
use crate::consensus::Consensus;
use crate::error::Result;
use crate::health::IsOwner;
use crate::model::clock::AwakeClock;
use crate::model::member::Member;
use crate::registry::Registry;
use crate::store::RestoreReport;

/// How often the comparison before serving is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Between two look-ups of the names of members.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// Longest look-up of one name.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(5);
/// Names that are looked up at the same time: each takes a thread.
const LOOK_UPS: usize = 8;

/// Who the members are, this server listening on `port`. If it is alone, that holds until it ends: `config` says so.
pub(super) fn meet(config: &mut Config, port: u16) -> Arc<Members> {
    let own = Member::new(&address::own_host(config, port), port);
    let named: Vec<Member> = config.members.iter().map(member).collect();
    config.standalone = config.standalone || named.iter().all(|member| member.address() == own.address());
    if config.standalone {
        return Arc::new(Members::alone(own));
    }
    check_own(&own, &named, &config.named_by);
    Arc::new(Members::new(own, named, config.cluster.max_failures))
}

/// Whether this server is responsible for a service, for those who know nothing of members.
pub(super) fn is_owner(members: Arc<Members>, registry: Arc<Registry>) -> IsOwner {
    Arc::new(move |name| !registry.settings().switches().distro_enabled || members.view().is_owner(name))
}

/// What every part of the server works on.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) registry: Arc<Registry>,
    pub(super) members: Arc<Members>,
    pub(super) commit: Commit,
    pub(super) clock: AwakeClock,
}

/// This server's part in the cluster; `None` when it is alone.
///
/// # Errors
/// [`Error::Setup`](crate::error::Error::Setup) when the own address or the server identity can't stand in a header, or
/// there can be no thread.
pub(super) fn join(
    config: &Config,
    base: &Base,
    notes: Notes,
    report: &RestoreReport,
    runtime: &Runtime,
) -> Result<Option<(Arc<Cluster>, Driver)>> {
    if config.standalone {
        return Ok(None);
    }
    if config.auth.enabled && config.auth.token_key.is_none() {
        let key = config::TOKEN_KEY;
        tracing::warn!(
            "each server has made a key of its own: a login counts on one of them alone unless {key} is set"
        );
    }
    if config.auth.enabled && config.auth.identity.is_none() {
        tracing::warn!(
            "members know each other by their addresses alone: set the server identity where logins are asked for"
        );
    }
    let peers = Peers::new(PeerOptions {
        context: config.context_path.clone(),
        own: base.members.own().address(),
        identity: accounts::identity(config),
    })?;
    // What is left of a damaged store is no base to build on: others may know better in every respect.
    let usable = !report.created && report.damage.is_none() && config.store.durability != Durability::Off;
    let base = base.clone();
    let cluster = Arc::new(Cluster::new(Parts {
        settings: settings(config),
        members: base.members,
        registry: base.registry,
        commit: base.commit,
        clock: base.clock,
        peers: Arc::new(peers),
        notes,
        as_of_ms: report.last_alive_ms.filter(|_| usable),
    }));
    let driver = Driver::start(cluster.clone(), runtime.handle().clone())?;
    Ok(Some((cluster, driver)))
}

fn settings(config: &Config) -> Settings {
    let settings = &config.cluster;
    Settings {
        dispatch_ms: settings.dispatch_ms,
        batch_keys: settings.batch_keys,
        retry_ms: settings.sync_retry_ms,
        verify_ms: settings.verify_interval_ms,
        load_patience_ms: (!settings.warmup).then_some(settings.load_wait_ms),
        ..Settings::default()
    }
}

/// Lets `cluster` compare its data with a member, for a while, before anybody is served: so that the first answer is as
/// good as that of the others.
pub(super) async fn compare_first(cluster: &Cluster, wait_ms: u64) {
    let until = tokio::time::Instant::now() + Duration::from_millis(wait_ms);
    while !cluster.is_ready() && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let phase = cluster.standing().phase;
    tracing::info!(target: "nacre::cluster", ?phase, "this server is about to serve");
}

fn member(named: &config::Member) -> Member {
    Member::new(&named.host, named.port)
}

fn check_own(own: &Member, named: &[Member], by: &NamedBy) {
    let own = own.address();
    if named.iter().all(|member| member.address() != own) {
        tracing::warn!(
            target: "nacre::cluster",
            "the own address {own} is not among the members of {by}: it is added here, but the others don't know this \
             server; list it there, or set nacos.server.ip (--ip) to the address that is listed"
        );
    }
}

/// Says who the members are, in the words of the reference.
pub(super) fn announce(members: &Members) {
    let all: Vec<String> = members.all().iter().map(Member::address).collect();
    tracing::info!(target: "nacre::cluster", "[serverlist] updated to : [{}]", all.join(", "));
}

/// What keeps the members as the file names them.
pub(super) struct Following {
    /// What the file says when it has changed; ends at once when the file doesn't count.
    pub(super) lists: mpsc::Receiver<watch::List>,
    named: Arc<Notify>,
    members: Arc<Members>,
    group: Option<Consensus>,
}

impl Following {
    /// Watches the file if it counts, and looks up names. To be called within the runtime.
    ///
    /// # Errors
    /// [`Error::Setup`](crate::error::Error::Setup) when the system refuses a thread.
    pub(super) fn start(config: &Config, members: Arc<Members>, group: Option<Consensus>) -> Result<Self> {
        let named = Arc::new(Notify::new());
        if !config.standalone {
            tokio::spawn(keep_looking_up(members.clone(), named.clone()));
        }
        let lists = if config.named_by.heeds_file() {
            let in_file = if config.named_by == NamedBy::File { config.members.clone() } else { Vec::new() };
            watch::follow(config.conf_dir(), in_file)?
        } else {
            mpsc::channel(1).1
        };
        Ok(Self { lists, named, members, group })
    }

    /// The file has changed. Its members count from now on, and are written to `config`; a file that is wrong or names
    /// nobody changes nothing, nor does any when this server was started alone.
    pub(super) fn take_list(&self, config: &mut Config, list: watch::List) {
        let list = match list {
            Ok(list) => list,
            Err(fault) => return tracing::warn!(target: "nacre::cluster", "the members stay as they are: {fault}"),
        };
        let own = self.members.own().address();
        if config.standalone {
            if let Some(other) = list.iter().find(|named| member(named).address() != own && !config.is_own(named)) {
                tracing::warn!(
                    target: "nacre::cluster",
                    "conf/cluster.conf now names {other}: this server was started alone and stays so until its next start"
                );
            }
            return;
        }
        if list.is_empty() {
            tracing::warn!(target: "nacre::cluster", "the members stay as they are: conf/cluster.conf names nobody now");
            return;
        }
        (config.members, config.named_by) = (list, NamedBy::File);
        self.put_into_effect(config);
    }

    /// The members of `config` are the members from now on.
    pub(super) fn put_into_effect(&self, config: &Config) {
        let named: Vec<Member> = config.members.iter().map(member).collect();
        check_own(&self.members.own(), &named, &config.named_by);
        self.members.replace(named);
        self.named.notify_one();
        if let Some(group) = &self.group {
            group.members_changed();
        }
        announce(&self.members);
    }
}

/// Looks up the members that are named by a host name, again and again and when others are named: the address of a
/// connection shows who it is from.
async fn keep_looking_up(members: Arc<Members>, named: Arc<Notify>) {
    loop {
        let others = members.others();
        let hosts: Vec<_> = others.into_iter().filter(|member| is_name(&member.ip)).collect();
        for some in hosts.chunks(LOOK_UPS) {
            let look_ups = some.iter().map(|member| look_up(member.ip.clone(), member.port, member.address()));
            let mut look_ups: JoinSet<_> = look_ups.collect();
            while let Some(found) = look_ups.join_next().await {
                // The last addresses stay when a look-up fails.
                if let Ok((address, Some(ips))) = found {
                    members.set_ips(&address, ips);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_UP_EVERY) => {}
            () = named.notified() => {}
        }
    }
}

fn is_name(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
}

async fn look_up(host: String, port: u16, address: String) -> (String, Option<Vec<IpAddr>>) {
    let found = tokio::time::timeout(LOOK_UP_LIMIT, lookup_host((host, port))).await;
    let ips = match found {
        Ok(Ok(found)) => Some(found.map(|found| found.ip()).collect::<Vec<_>>()).filter(|ips| !ips.is_empty()),
        Ok(Err(error)) => {
            tracing::debug!(target: "nacre::cluster", address, %error, "the name of a member is not found");
            None
        }
        Err(_) => None,
    };
    (address, ips)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Flags;

    /// A configuration with these flags and this cluster.conf, and its folder.
    fn config(flags: Flags, file: &str) -> (Config, tempfile::TempDir) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("conf")).unwrap();
        fs::write(home.path().join("conf/cluster.conf"), file).unwrap();
        let flags = Flags { home: Some(home.path().to_owned()), ..flags };
        (Config::load(&flags, []).unwrap(), home)
    }

    fn joined(flags: Flags, file: &str) -> (Vec<String>, bool) {
        let (mut config, _home) = config(flags, file);
        let members = meet(&mut config, 8848);
        assert_eq!(members.is_alone(), config.standalone);
        let all = members.all().into_iter().map(|member| member.address().trim_end_matches(":8848").to_owned());
        (all.collect(), config.standalone)
    }

    #[test]
    fn who_takes_part() {
        let ip = |text: &str| Flags { ip: Some(text.into()), ..Flags::default() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(joined(ip("10.0.0.1"), "10.0.0.2\n10.0.0.1"), (names(&["10.0.0.1", "10.0.0.2"]), false));
        assert_eq!(joined(ip("10.0.0.1"), "10.0.0.2"), (names(&["10.0.0.1", "10.0.0.2"]), false));
        assert_eq!(joined(ip("10.0.0.1"), "10.0.0.1"), (names(&["10.0.0.1"]), true));
        assert_eq!(joined(ip("10.0.0.1"), ""), (names(&["10.0.0.1"]), true));
        // Found by the address of an interface, which the configuration can't know.
        assert_eq!(joined(Flags::default(), "127.0.0.8\n"), (names(&["127.0.0.8"]), true));
        assert_eq!(joined(Flags::default(), "127.0.0.8\n10.255.0.1"), (names(&["10.255.0.1", "127.0.0.8"]), false));
    }

    #[tokio::test]
    async fn names_of_members_are_looked_up_also_of_those_that_come_later() {
        let (mut config, _home) = config(Flags { ip: Some("10.0.0.1".into()), ..Flags::default() }, "10.0.0.2");
        let members = meet(&mut config, 8848);
        let following = Following::start(&config, members.clone(), None).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let named = |host: &str, port| config::Member { host: host.into(), port };
        let list = vec![named("10.0.0.1", 8848), named("nowhere.invalid", 9), named("localhost", 9)];
        following.take_list(&mut config, Ok(list));
        for _ in 0..200 {
            if members.is_from_member([127, 0, 0, 1].into()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("localhost was not looked up");
    }
}

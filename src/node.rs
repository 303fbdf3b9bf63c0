//! Composition: builds the rooms in the order of the design (store -> registry -> health -> bind), runs them, and
//! takes them down in the opposite order. The only file that knows all.

mod accounts;
mod address;
mod cluster;
mod consensus;
mod figures;
mod listener;
mod reload;
mod restore;
mod signals;
mod systemd;
mod watch;

use std::sync::Arc;

use cluster::{Base, Following};
use figures::Figures;
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;

use crate::cluster::driver::{Driver, Notes};
use crate::commit::{self, Listeners};
use crate::config::{self, Config, Flags};
use crate::consensus::Consensus;
use crate::error::{Error, Result};
use crate::health::{self, Health, Inbox, IsOwner};
use crate::http::actuator::{Actuator, Alone, Collect};
use crate::http::call::App;
use crate::http::conn::Conn;
use crate::http::live::Live;
use crate::http::router::{self, Router};
use crate::http::server::{Limits, Server};
use crate::model::clock::{AT_START_MS, AwakeClock};
use crate::push::{Push, Sender};
use crate::registry::Registry;
use crate::store;
use crate::telemetry::performance::{self, Numbers};
use crate::telemetry::process::Watch;

/// Connections to the listener for metrics.
const METRICS_CONNECTIONS: usize = 32;

use reload::Reload;
pub use reload::log_directives;

/// Runs the server until it gets SIGTERM or SIGINT; then stops cleanly. At SIGHUP the configuration is read again, with
/// the same `flags`.
///
/// # Errors
/// [`Error::Setup`] with one line about what is in the way: the data folder, the port, threads.
pub fn run(mut config: Config, flags: Flags) -> Result<()> {
    let watch = Watch::start();
    let runtime = runtime()?;
    let hang_ups = signals::hang_ups(&runtime)?;
    let (socket, metrics_socket) = sockets(&config)?;
    let port = listener::port(&socket).unwrap_or(config.port);
    let clock = AwakeClock::starting_at(AT_START_MS);
    let inbox = Inbox::default();
    let registry = Arc::new(Registry::default());
    let members = cluster::meet(&mut config, port);
    let push = Push::new(clock.clone(), config.push_allow_client_ip.clone());
    let (store, report) = restore::restore(&config, &registry, &clock, &inbox, &push)?;
    let restored = restore::as_json(&report)?;
    let auth = accounts::auth(&config)?;
    let store_stats = store.stats();
    let notes = Notes::default();
    let listeners = listeners(&config, &inbox, &push, &notes);
    let (commit, committer) =
        commit::start(registry.clone(), store, clock.clone(), commit_options(&config), listeners)?;
    let health_options = health_options(&config, cluster::is_owner(members.clone(), registry.clone()));
    let health = Health::start(registry.clone(), commit.clone(), clock.clone(), inbox, health_options)?;
    let base = Base { registry, members, commit, clock };
    let (cluster, driver) = cluster::join(&config, &base, notes, &report, &runtime)?.unzip();
    let group = runtime.block_on(consensus::start(&config, &base, &report, cluster.as_ref()))?;
    let Base { registry, members, commit, clock } = base;
    let sender = Sender::start(push.clone(), registry.clone(), commit.clone(), config.bind)?;
    let server = Server::new(limits(&config));
    let traffic = Arc::new(router::traffic());
    let figures = Arc::new(Figures {
        registry: registry.clone(),
        commit: commit.clone(),
        store: store_stats,
        restore: report,
        health: health.figures(),
        push: push.clone(),
        traffic: traffic.clone(),
        server: server.clone(),
        clock: clock.clone(),
        process: watch,
        settings: figures::Settings::of(&config),
        members: members.clone(),
        cluster: cluster.clone(),
        group: group.clone(),
        making: Default::default(),
    });
    let collect: Collect = Arc::new(move || figures.page());
    let app = App {
        registry,
        commit: commit.clone(),
        clock,
        context: config.context_path.clone(),
        members,
        cluster,
        consensus: group.clone(),
        port,
        function_mode: function_mode(&config),
        live: live(&config),
        push,
        auth,
        restore_report: restored,
        traffic,
        actuator: Actuator { info: config.metrics.info, prometheus: config.metrics.prometheus, collect },
    };
    let served = Served { config, flags, app, server, socket, metrics_socket };
    let served = serve(&runtime, served, hang_ups);
    part(&runtime, driver, group);
    health.stop();
    sender.stop();
    commit.stop();
    let closed = committer.join().unwrap_or_else(|_| Err(Error::Setup("the committer had panicked".into())));
    // Not before: until here a second signal ends the process.
    runtime.shutdown_background();
    served.and(closed)?;
    tracing::info!("stopped");
    Ok(())
}

fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("http").build();
    runtime.map_err(|e| Error::Setup(format!("no runtime: {e}")))
}

/// For clients, and for metrics if they have a listener of their own. Nobody is let in yet.
fn sockets(config: &Config) -> Result<(Socket, Option<Socket>)> {
    let socket = listener::bind(config.bind, config.port)?;
    let metrics_socket = config.metrics.bind.map(|(address, port)| listener::bind(address, port)).transpose()?;
    listener::make_room(config.http.max_connections);
    Ok((socket, metrics_socket))
}

/// Ends what goes on between the members.
fn part(runtime: &Runtime, driver: Option<Driver>, group: Option<Consensus>) {
    if let Some(driver) = driver {
        driver.stop();
    }
    if let Some(group) = group {
        runtime.block_on(group.stop());
    }
}

/// What is served to whom: the sockets, what answers, how it was configured.
struct Served {
    config: Config,
    flags: Flags,
    app: App,
    server: Server,
    socket: Socket,
    metrics_socket: Option<Socket>,
}

fn serve(runtime: &Runtime, served: Served, hang_ups: Signal) -> Result<()> {
    let Served { config, flags, app, server, socket, metrics_socket } = served;
    runtime.block_on(async move {
        if let Some(cluster) = &app.cluster {
            cluster::compare_first(cluster, config.restore.peer_wait_ms).await;
        }
        let listener = listener::listen(socket)?;
        let metrics_listener = metrics_socket.map(listener::listen).transpose()?;
        if app.consensus.is_none() {
            accounts::ensure_admin(&config, &app).await?;
        }
        let stop = signals::told_to_stop()?;
        announce(&listener, &app);
        if let Some(cluster) = &app.cluster {
            cluster.serve();
        }
        systemd::ready(&systemd::status(&app.registry, &app.commit));
        let watching = tokio::spawn(systemd::watch(app.registry.clone(), app.commit.clone(), app.clock.clone()));
        if let Some(listener) = metrics_listener {
            let alone = Alone { context: app.context.clone(), collect: app.actuator.collect.clone() };
            tokio::spawn(serve_metrics(listener, alone));
        }
        tokio::spawn(performance::run(numbers(app.registry.clone(), app.push.clone())));
        let (app, max_connections) = (Arc::new(app), config.http.max_connections);
        if let Some(group) = &app.consensus {
            tokio::spawn(consensus::end_waiting(group.clone(), config.restore.peer_wait_ms));
            tokio::spawn(consensus::show(group.clone(), app.members.clone()));
            tokio::spawn(accounts::ensure_admin_of_group(config.clone(), app.clone()));
        }
        let following = Following::start(&config, app.members.clone(), app.consensus.clone())?;
        let reload = Reload { flags, config, app: app.clone(), server: server.clone(), following };
        let reloading = tokio::spawn(reload.run(hang_ups));
        let router = Arc::new(Router::new(app, max_connections));
        let answer = move |request, conn: Arc<Conn>| router.answer(request, conn);
        let stop = async {
            stop.await;
            systemd::stopping(server.drain());
            reloading.abort();
        };
        let cut = server.run(listener, answer, stop).await;
        watching.abort();
        if cut > 0 {
            tracing::warn!(connections = cut, "closed while they still had a request");
        }
        Ok(())
    })
}

/// Serves figures until the runtime ends: also while the last requests of clients are finished.
async fn serve_metrics(listener: TcpListener, alone: Alone) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(address, "metrics have a listener of their own");
    let alone = Arc::new(alone);
    let answer = move |request, _: Arc<Conn>| {
        let alone = alone.clone();
        async move { alone.answer(request).await }
    };
    let limits = Limits { max_connections: METRICS_CONNECTIONS, ..Limits::default() };
    Server::new(limits).run(listener, answer, std::future::pending()).await;
}

fn announce(listener: &TcpListener, app: &App) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(
        address,
        context = app.context,
        services = app.registry.service_count(),
        instances = app.registry.instance_count(),
        "Nacos started successfully in {} mode. use embedded storage",
        if app.cluster.is_some() { "cluster" } else { "stand alone" }
    );
    cluster::announce(&app.members);
    if app.auth.is_enabled() {
        return;
    }
    if !address.starts_with("127.") && !address.starts_with("[::1]") {
        tracing::warn!("there is no authentication: anybody who reaches this address can change the registry");
    }
}

/// What the server holds and does, for its log; times of pushes are -1 when there was none.
fn numbers(registry: Arc<Registry>, push: Push) -> impl Fn() -> Numbers {
    move || {
        let costs = push.costs();
        Numbers {
            services: registry.service_count(),
            instances: registry.instance_count(),
            max_push_ms: costs.max_ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            avg_push_ms: costs.avg_ms.map_or(-1, |ms| ms as i64),
        }
    }
}

/// Who hears of changes. What is owed to the other servers is known when a request is answered: see
/// [`Cluster::settle`](crate::cluster::Cluster::settle).
fn listeners(config: &Config, inbox: &Inbox, push: &Push, notes: &Notes) -> Listeners {
    let (inbox, push, notes) = (inbox.clone(), push.clone(), notes.clone());
    let mut listeners = Listeners {
        before_answers: Vec::new(),
        after_answers: vec![
            Box::new(move |_, changes| inbox.note(changes)),
            Box::new(move |_, changes| push.note(changes)),
        ],
    };
    if !config.standalone {
        listeners.before_answers.push(Box::new(move |origin, changes| notes.note(origin, changes)));
    }
    listeners
}

fn live(config: &Config) -> Live {
    let http = &config.http;
    Live::new(http.cors_allow_origins.clone(), http.max_body_bytes, http.max_peer_body_bytes)
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_connections: config.http.max_connections,
        max_head_bytes: config.http.max_header_bytes,
        head_timeout_ms: config.http.head_timeout_ms,
        body_timeout_ms: config.http.body_timeout_ms,
        idle_timeout_ms: config.http.idle_timeout_ms,
        drain_ms: config.http.drain_ms,
        ..Limits::default()
    }
}

fn commit_options(config: &Config) -> commit::Options {
    commit::Options {
        queue_len: config.commit.queue_len,
        batch_rows: config.commit.batch_rows,
        on_failure: match config.store.on_failure {
            config::OnFailure::Refuse => store::OnFailure::Refuse,
            config::OnFailure::Memory => store::OnFailure::Memory,
        },
    }
}

fn health_options(config: &Config, is_owner: IsOwner) -> health::Options {
    let naming = &config.naming;
    health::Options {
        expire_instance: naming.expire_instance,
        clean_empty: naming.empty_service_clean.then_some((naming.clean_initial_delay_ms, naming.clean_period_ms)),
        is_owner,
    }
}

fn function_mode(config: &Config) -> Option<String> {
    match config.function_mode {
        config::FunctionMode::All => None,
        config::FunctionMode::Naming => Some("naming".into()),
    }
}

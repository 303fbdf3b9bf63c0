//! One request as a handler sees it, and what a handler answers.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, USER_AGENT};

use super::actuator::Actuator;
use super::auth::Auth;
use super::live::Live;
use super::params::Params;
use super::reply::Reply;
use super::traffic::Traffic;
use crate::cluster::Cluster;
use crate::cluster::members::Members;
use crate::commit::Commit;
use crate::consensus::Consensus;
use crate::error::{Error, Result};
use crate::model::clock::AwakeClock;
use crate::model::command::{Command, Outcome};
use crate::model::settings::Switches;
use crate::model::status::ServerStatus;
use crate::model::{DEFAULT_CLUSTER, DEFAULT_GROUP, DEFAULT_NAMESPACE, GROUP_SEPARATOR, ServiceKey};
use crate::push::Push;
use crate::registry::{Registry, Service};
use crate::wire::agent::Agent;
use crate::wire::number;

const CLIENT_VERSION: HeaderName = HeaderName::from_static("client-version");
/// What the client calls itself whose request a server of this kind passes on.
pub(super) const CLIENT_AGENT: HeaderName = HeaderName::from_static("nacre-client-agent");

/// What handlers work on. They read the registry and hand commands to `commit`; they change nothing themselves.
pub struct App {
    /// The state in memory.
    pub registry: Arc<Registry>,
    /// The write path.
    pub commit: Commit,
    /// The time that beats are noted with.
    pub clock: AwakeClock,
    /// Prefix of all paths, such as `/nacos`; may be empty.
    pub context: String,
    /// Who belongs to the cluster, this server included.
    pub members: Arc<Members>,
    /// What goes on between the members; `None` for a server that stands alone.
    pub cluster: Option<Arc<Cluster>>,
    /// What all members have to agree on; `None` for a server that stands alone.
    pub consensus: Option<Consensus>,
    /// The HTTP port, for answers that show it.
    pub port: u16,
    /// `nacos.functionMode`, for answers that show it.
    pub function_mode: Option<String>,
    /// What may change while the server runs.
    pub live: Live,
    /// Who is told of changes.
    pub push: Push,
    /// Who may do what.
    pub auth: Auth,
    /// The report of the restore, as JSON.
    pub restore_report: Bytes,
    /// Requests so far; made by [`traffic`](super::router::traffic).
    pub traffic: Arc<Traffic>,
    /// What `/actuator` shows.
    pub actuator: Actuator,
}

impl App {
    /// Carries `command` out: what all members have to agree on with them, everything else here.
    ///
    /// # Errors
    /// As of [`Commit::run`] and [`Consensus::run`].
    pub async fn run(&self, command: Command) -> Result<Outcome> {
        match &self.consensus {
            Some(group) if group.is_agreed(&command) => group.run(command).await,
            _ => self.commit.run(command).await,
        }
    }

    /// Epoch ms for answers; never before the time at which an earlier process was last alive.
    pub fn wall_now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default();
        now.max(self.registry.ref_floor_ms())
    }

    /// The status of the server under these switches (`spec/operator-api.md` 3): what an operator says, else DOWN while a
    /// member of a cluster has an [`obstacle`](Self::obstacle), else UP. While the store is broken reads and beats go on.
    pub fn status(&self, switches: &Switches) -> ServerStatus {
        self.status_and_obstacle(switches).0
    }

    /// Both of the same moment.
    pub fn status_and_obstacle(&self, switches: &Switches) -> (ServerStatus, Option<&'static str>) {
        let obstacle = self.obstacle();
        let said = switches.overridden_server_status.as_deref().and_then(ServerStatus::parse);
        let found = if obstacle.is_none() { ServerStatus::Up } else { ServerStatus::Down };
        (said.unwrap_or(found), obstacle)
    }

    /// Why clients can't be served yet. A server that stands alone never has a reason: it doesn't listen before its data
    /// are back.
    pub fn obstacle(&self) -> Option<&'static str> {
        let of_cluster = self.cluster.as_ref().and_then(|cluster| cluster.obstacle());
        of_cluster.or_else(|| self.consensus.as_ref().and_then(|group| group.obstacle()))
    }
}

/// A request with its parameters.
pub struct Call<'a> {
    /// What to work on.
    pub app: &'a Arc<App>,
    /// As sent.
    pub method: &'a Method,
    /// As sent, context included, without the query.
    pub path: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Query and form.
    pub params: Params<'a>,
    /// The body, if the route reads it itself; else what the parameters were read from.
    pub body: &'a Bytes,
    /// The switches in force when the request came.
    pub switches: &'a Switches,
    /// Address the request came from; a proxy's, if there is one.
    pub peer: IpAddr,
    /// Who asks, as far as the route wants to know.
    pub caller: Caller,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Not known: authentication is off, or the route is open.
    Anybody,
    /// A server of this cluster.
    Peer,
    /// A user, by name.
    User(Arc<str>),
}

/// What a handler wants to happen next.
pub enum Step {
    /// This is the answer.
    Answer(Reply),
    /// Carry the command out; then the answer.
    Write(Command, Then),
    /// Do this, which takes long, on a thread for such work; then what it says.
    Blocking(Work),
    /// The same for the bulk of what servers of a cluster tell each other, which has turns of its own.
    Bulk(Work),
    /// This is the answer, but only after this time, or when the server stops.
    Later(Duration, Reply),
    /// Wait for this; then what it says.
    Wait(Pin<Box<dyn Future<Output = Result<Step>> + Send>>),
}

/// Work that would keep a thread of the runtime busy.
pub type Work = Box<dyn FnOnce() -> Result<Step> + Send>;

/// The answer after a command has been carried out.
pub enum Then {
    /// This.
    Answer(Reply),
    /// The list of instances that the command was for.
    Updated,
    /// `true`, or `false` when what was to be made exists already.
    Made,
}

/// What a handler is.
pub type Handler = fn(&Call<'_>) -> Result<Step>;

impl Step {
    /// Carry `command` out and answer `ok`.
    pub fn write(command: Command) -> Result<Step> {
        Ok(Step::Write(command, Then::Answer(Reply::ok())))
    }

    /// A JSON answer.
    pub fn json(body: impl Into<Bytes>) -> Result<Step> {
        Ok(Step::Answer(Reply::json(body)))
    }
}

/// A service as a request names it.
pub struct Named<'a> {
    /// Default filled in.
    pub namespace: &'a str,
    /// The grouped name.
    pub name: Cow<'a, str>,
}

impl Named<'_> {
    /// As a key.
    pub fn key(&self) -> ServiceKey {
        ServiceKey::new(self.namespace, &self.name)
    }

    /// The service, if there is one.
    pub fn find(&self, registry: &Registry) -> Option<Arc<Service>> {
        registry.service(self.namespace, &self.name)
    }
}

impl<'a> Call<'a> {
    /// What kind of client asks (`spec/instance-api.md` 1.4).
    pub fn agent(&self) -> Agent {
        // What a server passes on.
        if let Some(agent) = self.headers.get(CLIENT_AGENT) {
            return Agent::parse(agent.to_str().unwrap_or_default(), "");
        }
        Agent::parse(text_of(self.headers, USER_AGENT), text_of(self.headers, CLIENT_VERSION))
    }

    /// The header that [`agent`](Self::agent) goes by.
    pub fn agent_text(&self) -> &str {
        agent_text(self.headers)
    }

    /// The parameter `namespaceId`.
    pub fn namespace(&self) -> &str {
        self.params.optional("namespaceId", DEFAULT_NAMESPACE)
    }

    /// The grouped service name as section 1 step 4 of `spec/instance-api.md` makes it; not yet checked.
    /// `None` when neither `serviceName` nor `dom` has a character.
    fn grouped_name(&self) -> Option<Cow<'_, str>> {
        let given = |name| self.params.given(name);
        let Some(name) = given("serviceName").or_else(|| given("dom")) else {
            let blank = self.params.raw("serviceName").is_some_and(|text| !text.is_empty());
            return blank.then_some(Cow::Borrowed(""));
        };
        if group_end(name).is_some() {
            return Some(Cow::Borrowed(name));
        }
        let group = self.params.raw("groupName").filter(|text| !is_blank(text)).unwrap_or(DEFAULT_GROUP);
        let group = group.trim_start_matches(|c| c <= ' ');
        Some(Cow::Owned([group, GROUP_SEPARATOR, name].concat()))
    }

    /// The service that the request is about.
    ///
    /// # Errors
    /// [`Error::Input`] when the name is missing or has not the form `group@@name`.
    pub fn service(&self) -> Result<Named<'_>> {
        let named = self.service_unchecked()?;
        check_format(&named.name)?;
        Ok(named)
    }

    /// The same without a look at the form of the name.
    ///
    /// # Errors
    /// [`Error::Input`] when the name is missing.
    pub fn service_unchecked(&self) -> Result<Named<'_>> {
        let name = self.grouped_name().ok_or_else(|| Error::Input("Param 'serviceName' is required.".into()))?;
        Ok(Named { namespace: self.namespace(), name })
    }

    /// A parameter that must be there, even empty; as it was given.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is missing.
    pub fn present(&self, name: &str) -> Result<&str> {
        self.params.raw(name).ok_or_else(|| missing(name, "String"))
    }

    /// A truth value that may be left out (`spec/operator-api.md`, *boolean*).
    ///
    /// # Errors
    /// [`Error::Refused`] when it is something else.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        let Some(text) = self.params.get(name) else { return Ok(default) };
        number::switch_word(text).ok_or_else(|| Error::Refused(format!("Invalid boolean value [{text}]")))
    }

    /// The service in `dom` as old clients name it: always of the default group, even when there is an `@@` in it.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing.
    pub fn dom(&self) -> Result<Named<'_>> {
        let dom = self.params.given("dom").ok_or_else(|| Error::Input("Param 'dom' is required.".into()))?;
        Ok(Named { namespace: self.namespace(), name: [DEFAULT_GROUP, GROUP_SEPARATOR, dom].concat().into() })
    }

    /// `clusterName`, or if that is blank `cluster`.
    pub fn cluster(&self) -> &str {
        let given = |name| self.params.given(name);
        given("clusterName").or_else(|| given("cluster")).unwrap_or(DEFAULT_CLUSTER)
    }

    /// `ip`, which must have a character that is no blank.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing.
    pub fn ip(&self) -> Result<&str> {
        self.params.given("ip").ok_or_else(|| Error::Input("Param 'ip' is required.".into()))
    }

    /// A required integer.
    ///
    /// # Errors
    /// [`Error::Input`] when it is missing or no number.
    pub fn integer(&self, name: &str) -> Result<i32> {
        let text = self.params.required(name)?;
        number::integer(text).ok_or_else(|| not_a_number(text))
    }

    /// An integer that may be left out.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no number.
    pub fn integer_or(&self, name: &str, default: i32) -> Result<i32> {
        self.params.given(name).map_or(Ok(default), |text| number::integer(text).ok_or_else(|| not_a_number(text)))
    }

    /// A decimal number that may be left out.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no number.
    pub fn decimal(&self, name: &str) -> Result<Option<f64>> {
        let parse = |text| number::decimal(text).ok_or_else(|| not_a_number(text));
        self.params.given(name).map(parse).transpose()
    }

    /// A word that may be left out.
    pub fn word(&self, name: &str) -> Option<bool> {
        self.params.given(name).map(number::word)
    }
}

/// What the sender of these headers calls itself.
pub(super) fn agent_text(headers: &HeaderMap) -> &str {
    let text = text_of(headers, USER_AGENT);
    if text.is_empty() { text_of(headers, CLIENT_VERSION) } else { text }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The error of a parameter that is missing where the reference leaves it to its web framework to say so.
pub fn missing(name: &str, kind: &str) -> Error {
    Error::Refused(format!("Required request parameter '{name}' for method parameter type {kind} is not present"))
}

/// The error of a text that should be a number.
pub fn not_a_number(text: &str) -> Error {
    Error::Input(format!("For input string: \"{text}\""))
}

/// Where the group of a grouped name ends. (The search of `str` is made for longer texts.)
fn group_end(name: &str) -> Option<usize> {
    name.as_bytes().windows(GROUP_SEPARATOR.len()).position(|two| two == GROUP_SEPARATOR.as_bytes())
}

/// The form `group@@name` (`spec/instance-api.md` 1.3): split at `@@`, empty parts at the end dropped, there must be
/// two parts and the first must not be empty.
///
/// # Errors
/// [`Error::Input`] that says which of both.
pub fn check_format(name: &str) -> Result<()> {
    // What nearly all requests have: both parts, and the second begins with no separator.
    if group_end(name).is_some_and(|end| end > 0 && name.as_bytes().get(end + 2).is_some_and(|byte| *byte != b'@')) {
        return Ok(());
    }
    let mut parts = name.split(GROUP_SEPARATOR);
    let group = parts.next().unwrap_or_default();
    if parts.all(str::is_empty) {
        let rule = "it should be format as 'groupName@@serviceName'";
        return Err(Error::Input(format!("Param 'serviceName' is illegal, {rule}")));
    }
    if group.is_empty() {
        return Err(Error::Input("Param 'serviceName' is illegal, groupName can't be empty".into()));
    }
    Ok(())
}

//! Commands as the log holds them, and what came of them as the leader tells it.
//!
//! A command is `version u8 | bincode of [`Form`]`. Old servers and new ones read the same log while a cluster is updated,
//! so a variant never changes: what is different gets a new one at the end, or a new version. The golden-bytes test
//! below pins what there is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::model::account::AccountChange;
use crate::model::command::{
    Address, Command, LabelChange, MetadataChange, Outcome, Patch, Scope, Switch, SwitchChange,
};
use crate::model::{ClusterKey, ClusterSettings, Instance, InstanceKey, ServiceKey, ServiceSettings};
use crate::store::bundle;

const VERSION: u8 = 1;
/// A command with more bytes is refused: entries travel in bodies, which are bounded.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// A command that is to be agreed on, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish(pub(super) Vec<u8>);

/// Commands that share an entry, and so a sync of each log; each is carried out for itself, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wishes(pub(super) Vec<Wish>);

impl Wishes {
    /// Bytes of all commands.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|wish| wish.0.len()).sum()
    }
}

impl Serialize for Wish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Wish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        STANDARD_NO_PAD.decode(text.as_bytes()).map(Wish).map_err(serde::de::Error::custom)
    }
}

/// All that can be agreed on.
#[derive(Serialize, Deserialize)]
enum Form {
    Register(InstanceKey, Instance),
    Deregister(InstanceKey),
    Replace(InstanceKey, Instance, String),
    Patch(Address, Patch),
    ChangeMetadata(ServiceKey, Scope, MetadataChange),
    CreateService(ServiceKey, ServiceSettings),
    UpdateService(ServiceKey, ServiceSettings),
    DeleteService(ServiceKey),
    CleanService(ServiceKey),
    UpdateCluster(ClusterKey, ClusterSettings),
    Switch(Switch),
    /// As JSON: a server need not know all switches that another has.
    AllSwitches(String),
    Label(LabelChange),
    Account(AccountChange),
}

impl Wish {
    /// Encodes `command`.
    ///
    /// # Errors
    /// [`Error::Input`] for one that is too large; [`Error::Refused`] for one that is nothing to agree on.
    pub(super) fn of(command: &Command) -> Result<Self> {
        let form = match command.clone() {
            Command::Register(key, instance) => Form::Register(key, instance),
            Command::Deregister(key) => Form::Deregister(key),
            Command::Replace(key, instance, described) => Form::Replace(key, instance, described),
            Command::Patch(address, patch) => Form::Patch(address, patch),
            Command::ChangeMetadata(service, scope, change) => Form::ChangeMetadata(service, scope, change),
            Command::CreateService(key, settings) => Form::CreateService(key, settings),
            Command::UpdateService(key, settings) => Form::UpdateService(key, settings),
            Command::DeleteService(key) => Form::DeleteService(key),
            Command::CleanService(key) => Form::CleanService(key),
            Command::UpdateCluster(key, settings) => Form::UpdateCluster(key, settings),
            Command::Switch(SwitchChange { switch: Switch::All(all), .. }) => {
                let json = serde_json::to_string(&all);
                Form::AllSwitches(json.map_err(|fault| Error::Refused(format!("the switches: {fault}")))?)
            }
            Command::Switch(SwitchChange { switch, .. }) => Form::Switch(switch),
            Command::Label(change) => Form::Label(change),
            Command::Account(change) => Form::Account(change),
            _ => return Err(Error::Refused("this is nothing to agree on".into())),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(bundle::encode(&form)?);
        if bytes.len() > MAX_BYTES {
            return Err(Error::Input(format!("that is more than {MAX_BYTES} bytes for one change")));
        }
        Ok(Self(bytes))
    }

    /// The command.
    ///
    /// # Errors
    /// [`Error::Storage`] for what this server can't read: it must not go on then.
    pub(super) fn command(&self) -> Result<Command> {
        let form = match self.0.split_first() {
            Some((&VERSION, form)) => bundle::decode(form, MAX_BYTES)?,
            Some((version, _)) => return Err(Error::Storage(format!("a command of version {version}"))),
            None => return Err(Error::Storage("an empty command".into())),
        };
        let switch = |switch| Command::Switch(SwitchChange { switch, debug: false });
        Ok(match form {
            Form::Register(key, instance) => Command::Register(key, instance),
            Form::Deregister(key) => Command::Deregister(key),
            Form::Replace(key, instance, described) => Command::Replace(key, instance, described),
            Form::Patch(address, patch) => Command::Patch(address, patch),
            Form::ChangeMetadata(service, scope, change) => Command::ChangeMetadata(service, scope, change),
            Form::CreateService(key, settings) => Command::CreateService(key, settings),
            Form::UpdateService(key, settings) => Command::UpdateService(key, settings),
            Form::DeleteService(key) => Command::DeleteService(key),
            Form::CleanService(key) => Command::CleanService(key),
            Form::UpdateCluster(key, settings) => Command::UpdateCluster(key, settings),
            Form::Switch(one) => switch(one),
            Form::AllSwitches(json) => {
                let all = serde_json::from_str(&json);
                switch(Switch::All(Box::new(all.map_err(|fault| Error::Storage(format!("the switches: {fault}")))?)))
            }
            Form::Label(change) => Command::Label(change),
            Form::Account(change) => Command::Account(change),
        })
    }
}

/// What came of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It was carried out.
    Done,
    /// What was to be made exists.
    Exists,
    /// See [`Outcome::Updated`].
    Updated(Vec<InstanceKey>),
    /// It can't be done to what there is: class and text.
    Failed(Class, String),
}

/// The class of an error, on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as the variants of Error")]
pub(super) enum Class {
    Input,
    Refused,
    Denied,
}

impl From<Result<Outcome>> for Verdict {
    fn from(outcome: Result<Outcome>) -> Self {
        match outcome {
            Ok(Outcome::Exists) => Verdict::Exists,
            Ok(Outcome::Updated(keys)) => Verdict::Updated(keys),
            Ok(Outcome::Done | Outcome::Merged(_)) => Verdict::Done,
            Err(Error::Input(text)) => Verdict::Failed(Class::Input, text),
            Err(Error::Denied(text)) => Verdict::Failed(Class::Denied, text),
            Err(error) => Verdict::Failed(Class::Refused, error.message().to_owned()),
        }
    }
}

impl From<Verdict> for Result<Outcome> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done => Ok(Outcome::Done),
            Verdict::Exists => Ok(Outcome::Exists),
            Verdict::Updated(keys) => Ok(Outcome::Updated(keys)),
            Verdict::Failed(Class::Input, text) => Err(Error::Input(text)),
            Verdict::Failed(Class::Denied, text) => Err(Error::Denied(text)),
            Verdict::Failed(Class::Refused, text) => Err(Error::Refused(text)),
        }
    }
}

//! Changes of the switches, each with a value that has been checked (`spec/operator-api.md` 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::settings::Switches;
use crate::model::status::ServerStatus;

/// A change of the switches.
#[derive(Debug, Clone, PartialEq)]
pub struct SwitchChange {
    /// What is set.
    pub switch: Switch,
    /// Not stored: in force in this process until the next stored change. It starts from the stored switches, so it
    /// also undoes earlier changes of this kind.
    pub debug: bool,
}

/// One switch, or all of them, with the new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as the members of Switches")]
pub enum Switch {
    /// Everything but what can't be changed: `enableStandalone`, name and checksum.
    All(Box<Switches>),
    DistroThreshold(f32),
    ClientBeatInterval(i64),
    /// Least version of clients in a language that are pushed to.
    PushVersion(PushLanguage, String),
    DefaultPushCacheMillis(i64),
    DefaultCacheMillis(i64),
    Masters(Vec<String>),
    DistroEnabled(bool),
    HealthCheckEnabled(bool),
    PushEnabled(bool),
    ServiceStatusSynchronizationPeriodMillis(i64),
    ServerStatusSynchronizationPeriodMillis(i64),
    CheckTimes(i32),
    DisableAddIp(bool),
    SendBeatOnly(bool),
    LimitedUrlMap(BTreeMap<String, i32>),
    /// `None`: not overridden any more.
    OverriddenServerStatus(Option<ServerStatus>),
    DefaultInstanceEphemeral(bool),
    DistroServerExpiredMillis(i64),
    LightBeatEnabled(bool),
    AutoChangeHealthCheckEnabled(bool),
}

/// Languages whose clients have a least version that can be set one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words say it")]
pub enum PushLanguage {
    Java,
    Python,
    Go,
    C,
}

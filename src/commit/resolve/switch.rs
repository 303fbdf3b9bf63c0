//! Changes of the switches: the new set of all of them.

use std::sync::Arc;

use super::{Resolved, Step};
use crate::error::Result;
use crate::model::Row;
use crate::model::command::{PushLanguage, Switch, SwitchChange};
use crate::model::settings::{Setting, SettingKey, Switches};
use crate::registry::Registry;

/// The switches after `change`, which counts from the stored ones.
pub(super) fn change(registry: &Registry, change: &SwitchChange) -> Result<Resolved> {
    let mut switches = (*registry.settings().stored_switches()).clone();
    set(&mut switches, change.switch.clone());
    let row = Row::Setting(SettingKey::Switches, Some(Arc::new(Setting::Switches(Box::new(switches.clone())))));
    let stored = Resolved::rows(vec![row], false)?;
    if change.debug {
        return Ok(Resolved { steps: vec![Step::Override(Box::new(switches))], ..stored });
    }
    Ok(stored)
}

fn set(switches: &mut Switches, switch: Switch) {
    match switch {
        Switch::All(all) => set_all(switches, *all),
        Switch::DistroThreshold(value) => switches.distro_threshold = value,
        Switch::ClientBeatInterval(value) => switches.client_beat_interval = value,
        Switch::PushVersion(PushLanguage::Java, version) => switches.push_java_version = version,
        Switch::PushVersion(PushLanguage::Python, version) => switches.push_python_version = version,
        Switch::PushVersion(PushLanguage::Go, version) => switches.push_go_version = version,
        Switch::PushVersion(PushLanguage::C, version) => switches.push_c_version = version,
        Switch::DefaultPushCacheMillis(value) => switches.default_push_cache_millis = value,
        Switch::DefaultCacheMillis(value) => switches.default_cache_millis = value,
        Switch::Masters(names) => switches.masters = Some(names),
        Switch::DistroEnabled(on) => switches.distro_enabled = on,
        Switch::HealthCheckEnabled(on) => switches.health_check_enabled = on,
        Switch::PushEnabled(on) => switches.push_enabled = on,
        Switch::ServiceStatusSynchronizationPeriodMillis(value) => {
            switches.service_status_synchronization_period_millis = value;
        }
        Switch::ServerStatusSynchronizationPeriodMillis(value) => {
            switches.server_status_synchronization_period_millis = value;
        }
        Switch::CheckTimes(value) => switches.check_times = value,
        Switch::DisableAddIp(on) => switches.disable_add_ip = on,
        Switch::SendBeatOnly(on) => switches.send_beat_only = on,
        Switch::LimitedUrlMap(map) => switches.limited_url_map = map,
        Switch::OverriddenServerStatus(status) => {
            switches.overridden_server_status = Some(status.map_or("", |status| status.name()).to_owned());
        }
        Switch::DefaultInstanceEphemeral(on) => switches.default_instance_ephemeral = on,
        Switch::DistroServerExpiredMillis(value) => switches.distro_server_expired_millis = value,
        Switch::LightBeatEnabled(on) => switches.light_beat_enabled = on,
        Switch::AutoChangeHealthCheckEnabled(on) => switches.auto_change_health_check_enabled = on,
    }
}

/// Whether a server may run alone, and what the set is called, is not up to the caller.
fn set_all(switches: &mut Switches, all: Switches) {
    *switches = Switches {
        enable_standalone: switches.enable_standalone,
        name: std::mem::take(&mut switches.name),
        checksum: switches.checksum.take(),
        ..all
    };
}

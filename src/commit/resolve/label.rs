//! Changes of namespace labels.

use std::sync::Arc;

use super::Resolved;
use crate::error::Result;
use crate::model::Row;
use crate::model::command::{LabelChange, LabelText, Outcome};
use crate::model::settings::{Namespace, Setting, SettingKey};
use crate::registry::Registry;

pub(super) fn change(registry: &Registry, change: &LabelChange) -> Result<Resolved> {
    let settings = registry.settings();
    match change {
        LabelChange::Create(id, _) if settings.namespace(id).is_some() => {
            Ok(Resolved { outcome: Ok(Outcome::Exists), ..Resolved::nothing() })
        }
        LabelChange::Create(id, text) => put(id, text, settings.next_number()),
        LabelChange::Rename(id, text) => match settings.namespace(id) {
            Some(known) => put(id, text, known.created),
            None => Ok(Resolved::nothing()),
        },
        LabelChange::Remove(id) if settings.namespace(id).is_some() => {
            Resolved::rows(vec![Row::Setting(SettingKey::Namespace(id.clone()), None)], false)
        }
        LabelChange::Remove(_) => Ok(Resolved::nothing()),
    }
}

fn put(id: &Arc<str>, text: &LabelText, created: u64) -> Result<Resolved> {
    let label = Namespace { name: text.name.clone(), description: text.description.clone(), created };
    let setting = Arc::new(Setting::Namespace(label));
    Resolved::rows(vec![Row::Setting(SettingKey::Namespace(id.clone()), Some(setting))], false)
}

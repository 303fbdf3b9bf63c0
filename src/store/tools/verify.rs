//! Whether a store is sound, and where it is not.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reading::{Reading, lock_as_it_is};
use super::{Job, log};
use crate::error::Result;
use crate::model::settings::SettingKey;
use crate::store::folder::Folder;
use crate::store::key::{self, Key, Names, PackKey};
use crate::store::scan::{MAX_PLACES, Place};

/// What [`verify`] found; prints as text for people.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    dir: PathBuf,
    sound: bool,
    /// Rows that verify.
    rows: u64,
    /// Rows that are there and do not.
    damaged_rows: u64,
    /// What a start would report, one after the other.
    damage: Vec<String>,
    /// Where damage is, as far as it has a place: a row that is gone without a trace has none.
    places: Vec<Shown>,
    /// There are more places than are shown.
    more: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// `row` when a row or a pack of rows is damaged, `read` when the engine can't read on, `file` when the engine's file does not verify.
    kind: &'static str,
    /// The key in words, or a file and a byte in it.
    place: String,
    /// The key in hexadecimal digits.
    key: Option<String>,
    what: String,
}

impl Verdict {
    /// Whether a start would have nothing to report.
    pub fn is_sound(&self) -> bool {
        self.sound
    }
}

/// Checks everything that a start checks, on a copy: checksum and form of every pack and row, that none is missing,
/// the sidecar, which generation is in use. Nothing in the data folder changes.
///
/// # Errors
/// [`Error::Setup`](crate::error::Error::Setup): there is no store, a server uses it, or it is of a later version.
/// Damage is no error.
pub fn verify(job: &Job<'_>) -> Result<Verdict> {
    let lock = lock_as_it_is(&job.dir)?;
    let reading = Reading::open(job, lock)?;
    let details = &reading.recovered.details;
    let sound = details.damage.is_empty();
    let spots = if sound { Vec::new() } else { in_files(&job.dir)? };
    Ok(Verdict {
        dir: job.dir.clone(),
        sound,
        rows: reading.report.rows,
        damaged_rows: reading.report.skipped_rows,
        damage: details.damage.clone(),
        places: details.places.iter().map(shown).chain(spots).collect(),
        more: details.places.len() >= MAX_PLACES,
    })
}

fn shown(place: &Place) -> Shown {
    match place {
        Place::Row(key, what) => {
            Shown { kind: "row", place: words(key), key: Some(hex(key)), what: (*what).to_owned() }
        }
        Place::Behind(key, what) => {
            let behind = match key {
                Some(key) if *key != key::FIRST => format!("behind {}", words(key)),
                _ => "at the first row".to_owned(),
            };
            Shown { kind: "read", place: behind, key: key.as_deref().map(hex), what: what.clone() }
        }
    }
}

/// Where the files of the generations do not verify.
fn in_files(dir: &Path) -> Result<Vec<Shown>> {
    let (folder, mut found) = (Folder::at(dir), Vec::new());
    for generation in folder.generations()? {
        let name = Folder::name(generation);
        let shown = |place: String, what: String| Shown { kind: "file", place, key: None, what };
        match log::spots(&folder.generation(generation).join("db")) {
            Ok(spots) => found.extend(
                spots.into_iter().map(|spot| shown(format!("{name}/db byte {}", spot.at), spot.what.to_owned())),
            ),
            Err(error) => found.push(shown(format!("{name}/db"), error.to_string())),
        }
    }
    Ok(found)
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key in words, as far as it can be taken apart.
fn words(bytes: &[u8]) -> String {
    if let Some(PackKey { is_journal, number, part }) = PackKey::decode(bytes) {
        return match is_journal {
            true => format!("pack {part} of batch {number} in the journal"),
            false => format!("pack {number}.{part} of the base"),
        };
    }
    match Names::default().decode(bytes) {
        Ok(Key::Instance(key)) => {
            let kind = if key.ephemeral { "ephemeral" } else { "persistent" };
            let (service, cluster) = (&key.service, &key.cluster);
            format!(
                "{kind} instance {}:{} of {} {} cluster {cluster}",
                key.ip, key.port, service.namespace, service.name
            )
        }
        Ok(Key::Service(key)) => format!("settings of service {} {}", key.namespace, key.name),
        Ok(Key::Cluster(key)) => {
            format!("settings of cluster {} of {} {}", key.name, key.service.namespace, key.service.name)
        }
        Ok(Key::Setting(SettingKey::Switches)) => "the switches".to_owned(),
        Ok(Key::Setting(SettingKey::Namespace(id))) => format!("label of namespace {id}"),
        Ok(Key::Setting(SettingKey::User(name))) => format!("user {name}"),
        Ok(Key::Setting(SettingKey::Role { role, user })) => format!("role {role} of user {user}"),
        Ok(Key::Setting(SettingKey::Permission { role, resource, action })) => {
            format!("permission {action} on {resource} of role {role}")
        }
        Ok(Key::Setting(SettingKey::Agreed)) => "how far what the cluster agreed on was carried out".to_owned(),
        Ok(Key::Subscription(key)) => {
            let (service, subscriber) = (&key.service, &key.subscriber);
            format!("subscription of {} to {} {}", subscriber.listed, service.namespace, service.name)
        }
        Err(_) => format!("the key {}", hex(bytes)),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        if self.sound {
            return writeln!(f, "{dir}: sound, {} rows", self.rows);
        }
        writeln!(f, "{dir}: damaged, {} rows are sound, {} are not", self.rows, self.damaged_rows)?;
        self.damage.iter().try_for_each(|damage| writeln!(f, "  {damage}"))?;
        for Shown { kind, place, what, .. } in &self.places {
            // Names are what clients have sent.
            let line = format!("{place}: {what}");
            writeln!(f, "  {kind}: {}", line.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))?;
        }
        if self.more {
            writeln!(f, "  and more places")?;
        }
        Ok(())
    }
}

//! What stands in the log can be read, today and later.

use super::*;
use crate::consensus::entry::{MAX_BYTES, Wish};
use crate::model::account::{AccountChange, PasswordHash};
use crate::model::command::{Address, LabelChange, LabelText, MetadataChange, Patch, Scope, Switch, SwitchChange};
use crate::model::settings::Switches;
use crate::model::status::ServerStatus;
use crate::model::{ClusterKey, ClusterSettings, HealthChecker, Metadata, Selector, ServiceSettings};

fn switch(switch: Switch) -> Command {
    Command::Switch(SwitchChange { switch, debug: false })
}

/// One of every form that the log may hold.
fn every_form() -> Vec<Command> {
    let metadata: Metadata = [("k", "v")].into_iter().collect();
    // Even what is no number.
    let instance = Instance { weight: f64::NAN, metadata: Some(metadata.clone()), ..Instance::default() };
    let address = Address { service: service(), cluster: "c".into(), ip: "h".into(), port: -1 };
    let patch = Patch { metadata: Some(None), weight: Some(f64::INFINITY), ..Patch::default() };
    let selector = Selector::Label { expression: "e".into(), labels: vec!["l".into()] };
    let settings = ServiceSettings { protect_threshold: 0.5, metadata: metadata.clone(), selector };
    let checker = HealthChecker::Mysql { user: Some("u".into()), pwd: None, cmd: Some("c".into()) };
    let cluster = ClusterKey { service: service(), name: "c".into() };
    let hash = PasswordHash("h".into());
    vec![
        Command::Register(key(1, false), instance.clone()),
        Command::Deregister(key(1, false)),
        Command::Replace(key(1, false), instance, "text".into()),
        Command::Patch(address, patch),
        Command::ChangeMetadata(service(), Scope::Kind(false), MetadataChange::Remove(metadata.clone())),
        Command::ChangeMetadata(service(), Scope::These(vec![key(1, false)]), MetadataChange::Merge(metadata)),
        Command::CreateService(service(), settings.clone()),
        Command::UpdateService(service(), settings),
        Command::DeleteService(service()),
        Command::CleanService(service()),
        Command::UpdateCluster(cluster, ClusterSettings { checker, ..ClusterSettings::default() }),
        switch(Switch::OverriddenServerStatus(Some(ServerStatus::ReadOnly))),
        switch(Switch::All(Box::new(Switches { check_times: 7, ..Switches::default() }))),
        Command::Label(LabelChange::Create("i".into(), LabelText { name: "n".into(), description: None })),
        Command::Account(AccountChange::SetPassword { user: "u".into(), hash }),
    ]
}

#[test]
fn every_form_comes_back() {
    for command in every_form() {
        let wish = Wish::of(&command).unwrap();
        let json = serde_json::to_string(&wish).unwrap();
        let back: Wish = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{:?}", back.command().unwrap()), format!("{command:?}"));
    }
}

/// If this fails, servers of the version before can't read what this one puts into the log: a changed form needs a variant
/// or a version of its own.
#[test]
fn the_bytes_are_those_of_version_1() {
    let mut hasher = crc32fast::Hasher::new();
    for command in every_form() {
        // The switches are JSON, which may grow.
        if !matches!(&command, Command::Switch(SwitchChange { switch: Switch::All(_), .. })) {
            hasher.update(&Wish::of(&command).unwrap().0);
        }
    }
    assert_eq!(hasher.finalize(), 1_088_856_717, "of all bytes");
    let one = Wish::of(&Command::Deregister(key(258, false))).unwrap();
    let text: String = one.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        text,
        "0101067075626c69631544454641554c545f47524f555040406f72646572730744454641554c540831302e312e312e31fb040200"
    );
}

#[test]
fn what_is_no_command_is_refused() {
    let whole = Wish::of(&register(1)).unwrap();
    for length in 0..whole.0.len() {
        assert!(Wish(whole.0[..length].to_vec()).command().is_err(), "the first {length} bytes");
    }
    let mut newer = whole.clone();
    newer.0[0] += 1;
    assert!(newer.command().unwrap_err().message().contains("version 2"));
    assert!(Wish::of(&Command::Heal(key(1, true))).is_err(), "nothing to agree on");
    let many = Scope::These((0..50_000).map(|port| key(port, false)).collect());
    let large = Command::ChangeMetadata(service(), many, MetadataChange::Merge(Metadata::default()));
    let refused = Wish::of(&large).unwrap_err();
    assert!(matches!(&refused, crate::error::Error::Input(text) if text.contains(&MAX_BYTES.to_string())));
}

#[test]
fn letters_carry_pieces_of_snapshots() {
    use openraft::raft::InstallSnapshotRequest;
    let data: Vec<u8> = (0..=255).collect();
    let piece = InstallSnapshotRequest {
        vote: openraft::Vote::new(3, 7),
        meta: Default::default(),
        offset: 9,
        data: data.clone(),
        done: true,
    };
    let bytes = Letter::new("10.0.0.1:1", Some(7), None, Ask::Snapshot(piece)).encode().unwrap();
    let letter = Letter::decode(&bytes).unwrap();
    assert_eq!((letter.from.as_str(), letter.to), ("10.0.0.1:1", Some(7)));
    assert!(matches!(letter.ask, Ask::Snapshot(piece) if piece.data == data && piece.offset == 9));
    for length in 0..bytes.len() - data.len() {
        assert!(Letter::decode(&bytes[..length]).is_err(), "the first {length} bytes");
    }
    let other = Letter { group: "nacos_config".into(), ..Letter::new("a", None, None, Ask::Standing) };
    assert!(Letter::decode(&other.encode().unwrap()).is_err());
}

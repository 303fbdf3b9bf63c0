//! Switches and namespace labels on the write path.

use super::*;
use crate::model::command::{LabelChange, LabelText, Switch, SwitchChange};
use crate::model::settings::Switches;
use crate::model::status::ServerStatus;

fn stored(switch: Switch) -> Command {
    Command::Switch(SwitchChange { switch, debug: false })
}

fn debug(switch: Switch) -> Command {
    Command::Switch(SwitchChange { switch, debug: true })
}

fn label(id: &str, name: &str) -> Command {
    Command::Label(LabelChange::Create(id.into(), text(name)))
}

fn text(name: &str) -> LabelText {
    LabelText { name: name.into(), description: None }
}

#[test]
fn changes_of_one_batch_add_up() {
    let world = World::new(Durability::Written);
    let outcomes = world.together(vec![
        stored(Switch::ClientBeatInterval(7_000)),
        stored(Switch::DefaultCacheMillis(4_000)),
        stored(Switch::OverriddenServerStatus(Some(ServerStatus::ReadOnly))),
    ]);
    assert_eq!(outcomes, vec![Ok(Outcome::Done); 3]);
    let expected = Switches {
        client_beat_interval: 7_000,
        default_cache_millis: 4_000,
        overridden_server_status: Some("READ_ONLY".into()),
        ..Switches::default()
    };
    assert_eq!(*world.registry.settings().switches(), expected);
    assert_eq!(*world.registry.settings().stored_switches(), expected);
    world.run(stored(Switch::OverriddenServerStatus(None))).unwrap();
    assert_eq!(world.registry.settings().switches().overridden_server_status.as_deref(), Some(""));
    world.stop();
}

#[test]
fn all_at_once_leaves_what_is_fixed() {
    let world = World::new(Durability::Written);
    let all = Switches {
        enable_standalone: false,
        name: "forged".into(),
        checksum: Some("forged".into()),
        check_times: 9,
        ..Switches::default()
    };
    world.run(stored(Switch::ClientBeatInterval(7_000))).unwrap();
    world.run(stored(Switch::All(Box::new(all)))).unwrap();
    assert_eq!(*world.registry.settings().switches(), Switches { check_times: 9, ..Switches::default() });
    world.stop();
}

#[test]
fn debug_changes_count_from_what_is_stored_and_end_with_the_next_stored_change() {
    let world = World::new(Durability::Written);
    world.run(stored(Switch::DefaultCacheMillis(4_000))).unwrap();
    world.run(debug(Switch::ClientBeatInterval(7_000))).unwrap();
    let settings = world.registry.settings();
    let both = |switches: &Switches| (switches.client_beat_interval, switches.default_cache_millis);
    assert_eq!((both(&settings.switches()), both(&settings.stored_switches())), ((7_000, 4_000), (5_000, 4_000)));
    world.run(debug(Switch::DefaultCacheMillis(5_000))).unwrap();
    assert_eq!((both(&settings.switches()), both(&settings.stored_switches())), ((5_000, 5_000), (5_000, 4_000)));
    world.run(stored(Switch::CheckTimes(4))).unwrap();
    assert_eq!((both(&settings.switches()), settings.switches().check_times), ((5_000, 4_000), 4));
    let rows = world.registry.rows().count();
    assert_eq!(rows, 1, "switches are one row");
    world.stop();
}

#[test]
fn switches_too_large_to_be_stored_are_refused() {
    let world = World::new(Durability::Written);
    let many = Switch::Masters(vec!["x".repeat(1_000); 100]);
    for command in [stored(many.clone()), debug(many)] {
        assert!(matches!(world.run(command), Err(Error::Input(_))));
    }
    assert_eq!(*world.registry.settings().switches(), Switches::default());
    world.stop();
}

#[test]
fn labels_are_made_once_renamed_and_removed() {
    let world = World::new(Durability::Written);
    let outcomes = world.together(vec![label("a", "A"), label("b", "B"), label("a", "other")]);
    assert_eq!(outcomes, [Ok(Outcome::Done), Ok(Outcome::Done), Ok(Outcome::Exists)]);
    let names = || {
        let all = world.registry.settings().namespaces();
        all.into_iter().map(|(id, label)| format!("{id}={}", label.name)).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["a=A", "b=B"]);
    let rename = |id: &str| Command::Label(LabelChange::Rename(id.into(), text("new")));
    assert_eq!(world.run(rename("a")), Ok(Outcome::Done));
    assert_eq!(world.run(rename("nosuch")), Ok(Outcome::Done));
    assert_eq!(names(), ["a=new", "b=B"], "in order of creation");
    for id in ["a", "nosuch"] {
        assert_eq!(world.run(Command::Label(LabelChange::Remove(id.into()))), Ok(Outcome::Done));
    }
    world.run(label("a", "again")).unwrap();
    assert_eq!(names(), ["b=B", "a=again"]);
    world.stop();
}

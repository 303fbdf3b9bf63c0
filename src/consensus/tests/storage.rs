//! openraft's own suite for stores, on the log and the machine; what they have beyond it.

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};

use super::*;
use crate::consensus::types::Config;

struct Builder(Durability);

/// What the stores of a test need, and is gone after it.
struct Guard {
    commit: Commit,
    _dir: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.commit.stop();
    }
}

impl StoreBuilder<Config, Log, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, Log, Machine), StorageError<Id>> {
        let dir = tempfile::tempdir().unwrap();
        let (registry, commit, _) = rooms(&dir.path().join("data"), Durability::Off);
        let ledger = Ledger::open(&dir.path().join("raft"), self.0, 0, PATIENCE).unwrap();
        let content = ledger.content().clone();
        let keeper = Keeper::start(ledger).unwrap();
        let log = Log::open(keeper.clone(), &content).unwrap();
        let machine = Machine::open(1, commit.clone(), registry, keeper, false).await.unwrap();
        Ok((Guard { commit, _dir: dir }, log, machine))
    }
}

#[test]
fn the_suite_passes_on_disk() {
    Suite::test_all(Builder(Durability::Synced)).unwrap();
}

#[test]
fn the_suite_passes_in_memory() {
    Suite::test_all(Builder(Durability::Off)).unwrap();
}

#[tokio::test]
async fn no_part_of_an_entry_is_carried_out_twice() {
    use crate::consensus::entry::{Verdict, Wish, Wishes};
    use crate::model::account::{AccountChange, PasswordHash};
    use openraft::storage::RaftStateMachine;
    use openraft::{CommittedLeaderId, EntryPayload, LogId};

    let dir = tempfile::tempdir().unwrap();
    let (registry, commit, _) = rooms(&dir.path().join("data"), Durability::Off);
    let keeper = Keeper::start(Ledger::open(dir.path(), Durability::Off, 0, PATIENCE).unwrap()).unwrap();
    let open = || Machine::open(1, commit.clone(), registry.clone(), keeper.clone(), false);
    let grant = Command::Account(AccountChange::Grant { role: "r".into(), user: "u".into() });
    let add = Command::Account(AccountChange::AddUser { user: "u".into(), hash: PasswordHash("h".into()) });
    let wishes = [&grant, &add].map(|command| Wish::of(command).unwrap());
    let log_id = LogId::new(CommittedLeaderId::new(1, 1), 1);
    let entry = || openraft::Entry { log_id, payload: EntryPayload::Normal(Wishes(wishes.to_vec())) };

    let verdicts = open().await.unwrap().apply([entry()]).await.unwrap();
    assert!(matches!(&verdicts[..], [one] if matches!(&one[..], [Verdict::Failed(..), Verdict::Done])), "{verdicts:?}");
    let (last, _) = open().await.unwrap().applied_state().await.unwrap();
    assert_eq!(last, Some(log_id), "it is known after a restart");
    // As if the server had been killed between both: what was refused stays refused, though there is a user now.
    let text = registry.settings().agreed().unwrap();
    let mut position: serde_json::Value = serde_json::from_str(&text).unwrap();
    position["last"] = serde_json::Value::Null;
    position["ahead"] = 1.into();
    commit.run_agreed(Command::Nothing, position.to_string().into()).await.unwrap().await.unwrap();
    open().await.unwrap().apply([entry()]).await.unwrap();
    assert_eq!(registry.settings().roles(), []);
    // Another server's log says nothing about these rows.
    let other = Machine::open(2, commit.clone(), registry.clone(), keeper.clone(), false).await;
    assert_eq!(other.unwrap().applied_state().await.unwrap().0, None);
    commit.stop();
}

#[tokio::test]
async fn who_waits_for_a_sick_disk_waits_until_it_is_well() {
    use crate::store::ledger::Writing;
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Durability::Synced, 0, PATIENCE).unwrap();
    ledger.break_disk();
    let keeper = Keeper::start(ledger).unwrap();
    let put = |number: u64| Writing { put: vec![(number, [7].into())], ..Writing::default() };
    let since = Instant::now();
    keeper.write(put(1)).await.unwrap();
    assert!(since.elapsed() > Duration::from_millis(150), "it was healed before it was said to be written");
    keeper.write(put(2)).await.unwrap();
    keeper.close(PATIENCE).await;
    assert!(keeper.write(put(3)).await.is_err(), "closed");
    let again = Ledger::open(dir.path(), Durability::Synced, 0, PATIENCE).unwrap();
    assert_eq!(again.content().entries.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

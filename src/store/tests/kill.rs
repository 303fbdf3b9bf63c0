//! `kill -9` of a process that stores.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use super::*;

const DIR: &str = "STORE_KILL_DIR";
const ROUNDS: &str = "STORE_KILL_ROUNDS";

/// The process that is killed: stores batches of 3 and prints the number of each that is acknowledged.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mut opened = open(Path::new(&dir));
    let first = opened.report.sequence;
    println!("{}", opened.report.damage.unwrap_or_else(|| "sound".to_owned()));
    for batch in first + 1.. {
        opened.store.append(&rows_of(batch)).unwrap();
        opened.store.tick(NOW_MS + batch).unwrap();
        println!("acked {batch}");
        std::io::stdout().flush().unwrap();
    }
}

/// Every batch changes a row that all have, adds one, and removes one of an earlier batch.
fn rows_of(batch: u64) -> Vec<Row> {
    let port = i32::try_from(batch % 100_000).unwrap();
    vec![instance("same", 1, port.into()), instance("own", port, 1.0), instance("own", port - 50, 1.0).removal()]
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let rounds = std::env::var(ROUNDS).ok().map_or(4, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::kill::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let sound = lines.by_ref().find(|line| line.ends_with("sound") || line.contains("damage"));
        assert!(sound.is_some_and(|line| line.ends_with("sound")), "round {round}");
        let mut acks = lines.filter_map(|line| line.strip_prefix("acked ")?.parse::<u64>().ok());
        // The killer's time runs from here: on a busy machine the first batch may take longer than that.
        let first = acks.next().expect("something is acknowledged");
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30 + (round * 37) % 200));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let acked = acks.last().unwrap_or(first);
        killer.join().unwrap();

        let again = open(dir.path());
        let last = again.report.sequence;
        assert_eq!(again.report.damage, None, "round {round}");
        assert!(last == acked || last == acked + 1, "round {round}: {acked} acknowledged, {last} found");
        let mut content = Content::new();
        (last.saturating_sub(60).max(1)..=last).for_each(|batch| apply(&mut content, &rows_of(batch)));
        let expected = content.len().min(51);
        assert_eq!(again.content.len(), expected, "round {round}");
        assert!(again.content.values().all(|row| content.values().any(|other| other == row)), "round {round}");
    }
}

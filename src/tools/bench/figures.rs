//! What a server says of its own store: counters on the page for Prometheus, the report of its start.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tools::client::{Connection, Session};
use crate::tools::fleet;

const TIMEOUT: Duration = Duration::from_secs(10);
const BATCHES: &str = "nacre_store_batch_rows";
const SYNCS: &str = "nacre_store_sync_seconds";
const ROWS: &str = "nacre_store_rows";
const LIVE_BYTES: &str = "nacre_store_live_bytes";

/// Counters of a store; the difference of two readings says what happened in between.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct StoreFigures {
    /// Batches written, and rows in them, removals included.
    pub(super) batches: f64,
    pub(super) batch_rows: f64,
    /// Batches by their size: up to how many rows (`None`: more), and how many of them.
    pub(super) sizes: Vec<(Option<f64>, f64)>,
    pub(super) syncs: f64,
    pub(super) sync_seconds: f64,
    /// Not differences: what is there.
    pub(super) rows: f64,
    pub(super) live_bytes: f64,
}

impl StoreFigures {
    /// From the text of the page; `None` when it does not have them.
    fn read(page: &str) -> Option<Self> {
        let value = |name: &str| {
            page.lines().find_map(|line| {
                let (left, value) = line.split_once(' ')?;
                (left == name).then(|| value.trim().parse::<f64>().ok())?
            })
        };
        let buckets = format!("{BATCHES}_bucket{{le=\"");
        let mut below = 0.0;
        let sizes = page.lines().filter_map(|line| {
            let (bound, count) = line.strip_prefix(&buckets)?.split_once("\"} ")?;
            let count = count.trim().parse::<f64>().ok()?;
            let bound = bound.parse::<f64>().ok().filter(|bound| bound.is_finite());
            let own = count - below;
            below = count;
            Some((bound, own))
        });
        let sizes = sizes.collect();
        Some(Self {
            batches: value(&format!("{BATCHES}_count"))?,
            batch_rows: value(&format!("{BATCHES}_sum"))?,
            sizes,
            syncs: value(&format!("{SYNCS}_count"))?,
            sync_seconds: value(&format!("{SYNCS}_sum"))?,
            rows: value(ROWS)?,
            live_bytes: value(LIVE_BYTES)?,
        })
    }

    /// What happened since `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.batches -= before.batches;
        self.batch_rows -= before.batch_rows;
        self.syncs -= before.syncs;
        self.sync_seconds -= before.sync_seconds;
        for ((_, count), (_, earlier)) in self.sizes.iter_mut().zip(&before.sizes) {
            *count -= earlier;
        }
        self
    }

    /// Adds what happened at another time; what is there becomes what was there then.
    pub(super) fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.batch_rows += other.batch_rows;
        self.syncs += other.syncs;
        self.sync_seconds += other.sync_seconds;
        (self.rows, self.live_bytes) = (other.rows, other.live_bytes);
        if self.sizes.is_empty() {
            self.sizes.clone_from(&other.sizes);
        } else {
            self.sizes.iter_mut().zip(&other.sizes).for_each(|((_, count), (_, more))| *count += more);
        }
    }

    /// Rows of a batch, in the middle.
    pub(super) fn mean_batch(&self) -> Option<f64> {
        (self.batches > 0.0).then(|| self.batch_rows / self.batches)
    }

    pub(super) fn mean_sync_ms(&self) -> Option<f64> {
        (self.syncs > 0.0).then(|| 1e3 * self.sync_seconds / self.syncs)
    }
}

/// What a start brought back, as the server says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Restored {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) time_ms: u64,
    pub(super) damage: Option<String>,
}

/// Reads the counters; `None` when the server does not show them.
pub(super) async fn store(session: &Arc<Session>) -> Option<StoreFigures> {
    StoreFigures::read(&get(session, "/actuator/prometheus").await.ok()?)
}

/// Asks for the report of the start.
pub(super) async fn restored(session: &Arc<Session>) -> Result<Restored> {
    let text = get(session, "/v1/ns/operator/restore").await?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Unavailable(format!("the report of a start can't be read: {error}")))
}

/// Whether the server is ready for traffic.
///
/// # Errors
/// When it is not.
pub(super) async fn ready(session: &Arc<Session>) -> Result<()> {
    get(session, "/v1/console/health/readiness").await.map(drop)
}

async fn get(session: &Arc<Session>, path: &str) -> Result<String> {
    let request = fleet::get(session.server(), path);
    let mut connection = Connection::new(Arc::clone(session), TIMEOUT);
    let answer = connection.ask(&request, b"").await;
    let answer = answer.map_err(|fault| Error::Unavailable(format!("no answer to {path}: {fault}")))?;
    if answer.status != 200 {
        return Err(Error::Unavailable(format!("{path} is answered with status {}", answer.status)));
    }
    Ok(String::from_utf8_lossy(answer.body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u32; 3], sum: u32, syncs: u32) -> String {
        let [one, four, all] = counts;
        format!(
            "# HELP nacre_store_batch_rows Rows.\n# TYPE nacre_store_batch_rows histogram\n\
             nacre_store_batch_rows_bucket{{le=\"1\"}} {one}\nnacre_store_batch_rows_bucket{{le=\"4\"}} {four}\n\
             nacre_store_batch_rows_bucket{{le=\"+Inf\"}} {all}\nnacre_store_batch_rows_sum {sum}\n\
             nacre_store_batch_rows_count {all}\nnacre_store_sync_seconds_sum 0.5\n\
             nacre_store_sync_seconds_count {syncs}\nnacre_store_rows 7\nnacre_store_live_bytes 700\n"
        )
    }

    #[test]
    fn counters_are_read_and_subtracted() {
        let before = StoreFigures::read(&page([1, 2, 2], 5, 1)).unwrap();
        assert_eq!(before.sizes, [(Some(1.0), 1.0), (Some(4.0), 1.0), (None, 0.0)]);
        let after = StoreFigures::read(&page([2, 5, 9], 105, 3)).unwrap();
        let mut passed = after.since(&before);
        assert_eq!((passed.batches, passed.batch_rows, passed.syncs, passed.rows), (7.0, 100.0, 2.0, 7.0));
        assert_eq!(passed.sizes, [(Some(1.0), 1.0), (Some(4.0), 2.0), (None, 4.0)]);
        passed.add(&passed.clone());
        assert_eq!((passed.batches, passed.sizes[2].1, passed.mean_batch()), (14.0, 8.0, Some(200.0 / 14.0)));
        assert_eq!(StoreFigures::read("nacre_store_rows 7\n"), None);
    }
}

//! What the servers count, and how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use nacre::tools::bench::process::cpu_us;

use crate::Result;
use crate::client::Client;
use crate::servers::Server;

/// The state of all three at one moment, summed up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Bytes of bodies that went between members, by kind of call.
    pub(crate) bytes: BTreeMap<String, u64>,
    pub(crate) calls: BTreeMap<String, u64>,
    /// Processor time.
    pub(crate) cpu_us: u64,
}

impl Sample {
    pub(crate) fn take(servers: &[Server]) -> Result<Self> {
        let mut sample = Self::default();
        for server in servers {
            sample.cpu_us += cpu_us(server.id()).ok_or("the system does not tell of processor time")?;
        }
        for server in servers {
            let page = Client::new(server.address).get("/nacos/actuator/prometheus");
            let page = page.map_err(|error| format!("no figures: {error}"))?.text();
            for line in page.lines() {
                let sums = if line.starts_with("nacre_cluster_calls_total{") {
                    &mut sample.calls
                } else if line.starts_with("nacre_cluster_sent_bytes_total{")
                    || line.starts_with("nacre_cluster_received_bytes_total{")
                {
                    &mut sample.bytes
                } else {
                    continue;
                };
                let kind = line.split('"').nth(1).unwrap_or_default().to_owned();
                let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
                *sums.entry(kind).or_default() += value.ok_or_else(|| format!("not a figure: {line}"))? as u64;
            }
        }
        if sample.calls.is_empty() {
            return Err("the servers don't show what they tell each other".to_owned());
        }
        Ok(sample)
    }

    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let minus = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let one =
                |(kind, count): (&String, &u64)| (kind.clone(), count - then.get(kind).copied().unwrap_or_default());
            now.iter().map(one).filter(|(_, count)| *count > 0).collect()
        };
        Self {
            bytes: minus(&self.bytes, &before.bytes),
            calls: minus(&self.calls, &before.calls),
            cpu_us: self.cpu_us - before.cpu_us,
        }
    }

    /// Bytes of these kinds of calls.
    pub(crate) fn of(&self, kinds: &[&str]) -> u64 {
        kinds.iter().filter_map(|kind| self.bytes.get(*kind)).sum()
    }
}

/// The time below which `share` of all are.
pub(crate) fn at(times: &[Duration], share: f64) -> Duration {
    let place = ((times.len().saturating_sub(1)) as f64 * share).round() as usize;
    times.get(place).copied().unwrap_or_default()
}

/// For people.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

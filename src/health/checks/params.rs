//! What can be changed about checks while the server runs (`spec/health.md` 2.2 and 5). The switches of the operator
//! API set them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::settings::{self, Switches};

/// The three types of checker that ask the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connect to the port.
    Tcp,
    /// GET a path.
    Http,
    /// Log in and run a command.
    Mysql,
}

/// How the response time of a cluster, which is also the pause between its runs, is smoothed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// The pause is never shorter, ms.
    pub min_ms: u32,
    /// The pause is never longer, ms. A maximum below the minimum gives way to it.
    pub max_ms: u32,
    /// Weight of what was before, 0 to 1.
    pub factor: f64,
}

impl Smoothing {
    /// The response time in ms after a sample.
    pub fn next(&self, rt_ms: f64, sample_ms: f64) -> f64 {
        let next = self.factor * rt_ms + (1.0 - self.factor) * sample_ms;
        // In this order also a NaN, from an absurd factor, becomes a pause.
        next.min(self.max_ms.into()).max(self.min_ms.into())
    }
}

/// Rules of all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckParams {
    /// Switch `healthCheckEnabled`.
    pub enabled: bool,
    /// Grouped names of services that are checked by TCP and MYSQL all the same while `enabled` is false.
    pub whitelist: HashSet<String>,
    /// So many results of a kind in a row change the health (switch `checkTimes`).
    pub check_times: u32,
    /// Of TCP.
    pub tcp: Smoothing,
    /// Of HTTP.
    pub http: Smoothing,
    /// Of MYSQL.
    pub mysql: Smoothing,
}

impl Default for CheckParams {
    /// What Nacos 1.4 ships.
    fn default() -> Self {
        Self {
            enabled: true,
            whitelist: HashSet::new(),
            check_times: 3,
            tcp: Smoothing { min_ms: 1_000, max_ms: 5_000, factor: 0.75 },
            http: Smoothing { min_ms: 500, max_ms: 5_000, factor: 0.85 },
            mysql: Smoothing { min_ms: 2_000, max_ms: 3_000, factor: 0.65 },
        }
    }
}

impl From<&Switches> for CheckParams {
    /// What the switches say; a negative number counts as 0.
    fn from(switches: &Switches) -> Self {
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        let smoothing = |p: settings::CheckParams| Smoothing {
            min_ms: number(p.min),
            max_ms: number(p.max),
            factor: p.factor.into(),
        };
        Self {
            enabled: switches.health_check_enabled,
            whitelist: switches.health_check_white_list.iter().cloned().collect(),
            check_times: number(switches.check_times),
            tcp: smoothing(switches.tcp_health_params),
            http: smoothing(switches.http_health_params),
            mysql: smoothing(switches.mysql_health_params),
        }
    }
}

impl CheckParams {
    /// The smoothing of a type.
    pub fn smoothing(&self, kind: Kind) -> Smoothing {
        match kind {
            Kind::Tcp => self.tcp,
            Kind::Http => self.http,
            Kind::Mysql => self.mysql,
        }
    }

    /// Whether checks of that type run for a service (its grouped name). The whitelist does nothing for HTTP.
    pub fn allows(&self, kind: Kind, service: &str) -> bool {
        self.enabled || (kind != Kind::Http && self.whitelist.contains(service))
    }
}

/// The parameters in force; cheap to clone, all clones show the same. Every run of the checks reads them anew.
#[derive(Debug, Clone, Default)]
pub struct SharedParams(Arc<RwLock<Arc<CheckParams>>>);

impl SharedParams {
    /// What is in force.
    pub fn get(&self) -> Arc<CheckParams> {
        self.0.read().clone()
    }

    /// Puts others in force.
    pub fn set(&self, params: CheckParams) {
        *self.0.write() = Arc::new(params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_time_follows_the_samples_within_its_limits() {
        let params = CheckParams::default();
        for (kind, rt, sample, next) in [
            (Kind::Tcp, 4_000.0, 2_000.0, 3_500.0),
            (Kind::Tcp, 1_000.0, 0.0, 1_000.0),
            (Kind::Tcp, 4_900.0, 9_800.0, 5_000.0),
            (Kind::Http, 1_000.0, 2_000.0, 1_150.0),
            (Kind::Http, 500.0, 0.0, 500.0),
            (Kind::Http, 5_000.0, 10_000.0, 5_000.0),
            (Kind::Mysql, 2_500.0, 2_900.0, 2_640.0),
            (Kind::Mysql, 2_000.0, 0.0, 2_000.0),
            (Kind::Mysql, 7_000.0, 7_000.0, 3_000.0),
        ] {
            let got = params.smoothing(kind).next(rt, sample);
            assert!((got - next).abs() < 1e-6, "{kind:?} {rt} {sample}: {got}");
        }
        let absurd = Smoothing { min_ms: 10, max_ms: 5, factor: f64::NAN };
        assert_eq!(absurd.next(1.0, 1.0), 10.0);
    }

    #[test]
    fn the_defaults_are_those_of_the_switches() {
        let (own, switched) = (CheckParams::default(), CheckParams::from(&Switches::default()));
        assert!((own.http.factor - switched.http.factor).abs() < 1e-6);
        let exact = |params: CheckParams| CheckParams {
            tcp: Smoothing { factor: 0.0, ..params.tcp },
            http: Smoothing { factor: 0.0, ..params.http },
            mysql: Smoothing { factor: 0.0, ..params.mysql },
            ..params
        };
        assert_eq!(exact(own), exact(switched));
        let changed = Switches { check_times: -1, health_check_enabled: false, ..Switches::default() };
        assert_eq!((CheckParams::from(&changed).check_times, CheckParams::from(&changed).enabled), (0, false));
    }

    #[test]
    fn the_whitelist_is_for_tcp_and_mysql_only() {
        let listed = CheckParams { enabled: false, whitelist: ["g@@s".to_owned()].into(), ..CheckParams::default() };
        assert_eq!(
            [Kind::Tcp, Kind::Mysql, Kind::Http].map(|kind| (listed.allows(kind, "g@@s"), listed.allows(kind, "g@@t"))),
            [(true, false), (true, false), (false, false)]
        );
        assert!(CheckParams::default().allows(Kind::Http, "g@@t"));
    }
}

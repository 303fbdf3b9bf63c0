//! Where figures are shown (`spec/operator-api.md` 8).

use std::net::IpAddr;

use super::sources::{Sources, bad_value};
use super::{keys, value};
use crate::error::Result;

/// See [`Config::metrics`](super::Config::metrics).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `/actuator/info` on the port for clients.
    pub info: bool,
    /// `/actuator/prometheus` there (both: `management.endpoints.web.exposure.include` and `.exclude`).
    pub prometheus: bool,
    /// Address (`None` for all) and port of a listener for figures alone (`nacre.metrics.bind`).
    pub bind: Option<(Option<IpAddr>, u16)>,
}

impl MetricsSettings {
    /// `http` is the address and port for clients.
    pub(super) fn read(sources: &mut Sources, http: (Option<IpAddr>, u16)) -> Result<Self> {
        let shown = sources.read(&keys::EXPOSE, names)?;
        let hidden = sources.read(&keys::HIDE, names)?;
        let is_in = |list: &[String], name: &str| list.iter().any(|one| one == "*" || one == name);
        let exposed = |name| is_in(&shown, name) && !is_in(&hidden, name);
        let (info, prometheus) = (exposed("info"), exposed("prometheus"));
        let bind = sources.read_optional(&keys::METRICS_BIND, value::bind_with_port)?;
        if let Some((address, port)) = bind {
            let same_address = address.is_none() || http.0.is_none() || address == http.0;
            if same_address && port == http.1 && port != 0 {
                let text = format!("{}:{port}", address.map_or_else(|| "*".to_owned(), |address| address.to_string()));
                let allowed = "another port than that of clients (server.port)";
                return Err(bad_value(keys::METRICS_BIND.name, &text, sources.last_source(), allowed));
            }
        }
        Ok(Self { info, prometheus, bind })
    }
}

/// Names with commas between. Nobody checks them: Nacos knows more than there are here.
fn names(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect())
}

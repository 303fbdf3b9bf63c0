//! What nacre is told on its command line: here the server, below the tools.

mod bench;
mod drill;
mod load;
mod span;
mod target;

mod store;

use std::path::PathBuf;

use super::keys::{self, Key};
pub use bench::{BenchFlags, Mode, Part};
pub use drill::DrillFlags;
pub use load::{LoadFlags, Scenario};
pub use store::{Place, StoreCommand, StoreFlags};
pub use target::TargetFlags;

/// Flags of `nacre serve`. Values stay text here: [`super::Config::load`] reads them by the rules of the property that
/// each stands for, so that a bad value reads the same wherever it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Flags {
    /// Folder with conf/, data/ and logs/ [env: NACOS_HOME] [default: the working directory]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Port to listen on, 0 for any free one [default: 8848]
    #[arg(long, value_name = "N")]
    pub port: Option<String>,
    /// Address to listen on [default: all addresses]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    /// Address that this node is known by [default: that of --bind, else one of the network interfaces]
    #[arg(long, value_name = "ADDR")]
    pub ip: Option<String>,
    /// Folder of the store [default: HOME/data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// What an acknowledged write survives: synced (power loss), written (a killed process), interval (a crash costs
    /// up to 100 ms), off (nothing, as in Nacos) [default: synced]
    #[arg(long, value_name = "MODE")]
    pub durability: Option<String>,
    /// A member of the cluster; repeat for each, this server too [default: those of HOME/conf/cluster.conf]
    #[arg(long = "member", value_name = "HOST:PORT")]
    pub members: Vec<String>,
    /// Ask clients for a login; the first start makes the user `nacos` and prints its password
    #[arg(long)]
    pub auth: bool,
    /// Address and port of a listener of its own for metrics, which asks nobody for a login [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_bind: Option<String>,
    /// Print the configuration in effect and where it comes from, then exit (0 good, 2 bad)
    #[arg(long)]
    pub check_config: bool,
    /// off, error, warn, info, debug or trace [default: RUST_LOG, else info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Flags {
    /// The properties that are set by flags: flag, property, value.
    pub(super) fn properties(&self) -> Vec<(&'static str, Key, String)> {
        let members = if self.members.is_empty() { None } else { Some(self.members.join(",")) };
        let auth = self.auth.then(|| "true".to_owned());
        let all = [
            ("--port", keys::PORT, self.port.clone()),
            ("--bind", keys::BIND, self.bind.clone()),
            ("--ip", keys::IP, self.ip.clone()),
            ("--data-dir", keys::DATA_DIR, self.data_dir.clone()),
            ("--durability", keys::DURABILITY, self.durability.clone()),
            ("--member", keys::MEMBERS, members),
            ("--auth", keys::AUTH, auth),
            ("--metrics-bind", keys::METRICS_BIND, self.metrics_bind.clone()),
            ("--log-level", keys::LOG_LEVEL, self.log_level.clone()),
            ("--log-format", keys::LOG_FORMAT, self.log_format.clone()),
        ];
        all.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}

//! Flags of every tool that talks to a server.

use std::path::PathBuf;

/// Which server, and who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TargetFlags {
    /// Where the server is, with the context path if it is not /nacos: http://127.0.0.1:8848
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// User to log in as, where the server asks for a login
    #[arg(long, value_name = "NAME", requires = "password")]
    pub username: Option<String>,
    /// Password of that user; better in the environment, where other users don't see it
    #[arg(long, value_name = "TEXT", env = "NACRE_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Namespace to work in
    #[arg(long, value_name = "ID", default_value = "public")]
    pub namespace: String,
    /// Group of the services
    #[arg(long, value_name = "NAME", default_value = "DEFAULT_GROUP")]
    pub group: String,
    /// Also work on a server that is not on this machine
    #[arg(long)]
    pub allow_remote: bool,
    /// Write all figures as JSON to this file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

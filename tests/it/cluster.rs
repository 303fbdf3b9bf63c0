//! Several real processes that form a cluster, and what clients see of it.

mod check;
mod churn;
mod clients;
mod conformance;
mod empty;
mod fake;
mod kill;
mod lan;
mod mixed;
mod own_writes;
mod partition;
mod raft;
mod spread;
mod trio;
mod watch;

//! The TCP check (`spec/health.md` 2.4): connect, say nothing, close.

use std::time::Instant;

use super::target;
use super::verdict::Finding;

/// Checks `host` (address or name) at `port`.
pub(super) async fn check(host: &str, port: i32) -> Finding {
    let connected = async {
        let address = target::address(host, port).await?;
        let start = Instant::now();
        target::connect(address).await?;
        Ok(Finding::Ok(start.elapsed().as_secs_f64() * 1_000.0))
    };
    connected.await.unwrap_or_else(|finding| finding)
}

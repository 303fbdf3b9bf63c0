//! x
use crate::config::flags::DrillFlags;
use crate::error::Result;
/// x
pub fn run(_flags: &DrillFlags) -> Result<super::Verdict> {
    Ok(super::Verdict::Bad)
}

//! From findings to health (`spec/health.md` 2.3). Pure.

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Alive, after so many ms.
    Ok(f64),
    /// No answer in time, or the answer that it is busy.
    Busy,
    /// Not alive, for a reason that may pass.
    Fail,
    /// Surely not alive.
    FailNow,
    /// Nothing: this machine lacked what a check needs (file descriptors, ports, memory). It says nothing about the
    /// instance.
    Unknown,
}

impl Finding {
    /// What it counts for the response time of the cluster, given that time so far and its maximum, all in ms.
    pub fn sample_ms(self, rt_ms: f64, max_ms: u32) -> f64 {
        match self {
            Finding::Ok(ms) => ms,
            Finding::Busy | Finding::Unknown => 2.0 * rt_ms,
            Finding::Fail | Finding::FailNow => max_ms.into(),
        }
    }
}

/// What is known about an instance from its checks since it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    successes: u32,
    failures: u32,
    /// Found alive as often as needed since it was last found dead.
    confirmed: bool,
}

impl Verdict {
    /// Takes a finding about an instance that is `healthy` now. `Some`: subscribers are to be told this health, which
    /// may be the one it has. A verdict that doesn't take effect is found again by the findings after it.
    pub fn note(&mut self, finding: Finding, healthy: bool, check_times: u32) -> Option<bool> {
        match finding {
            Finding::Unknown => None,
            Finding::Ok(_) => {
                self.failures = 0;
                if healthy && self.confirmed {
                    return None;
                }
                self.successes = self.successes.saturating_add(1);
                self.confirmed |= self.successes >= check_times;
                (self.successes >= check_times).then_some(true)
            }
            Finding::Busy | Finding::Fail | Finding::FailNow => {
                self.successes = 0;
                if !healthy && !self.confirmed {
                    return None;
                }
                if finding != Finding::FailNow {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures < check_times {
                        return None;
                    }
                }
                self.confirmed = false;
                Some(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Finding = Finding::Ok(1.0);

    /// Notes `findings` with N = 3 as an instance that follows every verdict at once; answers what was told.
    fn told(mut healthy: bool, findings: &[Finding]) -> Vec<Option<bool>> {
        let mut verdict = Verdict::default();
        let note = |finding: &Finding| {
            let told = verdict.note(*finding, healthy, 3);
            healthy = told.unwrap_or(healthy);
            told
        };
        findings.iter().map(note).collect()
    }

    #[test]
    fn three_successes_heal_or_confirm_once() {
        for healthy in [true, false] {
            assert_eq!(told(healthy, &[OK; 5]), [None, None, Some(true), None, None], "{healthy}");
        }
    }

    #[test]
    fn three_failures_in_a_row_are_needed_but_one_refusal_is_enough() {
        for fail in [Finding::Fail, Finding::Busy] {
            assert_eq!(told(true, &[fail; 5]), [None, None, Some(false), None, None]);
            assert_eq!(told(true, &[fail, fail, OK, fail, fail, fail]), [None, None, None, None, None, Some(false)]);
            assert_eq!(told(false, &[fail; 4]), [None; 4]);
        }
        assert_eq!(told(true, &[Finding::FailNow; 3]), [Some(false), None, None]);
        assert_eq!(told(false, &[Finding::FailNow; 2]), [None, None]);
    }

    #[test]
    fn any_failure_takes_the_successes_back() {
        for fail in [Finding::Fail, Finding::Busy, Finding::FailNow] {
            assert_eq!(told(false, &[OK, OK, fail, OK, OK, OK]), [None, None, None, None, None, Some(true)]);
        }
    }

    #[test]
    fn counters_stay_as_they_are_when_health_turns() {
        // successes is 3 already: after an outside change to unhealthy one more is enough.
        let mut verdict = Verdict::default();
        let _ = [(); 3].map(|()| verdict.note(OK, true, 3));
        assert_eq!(verdict.note(OK, false, 3), Some(true));
        // failures is 3 already, without a success in between: made healthy from outside, one more is enough.
        let mut verdict = Verdict::default();
        let _ = [(); 3].map(|()| verdict.note(Finding::Fail, true, 3));
        assert_eq!(verdict.note(Finding::Fail, true, 3), Some(false));
    }

    #[test]
    fn a_lack_of_our_own_changes_nothing() {
        let unknown = Finding::Unknown;
        assert_eq!(told(true, &[unknown; 4]), [None; 4]);
        assert_eq!(told(true, &[OK, OK, unknown, OK]), [None, None, None, Some(true)]);
        let fail = Finding::Fail;
        assert_eq!(told(true, &[fail, fail, unknown, fail]), [None, None, None, Some(false)]);
    }

    #[test]
    fn a_verdict_that_was_lost_comes_again() {
        let mut verdict = Verdict::default();
        let told = |verdict: &mut Verdict| [OK; 4].map(|finding| verdict.note(finding, false, 3));
        assert_eq!(told(&mut verdict), [None, None, Some(true), Some(true)]);
        let mut verdict = Verdict::default();
        let told = [Finding::FailNow; 2].map(|finding| verdict.note(finding, true, 3));
        assert_eq!(told, [Some(false), Some(false)]);
    }

    #[test]
    fn samples() {
        let sample = |finding: Finding| finding.sample_ms(1_500.0, 5_000);
        assert_eq!(sample(Finding::Ok(12.5)), 12.5);
        assert_eq!([Finding::Busy, Finding::Unknown].map(sample), [3_000.0; 2]);
        assert_eq!([Finding::Fail, Finding::FailNow].map(sample), [5_000.0; 2]);
    }
}

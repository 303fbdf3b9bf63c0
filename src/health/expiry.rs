//! When an ephemeral instance turns unhealthy and when it goes (`spec/health.md` 1.2). Pure: `watch` and `tick`.

use std::sync::Arc;

use super::TICK_MS;
use super::wheel::Wheel;
use crate::model::command::Command;
use crate::registry::{EXPIRY_GRACE_MS, Service, Slot};

/// An instance that could not be judged for good (marked, or its command has not taken effect) is looked at again
/// after this.
const AGAIN_MS: u64 = 1_000;

/// The furthest look: what is gone by then is let go of, however long its own limits were.
const FURTHEST_MS: u64 = 100_000;
/// Verdicts of one tick; the others wait for the next. So a mass expiry leaves room for clients in the commit queue.
const MAX_VERDICTS: usize = 1_000;

/// Watches ephemeral instances.
pub struct Expiry {
    wheel: Wheel<(Arc<Service>, Arc<Slot>)>,
    remove: bool,
}

/// What is to be done about an instance.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Look again at this awake time.
    Wait(u64),
    Fade,
    Remove,
}

fn judge(service: &Service, slot: &Slot, now_ms: u64, remove: bool) -> Verdict {
    let (healthy, marked, timeout_ms, delete_ms) =
        slot.with(|i| (i.healthy, i.marked, i.beat_timeout_ms(), i.delete_timeout_ms()));
    let limit = |ms: u64| service.silent_from_ms(slot).saturating_add(ms).saturating_add(EXPIRY_GRACE_MS);
    if marked {
        return Verdict::Wait(now_ms + AGAIN_MS);
    }
    if remove && now_ms > limit(delete_ms) {
        return Verdict::Remove;
    }
    if healthy && now_ms > limit(timeout_ms) {
        return Verdict::Fade;
    }
    let mut next = if remove { limit(delete_ms) } else { u64::MAX };
    if healthy {
        next = next.min(limit(timeout_ms));
    } else {
        // It may be healed at any time, and is then to be watched for its timeout again.
        next = next.min(now_ms.saturating_add(timeout_ms.max(AGAIN_MS)));
    }
    Verdict::Wait(next.saturating_add(1))
}

impl Expiry {
    /// Nothing watched yet, at `now_ms`. With `remove` false silent instances turn unhealthy but stay.
    pub fn new(now_ms: u64, remove: bool) -> Self {
        Self { wheel: Wheel::new(now_ms), remove }
    }

    /// Number of looks that are planned.
    pub fn planned(&self) -> usize {
        self.wheel.len()
    }

    /// Watches an instance that came or was changed (its limits may be shorter now).
    pub fn watch(&mut self, service: Arc<Service>, slot: Arc<Slot>, now_ms: u64) {
        let deadline = match judge(&service, &slot, now_ms, self.remove) {
            Verdict::Wait(at) => at,
            Verdict::Fade | Verdict::Remove => now_ms,
        };
        let deadline = deadline.min(now_ms.saturating_add(FURTHEST_MS));
        if deadline < slot.armed_ms() {
            self.plan(deadline, service, slot);
        }
    }

    fn plan(&mut self, deadline_ms: u64, service: Arc<Service>, slot: Arc<Slot>) {
        slot.arm(deadline_ms);
        self.wheel.insert(deadline_ms, (service, slot));
    }

    /// What the silence until `now_ms` leads to. Unless `enabled` (the switch `healthCheckEnabled`) it leads to nothing
    /// for now: whoever is silent is looked at again and again. Nor does it for services that this server does not own
    /// (`is_owner` of the grouped name): their clients may beat elsewhere.
    pub fn tick(&mut self, now_ms: u64, enabled: bool, is_owner: &dyn Fn(&str) -> bool) -> Vec<Command> {
        let mut commands = Vec::new();
        for (deadline, (service, slot)) in self.wheel.tick(now_ms) {
            // A look planned anew since then has taken the place of this one.
            if slot.is_gone() || slot.armed_ms() != deadline {
                continue;
            }
            if commands.len() >= MAX_VERDICTS {
                self.plan(now_ms + TICK_MS, service, slot);
                continue;
            }
            let (key, last_beat_ms) = (|| slot.key(service.key()), slot.last_beat_ms());
            let next = match judge(&service, &slot, now_ms, self.remove) {
                Verdict::Wait(at) => at,
                // Whoever becomes the owner gives it a full timeout from then on, so this is soon enough.
                Verdict::Fade | Verdict::Remove if !is_owner(&service.key().name) => {
                    now_ms + slot.with(|i| i.beat_timeout_ms().min(i.delete_timeout_ms())).max(AGAIN_MS)
                }
                Verdict::Fade | Verdict::Remove if !enabled => now_ms + AGAIN_MS,
                Verdict::Fade => {
                    commands.push(Command::Fade { key: key(), last_beat_ms });
                    now_ms + AGAIN_MS.min(slot.with(|i| i.delete_timeout_ms()).max(TICK_MS))
                }
                Verdict::Remove => {
                    commands.push(Command::Expire { key: key(), last_beat_ms });
                    now_ms + AGAIN_MS
                }
            };
            self.plan(next.min(now_ms.saturating_add(FURTHEST_MS)), service, slot);
        }
        commands
    }
}

#[cfg(test)]
mod tests;

//! After a start: whose data to rely on, and when others may rely on this server's (`spec/restart.md` 4).
//!
//! Every server knows what was so when its store was last right, and what happened since it is back: between lies a
//! [`Gap`]. A peer that was there during this server's gap knows better: this server takes its word. One that knows
//! less is told instead. A server without data takes what it gets, from anyone who has something.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Core, Purpose};
use crate::cluster::message::{Answer, Failure, Request};
use crate::model::ServiceKey;
use crate::model::clock::Now;
use crate::model::member::{Member, State};
use crate::model::peer::{Datum, Gap, Merge, Phase, Removed, Standing};
use crate::registry::REMOVALS_KEPT_MS;

/// Clocks of servers differ by less than this.
pub(super) const SKEW_MS: u64 = 5_000;
/// A server without data that finds nobody who has any waits so long: others may be starting too.
const FRESH_WAIT_MS: u64 = 5_000;
/// A member that has not answered so many times is not there.
const MAX_MISSED: u32 = 3;
/// A failed load is tried again after this.
const RELOAD_MS: u64 = 1_000;
/// Instances that are taken in at a time.
const CHUNK: usize = 4_096;

/// What is known of a member at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// Not there.
    Absent,
    /// It did not answer in time, so many times.
    Missed(u32),
    /// Another kind of server.
    Other,
    /// Another kind of server, whose data are taken in.
    Taken,
    Nacre(Standing),
}

/// How the start goes.
pub(super) struct Start {
    phase: Phase,
    gap: Gap,
    began_ms: u64,
    met: BTreeMap<Arc<str>, Met>,
    /// Whose data are being fetched or taken in.
    source: Option<Source>,
    again_ms: u64,
}

struct Source {
    from: Arc<str>,
    /// What is left of the gap then.
    gap: Gap,
    /// A part of the data could not be taken in.
    incomplete: bool,
}

impl Source {
    fn new(from: Arc<str>, gap: Gap) -> Self {
        Self { from, gap, incomplete: false }
    }
}

/// Whether who has the gap `theirs` knows better than who has `mine`.
fn knows_better(theirs: Gap, mine: Gap) -> bool {
    // A gap that ends before it begins comes of a clock that was set back. Two servers with such gaps would each know better
    // than the other, and load from each other without end.
    if theirs.from_ms >= theirs.to_ms {
        return false;
    }
    let was_there = theirs.to_ms <= mine.from_ms;
    let left_later = theirs.from_ms > mine.from_ms.saturating_add(SKEW_MS) && mine.to_ms > theirs.from_ms;
    // Who has nothing at all listens to everybody who was there before.
    let was_first = mine.from_ms == 0 && theirs.to_ms < mine.to_ms;
    was_there || left_later || was_first
}

/// What is left of `mine` after the data of who has `theirs` were taken in.
fn closed_by(mine: Gap, theirs: Gap) -> Gap {
    if theirs.to_ms <= mine.from_ms || mine.from_ms == 0 {
        theirs
    } else {
        Gap { from_ms: theirs.from_ms, to_ms: mine.to_ms }
    }
}

impl Start {
    pub(super) fn new(as_of_ms: Option<u64>, now: Now) -> Self {
        let from_ms = as_of_ms.unwrap_or_default();
        Self {
            phase: if as_of_ms.is_some() { Phase::Restored } else { Phase::Loading },
            // The clock may have been set back meanwhile.
            gap: Gap { from_ms, to_ms: now.wall_ms.max(from_ms.saturating_add(1)) },
            began_ms: now.awake_ms,
            met: BTreeMap::new(),
            source: None,
            again_ms: 0,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        Standing { phase: self.phase, gap: self.gap }
    }

    /// Whether others may be told of this server's data.
    pub(super) fn may_tell(&self) -> bool {
        self.is_ready() && self.source.is_none()
    }

    /// Whether they will be soon, if not now: data of a member are taken in meanwhile.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(super) fn wants_to_meet(&self, address: &str) -> bool {
        match self.phase {
            // It can't do without, so it never gives up.
            Phase::Loading => true,
            Phase::Restored => !matches!(self.met.get(address), Some(Met::Missed(MAX_MISSED..))),
            Phase::Ready => false,
        }
    }

    /// The member said how it stands; `None`: it isn't there. `Some(None)`: it is another kind of server.
    pub(super) fn met(&mut self, address: &Arc<str>, standing: Option<Option<Standing>>) {
        let met = match standing {
            None => Met::Absent,
            Some(None) if self.met.get(address) == Some(&Met::Taken) => Met::Taken,
            Some(None) => Met::Other,
            Some(Some(standing)) => Met::Nacre(standing),
        };
        self.met.insert(address.clone(), met);
    }

    pub(super) fn missed(&mut self, address: &Arc<str>) {
        let missed = self.met.entry(address.clone()).or_insert(Met::Missed(0));
        *missed = Met::Missed(if let Met::Missed(times) = missed { times.saturating_add(1) } else { 1 });
    }

    /// Something that came from `from` is taken in, or could not be.
    pub(super) fn note_taken(&mut self, from: &str, done: bool) {
        if let Some(source) = self.source.as_mut().filter(|source| *source.from == *from) {
            source.incomplete |= !done;
        }
    }

    /// The data of the source are taken in; `false`: not all of them, they are asked for again.
    pub(super) fn complete(&mut self, has_data: bool, now: Now) -> bool {
        let Some(Source { from: address, gap, incomplete }) = self.source.take() else { return false };
        if incomplete {
            tracing::warn!(from = &*address, "the data of a member could not be taken in");
            self.met.remove(&address);
            self.again_ms = now.awake_ms + RELOAD_MS;
            return false;
        }
        tracing::info!(from = &*address, "the data of a member are taken in");
        self.gap = gap;
        if self.met.get(&address) != Some(&Met::Other) {
            self.phase = Phase::Ready;
            return true;
        }
        // Any of these may have just begun itself: all of them are asked.
        self.met.insert(address, Met::Taken);
        if has_data && self.phase == Phase::Loading {
            self.phase = Phase::Restored;
        }
        true
    }
}

impl Core {
    pub(super) fn go_on_starting(&mut self, others: &[Member], now: Now) {
        if self.start.source.is_some() || now.awake_ms < self.start.again_ms {
            return;
        }
        if self.start.is_ready() {
            self.look_for_who_knows_better(others);
            return;
        }
        if let Some((source, gap)) = self.choose_source() {
            self.load_from(source, gap);
        } else if self.is_nobody_left(now) {
            tracing::info!(phase = ?self.start.phase, "no member knows more than this server");
            self.start.phase = Phase::Ready;
            self.members.set_standing(self.standing());
        }
    }

    fn load_from(&mut self, source: Arc<str>, gap: Gap) {
        self.start.source = Some(Source::new(source.clone(), gap));
        let full = !self.members.is_other_kind(&source);
        self.call(&source, Request::Snapshot { full }, Purpose::Load);
    }

    /// A member that could not be asked at the start may know better all the same.
    fn look_for_who_knows_better(&mut self, others: &[Member]) {
        let mine = self.start.gap;
        let better = others.iter().find_map(|member| {
            let standing = member.extend.standing?;
            let address: Arc<str> = member.address().into();
            (member.state == State::Up && standing.phase == Phase::Ready && knows_better(standing.gap, mine))
                .then_some((address, standing.gap))
        });
        if let Some((address, gap)) = better {
            self.load_from(address, closed_by(mine, gap));
        }
    }

    /// Whose data this server should have, and the gap that is left then.
    fn choose_source(&self) -> Option<(Arc<str>, Gap)> {
        let (phase, mine) = (self.start.phase, self.start.gap);
        let known = |(address, met): (&Arc<str>, &Met)| match met {
            Met::Nacre(standing) if standing.phase != Phase::Loading => Some((address.clone(), *standing)),
            _ => None,
        };
        let known: Vec<_> = self.start.met.iter().filter_map(known).collect();
        let better = known.iter().filter(|(_, theirs)| knows_better(theirs.gap, mine));
        // Who has compared its data already comes first; then who knows best.
        let best = better.max_by_key(|(_, theirs)| (theirs.phase == Phase::Ready, theirs.gap.from_ms));
        if let Some((address, theirs)) = best {
            return Some((address.clone(), closed_by(mine, theirs.gap)));
        }
        if phase == Phase::Loading
            && let Some((address, theirs)) = known.iter().max_by_key(|(_, theirs)| theirs.phase == Phase::Ready)
        {
            return Some((address.clone(), theirs.gap));
        }
        // Others say nothing of their past: they can add, not take away.
        let other = self.start.met.iter().find(|(_, met)| **met == Met::Other);
        other.map(|(address, _)| (address.clone(), mine))
    }

    /// Whether all other members were asked, and none has anything that this server should wait for.
    fn is_nobody_left(&self, now: Now) -> bool {
        let waited_ms = now.awake_ms.saturating_sub(self.start.began_ms);
        let patience_ms = self.settings.load_patience_ms;
        if self.start.phase == Phase::Loading && patience_ms.is_some_and(|patience_ms| waited_ms >= patience_ms) {
            return true;
        }
        let settled = |address: &Arc<str>| match self.start.met.get(address) {
            Some(Met::Missed(times)) => self.start.phase == Phase::Restored && *times >= MAX_MISSED,
            Some(_) => true,
            None => false,
        };
        let wait_ms = match (self.start.phase, patience_ms) {
            (Phase::Loading, Some(_)) => FRESH_WAIT_MS,
            // It was said that clients are not served before data came from somewhere.
            (Phase::Loading, None) => u64::MAX,
            _ => 0,
        };
        waited_ms >= wait_ms && self.peers.keys().all(settled)
    }

    pub(super) fn loaded(&mut self, from: &Arc<str>, result: Result<Answer, Failure>, now: Now) {
        let data = match result {
            Ok(Answer::Data(data)) => data,
            other => {
                let fault = other.err().map_or_else(|| "it has no data yet".to_owned(), |failure| failure.to_string());
                tracing::warn!(from = &**from, fault, "the data of a member could not be loaded");
                self.start.source = None;
                self.start.met.remove(from);
                self.start.again_ms = now.awake_ms + RELOAD_MS;
                return;
            }
        };
        let nacre = self.members.is_nacre(from);
        let known_since = data.iter().filter_map(|datum| Some(datum.removed.as_ref()?.since_ms)).max();
        let known_since = known_since.unwrap_or(now.wall_ms);
        let named: HashSet<ServiceKey> = data.iter().map(|datum| datum.service.clone()).collect();
        // What a list does not have says something only with what was taken out.
        let is_whole = |datum: &Datum| nacre && datum.removed.is_some();
        let told = data.into_iter().map(|datum| Merge { whole: is_whole(&datum), datum, from_owner: nacre });
        // Of what the source does not have at all it says nothing: only what was silent for longer than it remembers goes.
        let since_ms = now.wall_ms.saturating_sub(REMOVALS_KEPT_MS);
        let services = self.registry.services();
        let unnamed = services.iter().filter(|s| nacre && s.has_ephemeral() && !named.contains(s.key()));
        let unnamed = unnamed.map(|service| {
            let removed = Some(Removed { since_ms, keys: Vec::new(), service_too: true });
            let datum = Datum { service: service.key().clone(), told: Vec::new(), removed };
            Merge { datum, whole: true, from_owner: true }
        });
        let chunks = in_chunks(told.chain(unnamed));
        let last = chunks.len() - 1;
        for (number, chunk) in chunks.into_iter().enumerate() {
            self.merge(from.clone(), chunk, (number == last).then_some(known_since), Vec::new());
        }
    }
}

/// At least one chunk, each of about as many instances as are stored at a time.
fn in_chunks(merges: impl Iterator<Item = Merge>) -> Vec<Vec<Merge>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut size) = (Vec::new(), 0);
    for merge in merges {
        size += merge.datum.told.len().max(1);
        chunk.push(merge);
        if size >= CHUNK {
            chunks.push(std::mem::take(&mut chunk));
            size = 0;
        }
    }
    if !chunk.is_empty() || chunks.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from_ms: u64, to_ms: u64) -> Gap {
        Gap { from_ms, to_ms }
    }

    #[test]
    fn who_was_there_knows_better_than_who_was_not() {
        let running = gap(0, 100_000);
        let back = gap(4_990_000, 5_000_000);
        assert!(knows_better(running, back), "it was there when the other went");
        assert!(!knows_better(back, running));
        assert_eq!(closed_by(back, running), running);
    }

    #[test]
    fn an_empty_server_is_no_authority_over_a_store() {
        let empty = gap(0, 5_005_000);
        let restored = gap(4_990_000, 5_010_000);
        assert!(!knows_better(empty, restored));
        assert!(knows_better(restored, empty));
        assert!(knows_better(gap(0, 100), empty) && !knows_better(empty, gap(0, 100)));
        assert_eq!(closed_by(empty, restored), restored);
    }

    #[test]
    fn nobody_loads_without_end_after_a_clock_was_set_back() {
        let now = Now { awake_ms: 1, wall_ms: 4_000_000 };
        let gap_of = |as_of_ms| Start::new(Some(as_of_ms), now).standing().gap;
        let (one, other) = (gap_of(5_000_000), gap_of(5_000_500));
        assert!(!(knows_better(one, other) && knows_better(other, one)));
        // What others say may be anything; after the data of one were taken in, it has said all that it can.
        let times = [0, 1, 4_990, 5_000, 5_001, 20_000];
        let gaps: Vec<Gap> = times.iter().flat_map(|from| times.map(|to| gap(*from, to))).collect();
        for theirs in &gaps {
            for mine in gaps.iter().filter(|mine| knows_better(*theirs, **mine)) {
                let left = closed_by(*mine, *theirs);
                assert!(!knows_better(*theirs, left), "{theirs:?} {mine:?}");
            }
        }
    }

    #[test]
    fn data_that_could_not_all_be_taken_in_are_asked_for_again() {
        let now = Now { awake_ms: 1, wall_ms: 4_000_000 };
        for (faults, completes) in [(vec![], true), (vec!["another"], true), (vec!["source"], false)] {
            let mut start = Start::new(None, now);
            start.source = Some(Source::new("source".into(), gap(0, 1)));
            start.note_taken("source", true);
            faults.iter().for_each(|from| start.note_taken(from, false));
            assert_eq!(start.complete(true, now), completes);
            assert_eq!((start.is_ready(), start.again_ms), (completes, if completes { 0 } else { 1 + RELOAD_MS }));
            start.source = Some(Source::new("source".into(), gap(0, 1)));
            assert!(start.complete(true, now), "the next time is another");
            start.source = Some(Source::new("source".into(), gap(0, 1)));
            start.note_taken("source", false);
            // The load has failed; what could not be taken in was of that one.
            start.source = Some(Source::new("source".into(), gap(0, 1)));
            assert!(start.complete(true, now));
        }
    }

    #[test]
    fn of_two_that_come_back_the_one_that_left_later_knows_better() {
        let (early, late) = (gap(1_000_000, 5_000_000), gap(4_000_000, 5_001_000));
        assert!(knows_better(late, early) && !knows_better(early, late));
        let (one, other) = (gap(4_000_000, 5_000_000), gap(4_000_300, 5_008_000));
        assert!(!knows_better(one, other) && !knows_better(other, one), "both went together");
    }
}

//! Rules that are broken on purpose, in the simulation and not in the code it runs.

use crate::faults::Kind;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// A server without data says that it has some, and hands out the nothing it has.
    LoadingIsASource,
    /// Clients are served by a server without data.
    LoadingServes,
    /// Checksums are sent before the data were compared with those of peers.
    VerifiesBeforeReady,
    /// What the owner's list does not have goes, whenever it came.
    FreshOnesGo,
    /// Who takes services over judges by what it had heard until then.
    NoGraceAtTakeover,
    /// Nobody remembers what was taken out.
    RemovalsAreForgotten,
    /// Everybody judges, not only the owner.
    EverybodyExpires,
    /// What peers told is told to everybody again.
    Echoes,
    /// Time goes on for who is stopped.
    CountsOwnAbsence,
    /// The restored are judged from the first moment.
    NoGraceAtRestart,
    /// The owner is the only one that a request may be handled by.
    NeverHandlesForOthers,
    /// What was changed here is told to nobody.
    TellsNothing,
    /// Differing checksums have no effect.
    NeverFetches,
    /// Stores do not say when instances were changed.
    StoresForgetWhen,
}

/// Each, with what shows it.
pub(crate) const ALL: [(Sabotage, Kind); 14] = [
    (Sabotage::LoadingIsASource, Kind::StoreLost),
    (Sabotage::LoadingServes, Kind::StoreLost),
    (Sabotage::VerifiesBeforeReady, Kind::StoreLost),
    (Sabotage::FreshOnesGo, Kind::Partition),
    (Sabotage::NoGraceAtTakeover, Kind::CrashOne),
    (Sabotage::RemovalsAreForgotten, Kind::Partition),
    (Sabotage::EverybodyExpires, Kind::CrashOne),
    (Sabotage::Echoes, Kind::CrashOne),
    (Sabotage::CountsOwnAbsence, Kind::Hung),
    (Sabotage::NoGraceAtRestart, Kind::CrashAll),
    (Sabotage::NeverHandlesForOthers, Kind::Hung),
    (Sabotage::TellsNothing, Kind::CrashOne),
    (Sabotage::NeverFetches, Kind::Partition),
    (Sabotage::StoresForgetWhen, Kind::CrashAll),
];

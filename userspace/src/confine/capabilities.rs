//! Capabilities (capabilities(7)).

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// What is kept, as far as the process has it.
pub const KEPT: [Capability; 7] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BROADCAST,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// The kernel does not let go of a capability.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up capabilities: {0}")]
pub struct CapabilitiesError(#[from] CapsError);

/// Gives up all but [`KEPT`], for this thread and those that it will start: what it can
/// do, what it could take back, and what programs could gain.
///
/// # Errors
/// [`CapabilitiesError`].
pub fn capabilities() -> Result<(), CapabilitiesError> {
    // In this order: the bounding set is limited by who has CAP_SETPCAP. Who has not, a
    // service with limits of its own, has nothing to limit.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !KEPT.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient)?;
    }
    caps::clear(None, CapSet::Inheritable)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        let has = caps::read(None, set)?;
        let kept: CapsHashSet = has.into_iter().filter(|c| KEPT.contains(c)).collect();
        caps::set(None, set, &kept)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread's capabilities are its own: the tests beside this one keep theirs.
    #[test]
    fn what_is_not_kept_cannot_be_taken_back() {
        std::thread::spawn(|| {
            let before = caps::read(None, CapSet::Permitted).unwrap();
            capabilities().unwrap();
            let kept: CapsHashSet = KEPT.into_iter().filter(|c| before.contains(c)).collect();
            assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), kept);
            assert_eq!(caps::read(None, CapSet::Effective).unwrap(), kept);
            assert!(caps::read(None, CapSet::Inheritable).unwrap().is_empty());
            assert!(caps::read(None, CapSet::Ambient).unwrap().is_empty());
            if before.contains(&Capability::CAP_SETPCAP) {
                let bound = caps::read(None, CapSet::Bounding).unwrap();
                assert!(bound.iter().all(|c| KEPT.contains(c)), "{bound:?}");
            }
            caps::raise(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_err();
            let child = std::thread::spawn(|| caps::read(None, CapSet::Permitted));
            assert_eq!(child.join().unwrap().unwrap(), kept);
            // Twice is once.
            capabilities().unwrap();
        })
        .join()
        .unwrap();
    }
}

//! What there is to measure: direction, size, threads, peers.

use std::fmt;

use anyhow::{Result, ensure};

/// Bytes of an inner packet: the smallest, a small one, a full one, and one of jumbo frames.
pub const SIZES: [usize; 4] = [64, 512, 1420, 8900];

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Seal,
    Open,
}

/// Who does it, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One thread, one peer.
    Alone,
    /// Two threads, with packets of the same peer.
    SamePeer,
    /// Two threads, each with packets of a peer of its own.
    PeerEach,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub way: Way,
    pub size: usize,
    pub spread: Spread,
}

impl Spread {
    const ALL: [Spread; 3] = [Spread::Alone, Spread::SamePeer, Spread::PeerEach];

    /// Threads at work.
    pub const fn threads(self) -> usize {
        match self {
            Spread::Alone => 1,
            Spread::SamePeer | Spread::PeerEach => 2,
        }
    }

    /// Peers with packets.
    pub const fn peers(self) -> usize {
        match self {
            Spread::Alone | Spread::SamePeer => 1,
            Spread::PeerEach => 2,
        }
    }
}

impl Case {
    /// Every case.
    pub fn all() -> Vec<Case> {
        let mut all = Vec::new();
        for way in [Way::Seal, Way::Open] {
            for size in SIZES {
                for spread in Spread::ALL {
                    all.push(Case { way, size, spread });
                }
            }
        }
        all
    }

    /// The cases whose names begin with one of these, in the order of [`all`](Self::all).
    pub fn chosen(names: &[String]) -> Result<Vec<Case>> {
        let all = Case::all();
        for name in names {
            let known = all.iter().any(|case| case.is_called(name));
            ensure!(
                known,
                "no case {name}: there are {} and so on, and what they begin with",
                all[0]
            );
        }
        let is_chosen = |case: &Case| names.iter().any(|name| case.is_called(name));
        Ok(all.into_iter().filter(is_chosen).collect())
    }

    /// The same work on one thread.
    pub const fn alone(self) -> Case {
        Case {
            spread: Spread::Alone,
            ..self
        }
    }

    /// Whether `name` is this case's, or whole parts of it from the front.
    fn is_called(&self, name: &str) -> bool {
        let full = self.to_string();
        let rest = full.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Seal => "seal",
            Way::Open => "open",
        };
        let spread = match self.spread {
            Spread::Alone => "1t",
            Spread::SamePeer => "2t-1peer",
            Spread::PeerEach => "2t-2peer",
        };
        f.pad(&format!("{way}-{}-{spread}", self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<String>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let cases = Case::chosen(&names)?;
        Ok(cases.iter().map(Case::to_string).collect())
    }

    #[test]
    fn cases_are_chosen_by_name_and_by_what_it_begins_with() {
        assert_eq!(chosen(&["seal", "open"]).unwrap().len(), 24);
        assert_eq!(chosen(&["seal-1420-1t"]).unwrap(), ["seal-1420-1t"]);
        assert_eq!(
            chosen(&["open-64-2t", "seal-8900-1t"]).unwrap(),
            ["seal-8900-1t", "open-64-2t-1peer", "open-64-2t-2peer"]
        );
        for unknown in ["seal-6", "se", "open-65", "seal-64-3t", ""] {
            assert!(chosen(&[unknown]).is_err(), "{unknown}");
        }
    }
}

//! What there is to measure.

use anyhow::{Result, bail};

use crate::load::Mix;

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// So many TCP streams.
    Tcp(u32),
    /// The highest rate of datagrams without loss.
    Udp(Mix),
    /// Round trips, beside a TCP stream or alone.
    Rtt {
        /// Whether there is one.
        load: bool,
    },
}

/// All cases, with the names that they have everywhere.
pub const ALL: [(&str, Case); 8] = [
    ("tcp1", Case::Tcp(1)),
    ("tcp4", Case::Tcp(4)),
    ("udp64", Case::Udp(Mix::SMALL)),
    ("udp512", Case::Udp(Mix::MIDDLE)),
    ("udp1400", Case::Udp(Mix::LARGE)),
    ("imix", Case::Udp(Mix::IMIX)),
    ("rtt-idle", Case::Rtt { load: false }),
    ("rtt-load", Case::Rtt { load: true }),
];

impl Case {
    /// The cases of these names, each once.
    ///
    /// # Errors
    /// There is no such case; the message has those that there are.
    pub fn chosen(names: &[String]) -> Result<Vec<(&'static str, Case)>> {
        let mut chosen = Vec::new();
        for name in names {
            let Some(case) = ALL.iter().find(|(known, _)| known == name) else {
                bail!(
                    "no case {name}: there are {}",
                    ALL.map(|(n, _)| n).join(", ")
                );
            };
            if !chosen.contains(case) {
                chosen.push(*case);
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_names_and_others_are_told_which() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let chosen = Case::chosen(&names("rtt-load,tcp4,rtt-load")).unwrap();
        assert_eq!(
            chosen,
            [
                ("rtt-load", Case::Rtt { load: true }),
                ("tcp4", Case::Tcp(4))
            ]
        );
        let error = Case::chosen(&names("tcp1,udp65")).unwrap_err().to_string();
        assert!(
            error.contains("udp65") && error.contains("udp64, udp512"),
            "{error}"
        );
    }
}

//! How long nothing arrived, from what `ping -D` printed.

use anyhow::{Context as _, Result, ensure};

/// What the answers tell.
#[derive(Debug, PartialEq)]
pub struct Outage {
    pub answers: usize,
    /// The longest time between two answers, in seconds.
    pub longest: f64,
}

/// Reads lines such as `[1700000000.123456] 64 bytes from …`.
pub fn read(text: &str) -> Result<Outage> {
    let mut times = Vec::new();
    for line in text.lines().filter(|line| line.contains(" bytes from ")) {
        let time = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .with_context(|| format!("ping says {line:?}"))?;
        times.push(time.0.parse::<f64>().with_context(|| line.to_owned())?);
    }
    ensure!(times.len() > 1, "ping had {} answers:\n{text}", times.len());
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    Ok(Outage {
        answers: times.len(),
        longest: gaps.fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts() {
        let text = "PING 10.9.0.2\n[100.5] 64 bytes from 10.9.0.2: icmp_seq=1\n\
            [100.75] 64 bytes from 10.9.0.2: icmp_seq=2\n[101.75] 64 bytes from 10.9.0.2: icmp_seq=9\n";
        let expected = Outage {
            answers: 3,
            longest: 1.0,
        };
        assert_eq!(read(text).unwrap(), expected);
        assert!(read("").is_err());
        assert!(read("64 bytes from x\n").is_err());
    }
}

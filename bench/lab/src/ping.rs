//! ICMP echo from a namespace, and what came back.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::NetNs;

/// What `ping` reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Echo requests sent.
    pub sent: u32,
    /// Replies received.
    pub received: u32,
    /// Mean round trip, seconds; `None` without a reply.
    pub mean: Option<f64>,
}

/// Sends `count` echo requests, one each `interval`, and waits up to `deadline` for each reply.
///
/// # Errors
/// `ping` cannot run or prints what is not understood. Lost replies are no error.
pub fn ping(
    ns: &NetNs,
    to: IpAddr,
    count: u32,
    interval: Duration,
    deadline: Duration,
) -> Result<Report> {
    ping_with(ns, to, count, interval, deadline, &[])
}

/// As [`ping`] with more arguments (`-s 1300`, `-p PATTERN`, `-I ADDRESS`).
///
/// # Errors
/// As [`ping`].
pub fn ping_with(
    ns: &NetNs,
    to: IpAddr,
    count: u32,
    interval: Duration,
    deadline: Duration,
    more: &[&str],
) -> Result<Report> {
    let output = ns
        .command("ping")
        .args(["-n", "-q", "-c", &count.to_string()])
        .args(["-i", &format!("{:.3}", interval.as_secs_f64())])
        .args(["-W", &format!("{:.3}", deadline.as_secs_f64())])
        .args(more)
        .arg(to.to_string())
        .stdin(Stdio::null())
        .output()
        .context("cannot run ping (apt-get install iputils-ping)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).with_context(|| {
        format!(
            "ping {to}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// The time from now to the first answered echo: one request each 100 ms for up to `limit`.
///
/// # Errors
/// No answer within `limit`.
pub fn until_answered(ns: &NetNs, to: IpAddr, limit: Duration) -> Result<Duration> {
    let start = std::time::Instant::now();
    let mut command = ns.command("ping");
    command
        .args(["-n", "-i", "0.1", "-w"])
        .arg(limit.as_secs_f64().ceil().max(1.0).to_string())
        .arg(to.to_string());
    let ping = ns.spawn(command)?;
    ping.wait_line(limit, |line| {
        line.contains("bytes from") && line.contains("time=")
    })
    .with_context(|| format!("no answer from {to} within {limit:?}"))?;
    Ok(start.elapsed())
}

/// Fails unless every request is answered.
///
/// # Errors
/// A reply is missing, or `ping` cannot run.
pub fn expect_all(ns: &NetNs, to: IpAddr, count: u32) -> Result<Report> {
    let report = ping(
        ns,
        to,
        count,
        Duration::from_millis(100),
        Duration::from_secs(30),
    )?;
    ensure!(
        report.received == report.sent && report.sent == count,
        "ping {to} from {}: {} of {} answered",
        ns.name(),
        report.received,
        report.sent
    );
    Ok(report)
}

fn parse(text: &str) -> Option<Report> {
    let counts = text
        .lines()
        .find(|line| line.contains(" packets transmitted"))?;
    let mut numbers = counts
        .split(", ")
        .filter_map(|part| part.split(' ').next()?.parse::<u32>().ok());
    let (sent, received) = (numbers.next()?, numbers.next()?);
    // "rtt min/avg/max/mdev = 0.046/0.052/0.061/0.006 ms", also with a trailing ", pipe N".
    let mean = text
        .lines()
        .find_map(|line| line.strip_prefix("rtt "))
        .and_then(|line| line.split_once("= "))
        .and_then(|(_, values)| values.split('/').nth(1)?.parse::<f64>().ok())
        .map(|milliseconds| milliseconds / 1e3);
    Some(Report {
        sent,
        received,
        mean,
    })
}

#[cfg(test)]
mod tests {
    use super::{Report, parse};

    #[test]
    fn reads_the_summary_of_iputils() {
        let text = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\n--- 10.0.0.1 ping statistics ---\n5 packets transmitted, 4 received, 20% packet loss, time 81ms\nrtt min/avg/max/mdev = 0.046/0.052/0.061/0.006 ms, pipe 2\n";
        assert_eq!(
            parse(text),
            Some(Report {
                sent: 5,
                received: 4,
                mean: Some(0.000052)
            })
        );
    }

    #[test]
    fn errors_in_between_do_not_shift_the_numbers() {
        let text = "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2ms\n";
        assert_eq!(
            parse(text),
            Some(Report {
                sent: 3,
                received: 0,
                mean: None
            })
        );
        assert_eq!(parse("ping: unknown host"), None);
    }
}

//! Round trips of small datagrams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ringtun_lab::NetNs;

use super::probe::prefer;

/// Requests per second.
const RATE: u32 = 1000;
/// Bytes that a request carries: an IP packet with a payload of 64.
const DATA: usize = 56;
/// An answer that comes later than this after the last request is lost.
const LATE_MAX: Duration = Duration::from_secs(1);
/// How long a thread waits before it looks whether all is over.
const TURN: Duration = Duration::from_millis(50);

/// Asks for `time`, a thousand times a second; seconds that each answer took, and how many were
/// asked for.
///
/// # Errors
/// A socket cannot be had or fails.
pub fn round_trips(ends: [&NetNs; 2], to: IpAddr, time: Duration) -> Result<(Vec<f64>, usize)> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let [client, server] = [ends[0].udp(any)?, ends[1].udp(any)?];
    client.connect((to, server.local_addr()?.port()))?;
    measure(&client, &server, time)
}

fn measure(client: &UdpSocket, server: &UdpSocket, time: Duration) -> Result<(Vec<f64>, usize)> {
    for socket in [client, server] {
        socket.set_read_timeout(Some(TURN))?;
    }
    let (began, asked, over) = (
        Instant::now(),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    thread::scope(|scope| {
        let answers = scope.spawn(|| {
            prefer();
            answer(server, &over)
        });
        let times = scope.spawn(|| {
            prefer();
            collect(client, began, &asked)
        });
        let mut count = 0;
        let mut result = Ok(());
        while began.elapsed() < time && result.is_ok() {
            let due = Duration::from_secs(1) / RATE * count as u32;
            // The pace is what is asked for here, not an event.
            thread::sleep(due.saturating_sub(began.elapsed()));
            let mut request = [0; DATA];
            request[..8].copy_from_slice(&(began.elapsed().as_nanos() as u64).to_le_bytes());
            result = client.send(&request).map(drop);
            count += 1;
        }
        asked.store(true, Ordering::Release);
        let times = times.join().map_err(|_| anyhow!("the client panicked"));
        over.store(true, Ordering::Release);
        answers
            .join()
            .map_err(|_| anyhow!("the server panicked"))??;
        result?;
        Ok((times??, count))
    })
}

/// Sends back what comes.
fn answer(server: &UdpSocket, over: &AtomicBool) -> Result<()> {
    let mut buffer = [0; DATA];
    while !over.load(Ordering::Acquire) {
        if let Some((len, from)) = timely(server.recv_from(&mut buffer))? {
            server.send_to(&buffer[..len], from)?;
        }
    }
    Ok(())
}

/// How long each answer took.
fn collect(client: &UdpSocket, began: Instant, asked: &AtomicBool) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    let mut buffer = [0; DATA];
    let mut quiet: Option<Instant> = None;
    loop {
        let got = timely(client.recv(&mut buffer))?;
        let now = began.elapsed();
        if got.is_some()
            && let Some(sent) = buffer.first_chunk().map(|sent| u64::from_le_bytes(*sent))
        {
            times.push(now.saturating_sub(Duration::from_nanos(sent)).as_secs_f64());
            quiet = None;
        } else if asked.load(Ordering::Acquire)
            && quiet.get_or_insert_with(Instant::now).elapsed() >= LATE_MAX
        {
            return Ok(times);
        }
    }
}

/// `None` when nothing came in time.
fn timely<T>(result: std::io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_answered_on_loopback() -> Result<()> {
        let [client, server] = [
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        ];
        client.connect(server.local_addr()?)?;
        let (times, asked) = measure(&client, &server, Duration::from_millis(200))?;
        assert_eq!(times.len(), asked);
        assert!(
            (50..=202).contains(&asked),
            "{asked} at a thousand a second"
        );
        assert!(times.iter().all(|time| *time > 0.0 && *time < 1.0));
        Ok(())
    }
}

//! What is measured, put together of a source and an end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use ringtun_lab::{PacketSocket, usage};

use super::ends::{Forwarder, Receiver, Sink};
use super::line::Line;
use super::source::{BATCH, RingSource, Source};

/// How long a run goes on before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// A source, and what its frames arrive at.
pub struct Subject {
    source: Source,
    end: End,
    /// Held: dropping a link removes its namespaces.
    _lines: Vec<Line>,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Packets per second that arrived.
    pub rate: f64,
    /// Nanoseconds of the thread that is measured, per packet: of the one that receives or
    /// forwards, turns that find nothing and waking up included, or else of the one that sends.
    pub cost: f64,
}

enum End {
    Sink(Sink),
    Receiver(Box<Receiver>, AtomicU64),
    Forwarder(Box<Forwarder>, Sink),
}

impl Subject {
    /// AF_XDP into a sink.
    pub fn transmit(size: usize) -> Result<Subject> {
        let line = Line::new()?;
        Ok(Subject {
            end: End::Sink(Sink::new(&line)?),
            source: Source::Ring(RingSource::new(&line, size)?),
            _lines: vec![line],
        })
    }

    /// A packet socket and `sendmmsg` into a sink.
    pub fn packet_socket(size: usize) -> Result<Subject> {
        let line = Line::new()?;
        let near = line.near();
        let socket = near.ns.within(|| Ok(PacketSocket::open(&near.device)?))?;
        Ok(Subject {
            end: End::Sink(Sink::new(&line)?),
            source: Source::Packet(socket, vec![line.frame(size)?; BATCH]),
            _lines: vec![line],
        })
    }

    /// AF_XDP into AF_XDP.
    pub fn receive(size: usize) -> Result<Subject> {
        let line = Line::new()?;
        Ok(Subject {
            end: End::Receiver(Receiver::new(&line)?, AtomicU64::new(0)),
            source: Source::Ring(RingSource::new(&line, size)?),
            _lines: vec![line],
        })
    }

    /// AF_XDP into AF_XDP, out of it again, and into a sink.
    pub fn forward(size: usize) -> Result<Subject> {
        let first = Line::new()?;
        let second = first.after()?;
        let forwarder = Forwarder::new(&first, &second)?;
        Ok(Subject {
            end: End::Forwarder(forwarder, Sink::new(&second)?),
            source: Source::Ring(RingSource::new(&first, size)?),
            _lines: vec![first, second],
        })
    }

    /// Lets it run, and measures for `time`.
    pub fn measure(&mut self, time: Duration) -> Result<Sample> {
        let Self { source, end, .. } = self;
        let stop = AtomicBool::new(false);
        // The processor time that the turns took, seconds.
        let repeat = |turn: &mut dyn FnMut() -> Result<()>| {
            let before = usage::thread()?;
            while !stop.load(Relaxed) {
                turn()?;
            }
            Ok::<_, anyhow::Error>(usage::thread()? - before)
        };
        thread::scope(|scope| {
            let (counter, receive) = end.split();
            let first = counter.read()?;
            let repeat = &repeat;
            let sending = scope.spawn(move || repeat(&mut || source.turn()));
            let receiving = receive.map(|mut turn| scope.spawn(move || repeat(&mut *turn)));
            // The time is what is asked for here, not an event.
            thread::sleep(WARM_UP);
            let before = counter.read();
            let begin = Instant::now();
            thread::sleep(time);
            let after = counter.read();
            let seconds = begin.elapsed().as_secs_f64();
            stop.store(true, Relaxed);
            let mut used = 0.0;
            for thread in [Some(sending), receiving].into_iter().flatten() {
                // The last one is the one that is measured.
                used = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            let (before, after, last) = (before?, after?, counter.read()?);
            ensure!(after > before, "nothing arrived");
            Ok(Sample {
                rate: (after - before) as f64 / seconds,
                cost: used * 1e9 / (last - first) as f64,
            })
        })
    }

    /// Fails unless every frame of every socket is accounted for.
    pub fn audit(&mut self) -> Result<()> {
        self.source.audit()?;
        match &mut self.end {
            End::Sink(_) => Ok(()),
            End::Receiver(receiver, _) => receiver.audit(),
            End::Forwarder(forwarder, _) => forwarder.audit(),
        }
    }
}

/// Receives or forwards one batch.
type Turn<'a> = Box<dyn FnMut() -> Result<()> + Send + 'a>;

impl End {
    /// Where arrived frames are counted, and what a thread has to do here.
    fn split(&mut self) -> (Counter<'_>, Option<Turn<'_>>) {
        match self {
            End::Sink(sink) => (Counter::Sink(sink), None),
            End::Receiver(receiver, received) => {
                let received = &*received;
                let turn = Box::new(move || receiver.turn(received));
                (Counter::Received(received), Some(turn))
            }
            End::Forwarder(forwarder, sink) => {
                let turn = Box::new(move || forwarder.turn());
                (Counter::Sink(sink), Some(turn))
            }
        }
    }
}

/// Where the frames that have arrived are counted.
enum Counter<'a> {
    Sink(&'a Sink),
    Received(&'a AtomicU64),
}

impl Counter<'_> {
    fn read(&self) -> Result<u64> {
        match self {
            Counter::Sink(sink) => sink.arrived(),
            Counter::Received(count) => Ok(count.load(Relaxed)),
        }
    }
}

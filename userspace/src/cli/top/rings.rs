//! How full rings and queues are, and what was lost at rings.

use super::device::Device;
use super::look::Ink;
use super::text::count;
use crate::control::uapi::DeviceInfo;
use crate::datapath::rings::RingTotals;

/// The rings of one queue of a network card.
struct Ring<'a> {
    /// `CARD/QUEUE`.
    name: String,
    totals: &'a RingTotals,
    /// Slots of the transmit ring and of the fill ring.
    slots: [u64; 2],
}

impl Ring<'_> {
    /// Frames that the kernel dropped before they were ours.
    fn lost(&self) -> u64 {
        self.totals.kernel_rx_dropped + self.totals.kernel_rx_full
    }

    /// What is wrong, in words: there are terminals without colours.
    fn faults(&self) -> (String, Ink) {
        let mut text = String::new();
        let mut ink = Ink::Plain;
        if self.lost() > 0 {
            text = format!(" lost {}", count(self.lost()));
            ink = Ink::Warn;
        }
        if self.totals.failed > 0 {
            text += " FAILED";
            ink = Ink::Bad;
        }
        (text, ink)
    }
}

fn rings(info: &DeviceInfo) -> impl Iterator<Item = Ring<'_>> {
    let slots = |name: &str| info.ring_slots.get(name).copied().unwrap_or_default();
    let slots = [slots("tx"), slots("fill")];
    let lan = info.lan.iter().filter_map(|lan| lan.forwarding.as_ref());
    info.cards.iter().chain(lan).flat_map(move |card| {
        let queues = card.queues.iter().enumerate();
        queues.map(move |(number, totals)| Ring {
            name: format!("{}/{number}", card.name),
            totals,
            slots,
        })
    })
}

/// For a line that has room for few: rings in percent, then queues.
pub fn short(device: &Device) -> Vec<(String, Ink)> {
    let Some(info) = &device.info else {
        return Vec::new();
    };
    let ring = |ring: Ring<'_>| {
        let (faults, ink) = ring.faults();
        let [tx, fill] = ring.slots;
        let text = format!(
            "{} tx {} fill {}{faults}",
            ring.name,
            full(ring.totals.tx_pending, tx),
            full(ring.totals.fill_pending, fill),
        );
        (text, ink)
    };
    let mut all: Vec<_> = rings(info).map(ring).collect();
    if all.is_empty() {
        all.push((format!("{}: none", info.io), Ink::Faint));
    }
    let queues = queues(info).map(|(name, text)| (format!("{name} {text}"), Ink::Plain));
    all.extend(queues);
    all
}

/// For a page: a name and all that is known of it, a line each.
pub fn long(device: &Device) -> Vec<(String, String, Ink)> {
    let Some(info) = &device.info else {
        return Vec::new();
    };
    let ring = |ring: Ring<'_>| {
        let (faults, ink) = ring.faults();
        let [tx, fill] = ring.slots;
        let of = ring.totals;
        let text = format!(
            "tx {:>9}  fill {:>9}  in {}  out {}{}{faults}",
            part(of.tx_pending, tx),
            part(of.fill_pending, fill),
            count(of.rx_packets),
            count(of.tx_packets),
            if of.tx_full > 0 {
                format!("  full {}", count(of.tx_full))
            } else {
                String::new()
            },
        );
        (ring.name, text, ink)
    };
    let mut all: Vec<_> = rings(info).map(ring).collect();
    if all.is_empty() {
        let none = format!("none: packets travel by {}", info.io);
        all.push(("rings".to_owned(), none, Ink::Faint));
    }
    all.extend(queues(info).map(|(name, text)| (name.to_owned(), text, Ink::Plain)));
    all
}

fn queues(info: &DeviceInfo) -> impl Iterator<Item = (&str, String)> {
    let queues = info.queues.iter();
    queues.map(|(name, queue)| (name.as_str(), part(queue.length, queue.capacity)))
}

fn part(used: u64, of: u64) -> String {
    if of == 0 {
        used.to_string()
    } else {
        format!("{used}/{of}")
    }
}

/// In percent; one that is not empty is not shown as if it were.
fn full(used: u64, of: u64) -> String {
    match (used, of) {
        (_, 0) => used.to_string(),
        (0, _) => "0%".to_owned(),
        _ => format!("{}%", (used * 100 / of).max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_and_what_failed_is_said_in_words() {
        let totals = |change: fn(&mut RingTotals)| {
            let mut totals = RingTotals::default();
            change(&mut totals);
            totals
        };
        for (totals, said, ink) in [
            (totals(|_| ()), "", Ink::Plain),
            (
                totals(|t| t.kernel_rx_full = 1200),
                " lost 1,200",
                Ink::Warn,
            ),
            (
                totals(|t| (t.kernel_rx_dropped, t.failed) = (1, 1)),
                " lost 1 FAILED",
                Ink::Bad,
            ),
        ] {
            let ring = Ring {
                name: "eth0/0".to_owned(),
                totals: &totals,
                slots: [2048; 2],
            };
            assert_eq!(ring.faults(), (said.to_owned(), ink));
        }
        assert_eq!(
            [full(0, 2048), full(3, 2048), full(2048, 2048)],
            ["0%", "1%", "100%"]
        );
        assert_eq!(full(7, 0), "7");
    }
}

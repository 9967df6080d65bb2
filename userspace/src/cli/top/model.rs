//! All that is known of the devices: what the daemons said, and rates made of it.

use std::time::Duration;

use super::device::Device;
use super::sample::{Absent, Sample};

/// Devices that are gone and still shown; the oldest are forgotten first.
const GONE_MAX: usize = 32;

/// Every device that was seen.
#[derive(Default)]
pub struct Model {
    /// By name.
    pub devices: Vec<Device>,
    /// Unix time in seconds of the last sample; 0 before the first.
    pub wall: u64,
}

impl Model {
    /// Takes over what was sampled.
    pub fn apply(&mut self, sample: Sample) {
        self.wall = sample.wall;
        let mut heard = Vec::new();
        for (name, answer) in sample.devices {
            heard.push(name.clone());
            let at = match self.devices.binary_search_by(|d| d.name.cmp(&name)) {
                Ok(at) => at,
                Err(at) => {
                    self.devices.insert(at, Device::new(name));
                    at
                }
            };
            match answer {
                Ok(seen) => self.devices[at].seen(seen, sample.wall),
                Err(why) => self.devices[at].absent(why, sample.wall),
            }
        }
        for device in &mut self.devices {
            if !heard.contains(&device.name) {
                device.absent(Absent::Gone, sample.wall);
            }
        }
        self.forget();
    }

    /// Bounds the devices that are gone.
    fn forget(&mut self) {
        let mut gone: Vec<u64> = self.devices.iter().filter_map(Device::gone_since).collect();
        if gone.len() > GONE_MAX {
            gone.sort_unstable();
            let oldest = gone[gone.len() - GONE_MAX];
            let kept = |device: &Device| device.gone_since().is_none_or(|since| since >= oldest);
            self.devices.retain(kept);
        }
    }

    /// Peers of all devices.
    pub fn peer_count(&self) -> usize {
        self.devices.iter().map(|d| d.peers.len()).sum()
    }

    /// Peers whose last handshake is so recent that their session lives.
    pub fn active(&self) -> usize {
        let peers = self.devices.iter().flat_map(|d| &d.peers);
        peers.filter(|peer| peer.is_active(self.wall)).count()
    }

    /// Bits per second of all devices, received and sent.
    pub fn rates(&self) -> [f64; 2] {
        let sum = |of: fn(&Device) -> f64| self.devices.iter().map(of).sum();
        [sum(|d| d.rx.per_second), sum(|d| d.tx.per_second)]
    }
}

/// A counter and how fast it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// The counter as it was last seen.
    pub total: u64,
    /// Growth per second.
    pub per_second: f64,
}

impl Rate {
    /// The counter is `total` now, `elapsed` after it was seen last; without, it was
    /// not. One that fell began anew.
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    pub fn update(&mut self, total: u64, elapsed: Option<Duration>) {
        let grown = total.checked_sub(self.total);
        self.per_second = match (elapsed, grown) {
            (Some(elapsed), Some(grown)) if !elapsed.is_zero() => {
                grown as f64 / elapsed.as_secs_f64()
            }
            _ => 0.0,
        };
        self.total = total;
    }

    /// The same in bits, for a counter of bytes.
    pub fn update_bits(&mut self, total: u64, elapsed: Option<Duration>) {
        self.update(total, elapsed);
        self.per_second *= 8.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::testing;

    #[test]
    fn a_rate_is_growth_over_time_and_none_after_a_fall() {
        let mut rate = Rate::default();
        rate.update(1000, None);
        assert_eq!((rate.total, rate.per_second), (1000, 0.0));
        rate.update(3000, Some(Duration::from_secs(2)));
        assert_eq!(rate.per_second, 1000.0);
        rate.update(10, Some(Duration::from_secs(2)));
        assert_eq!((rate.total, rate.per_second), (10, 0.0));
        rate.update(20, Some(Duration::ZERO));
        assert_eq!(rate.per_second, 0.0);
    }

    #[test]
    fn a_device_that_goes_stays_in_view_and_comes_back_restarted() {
        let mut model = Model::default();
        model.apply(testing::sample(100, &[("wg0", 7, 2, 0)]));
        model.apply(testing::sample(101, &[("wg0", 7, 2, 1000)]));
        assert!(model.rates()[0] > 0.0);
        model.apply(testing::sample(102, &[]));
        let device = &model.devices[0];
        assert_eq!(device.gone_since(), Some(102));
        assert_eq!(device.peers.len(), 2, "what is known last");
        assert_eq!(model.rates(), [0.0, 0.0]);
        model.apply(testing::sample(103, &[("wg0", 8, 2, 50)]));
        let device = &model.devices[0];
        assert_eq!((device.gone_since(), device.restarted), (None, Some(103)));
        assert_eq!(device.peers[0].rx.total, 50);
        assert_eq!(model.rates(), [0.0, 0.0]);
    }

    #[test]
    fn devices_that_are_gone_are_bounded() {
        let mut model = Model::default();
        for wall in 0..100 {
            let name = format!("wg{wall}");
            model.apply(testing::sample(wall, &[(&name, 7, 1, 0)]));
        }
        assert!(
            model.devices.len() <= GONE_MAX + 2,
            "{}",
            model.devices.len()
        );
        assert!(model.devices.iter().any(|d| d.name.as_str() == "wg99"));
    }
}

//! The queues, served by hand.

use super::*;
use crate::crypto::PrivateKey;
use crate::crypto::hash;
use crate::datapath::mss::MssClamp;
use crate::tunnel::cookie;
use crate::tunnel::device::Device;
use crate::tunnel::time::BootTime;

const MAC1_AT: usize = INITIATION_LEN - 2 * MAC_LEN;

/// A device with a key and no peer, and initiations to it from nobody.
fn flooded() -> (Arc<Tunnel>, impl Fn(u8, u8) -> Incoming) {
    let mut rng = os_rng();
    let boot = BootTime::from_nanos(1_000_000_000);
    let mut device = Device::new(boot, &mut rng, Arc::new(|_| {}));
    let key = PrivateKey::generate(&mut rng);
    let mac1_key = cookie::mac1_key(&key.public());
    device.set_private_key(boot, Some(key));
    device.publish();
    let (tunnel, _) = Tunnel::new("test", device.shared(), 1420, MssClamp::Off, 1);
    let target = Arc::clone(&tunnel);
    let make = move |number: u8, mac2: u8| {
        let mut bytes = [number; INITIATION_LEN];
        bytes[..4].copy_from_slice(&[1, 0, 0, 0]);
        let mac1 = hash::mac(&mac1_key, &[&bytes[..MAC1_AT]]);
        bytes[MAC1_AT..MAC1_AT + MAC_LEN].copy_from_slice(&mac1);
        bytes[MAC1_AT + MAC_LEN..].fill(mac2);
        let from = Endpoint::new(([192, 0, 2, number], 7).into());
        Incoming::new(&target, from, &bytes).expect("as long as an initiation")
    };
    (tunnel, make)
}

fn serve(queues: &Queues, messages: usize) {
    let mut nonces = ChaCha20Rng::from_rng(&mut os_rng());
    let mut replies = Replies::default();
    for _ in 0..messages {
        assert!(queues.serve_one(&mut nonces, &mut replies));
    }
}

#[test]
fn made_up_cookies_do_not_hide_a_flood() {
    for mac2 in [0, 0xaa] {
        let (tunnel, initiation) = flooded();
        let queues = Queues::new(0);
        for number in 0..=INITIATIONS_MAX / 8 {
            queues.receive(initiation(number as u8, mac2), &tunnel.drops);
        }
        serve(&queues, 1);
        assert_eq!(
            tunnel.dropped(DropReason::CookieRequired),
            1,
            "MAC2 {mac2:#x}"
        );
    }
}

#[test]
fn neither_kind_of_initiation_keeps_the_other_waiting() {
    for (many, one) in [(0, 0xaa), (0xaa, 0)] {
        let (tunnel, initiation) = flooded();
        let queues = Queues::new(0);
        for number in 0..100 {
            queues.receive(initiation(number, many), &tunnel.drops);
        }
        queues.receive(initiation(200, one), &tunnel.drops);
        serve(&queues, 2);
        let rare = if one == 0 {
            &queues.initiations
        } else {
            &queues.proved
        };
        assert!(rare.is_empty(), "MAC2 {one:#x} waits behind {many:#x}");
    }
}

//! Tunnels of others, spread over CPUs on a card that no peer is reached by.

use ringtun_common::fixtures::frames;
use ringtun_common::ip::{ESP, GRE};
use ringtun_lab::peers::local::Device;
use ringtun_lab::{NetNs, PacketSocket, link, names, scrape, wait};
use serde_json::Value;

use crate::e2e;
use crate::support::{FIRST, program_on};

const KEYS: u32 = 256;

/// The gateway, and a host that sends to its interface.
struct Site {
    gateway: NetNs,
    host: NetNs,
    wan: String,
}

impl Site {
    fn new() -> Site {
        let (gateway, host) = (NetNs::new("g").unwrap(), NetNs::new("h").unwrap());
        let wan = names::unique("v");
        link::veth(&gateway, &wan, &host, "far").unwrap();
        Site { gateway, host, wan }
    }

    fn start(&self, arguments: &[&str]) -> Device {
        let name = names::unique("w");
        Device::start_with(&e2e::ringtun(), &self.gateway, &name, arguments).unwrap()
    }

    fn show(&self, device: &Device) -> Value {
        let ringtun = e2e::ringtun();
        let program = ringtun.program.to_str().unwrap();
        let arguments = ["show", &device.name, "--json"];
        let text = self.gateway.run(program, arguments).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// One packet of each of many tunnels.
    fn send(&self, protocol: u8) {
        let socket = self.host.within(|| Ok(PacketSocket::open("far")?)).unwrap();
        for key in 0..KEYS {
            let key = (key + 0x100).to_be_bytes();
            let payload = match protocol {
                GRE => [&[0x20, 0, 8, 0][..], &key, &[0; 32]].concat(),
                _ => [&key[..], &[0; 36]].concat(),
            };
            let frame = frames::over4(protocol, &payload);
            assert_eq!(socket.send(&[frame]).unwrap(), 1);
        }
    }
}

fn packets(shown: &Value, of: &str, label: &str) -> u64 {
    shown[of][label]["packets"].as_u64().unwrap_or(0)
}

#[test]
fn a_card_without_peers_steers_what_it_is_told_and_passes_the_rest() {
    let site = Site::new();
    let (wan, both) = (site.wan.as_str(), "esp=0-1");
    // One group works, one names a CPU that no machine has.
    let arguments = [
        "--io",
        "udp",
        "--wan",
        wan,
        "--steer",
        both,
        "--steer",
        "openvpn=4294967295",
    ];
    let device = site.start(&arguments);
    wait::until("the program", FIRST, || {
        let there = !program_on(&site.gateway, wan).is_null();
        Ok((there && site.show(&device)["cards"][0]["name"] == wan).then_some(()))
    })
    .unwrap();
    let shown = site.show(&device);
    assert_eq!(shown["io"], "udp", "{shown}");
    let steering = &shown["steering"];
    assert_eq!(steering[0]["group"], "esp", "{steering}");
    assert!(steering[0]["refused"].is_null(), "{steering}");
    let refused = steering[1]["refused"].as_str().unwrap();
    assert!(refused.contains("CPU 4294967295"), "{refused}");

    site.send(ESP);
    site.send(GRE);
    let shown = wait::until("all packets", FIRST, || {
        let shown = site.show(&device);
        let all = packets(&shown, "classes", "esp") + packets(&shown, "classes", "gre-v0");
        Ok((all == u64::from(2 * KEYS)).then_some(shown))
    })
    .unwrap();
    assert_eq!(packets(&shown, "verdicts", "steered"), u64::from(KEYS));
    assert_eq!(packets(&shown, "verdicts", "foreign"), u64::from(KEYS));
    let [a, b] = ["0", "1"].map(|cpu| packets(&shown, "steered", cpu));
    assert_eq!(a + b, u64::from(KEYS));
    assert!(a.max(b) * 100 <= u64::from(KEYS) * 60, "{a} and {b}");

    let address = shown["metrics"].as_str().unwrap().parse().unwrap();
    let samples = scrape::scrape(&site.gateway, address).unwrap();
    let told = samples.sum("ringtun_xdp_steered_packets_total").unwrap();
    assert_eq!(told, f64::from(KEYS));

    let ringtun = e2e::ringtun();
    let program = ringtun.program.to_str().unwrap();
    let text = site.gateway.run(program, ["show", &device.name]).unwrap();
    assert!(text.contains("esp: to CPUs 0, 1"), "{text}");
    drop(device);
    assert!(program_on(&site.gateway, wan).is_null());
}

#[test]
fn steering_without_a_card_says_what_is_missing_and_a_card_may_come_later() {
    let site = Site::new();
    let (wan, later) = (site.wan.as_str(), names::unique("v"));
    let device = site.start(&["--steer", "gre=1", "--wan", &later, "--metrics", "off"]);
    let steering = site.show(&device)["steering"].clone();
    let why = steering[0]["refused"].as_str().unwrap();
    assert!(why.contains("--wan INTERFACE"), "{why}");
    site.gateway
        .ip(&format!(
            "link set {wan} down\nlink set {wan} name {later}\nlink set {later} up\n"
        ))
        .unwrap();
    wait::until("the program", FIRST, || {
        Ok(site.show(&device)["steering"][0]["refused"]
            .is_null()
            .then_some(()))
    })
    .unwrap();
    site.send(GRE);
    wait::until("all packets", FIRST, || {
        let shown = site.show(&device);
        Ok((packets(&shown, "steered", "1") == u64::from(KEYS)).then_some(()))
    })
    .unwrap();
}

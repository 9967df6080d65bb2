//! Links, as `ip -j -d addr show` tells of them.

use serde_json::Value as Json;

use super::{CELL_MAX, ROWS_MAX, number, objects, word};
use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};

const STATES: [&str; 7] = [
    "DORMANT",
    "DOWN",
    "LOWERLAYERDOWN",
    "NOTPRESENT",
    "TESTING",
    "UNKNOWN",
    "UP",
];
const QDISCS: [&str; 12] = [
    "cake",
    "ets",
    "fq",
    "fq_codel",
    "htb",
    "mq",
    "mqprio",
    "noop",
    "noqueue",
    "pfifo_fast",
    "sfq",
    "tbf",
];
const DRIVERS: [&str; 32] = [
    "alx",
    "atlantic",
    "bcmgenet",
    "bnx2x",
    "bnxt_en",
    "cdc_ether",
    "cdc_ncm",
    "e1000",
    "e1000e",
    "ena",
    "fec",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "macb",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "r8152",
    "r8169",
    "stmmac",
    "tg3",
    "virtio_net",
    "vmxnet3",
    "xen_netfront",
];
const SCOPES: [&str; 4] = ["global", "host", "link", "site"];
/// `IFLA_XDP_ATTACHED`, from 1 (linux/if_link.h).
const XDP_MODES: [&str; 4] = ["native", "generic", "offloaded", "several"];

/// Says of which kinds the devices are.
pub fn know(gathered: &Gathered, names: &mut Pseudonyms) {
    for tunnel in &gathered.tunnels {
        names.know_device(&tunnel.name, "tunnel");
    }
    for link in gathered.links.iter().flat_map(objects) {
        let Some(name) = link["ifname"].as_str() else {
            continue;
        };
        let kind = link["linkinfo"]["info_kind"].as_str();
        let kind = kind.or_else(|| link["link_type"].as_str());
        names.know_device(name, kind.unwrap_or_default());
    }
}

/// Devices and their addresses.
#[must_use]
pub fn section(gathered: &Gathered, names: &mut Pseudonyms) -> Section {
    let mut section = Section::new("links");
    let links = match &gathered.links {
        Ok(links) => links,
        Err(why) => {
            section.missing("links", *why);
            return section;
        }
    };
    let name = |link: &Json| link["ifname"].as_str().unwrap_or_default().to_owned();
    let head = &[
        "device",
        "state",
        "up",
        "carrier",
        "MTU",
        "queues",
        "qdisc",
        "driver",
        "XDP",
        "program",
        "master",
        "over",
        "hardware",
        "offloads to",
    ];
    section.table("devices", head, objects(links), ROWS_MAX, |link| {
        let driver = gathered.drivers.get(&name(link));
        let driver = driver.map(|driver| Fact::among(&DRIVERS, driver));
        row(link, &name(link), driver.unwrap_or(Fact::Nothing), names)
    });
    let addresses =
        objects(links).flat_map(|link| objects(&link["addr_info"]).map(move |info| (link, info)));
    let head = &["device", "address", "scope", "flags"];
    section.table("addresses", head, addresses, ROWS_MAX, |(link, info)| {
        address(info, &name(link), names)
    });
    section
}

fn row(link: &Json, name: &str, driver: Fact, names: &mut Pseudonyms) -> Vec<Fact> {
    let flags = link["flags"].as_array();
    let has = |flag: &str| flags.map(|flags| flags.iter().any(|f| f == flag));
    let queues = [&link["num_rx_queues"], &link["num_tx_queues"]].map(number);
    let mode = link["xdp"]["mode"].as_u64().and_then(|mode| {
        let at = usize::try_from(mode).ok()?.checked_sub(1)?;
        XDP_MODES.get(at).map(|mode| Word::of(mode))
    });
    let text = |key: &str| link[key].as_str();
    let mut device = |key: &str| text(key).map_or(Fact::Nothing, |name| names.device(name));
    let (master, over) = (device("master"), device("link"));
    vec![
        names.device(name),
        word(&STATES, &link["operstate"]),
        has("UP").into(),
        has("LOWER_UP").into(),
        number(&link["mtu"]),
        Fact::Many(queues.to_vec()),
        word(&QDISCS, &link["qdisc"]),
        driver,
        mode.into(),
        word(&["ringtun", "ringtun_lan"], &link["xdp"]["prog"]["name"]),
        master,
        over,
        text("address").map_or(Fact::Nothing, |mac| names.mac(mac)),
        number(&link["gso_max_size"]),
    ]
}

fn address(info: &Json, device: &str, names: &mut Pseudonyms) -> Vec<Fact> {
    let len = info["prefixlen"]
        .as_u64()
        .and_then(|len| u8::try_from(len).ok());
    let local = info["local"].as_str().unwrap_or_default();
    let shown = match (local.parse(), len) {
        (Ok(local), Some(len)) => names.network(local, len),
        _ => Fact::hidden(local),
    };
    const FLAGS: [&str; 6] = [
        "dadfailed",
        "deprecated",
        "dynamic",
        "nodad",
        "temporary",
        "tentative",
    ];
    let flags = FLAGS.into_iter().filter(|flag| info[*flag] == true);
    vec![
        names.device(device),
        shown,
        word(&SCOPES, &info["scope"]),
        Fact::first(CELL_MAX, flags, |flag| Word::of(flag).into()),
    ]
}

//! 10,000 peers: from a key to the screen that it makes.

use std::time::Duration;

use crate::many_peers::{PEERS, gateway};
use crate::screen::{Place, Top};

/// What a person does not notice; the median of many keys.
const AT_ONCE: Duration = Duration::from_millis(100);

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

#[test]
fn ten_thousand_peers_scroll_sort_and_filter_without_lag() {
    let (_ns, device) = gateway(&[], "");
    let place = Place::new(&[&device.name]);
    let mut top = Top::start(&place, (200, 60), &[]);
    top.sees(&["10,000 peers", "of 10,000", "worker-0 "]);
    let mut pages = Vec::new();
    let position = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.contains(" of 10,000"))
            .unwrap_or_default();
        line.to_owned()
    };
    // Long enough that many looks at the daemon fall into it.
    for _ in 0..100 {
        let before = position(&top.text());
        pages.push(top.timed("\u{1b}[6~", |text| position(text) != before));
    }
    let worst = *pages.iter().max().unwrap();
    let page = median(pages);
    top.press("g");
    top.sees(&["1-50 of 10,000"]);
    let sorts = (0..20).map(|at| {
        let heading = ["▼HANDSHAKE", "▼PEER", "▼RX  ", "▼RX bit/s"][at % 4];
        let shown = move |text: &str| {
            text.contains(heading)
                || (at % 4 == 2 && text.contains("▼TX") && !text.contains("▼TX bit"))
        };
        top.timed("s", shown)
    });
    let sort = median(sorts.collect());
    let filter = top.timed("/:777", |text| text.contains("filter: :777"));
    let text = top.sees(&["(10,000 in all)"]);
    assert!(text.contains("192.0.2.1:7770"), "{text}");
    println!(
        "{PEERS} peers: a page {page:?} (worst of 100 {worst:?}), sorting {sort:?}, filter {filter:?}"
    );
    assert!(page <= AT_ONCE, "{page:?}");
    assert!(sort <= 3 * AT_ONCE, "{sort:?}");
    top.press("\r");
    top.press("q");
    assert!(top.ended().success());
    top.is_restored();
}

//! `ringtun doctor`: what is wrong with a machine and its tunnels, how that is seen,
//! and what mends it.
//!
//! Each area asks the machine and judges what it says. Whatever is not plain is left
//! out: a remedy that makes things worse is worse than none.
//!
//! * [`finding`]: what is told.
//! * [`subject`]: one tunnel, its file and its process.
//! * [`machine`]: routes, links, switches and rules, as the machine tells them.
//! * [`host`]: what any tunnel needs.
//! * [`life`]: files, and whether what they say runs.
//! * [`device`]: the device inside, its addresses and its routes.
//! * [`outside`]: the ways to the endpoints.
//! * [`gateway`]: what is forwarded, and as whom.
//! * [`firewall`]: the rules of nftables.

pub mod device;
pub mod finding;
pub mod firewall;
pub mod gateway;
pub mod host;
pub mod life;
pub mod machine;
pub mod outside;
pub mod subject;

pub use finding::{Finding, Remedy, Severity};
pub use subject::Subject;

/// Findings of one tunnel that are told at most.
const FINDINGS_MAX: usize = 64;

/// What is wrong: with the machine first, then by tunnel, the worst first.
#[must_use]
pub fn examine(subjects: &[Subject], asked_for: bool) -> Vec<Finding> {
    let links = machine::links();
    let rules = machine::rules();
    let mut all = host::examine();
    for subject in subjects {
        if subject.runs() && !subject.is_here() {
            all.push(elsewhere(subject, "its process is"));
            continue;
        }
        let mut found = life::examine(subject, asked_for);
        if subject.runs() {
            found.extend(device::examine(subject, &links));
            found.extend(outside::examine(subject, &links));
        }
        found.extend(gateway::examine(subject, rules.as_ref()));
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        found.truncate(FINDINGS_MAX);
        all.extend(found);
    }
    all
}

/// Of a tunnel that cannot be looked at from here.
fn elsewhere(subject: &Subject, who: &str) -> Finding {
    let name = &subject.name;
    let what = format!("{who} in another network namespace: ask there");
    Finding::new("elsewhere", Severity::Note, what)
        .of(name)
        .seen(format!("ringtun show {name}, and ip link show dev {name}"))
}

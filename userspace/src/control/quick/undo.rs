//! One step of the journal taken back. What is gone already is no error.

use std::fs;

use super::default_route::{SRC_VALID_MARK, UNREACHABLE_METRIC, family, nft_family};
use super::journal::{Journal, Place, Step};
use super::program::{self, ProgramError, ip, ip_json};
use crate::control::names::InterfaceName;

/// Takes back the changes of `steps` from the last to the first, hooks aside.
/// Those that fail stay in the journal, and the errors are given.
#[must_use]
pub fn all(place: &Place, journal: &mut Journal, name: &InterfaceName) -> Vec<anyhow::Error> {
    let mut errors = Vec::new();
    let mut left = Vec::new();
    while let Some(step) = journal.steps.pop() {
        if let Err(error) = one(place, &step, name) {
            errors.push(error);
            left.push(step);
        }
    }
    left.reverse();
    journal.steps = left;
    errors
}

fn one(place: &Place, step: &Step, name: &InterfaceName) -> anyhow::Result<()> {
    match step {
        Step::PreUp | Step::PostUp => Ok(()),
        Step::Device => {
            // One of another kind was made by somebody else since.
            let links = ip_json(&format!("-d link show dev {name}"));
            let kind = links
                .first()
                .and_then(|l| l["linkinfo"]["info_kind"].as_str());
            if kind.is_some_and(|kind| kind != "tun") {
                return Ok(());
            }
            gone(ip(&format!("link delete dev {name}")))
        }
        Step::Dns { resolver } => gone(resolver.unset(name)),
        Step::Unreachable { v6, table } => gone(ip(&format!(
            "{} route delete unreachable default table {table} metric {UNREACHABLE_METRIC}",
            family(*v6)
        ))),
        Step::MarkRule { v6, table, pref } => gone(ip(&format!(
            "{} rule delete not fwmark {table} table {table} pref {pref}",
            family(*v6)
        ))),
        Step::MainRule { v6, pref } => gone(ip(&format!(
            "{} rule delete table main suppress_prefixlength 0 pref {pref}",
            family(*v6)
        ))),
        Step::SrcValidMark { before } => {
            let needed = |j: &Journal| {
                let is_it = |s: &Step| matches!(s, Step::SrcValidMark { .. });
                j.steps.iter().any(is_it)
            };
            // Whoever needs it last puts it back.
            if !place.others().iter().any(needed) {
                fs::write(SRC_VALID_MARK, before.to_string())?;
            }
            Ok(())
        }
        Step::Nft { v6 } => gone(program::run(
            "nft",
            [
                "delete",
                "table",
                nft_family(*v6),
                &format!("wg-quick-{name}"),
            ],
        )),
    }
}

fn gone(result: Result<impl Sized, ProgramError>) -> anyhow::Result<()> {
    match result {
        Err(error) if !error.is_absence() => Err(error.into()),
        _ => Ok(()),
    }
}

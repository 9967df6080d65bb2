//! `ringtun report`: one file for a bug report that is safe by construction.
//!
//! Nothing is taken out of text, because no text gets in: each source is read as
//! structure, and what a report can say ([`value::Fact`]) has no variant for a string.
//! A second, independent look ([`secrets`]) searches the finished bytes.
//!
//! * [`gathered`]: what the machine said; [`ask`]: how it is asked, within bounds.
//! * [`facts`]: what of it is told, by source.
//! * [`value`], [`page`]: numbers, words, pseudonyms; sections, as text and as JSON.
//! * [`pseudonyms`], [`addresses`]: what stands for names, keys and addresses.
//! * [`secrets`]: all that must not be there, and whether it is.

pub mod addresses;
pub mod ask;
pub mod facts;
pub mod gathered;
pub mod page;
pub mod pseudonyms;
pub mod secrets;
pub mod value;

pub use gathered::Gathered;
pub use pseudonyms::Show;
pub use secrets::Leak;

use crate::crypto::hash::HASH_LEN;
use page::Page;
use pseudonyms::Pseudonyms;

/// By chance, what stands for one address may be another one of this machine. With
/// other pseudonyms it is not.
const ATTEMPTS: usize = 8;

const PREFACE: &str = "\
ringtun report. Read it before you send it.

Made of numbers, of words that ringtun's sources know, and of pseudonyms that mean the
same everywhere in this report and nothing beyond it: peer-1 is a peer, key-1 another
public key, host-1 a name of an endpoint, tunnel-1 and veth-2 devices, mac-1 a hardware
address. No key, name, command or path is in it; a text is told by its length.
";
const OTHERS: &str = "\
Addresses are replaced by others: two that share n bits still do, those of private,
link-local and public networks stay such, loopback and the like stay what they are.
";
const KINDS: &str = "Addresses are told by their kind only.\n";
const REAL: &str = "ADDRESSES ARE REAL, as it was asked for by --addresses.\n";

/// A report as text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A report that holds nothing that it must not.
#[derive(Clone, Debug)]
pub struct Made {
    /// What is to be written.
    pub text: String,
    /// Titles of its sections, in their order, each once.
    pub sections: Vec<&'static str>,
    /// How addresses are shown.
    pub show: Show,
}

/// Makes a report. `key` gives a new random key at each call.
///
/// # Errors
/// It would have held a secret: that is a bug.
pub fn make(
    gathered: &Gathered,
    addresses: bool,
    form: Form,
    mut key: impl FnMut() -> [u8; HASH_LEN],
) -> Result<Made, Leak> {
    let secrets = gathered.secrets();
    let mut attempt = |show| {
        let page = compose(gathered, &mut Pseudonyms::new(key(), show), show);
        let text = match form {
            Form::Text => page.to_string(),
            Form::Json => page.json(),
        };
        match secrets.find(&text, &page.vocabulary(), show != Show::Real) {
            Some(leak) => Err(leak),
            None => {
                let mut sections: Vec<_> = page.sections.iter().map(page::Section::title).collect();
                sections.dedup();
                Ok(Made {
                    text,
                    sections,
                    show,
                })
            }
        }
    };
    if addresses {
        return attempt(Show::Real);
    }
    let found = (0..ATTEMPTS).find_map(|_| attempt(Show::Others).ok());
    found.map_or_else(|| attempt(Show::Kinds), Ok)
}

/// All sections.
#[must_use]
pub fn compose(gathered: &Gathered, names: &mut Pseudonyms, show: Show) -> Page {
    facts::links::know(gathered, names);
    let mut sections = vec![
        facts::host::ringtun(gathered),
        facts::findings::section(gathered, names),
    ];
    for tunnel in &gathered.tunnels {
        sections.push(facts::file::section(tunnel, names));
        sections.push(facts::state::section(tunnel, gathered.now, names));
    }
    sections.extend([
        facts::host::machine(gathered),
        facts::host::switches(gathered),
        facts::links::section(gathered, names),
        facts::routes::section(gathered, names),
        facts::firewall::section(gathered),
        facts::log::section(gathered, names),
    ]);
    Page {
        preface: vec![
            PREFACE,
            match show {
                Show::Real => REAL,
                Show::Others => OTHERS,
                Show::Kinds => KINDS,
            },
        ],
        sections,
    }
}

#[cfg(test)]
mod tests;

//! A QR code as text, two modules above each other in one character.

use qrcodegen::{QrCode, QrCodeEcc};
use zeroize::Zeroizing;

/// Modules around it that must be light (ISO/IEC 18004 asks for four).
const QUIET: i32 = 4;

/// How light and dark are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// With colours of its own, whatever those of the terminal are.
    Colours,
    /// By blocks alone; what has no block is light, as on paper.
    OnLight,
    /// By blocks alone; what has no block is dark, as on most terminals.
    OnDark,
}

/// The code for a text; none if it is too long for one.
pub fn render(text: &str, paint: Paint) -> Option<Zeroizing<String>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let range = -QUIET..code.size() + QUIET;
    let mut out = Zeroizing::new(String::with_capacity(64 * 1024));
    for y in range.clone().step_by(2) {
        if paint == Paint::Colours {
            // Black on white.
            out.push_str("\x1b[30;107m");
        }
        for x in range.clone() {
            // Outside of the code, all is light; below the last line, the terminal begins.
            let block = |y| code.get_module(x, y) != (paint == Paint::OnDark);
            let last = y + 1 >= range.end;
            out.push(match (block(y), block(y + 1) && !last) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        if paint == Paint::Colours {
            out.push_str("\x1b[0m");
        }
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringtun_lab::camera::read_qr;

    #[test]
    fn what_does_not_fit_has_no_code() {
        assert!(render(&"x".repeat(2953), Paint::OnLight).is_some());
        assert!(render(&"x".repeat(2954), Paint::OnLight).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_way_to_paint_it_is_read_as_what_it_was(text in "[ -~\n]{1,500}") {
            for paint in [Paint::Colours, Paint::OnLight, Paint::OnDark] {
                let code = render(&text, paint).unwrap();
                let seen = read_qr(&code, paint == Paint::OnDark).unwrap();
                prop_assert_eq!(&*seen, &*text);
            }
        }
    }
}

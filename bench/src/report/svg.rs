//! The parts of a picture.

use std::fmt::Write as _;

/// Of texts and axes.
pub const INK: &str = "#222";

/// A picture that is being drawn; units are pixels.
#[derive(Debug, Default)]
pub struct Svg(String);

/// Where a text's place is in it.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// At its start.
    Start,
    /// At its middle.
    Middle,
    /// At its end.
    End,
}

/// Text as an element or an attribute can hold it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no way to write those.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Svg {
    /// A filled rectangle.
    pub fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: &str) {
        let _ = writeln!(
            self.0,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{color}"/>"#
        );
    }

    /// A rectangle that is not filled.
    pub fn outline(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: &str) {
        let _ = writeln!(
            self.0,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="3" fill="none" stroke="{color}"/>"#
        );
    }

    /// Lines from point to point; whole, or of dashes.
    pub fn polyline(&mut self, points: &[(f64, f64)], color: &str, dashed: bool) {
        let mut places = String::new();
        for (x, y) in points {
            let _ = write!(places, "{x:.1},{y:.1} ");
        }
        let dashes = if dashed {
            r#" stroke-dasharray="5 3""#
        } else {
            ""
        };
        let _ = writeln!(
            self.0,
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="1.5"{dashes}/>"#,
            places.trim_end()
        );
    }

    /// A line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), color: &str) {
        let _ = writeln!(
            self.0,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}"/>"#
        );
    }

    /// A text; `y` is its base line.
    pub fn text(&mut self, place: (f64, f64), size: u32, anchor: Anchor, text: &str) {
        self.coloured_text(place, size, anchor, INK, text);
    }

    /// A text of another colour.
    pub fn coloured_text(
        &mut self,
        (x, y): (f64, f64),
        size: u32,
        anchor: Anchor,
        color: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.0,
            r##"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{}</text>"##,
            escape(text)
        );
    }

    /// The whole file.
    pub fn finish(self, (width, height): (f64, f64), title: &str) -> String {
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0}" height="{h:.0}" "#,
                r#"viewBox="0 0 {w:.0} {h:.0}" role="img" "#,
                r#"font-family="system-ui, 'DejaVu Sans', Arial, sans-serif">"#,
                "\n<title>{title}</title>\n",
                r##"<rect width="100%" height="100%" fill="#fff"/>"##,
                "\n{body}</svg>\n"
            ),
            w = width,
            h = height,
            title = escape(title),
            body = self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_markup() {
        assert_eq!(
            escape("<a b=\"c\" d='e'>&\u{1}"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp; "
        );
        let mut svg = Svg::default();
        svg.text((0.0, 0.0), 12, Anchor::Start, "</svg>");
        let file = svg.finish((10.0, 10.0), "1 < 2");
        assert_eq!(file.matches("</svg>").count(), 1);
        assert!(file.contains("<title>1 &lt; 2</title>"));
    }
}

//! A camera that looks at a terminal: QR codes made of block characters, read.

use anyhow::{Context, Result, ensure};

/// Pixels of a module's side.
const SCALE: usize = 4;

/// What the one QR code in the text says. Each character is two modules above each other, light
/// where there is a block, or where there is none. Colours are not looked at.
///
/// # Errors
/// There is none, or another number of them.
pub fn read_qr(text: &str, light_is_a_block: bool) -> Result<String> {
    let lines: Vec<Vec<char>> = text.lines().map(|line| shown(line).collect()).collect();
    let width = lines.iter().map(Vec::len).max().context("no text")?;
    let image = |x: usize, y: usize| {
        let (x, y) = (x / SCALE, y / SCALE);
        let block = match lines[y / 2].get(x) {
            Some('█') => true,
            Some('▀') => y % 2 == 0,
            Some('▄') => y % 2 == 1,
            _ => false,
        };
        if block == light_is_a_block { 255 } else { 0 }
    };
    let (width, height) = (width * SCALE, lines.len() * 2 * SCALE);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, image);
    let grids = image.detect_grids();
    ensure!(grids.len() == 1, "{} codes in\n{text}", grids.len());
    let (_, content) = grids[0].decode()?;
    Ok(content)
}

/// The characters of a line, without what changes colours.
fn shown(line: &str) -> impl Iterator<Item = char> {
    let mut is_control = false;
    line.chars().filter(move |c| {
        let was = is_control;
        is_control = if was { *c != 'm' } else { *c == '\x1b' };
        !was && *c != '\x1b'
    })
}

//! A captured screen as rows of characters, each with what its colour says: pure.
//!
//! Grey text in the input box is the CLI's own hint and no draft of a person (facts/claude-code.md, section 7). What is grey is said with the dim
//! attribute or with a grey colour, depending on the terminal.

/// One character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) character: char,
    /// Dim, or in a grey colour.
    pub(super) grey: bool,
    /// In reverse colours: the block that the CLI draws for its cursor.
    pub(super) reverse: bool,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row(pub(super) Vec<Cell>);

impl Row {
    /// The text without the blanks at its end, every kind of blank as a space.
    pub(super) fn text(&self) -> String {
        let text: String = self.0.iter().map(|cell| if is_blank(cell.character) { ' ' } else { cell.character }).collect();
        text.trim_end().to_owned()
    }
}

pub(super) fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// More than a terminal has.
const ROWS: usize = 1000;
const COLUMNS: usize = 1000;

/// Reads what `capture-pane -e` printed. Colours last from one row to the next; any other escape sequence is left out.
pub(super) fn rows(captured: &str) -> Vec<Row> {
    let mut pen = Pen::default();
    captured.lines().take(ROWS).map(|line| Row(cells(line, &mut pen))).collect()
}

fn cells(line: &str, pen: &mut Pen) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            match characters.next() {
                // A control sequence ends with a character of 0x40 to 0x7e (ECMA-48, section 5.4).
                Some('[') => {
                    let mut sequence = String::new();
                    let last = characters.find(|&c| {
                        let ends = ('@'..='~').contains(&c);
                        if !ends && sequence.len() < 64 {
                            sequence.push(c);
                        }
                        ends
                    });
                    if last == Some('m') {
                        pen.take(&sequence);
                    }
                }
                // A command to the terminal, such as a link, ends with BEL or ST.
                Some(']') => {
                    let mut before = '\0';
                    let _ = characters.find(|&c| c == '\u{7}' || std::mem::replace(&mut before, c) == '\u{1b}' && c == '\\');
                }
                // A character set is named with one more character.
                Some('(' | ')') => drop(characters.next()),
                _ => {}
            }
        } else if !character.is_control() && cells.len() < COLUMNS {
            cells.push(Cell { character, grey: pen.dim || pen.grey, reverse: pen.reverse });
        }
    }
    cells
}

/// How what comes is written.
#[derive(Debug, Default)]
struct Pen {
    dim: bool,
    grey: bool,
    reverse: bool,
}

impl Pen {
    /// Obeys one `SGR` sequence (ECMA-48, section 8.3.117).
    fn take(&mut self, sequence: &str) {
        let numbers: Vec<u16> = sequence.split([';', ':']).map(|number| number.parse().unwrap_or(0)).collect();
        let mut rest = numbers.as_slice();
        while let Some((&number, after)) = rest.split_first() {
            rest = after;
            match number {
                0 => *self = Self::default(),
                2 => self.dim = true,
                7 => self.reverse = true,
                22 => self.dim = false,
                27 => self.reverse = false,
                90 => self.grey = true,
                30..=37 | 39 | 91..=97 => self.grey = false,
                38 | 48 => {
                    let (grey, used) = colour(after);
                    if number == 38 {
                        self.grey = grey;
                    }
                    rest = after.get(used..).unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

/// Whether the colour is grey, and how many numbers name it.
fn colour(numbers: &[u16]) -> (bool, usize) {
    match *numbers {
        // Black on black is 232; the lightest greys are what some themes write ordinary text in.
        [5, index, ..] => (index == 8 || (234..=250).contains(&index), 2),
        [2, red, green, blue, ..] => {
            let (least, most) = (red.min(green).min(blue), red.max(green).max(blue));
            (most - least <= 12 && (60..=190).contains(&most), 4)
        }
        _ => (false, numbers.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(captured: &str) -> String {
        let row = rows(captured).pop().unwrap_or_default();
        row.0
            .iter()
            .map(|cell| {
                if cell.reverse {
                    'r'
                } else if cell.grey {
                    'g'
                } else {
                    '.'
                }
            })
            .collect()
    }

    #[test]
    fn grey_is_told_from_what_a_person_types() {
        for (captured, expected) in [
            ("ab", ".."),
            ("\u{1b}[2mab\u{1b}[22mc", "gg."),
            ("\u{1b}[38;5;246ma\u{1b}[39mb", "g."),
            ("\u{1b}[38;5;231ma", "."),
            ("\u{1b}[38:2:153:153:153ma\u{1b}[38;2;250;100;10mb", "g."),
            ("\u{1b}[90ma\u{1b}[0mb", "g."),
            ("\u{1b}[7mx\u{1b}[27m\u{1b}[2my", "rg"),
            ("\u{1b}[48;5;2ma\u{1b}[1;2mb", ".g"),
            ("\u{1b}]8;;http://x\u{1b}\\a\u{1b}(Bb", ".."),
        ] {
            assert_eq!(marks(captured), expected, "{captured:?}");
        }
    }

    #[test]
    fn a_colour_lasts_into_the_next_row() {
        assert_eq!(marks("\u{1b}[2ma\nb"), "g");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(\u{1b}|\\[|\\]|[0-9;:mJ]|.|\n){0,200}") {
            for row in rows(&text) {
                prop_assert!(!row.text().contains(char::is_control));
            }
        }
    }
}

//! The table, printed and kept.

use std::{fmt::Write as _, fs, io::ErrorKind, path::Path};

use crate::{Fallible, figures::Row, machine};

const BEGIN: &str = "<!-- figures: begin (written by `make bench`) -->";
/// A page that does not exist yet begins with this.
const HEAD: &str = "# Benchmarks\n\nWhat the program costs, each figure beside its raw floor in the same run. [floors.rs](../tests/bench/floors.rs) says how it is \
                    measured.\n\n";
const END: &str = "<!-- figures: end -->";

/// Prints the table; a whole run is also written between the markers of `docs/benchmarks.md`.
pub fn publish(rows: &[Row], whole: bool) -> Fallible<()> {
    let mut table = format!("Taken on {}.\n\n", machine::described()?);
    table.push_str(
        "| what | ours | floor in the same run | ratio | goal | met | beside it |\n| --- | ---: | ---: | ---: | ---: | --- | --- |\n",
    );
    for row in rows {
        writeln!(table, "{row}")?;
    }
    println!("{table}");
    if !whole {
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let page = match fs::read_to_string(&path) {
        Ok(page) => page,
        Err(error) if error.kind() == ErrorKind::NotFound => format!("{HEAD}{BEGIN}\n{END}\n"),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    let (head, rest) = page.split_once(BEGIN).ok_or("docs/benchmarks.md has lost its first marker")?;
    let (_, tail) = rest.split_once(END).ok_or("docs/benchmarks.md has lost its second marker")?;
    fs::write(&path, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}"))
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

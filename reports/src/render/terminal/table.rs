//! Figures in columns where there is room for them, one below the other where there is not.

use super::super::figures::{self, Cell, Found, Row};
use super::super::number::GLUE;
use super::Page;
use super::text::{Line, Look};

/// Narrowest page that has a column per direction.
const COLUMNS_FROM: usize = 70;

/// Writes rows of figures.
pub(super) fn rows(page: &mut Page, rows: &[Row]) {
    let per_direction = rows.iter().any(|row| matches!(row.found, Found::PerDirection(..)));
    let columns = Columns::fit(page.width, rows);
    if let Some(ways) = rows.iter().find_map(ways).filter(|_| columns.side_by_side) {
        let heads: Vec<_> =
            ways.iter().map(|(head, _)| vec![Line::new().with(Look::Quiet, head.as_str())]).collect();
        beside(page, &columns, "", &heads);
    }
    if per_direction && columns.side_by_side {
        let mut head = Line::new();
        head.pad_to(columns.name);
        head.push(Look::Quiet, "sending (up)");
        head.pad_to(columns.name + columns.cell);
        head.push(Look::Quiet, "receiving (down)");
        page.line(head);
    }
    for row in rows {
        match &row.found {
            Found::Once(cell) => one(page, &columns, &row.name, cell),
            Found::PerDirection(up, down) if up == down && matches!(up, Cell::Missing { .. }) => {
                one(page, &columns, &row.name, up);
            }
            Found::PerDirection(up, down) => two(page, &columns, &row.name, up, down),
            Found::PerWay(ways) => several(page, &columns, &row.name, ways),
        }
    }
}

/// Writes one figure under a short name.
pub(super) fn pair(page: &mut Page, name: &str, cell: &Cell) {
    let lead = Line::plain("  ").with(Look::Quiet, name);
    page.paragraph(&lead, 24, text(cell));
}

/// Where the columns begin.
struct Columns {
    name: usize,
    cell: usize,
    side_by_side: bool,
}

impl Columns {
    fn fit(width: usize, rows: &[Row]) -> Self {
        let side_by_side = width >= COLUMNS_FROM;
        let widest = rows.iter().map(|row| Line::plain(row.name.as_str()).width()).max().unwrap_or(0);
        let name = if side_by_side { widest.min(width * 2 / 5) + 2 } else { 2 };
        let count = rows.iter().find_map(ways).map_or(2, |ways| ways.len().max(2));
        Self { name, cell: (width - name) / count, side_by_side }
    }
}

fn one(page: &mut Page, columns: &Columns, name: &str, cell: &Cell) {
    if columns.side_by_side {
        let room = page.width - columns.name;
        beside(page, columns, name, &[text(cell).wrap(room)]);
    } else {
        page.paragraph(&Line::new(), 0, Line::plain(name));
        page.paragraph(&Line::new(), columns.name, text(cell));
    }
}

fn two(page: &mut Page, columns: &Columns, name: &str, up: &Cell, down: &Cell) {
    if columns.side_by_side {
        let room = columns.cell - 2;
        beside(page, columns, name, &[text(up).wrap(room), text(down).wrap(room)]);
    } else {
        page.paragraph(&Line::new(), 0, Line::plain(name));
        page.paragraph(&Line::plain("  ").with(Look::Quiet, "up"), 7, text(up));
        page.paragraph(&Line::plain("  ").with(Look::Quiet, "down"), 7, text(down));
    }
}

fn several(page: &mut Page, columns: &Columns, name: &str, ways: &[(String, Cell)]) {
    if columns.side_by_side {
        let room = columns.cell - 2;
        let cells: Vec<_> = ways.iter().map(|(_, cell)| text(cell).wrap(room)).collect();
        beside(page, columns, name, &cells);
    } else {
        page.paragraph(&Line::new(), 0, Line::plain(name));
        let lead = ways.iter().map(|(head, _)| head.len()).max().unwrap_or(0) + 4;
        for (head, cell) in ways {
            page.paragraph(&Line::plain("  ").with(Look::Quiet, head.as_str()), lead, text(cell));
        }
    }
}

fn ways(row: &Row) -> Option<&[(String, Cell)]> {
    match &row.found {
        Found::PerWay(ways) => Some(ways),
        _ => None,
    }
}

/// Writes a name and wrapped cells side by side, as many lines as the longest needs.
fn beside(page: &mut Page, columns: &Columns, name: &str, cells: &[Vec<Line>]) {
    let name = Line::plain(name).wrap(columns.name - 2);
    let height = cells.iter().map(Vec::len).chain([name.len()]).max().unwrap_or(0);
    for index in 0..height {
        let mut line = name.get(index).cloned().unwrap_or_default();
        for (column, cell) in cells.iter().enumerate() {
            line.pad_to(columns.name + column * columns.cell);
            line.append(cell.get(index).cloned().unwrap_or_default());
        }
        page.line(line);
    }
}

/// A figure: the value plain, its doubt quiet.
fn text(cell: &Cell) -> Line {
    match cell {
        Cell::Figure { value, interval, n } => {
            let mut line = Line::plain(value.as_str());
            if let Some(interval) = interval {
                line.push(Look::Quiet, format!(" ({})", without_unit(interval, value)));
            }
            if let Some(n) = n {
                line.push(Look::Quiet, format!(" {}", figures::samples(*n)));
            }
            line
        }
        Cell::Missing { .. } => Line::new().with(Look::Quiet, cell.to_text()),
    }
}

/// An interval without its unit where the value beside it has the same.
fn without_unit<'a>(interval: &'a str, value: &str) -> &'a str {
    match (interval.rsplit_once(GLUE), value.rsplit_once(GLUE)) {
        (Some((numbers, unit)), Some((_, same))) if unit == same => numbers,
        _ => interval,
    }
}

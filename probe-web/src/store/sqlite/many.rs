//! Many rows by one statement. A statement costs a way to the connection's thread and back, whatever it does.

/// How many rows a statement takes: few sizes, so that each is prepared once.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// Items in pieces of these sizes, the largest first.
pub(super) fn steps<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= items.len())?;
        let (some, rest) = items.split_at(size);
        items = rest;
        Some(some)
    })
}

/// `(?, ?), (?, ?)`: so many rows of so many values. Without numbers: SQLite goes through the names of all before it for each that has one.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_piece() {
        for length in [0, 1, 3, 4, 63, 64, 150, 200] {
            let items: Vec<usize> = (0..length).collect();
            let pieces: Vec<&[usize]> = steps(&items).collect();
            assert_eq!(pieces.concat(), items);
            assert!(pieces.iter().all(|piece| SIZES.contains(&piece.len())), "{length}");
        }
    }

    #[test]
    fn each_value_has_its_place() {
        assert_eq!(placeholders(2, 2), "(?, ?), (?, ?)");
        assert_eq!(placeholders(1, 1), "(?)");
    }
}

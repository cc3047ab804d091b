//! Tables for people: columns as wide as what is in them.

/// Writes rows under a head; the last column is not padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths = (0..head.len())
        .map(|column| width(head[column], rows, column))
        .collect::<Vec<_>>();
    let head = head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
    std::iter::once(&head)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

fn width(head: &str, rows: &[Vec<String>], column: usize) -> usize {
    rows.iter()
        .map(|row| console::measure_text_width(&row[column]))
        .chain([head.len()])
        .max()
        .unwrap_or(0)
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row
        .iter()
        .zip(widths)
        .map(|(cell, &width)| console::pad_str(cell, width, console::Alignment::Left, None));
    let line = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "completed".to_owned()],
            vec!["größer".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["ID", "STATUS"], &rows),
            "ID      STATUS\na       completed\ngrößer\n"
        );
    }
}

//! What is on a terminal after all that was written to it.

/// The lines that a terminal shows, which is wide and high enough for all. Knows what dcd sends; fails at the rest.
pub(crate) fn screen(written: &str) -> String {
    let mut lines = vec![String::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                lines.resize(lines.len().max(row + 1), String::new());
            }
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "{written:?}");
                let sequence: String = rest.by_ref().take_while(|c| !c.is_ascii_alphabetic()).collect();
                let at = written.len() - rest.as_str().len();
                match &written[at - 1..at] {
                    "A" => row -= sequence.parse::<usize>().unwrap(),
                    "K" => lines[row] = lines[row].chars().take(column).collect(),
                    "J" => {
                        lines[row] = lines[row].chars().take(column).collect();
                        lines.truncate(row + 1);
                    }
                    "m" => {}
                    other => panic!("{other}: {written:?}"),
                }
            }
            c => {
                let line = &lines[row];
                let start: String = line.chars().take(column).collect();
                let end: String = line.chars().skip(column + 1).collect();
                lines[row] = format!("{start}{c}{end}");
                column += 1;
            }
        }
    }
    lines.join("\n")
}

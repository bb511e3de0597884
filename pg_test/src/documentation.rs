//! The SQL that the project's documentation shows, for tests that run it.

use std::{fs, path::Path};

/// The project's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// A page of the documentation, by its path within the project.
pub fn page(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The statements in a page's blocks of SQL, in order and without comments. A semicolon between two `$$` ends none.
pub fn statements(page: &str) -> Vec<String> {
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let code = blocks.flat_map(str::lines).map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join("\n");
    let (mut statements, mut statement) = (Vec::new(), String::new());
    for (number, part) in code.split("$$").enumerate() {
        if number > 0 {
            statement.push_str("$$");
        }
        let quoted = number % 2 == 1;
        let mut pieces = part.splitn(if quoted { 1 } else { usize::MAX }, ';');
        statement.push_str(pieces.next().unwrap());
        for piece in pieces {
            statements.push(std::mem::replace(&mut statement, piece.to_owned()));
        }
    }
    statements.push(statement);
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn a_function_is_one_statement() {
        let page = "Try;\n```sh\nls; pwd\n```\n```sql\nSELECT 1;   -- one; two\nCREATE FUNCTION f() AS $$ a; b; $$;\n```\n\
                    and\n```sql\nSELECT\n    2;\n```\n";
        assert_eq!(statements(page), ["SELECT 1", "CREATE FUNCTION f() AS $$ a; b; $$", "SELECT\n    2"]);
    }
}

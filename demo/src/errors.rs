//! Errors in words. What the server says is wrapped by its client in several layers; only the innermost
//! tells the reader something.

use postgres::error::DbError;

/// The error in one line.
pub fn reason(error: &anyhow::Error) -> String {
    let Some(server) = server(error) else { return format!("{error:#}") };
    let parts: Vec<_> = [Some(server.message()), server.detail()].into_iter().flatten().collect();
    parts.join(": ")
}

/// The error with everything that the server adds to its message.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    if let Some(server) = server(error) {
        for (title, part) in [("DETAIL", server.detail()), ("HINT", server.hint()), ("CONTEXT", server.where_())] {
            if let Some(part) = part {
                text += &format!("\n{title}:  {part}");
            }
        }
    }
    text
}

fn server(error: &anyhow::Error) -> Option<&DbError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_of_ours_tells_its_causes() {
        let error = "seven".parse::<u8>().context("not a count").unwrap_err();
        assert_eq!(reason(&error), "not a count: invalid digit found in string");
        assert_eq!(describe(&error), reason(&error));
    }
}

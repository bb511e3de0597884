//! Values in a statement, that are written into it or given as parameters.

/// Values that a statement may take as parameters: a type and an expression each. In a statement's text `«1»` is the first.
#[derive(Default)]
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    /// One more value; returns what stands for it.
    pub fn bind(&mut self, ty: &'static str, value: impl ToString) -> String {
        self.0.push((ty, value.to_string()));
        format!("«{}»", self.0.len())
    }

    /// The statement with the values in it.
    pub fn inline(&self, sql: &str) -> String {
        self.replace(sql, |_, ty, value| format!("({value})::{ty}"))
    }

    /// The statement with parameters.
    pub fn numbered(&self, sql: &str) -> String {
        self.replace(sql, |at, _, _| format!("${at}"))
    }

    fn replace(&self, sql: &str, with: impl Fn(usize, &str, &str) -> String) -> String {
        let values = self.0.iter().enumerate();
        values.fold(sql.to_owned(), |sql, (at, (ty, value))| {
            sql.replace(&format!("«{}»", at + 1), &with(at + 1, ty, value))
        })
    }

    /// Their types, comma-separated.
    pub fn types(&self) -> String {
        self.0.iter().map(|(ty, _)| *ty).collect::<Vec<_>>().join(", ")
    }

    /// Themselves, comma-separated.
    pub fn list(&self) -> String {
        self.0.iter().map(|(ty, value)| format!("({value})::{ty}")).collect::<Vec<_>>().join(", ")
    }
}

//! What must hold of an answer, given every row that could have been in it.

use std::collections::{HashMap, HashSet};

/// A row as text, column by column.
pub type Row = Vec<Option<String>>;

/// What is known about the answer to a query.
#[derive(Clone, Debug)]
pub enum Check {
    /// The rows are those of the reference, in any order.
    Same,
    /// The rows are the nearest of those in the reference.
    Nearest(Nearest),
}

/// What is known about a list of nearest rows.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// The column with the distance.
    pub distance: usize,
    /// The column that tells one list from another, where the answer has several.
    pub group: Option<usize>,
    /// At most so many rows of each list are asked for.
    pub limit: usize,
    /// So many of each list are skipped.
    pub offset: usize,
    /// Rows at the distance of the last come along.
    pub ties: bool,
    /// A last column, that the reference does not have, numbers the rows from 1 on.
    pub numbered: bool,
    /// A whole number by which rows at equal distances are sorted, and whether downwards.
    pub then_by: Option<(usize, bool)>,
    /// Rows were made distinct by their order: one that comes late may be there again.
    pub distinct: bool,
    /// Rows come in the order of their distances.
    pub ordered: bool,
    /// The answer is the exact one.
    pub exact: bool,
    /// Rows may be missing: the scan does not go on, or ends at a cutoff.
    pub may_end: bool,
}

/// What is added up over many answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Rows that belong to the nearest.
    pub wanted: usize,
    /// Those of them, or others as near, that were returned.
    pub found: usize,
    /// Lists in order.
    pub in_order: usize,
    /// Lists with rows at their end that came too late to be in order, although not all rows were asked for.
    pub late: usize,
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: Tally) {
        self.wanted += other.wanted;
        self.found += other.found;
        self.in_order += other.in_order;
        self.late += other.late;
    }

    /// The share of the nearest rows that was found.
    pub fn recall(&self) -> f64 {
        if self.wanted == 0 { 1.0 } else { self.found as f64 / self.wanted as f64 }
    }
}

/// A number that sorts as SQL sorts a distance: NaN behind all numbers, and NULL behind it.
fn rank(distance: Option<f64>) -> f64 {
    distance.map_or(f64::INFINITY, |distance| if distance.is_nan() { f64::MAX } else { distance })
}

/// Minus zero is zero to SQL.
fn clean(mut row: Row) -> Row {
    row.iter_mut().filter(|value| value.as_deref() == Some("-0")).for_each(|value| *value = Some("0".to_owned()));
    row
}

fn show(row: &Row) -> String {
    row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join(" | ")
}

fn counts(rows: &[Row]) -> HashMap<&Row, usize> {
    let mut counts = HashMap::new();
    rows.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

impl Check {
    /// Holds an answer against the reference.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn verify(&self, answer: Vec<Row>, reference: Vec<Row>) -> Result<Tally, String> {
        let (answer, reference): (Vec<Row>, Vec<Row>) =
            (answer.into_iter().map(clean).collect(), reference.into_iter().map(clean).collect());
        match self {
            Check::Same => same(&answer, &reference).map(|()| Tally::default()),
            Check::Nearest(nearest) => nearest.verify(&answer, &reference),
        }
    }
}

fn same(answer: &[Row], reference: &[Row]) -> Result<(), String> {
    let (ours, theirs) = (counts(answer), counts(reference));
    for row in answer.iter().chain(reference) {
        let (ours, theirs) = (ours.get(row).copied().unwrap_or(0), theirs.get(row).copied().unwrap_or(0));
        if ours != theirs {
            return Err(format!(
                "{} rows instead of {}: [{}] is there {ours} times instead of {theirs}",
                answer.len(),
                reference.len(),
                show(row)
            ));
        }
    }
    Ok(())
}

impl Nearest {
    fn verify(&self, answer: &[Row], reference: &[Row]) -> Result<Tally, String> {
        let name = |row: &Row| self.group.map(|column| row[column].clone().unwrap_or_default());
        let mut lists: HashMap<Option<String>, (Vec<Row>, Vec<Row>)> = HashMap::new();
        for row in reference {
            lists.entry(name(row)).or_default().1.push(row.clone());
        }
        for row in answer {
            lists.entry(name(row)).or_default().0.push(row.clone());
        }
        let mut tally = Tally::default();
        for (name, (answer, reference)) in lists {
            let list = self.list(answer, &reference);
            tally.add(list.map_err(|error| match &name {
                Some(name) => format!("list {name}: {error}"),
                None => error,
            })?);
        }
        Ok(tally)
    }

    fn key(&self, row: &Row) -> Result<Option<f64>, String> {
        let text = row[self.distance].as_deref();
        text.map(|text| text.parse().map_err(|_| format!("{text} is no distance"))).transpose()
    }

    fn list(&self, mut answer: Vec<Row>, reference: &[Row]) -> Result<Tally, String> {
        if self.numbered {
            for (at, row) in answer.iter_mut().enumerate() {
                let number = row.pop().flatten();
                if number != Some((self.offset + at + 1).to_string()) {
                    return Err(format!("row {at} has number {number:?}"));
                }
            }
        }
        let before = answer.len();
        if self.distinct && !self.exact {
            let mut farthest = f64::NEG_INFINITY;
            let mut seen = HashSet::new();
            let mut kept = Vec::new();
            for row in answer {
                let distance = rank(self.key(&row)?);
                if seen.insert(row.clone()) || distance >= farthest {
                    kept.push(row);
                }
                farthest = farthest.max(distance);
            }
            answer = kept;
        }
        let again = before - answer.len();
        // Every row is one that could be there, and no more often.
        let known = counts(reference);
        for (row, count) in counts(&answer) {
            let most = known.get(row).copied().unwrap_or(0);
            if count > most {
                return Err(format!("[{}] is there {count} times instead of at most {most}", show(row)));
            }
        }
        let mut distances = Vec::with_capacity(reference.len());
        for row in reference {
            distances.push(rank(self.key(row)?));
        }
        distances.sort_unstable_by(f64::total_cmp);
        let ours = answer.iter().map(|row| self.key(row).map(rank)).collect::<Result<Vec<_>, _>>()?;
        self.count(&ours, again, reference.len())?;
        let mut tally = Tally::default();
        if self.ordered {
            self.order(&answer, &ours, reference.len(), &mut tally)?;
        }
        let nearest = distances.get(self.offset..).unwrap_or_default();
        let nearest = &nearest[..nearest.len().min(self.limit)];
        if let Some(farthest) = nearest.last() {
            let found = ours.iter().filter(|distance| **distance <= *farthest).count().min(nearest.len());
            if self.exact
                && !self.ties
                && let Some(at) = nearest.iter().zip(&ours).position(|(theirs, ours)| theirs != ours)
            {
                return Err(format!("row {at} is at {} instead of {}", ours[at], nearest[at]));
            }
            if self.offset == 0 {
                (tally.wanted, tally.found) = (nearest.len(), found);
            }
        }
        Ok(tally)
    }

    fn count(&self, ours: &[f64], again: usize, all: usize) -> Result<(), String> {
        let (found, wanted) = (ours.len(), all.saturating_sub(self.offset).min(self.limit));
        if found < wanted && found + again < self.limit && !self.may_end {
            return Err(format!("{found} rows instead of {wanted}; {all} match"));
        }
        if found > wanted && !self.ties {
            return Err(format!("{found} rows instead of at most {wanted}"));
        }
        if self.ties
            && found > self.limit
            && self.limit > 0
            && ours[self.limit..].iter().any(|d| *d != ours[self.limit - 1])
        {
            return Err(format!("rows beyond {} that are no ties", self.limit));
        }
        Ok(())
    }

    /// In order, but for what came late.
    fn order(&self, answer: &[Row], ours: &[f64], all: usize, tally: &mut Tally) -> Result<(), String> {
        let in_order = |at: usize| {
            let (a, b) = (ours[at], ours[at + 1]);
            let Some((column, down)) = self.then_by.filter(|_| a == b) else { return a <= b };
            let number = |row: &Row| row[column].as_deref().and_then(|text| text.parse::<i64>().ok());
            match (number(&answer[at]), number(&answer[at + 1])) {
                (Some(a), Some(b)) => {
                    if down {
                        a >= b
                    } else {
                        a <= b
                    }
                }
                // NULLs are above all numbers.
                (None, None) => true,
                (a, _) => a.is_none() == down,
            }
        };
        match (0..ours.len().saturating_sub(1)).position(|at| !in_order(at)) {
            None => tally.in_order += 1,
            Some(at) => {
                let error = format!(
                    "rows {at} and {} of {} are out of order: [{}], [{}]",
                    at + 1,
                    ours.len(),
                    show(&answer[at]),
                    show(&answer[at + 1])
                );
                // What turns up late comes last, when all others have been returned.
                if self.exact || self.then_by.is_some() && ours.len() + self.offset < all {
                    return Err(error);
                }
                if ours.len() + self.offset < all {
                    tally.late += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Nearest, Row, Tally};

    fn rows(rows: &[(i32, f64)]) -> Vec<Row> {
        rows.iter().map(|(id, distance)| vec![Some(id.to_string()), Some(distance.to_string())]).collect()
    }

    const ALL: &[(i32, f64)] = &[(1, 0.5), (2, 1.0), (3, 1.0), (4, 2.0), (5, f64::NAN)];

    fn nearest(limit: usize) -> Nearest {
        Nearest {
            distance: 1,
            group: None,
            limit,
            offset: 0,
            ties: false,
            numbered: false,
            then_by: None,
            distinct: false,
            ordered: true,
            exact: false,
            may_end: false,
        }
    }

    fn verify(check: Nearest, answer: &[(i32, f64)]) -> Result<Tally, String> {
        Check::Nearest(check).verify(rows(answer), rows(ALL))
    }

    #[test]
    fn right_answers_pass() {
        for limit in 0..4 {
            let tally = verify(nearest(limit), &ALL[..limit]).unwrap();
            assert_eq!((tally.wanted, tally.found), (limit, limit));
        }
        assert!(verify(nearest(9), ALL).is_ok());
        assert!(verify(Nearest { exact: true, ..nearest(2) }, &[(1, 0.5), (3, 1.0)]).is_ok());
        assert!(verify(Nearest { ties: true, ..nearest(2) }, &ALL[..3]).is_ok());
        assert!(verify(Nearest { may_end: true, ..nearest(3) }, &ALL[..1]).is_ok());
        assert_eq!(verify(nearest(2), &[(2, 1.0), (4, 2.0)]).unwrap().recall(), 0.5);
        assert!(Check::Same.verify(rows(&[(2, 1.0), (1, 0.5)]), rows(&[(1, 0.5), (2, 1.0)])).is_ok());
        assert!(Check::Same.verify(rows(&[(2, -0.0)]), rows(&[(2, 0.0)])).is_ok());
    }

    #[test]
    fn wrong_answers_do_not() {
        assert!(verify(nearest(3), &ALL[..2]).is_err(), "a row is missing");
        assert!(verify(nearest(9), &ALL[..4]).is_err(), "a row is missing though all were asked for");
        let swapped = verify(Nearest { exact: true, ..nearest(9) }, &[ALL[4], ALL[0], ALL[1], ALL[2], ALL[3]]);
        assert!(swapped.is_err(), "what has no distance comes last");
        assert!(verify(nearest(3), &[(1, 0.5), (1, 0.5), (2, 1.0)]).is_err(), "a row twice");
        assert!(verify(nearest(1), &[(1, 0.4)]).is_err(), "a distance that is not the row's");
        assert!(verify(nearest(1), &[(9, 0.5)]).is_err(), "a row from elsewhere");
        assert!(verify(nearest(1), &ALL[..2]).is_err(), "more than asked for");
        assert!(verify(Nearest { exact: true, ..nearest(2) }, &[(2, 1.0), (1, 0.5)]).is_err(), "out of order");
        assert!(verify(Nearest { exact: true, ..nearest(2) }, &[(1, 0.5), (4, 2.0)]).is_err(), "not the nearest");
        assert!(verify(Nearest { ties: true, ..nearest(1) }, &ALL[..2]).is_err(), "no tie");
        let then_by = Nearest { then_by: Some((0, true)), ..nearest(3) };
        assert!(verify(then_by.clone(), &ALL[..3]).is_err(), "ties are sorted upwards");
        assert!(verify(then_by, &[(1, 0.5), (3, 1.0), (2, 1.0)]).is_ok());
        let distinct = Nearest { distinct: true, ..nearest(9) };
        let once = |answer: &[(i32, f64)]| Check::Nearest(distinct.clone()).verify(rows(answer), rows(&ALL[..3]));
        assert!(once(&[ALL[0], ALL[1], ALL[2], ALL[0]]).is_ok(), "once more, late");
        assert!(once(&[ALL[0], ALL[0], ALL[1], ALL[2]]).is_err(), "twice in a row");
        assert!(once(&[ALL[0], ALL[1], ALL[0]]).is_err(), "once more in place of another");
        assert!(Check::Same.verify(rows(&[(1, 0.5)]), rows(&[(1, 0.5), (2, 1.0)])).is_err());
        assert!(Check::Same.verify(rows(&[(1, 0.5), (1, 0.5)]), rows(&[(1, 0.5), (2, 1.0)])).is_err());
        let late = verify(nearest(3), &[(2, 1.0), (3, 1.0), (1, 0.5)]).unwrap();
        assert_eq!((late.late, late.in_order), (1, 0), "a row that is late is counted");
    }
}

//! Tables of scores for people.

use std::fmt;

use crate::group::Group;

/// A column of numbers.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// A score, with four decimals.
    Score(&'static str),
    /// An integer.
    Count(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Score(name) | Self::Count(name) => name,
        }
    }

    /// Formats a value: `-` where there is none.
    fn cell(self, value: Option<f64>) -> String {
        match (self, value) {
            (_, None) => "-".to_owned(),
            (Self::Score(_), Some(value)) => format!("{value:.4}"),
            (Self::Count(_), Some(value)) => format!("{value:.0}"),
        }
    }
}

/// A table with a name per row, and aligned columns.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(name: &str, columns: &[Column]) -> Self {
        let header = columns.iter().map(|column| column.name().to_owned());
        let header = std::iter::once(name.to_owned()).chain(header).collect();
        Self {
            columns: columns.to_vec(),
            rows: vec![header],
        }
    }

    /// A table with a row per class, then one of all samples. `row` returns the scores and the number
    /// of samples.
    pub(crate) fn of_classes<S, const SCORES: usize>(
        scores: [&'static str; SCORES],
        classes: &[Group<S>],
        overall: &S,
        row: impl Fn(&S) -> ([f64; SCORES], usize),
    ) -> Self {
        let columns = scores.map(Column::Score);
        let columns = [columns.as_slice(), &[Column::Count("samples")]].concat();
        let mut table = Self::new("class", &columns);
        let classes = classes
            .iter()
            .map(|group| (group.class.as_str(), &group.scores));
        for (name, scores) in classes.chain([("all", overall)]) {
            let (scores, samples) = row(scores);
            let values = [scores.map(Some).as_slice(), &[Some(samples as f64)]].concat();
            table.row(name, &values);
        }
        table
    }

    /// Adds a row. Line breaks and other control characters in the name are replaced by spaces.
    pub(crate) fn row(&mut self, name: &str, values: &[Option<f64>]) {
        let cells = self
            .columns
            .iter()
            .zip(values)
            .map(|(column, &value)| column.cell(value));
        let name = name.replace(char::is_control, " ");
        self.rows.push(std::iter::once(name).chain(cells).collect());
    }
}

impl fmt::Display for Table {
    /// Writes the rows without a line break after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |index: usize| {
            self.rows
                .iter()
                .map(|row| row[index].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
        }
        Ok(())
    }
}

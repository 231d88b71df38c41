//! The time stamp of all files in packages.

use std::process::Command;

use crate::workspace::{Failure, output, root};

/// The seconds of the last commit or, without a repository, of `SOURCE_DATE_EPOCH`.
pub(super) fn epoch() -> Result<u64, Failure> {
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]);
    let (source, seconds) = match output(&mut git, &root()) {
        Ok(seconds) => ("git log -1 --format=%ct", seconds),
        Err(failure) => match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => ("SOURCE_DATE_EPOCH", seconds),
            Err(_) => return Err(failure),
        },
    };
    let seconds = seconds.trim();
    seconds
        .parse()
        .map_err(|_| format!("{source}: found `{seconds}`, expected a number of seconds"))
}

/// The year, month, day, hour, minute and second of a time stamp, in UTC.
pub(super) fn date(epoch: u64) -> [u16; 6] {
    let (days, seconds) = ((epoch / 86_400) as i64, epoch % 86_400);
    // Days are counted from 1 March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    [
        year as u16,
        month as u16,
        day as u16,
        (seconds / 3_600) as u16,
        (seconds / 60 % 60) as u16,
        (seconds % 60) as u16,
    ]
}

/// A time stamp as ISO 8601 writes it.
pub(super) fn iso_8601(epoch: u64) -> String {
    let [year, month, day, hour, minute, second] = date(epoch);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::iso_8601;

    #[test]
    fn time_stamps_are_dates_in_utc() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_8601(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso_8601(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_8601(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(iso_8601(1_796_057_107), "2026-11-30T16:45:07Z");
    }
}

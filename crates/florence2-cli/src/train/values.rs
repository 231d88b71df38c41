//! The values of flags of `train` that are no plain numbers or names.

use florence2_core::weights::NamesOrPattern;
use florence2_train::LrSchedulerKwargs;

/// Parses the arguments of a schedule, which are JSON as in Hugging Face's command-line parser.
pub(crate) fn scheduler_kwargs(json: &str) -> Result<LrSchedulerKwargs, String> {
    serde_json::from_str(json).map_err(|error| {
        format!("found `{json}`, expected a JSON object with arguments of the schedule ({error})")
    })
}

/// Parses names of modules, separated by commas, or a regular expression: a value with a character that
/// names do not have.
pub(crate) fn names_or_pattern(text: &str) -> Result<NamesOrPattern, String> {
    let is_name = |name: &str| {
        let mut characters = name.chars();
        !name.is_empty() && characters.all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
    };
    if text.is_empty() {
        return Err("found ``, expected names of modules or a regular expression".to_owned());
    }
    // `.*` is a pattern, and `.` alone is none that anyone means.
    if text.split(',').all(is_name) {
        let names = text.split(',').map(str::to_owned);
        return Ok(NamesOrPattern::Names(names.collect()));
    }
    Ok(NamesOrPattern::Pattern(text.to_owned()))
}

/// Parses a number of bytes: a whole number, and K, M, G or T for a power of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = ["K", "M", "G", "T"];
    let upper = text.to_ascii_uppercase();
    let upper = upper.trim_end_matches("IB").trim_end_matches('B');
    let unit = units.iter().position(|unit| upper.ends_with(unit));
    let digits = unit.map_or(upper, |_| &upper[..upper.len() - 1]);
    let shift = unit.map_or(0, |unit| 10 * (unit as u32 + 1));
    let number: Option<u64> = digits.trim().parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("found `{text}`, expected a number of bytes, such as 512M or 2G"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("2K", Some(2048)),
            ("3m", Some(3 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1 GB", Some(1 << 30)),
            ("2T", Some(2 << 40)),
            ("", None),
            ("G", None),
            ("1.5G", None),
            ("-1", None),
            ("99999999999T", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_names_and_other_values_are_patterns() {
        let names = |names: &[&str]| {
            NamesOrPattern::Names(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let pattern = |pattern: &str| NamesOrPattern::Pattern(pattern.to_owned());
        for (text, expected) in [
            ("q_proj", names(&["q_proj"])),
            ("q_proj,layers.0.fc1", names(&["q_proj", "layers.0.fc1"])),
            ("all-linear", pattern("all-linear")),
            (r".*\.fc[12]", pattern(r".*\.fc[12]")),
            ("q_proj,", pattern("q_proj,")),
        ] {
            assert_eq!(names_or_pattern(text).unwrap(), expected, "{text}");
        }
        assert!(names_or_pattern("").is_err());
    }

    #[test]
    fn arguments_of_a_schedule_are_json() {
        let error = scheduler_kwargs("{\"cycles\": 1}").unwrap_err();
        assert!(
            error.contains("found `{\"cycles\": 1}`, expected"),
            "{error}"
        );
        assert!(error.contains("unknown field `cycles`"), "{error}");
    }
}

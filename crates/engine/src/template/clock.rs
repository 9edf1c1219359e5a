//! `strftime_now`: formats the date that the gateway sends, because the sealed engine has no clock.
//!
//! The time of day is midnight; zone names are empty, as for a naive datetime of Python.

use super::meter::{Outcome, refuse};

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    year: i64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: usize,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
fn month_days(year: i64, month: usize) -> usize {
    match month {
        2 => 28 + usize::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    /// Reads `YYYY-MM-DD`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Date> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part =
                parts.next().filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_digit()));
            part?.parse::<usize>().ok()
        };
        let (year, month, day) = (part(4)? as i64, part(2)?, part(2)?);
        let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
        (valid && parts.next().is_none()).then_some(Date { year, month, day })
    }

    /// Day of the year, from 1.
    fn ordinal(self) -> usize {
        (1..self.month).map(|month| month_days(self.year, month)).sum::<usize>() + self.day
    }

    /// Day of the week, Monday being 0.
    fn weekday(self) -> usize {
        let past = self.year - 1;
        let days = past * 365 + past / 4 - past / 100 + past / 400 + self.ordinal() as i64;
        ((days + 6) % 7) as usize
    }

    /// Python's `strftime` at midnight of this day.
    pub(super) fn format(self, format: &str) -> Outcome<String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut code = chars.next();
            let unpadded = code == Some('-');
            if unpadded {
                code = chars.next();
            }
            let field = match code {
                Some(code) => self.field(code)?,
                None => return refuse("the date format ends after %"),
            };
            match unpadded {
                true => out.push_str(match field.trim_start_matches(['0', ' ']) {
                    "" => "0",
                    short => short,
                }),
                false => out.push_str(&field),
            }
        }
        Ok(out)
    }

    fn field(self, code: char) -> Outcome<String> {
        let Date { year, month, day } = self;
        let (day_name, month_name) = (DAYS[self.weekday()], MONTHS[month - 1]);
        Ok(match code {
            'Y' => format!("{year:04}"),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'j' => format!("{:03}", self.ordinal()),
            'B' => month_name.into(),
            'b' | 'h' => month_name[..3].into(),
            'A' => day_name.into(),
            'a' => day_name[..3].into(),
            'u' => (self.weekday() + 1).to_string(),
            'w' => ((self.weekday() + 1) % 7).to_string(),
            'F' => format!("{year:04}-{month:02}-{day:02}"),
            'D' | 'x' => format!("{month:02}/{day:02}/{:02}", year % 100),
            'H' | 'M' | 'S' => "00".into(),
            'I' => "12".into(),
            'p' => "AM".into(),
            'f' => "000000".into(),
            'T' | 'X' => "00:00:00".into(),
            'R' => "00:00".into(),
            'c' => format!("{} {} {day:2} 00:00:00 {year}", &day_name[..3], &month_name[..3]),
            'Z' | 'z' => String::new(),
            '%' => "%".into(),
            other => return refuse(format!("the date format %{other} is not supported")),
        })
    }
}

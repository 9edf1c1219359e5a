//! The date for records: the day of the hub's clock.

/// Today in UTC, as `2026-11-21`.
pub(crate) fn today() -> String {
    let mut now = hearth_hub::now_rfc3339();
    now.truncate("2026-11-21".len());
    now
}

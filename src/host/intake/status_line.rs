//! The line at the foot of an agent's screen: the account and how much of its windows is used.

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    host::agent::report::{Report, Share},
    model::{AccountName, WindowKind},
};

/// From here on a time alone does not say which day is meant.
const DAY: i64 = 24 * 60 * 60;

/// One line, such as `primary · 5h 42.5% until 11:16 · week 12% until Fri 09:00`; what is not known is left out.
pub(super) fn render(account: Option<&AccountName>, report: &Report, now: Timestamp, zone: &TimeZone) -> String {
    let mut parts: Vec<String> = account.map(AccountName::to_string).into_iter().collect();
    parts.extend(report.windows.iter().map(|(kind, share)| window(kind, *share, now, zone)));
    parts.join(" · ")
}

fn window(kind: &WindowKind, share: Share, now: Timestamp, zone: &TimeZone) -> String {
    let name = match kind {
        WindowKind::FiveHour => "5h",
        WindowKind::Weekly => "week",
        WindowKind::Model(model) => model,
    };
    let until = share.resets_at.map(|resets_at| {
        let format = if resets_at.as_second().saturating_sub(now.as_second()) < DAY { "%H:%M" } else { "%a %H:%M" };
        format!(" until {}", resets_at.to_zoned(zone.clone()).strftime(format))
    });
    format!("{name} {}{}", share.used, until.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Percent;

    #[test]
    fn it_says_what_is_known() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().expect("an instant");
        let account = AccountName::new("primary").expect("valid");
        let render = |account, report: &Report| render(account, report, now, &TimeZone::UTC);
        assert_eq!(render(None, &Report::default()), "");
        assert_eq!(render(Some(&account), &Report::default()), "primary");

        let report = Report::parse(include_bytes!("../../../tests/fixtures/agent/statusline.json"));
        assert_eq!(render(Some(&account), &report), "primary · 5h 42.5% until 11:16 · week 12% until Fri 09:00");

        let share = Share { used: Percent::whole(7), resets_at: None };
        let windows = [(WindowKind::Model("Opus".to_owned()), share)].into();
        assert_eq!(render(None, &Report { windows, ..Report::default() }), "Opus 7%");
    }
}

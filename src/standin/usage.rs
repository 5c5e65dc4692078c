//! What the CLI answers without a session: the login's state, the account's usage, one prompt.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Error,
    behaviour::{Behaviour, BehaviourFile, Limit, Login, Window},
    home::Home,
    records, say,
};

/// `auth status`: JSON, and exit code 0 with a login, 1 without.
pub(super) fn auth_status(home: &Home) -> Result<u8, Error> {
    let file = BehaviourFile::open(home.behaviour_file())?;
    let behaviour = file.get();
    let logged_in = behaviour.login == Login::Ok;
    let mut answer = json!({
        "loggedIn": logged_in,
        "authMethod": if logged_in { "claude.ai" } else { "none" },
        "apiProvider": "firstParty",
        "projectsDirectory": home.directory.join("projects"),
        "configDirectory": home.directory,
        "loginExpiresAt": if logged_in { json!(behaviour.login_expires_at) } else { Value::Null },
    });
    if logged_in {
        answer["email"] = json!("stand-in@example.invalid");
        answer["orgId"] = json!(home.account_id());
        answer["subscriptionType"] = json!("max");
    }
    say(&format!("{answer:#}"));
    Ok(u8::from(!logged_in))
}

/// `-p PROMPT`: `/usage` shows and stores the usage; anything else is answered in one line.
pub(super) fn print(home: &Home, prompt: &str) -> Result<u8, Error> {
    let file = BehaviourFile::open(home.behaviour_file())?;
    let behaviour = file.get();
    let now = Timestamp::now();
    if prompt == "/usage" {
        return usage(home, behaviour, now);
    }
    let refusal = match (behaviour.login, behaviour.limit_at(now)) {
        (Login::Missing, _) => Some("Not logged in · Please run /login".to_owned()),
        (Login::Dead, _) => Some("OAuth session expired and could not be refreshed".to_owned()),
        (Login::Ok, Some(limit)) => Some(records::limit_text(limit)),
        (Login::Ok, None) => None,
    };
    say(refusal.as_deref().unwrap_or("Answered by the stand-in"));
    Ok(u8::from(refusal.is_some()))
}

/// Shows and stores the account's windows, and asks no model. Without a login the CLI succeeds, shows costs and stores nothing.
fn usage(home: &Home, behaviour: &Behaviour, now: Timestamp) -> Result<u8, Error> {
    if behaviour.login != Login::Ok {
        say("Estimated cost:        $0.0000");
        return Ok(0);
    }
    let limit = behaviour.limit_at(now);
    let five_hour = effective(behaviour.usage.five_hour.as_ref(), limit, "five_hour");
    let weekly = effective(behaviour.usage.weekly.as_ref(), limit, "seven_day");
    say("You are currently using your subscription to power your Claude Code usage\n");
    for (name, window) in [("Current session", &five_hour), ("Current week (all models)", &weekly)] {
        if let Some(window) = window {
            say(&format!("{name}: {}", line(window)));
        }
    }
    for (model, window) in &behaviour.usage.models {
        say(&format!("Current week ({model}): {}", line(window)));
    }
    let scoped = behaviour.usage.models.iter().map(|(model, window)| limit_entry("weekly_scoped", window, Some(model)));
    let entries: Vec<Value> = five_hour
        .iter()
        .map(|window| limit_entry("session", window, None))
        .chain(weekly.iter().map(|window| limit_entry("weekly_all", window, None)))
        .chain(scoped)
        .collect();
    home.set_usage(json!({
        "fetchedAtMs": now.as_millisecond(),
        "accountUuid": home.account_id(),
        "utilization": {
            "five_hour": five_hour.as_ref().map(window_entry),
            "seven_day": weekly.as_ref().map(window_entry),
            "seven_day_oauth_apps": null,
            "seven_day_opus": null,
            "seven_day_sonnet": null,
            "limits": entries,
            "extra_usage": {"is_enabled": false, "monthly_limit": null, "used_credits": null, "utilization": null},
        },
    }))?;
    Ok(0)
}

/// A window, full while its limit holds.
fn effective(window: Option<&Window>, limit: Option<&Limit>, name: &str) -> Option<Window> {
    match limit.filter(|limit| limit.window == name) {
        Some(limit) => Some(Window { used_percent: 100.0, resets_at: Some(limit.resets_at) }),
        None => window.cloned(),
    }
}

fn line(window: &Window) -> String {
    let reset = window.resets_at.map(|at| format!(" · resets {}", records::clock(at)));
    format!("{}% used{}", window.used_percent, reset.unwrap_or_default())
}

fn window_entry(window: &Window) -> Value {
    json!({"utilization": window.used_percent, "resets_at": iso(window)})
}

fn limit_entry(kind: &str, window: &Window, model: Option<&String>) -> Value {
    let scope = model.map(|name| json!({"model": {"display_name": name}}));
    json!({"kind": kind, "percent": window.used_percent, "resets_at": iso(window), "scope": scope, "is_active": false})
}

/// The reset as the server writes it.
fn iso(window: &Window) -> Option<String> {
    let at = Timestamp::from_second(window.resets_at?).ok()?;
    Some(format!("{at:.6}").replace('Z', "+00:00"))
}

use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

/// A home and two start directories: one plain, one in a repository.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["home", "plain/deep", "repository/.git", "repository/deep"] {
            fs::create_dir_all(root.path().join(directory)).expect("made");
        }
        Self { root }
    }

    fn path(&self, below: &str) -> PathBuf {
        fs::canonicalize(self.root.path()).expect("resolved").join(below)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn state(&self) -> PathBuf {
        self.path("home/.claude.json")
    }

    fn write_state(&self, state: &Value) {
        fs::write(self.state(), state.to_string()).expect("written");
    }

    fn trusted(&self, key: &str) -> Value {
        let state: Value = serde_json::from_slice(&fs::read(self.state()).expect("there")).expect("JSON");
        state["projects"][self.path(key).to_str().expect("UTF-8")]["hasTrustDialogAccepted"].clone()
    }

    /// An entry of the register that says that the process is alive since `started`.
    fn register(&self, pid: u32, started: u64) {
        fs::create_dir_all(self.path("home/sessions")).expect("made");
        let entry = json!({ "pid": pid, "procStart": started.to_string(), "sessionId": uuid::Uuid::nil(), "status": "idle" });
        fs::write(self.path(&format!("home/sessions/{pid}.json")), entry.to_string()).expect("written");
    }

    fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(self.home()).expect("listed");
        let mut names: Vec<_> = listed.map(|item| item.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

fn failure(outcome: Outcome) -> (Happened, String) {
    match outcome {
        Outcome::Failed(failure) => (failure.happened, failure.message()),
        other => panic!("it was {other:?}"),
    }
}

fn ourselves() -> (u32, u64) {
    let pid = std::process::id();
    let process = process::identity(crate::model::Pid(pid.cast_signed())).expect("readable").expect("we live");
    (pid, process.started)
}

#[test]
fn an_empty_home_gets_what_an_unattended_start_needs_and_then_stays() {
    let place = Place::new();
    let workdirs = [place.path("plain"), place.path("repository/deep")];
    assert_eq!(keys(&place.home(), &workdirs).expect("readable"), HomeKeys::default());
    assert_eq!(prepare(&place.home(), &workdirs, true), Outcome::Changed);
    let prepared = HomeKeys { onboarded: true, trusted: workdirs.to_vec(), bypass_accepted: true };
    assert_eq!(keys(&place.home(), &workdirs).expect("readable"), prepared);
    assert_eq!(place.trusted("repository"), json!(true), "the key is the repository");
    assert_eq!(place.names(), [".claude.json", "settings.json"]);
    let before = fs::metadata(place.state()).expect("there");
    assert_eq!(before.permissions().mode() & 0o777, 0o600);
    assert_eq!(prepare(&place.home(), &workdirs, true), Outcome::Unchanged);
    assert_eq!(fs::metadata(place.state()).expect("there").modified().expect("a time"), before.modified().expect("a time"));
}

#[test]
fn every_other_key_keeps_its_value_and_its_place() {
    let place = Place::new();
    let before = r#"{"zebra":1.5,"numStartups":12,"projects":{"/x":{"history":["a"],"hasTrustDialogAccepted":false}},"oauthAccount":{"b":1,"a":"ü"}}"#;
    fs::write(place.state(), before).expect("written");
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o640)).expect("set");
    assert_eq!(prepare(&place.home(), &[place.path("plain")], false), Outcome::Changed);
    let after = fs::read_to_string(place.state()).expect("there");
    let plain = place.path("plain");
    let expected = format!(
        r#"{{"zebra":1.5,"numStartups":12,"projects":{{"/x":{{"history":["a"],"hasTrustDialogAccepted":false}},{plain:?}:{{"hasTrustDialogAccepted":true}}}},"oauthAccount":{{"b":1,"a":"ü"}},"hasCompletedOnboarding":true}}"#
    );
    assert_eq!(serde_json::from_str::<Value>(&after).expect("JSON").to_string(), expected);
    assert_eq!(fs::metadata(place.state()).expect("there").permissions().mode() & 0o777, 0o640);
    assert_eq!(place.names(), [".claude.json"], "settings were not asked for");
}

#[test]
fn a_trusted_parent_covers_plain_directories_but_no_repository() {
    let place = Place::new();
    place.write_state(
        &json!({ "projects": { place.path("").to_str().expect("UTF-8").trim_end_matches('/'): { "hasTrustDialogAccepted": true } } }),
    );
    let workdirs = [place.path("plain/deep"), place.path("repository/deep"), place.path("absent")];
    let keys = keys(&place.home(), &workdirs).expect("readable");
    assert_eq!(keys.trusted, [place.path("plain/deep"), place.path("absent")]);
    assert_eq!(prepare(&place.home(), &workdirs, false), Outcome::Changed);
    assert_eq!((place.trusted("plain/deep"), place.trusted("repository")), (Value::Null, json!(true)));
}

#[test]
fn a_linked_start_directory_is_trusted_by_what_it_really_is() {
    let place = Place::new();
    symlink(place.path("repository/deep"), place.path("alias")).expect("linked");
    assert_eq!(prepare(&place.home(), &[place.path("alias")], false), Outcome::Changed);
    assert_eq!(place.trusted("repository"), json!(true));
    assert_eq!(keys(&place.home(), &[place.path("alias")]).expect("readable").trusted, [place.path("alias")]);
}

#[test]
fn a_file_that_is_not_what_we_expect_is_never_written() {
    let place = Place::new();
    for odd in ["", "{", "[]", "null", r#"{"a":1"#, r#"{"projects":[]}"#, r#"{"projects":7}"#] {
        fs::write(place.state(), odd).expect("written");
        let (happened, message) = failure(prepare(&place.home(), &[place.path("plain")], true));
        assert_eq!(happened, Happened::No, "{message}");
        assert!(message.contains(".claude.json"), "{message}");
        assert_eq!(fs::read_to_string(place.state()).expect("there"), odd);
        assert_eq!(place.names(), [".claude.json"], "after {odd:?}");
    }
    fs::remove_file(place.state()).expect("removed");
    symlink(place.path("elsewhere"), place.state()).expect("linked");
    assert_eq!(failure(prepare(&place.home(), &[], false)).0, Happened::No, "an identity that is shared by a link");
}

#[test]
fn settings_that_cannot_be_understood_are_found_before_anything_is_written() {
    let place = Place::new();
    fs::write(place.path("home/settings.json"), "{ // a comment\n}").expect("written");
    assert!(keys(&place.home(), &[]).is_ok_and(|keys| !keys.bypass_accepted));
    assert_eq!(failure(prepare(&place.home(), &[], true)).0, Happened::No);
    assert_eq!(place.names(), ["settings.json"]);
    // Who does not need them is not held up by them.
    assert_eq!(prepare(&place.home(), &[], false), Outcome::Changed);
}

#[test]
fn an_acceptance_in_the_older_key_is_enough() {
    let place = Place::new();
    place.write_state(&json!({ "hasCompletedOnboarding": true, BYPASS_BEFORE: true }));
    assert!(keys(&place.home(), &[]).expect("readable").bypass_accepted);
    assert_eq!(prepare(&place.home(), &[], true), Outcome::Unchanged);
}

#[test]
fn linked_settings_stay_linked() {
    let place = Place::new();
    fs::write(place.path("dotfile.json"), r#"{"model":"opus"}"#).expect("written");
    symlink(place.path("dotfile.json"), place.path("home/settings.json")).expect("linked");
    assert_eq!(prepare(&place.home(), &[], true), Outcome::Changed);
    assert_eq!(fs::read_link(place.path("home/settings.json")).expect("a link"), place.path("dotfile.json"));
    let settings: Value = serde_json::from_slice(&fs::read(place.path("dotfile.json")).expect("there")).expect("JSON");
    assert_eq!(settings, json!({ "model": "opus", BYPASS: true }));
}

#[test]
fn nothing_is_written_while_a_process_of_the_home_runs() {
    let place = Place::new();
    let (pid, started) = ourselves();
    place.register(pid, started);
    let (happened, message) = failure(prepare(&place.home(), &[], false));
    assert_eq!(happened, Happened::No);
    assert!(message.contains(&format!("process {pid}")), "{message}");
    assert!(!place.state().exists());

    // A torn entry of a living process may be the one of that process.
    fs::write(place.path(&format!("home/sessions/{pid}.json")), "{").expect("written");
    assert_eq!(failure(prepare(&place.home(), &[], false)).0, Happened::No);

    // The entry of an earlier process of that number, and one whose process is gone, hold nobody up.
    place.register(pid, started + 1);
    place.register(i32::MAX.cast_unsigned(), 1);
    assert_eq!(prepare(&place.home(), &[], false), Outcome::Changed);
}

#[test]
fn what_is_right_already_needs_no_quiet_home() {
    let place = Place::new();
    place.write_state(&json!({ "hasCompletedOnboarding": true }));
    let (pid, started) = ourselves();
    place.register(pid, started);
    assert_eq!(prepare(&place.home(), &[], false), Outcome::Unchanged);
}

#[test]
fn the_lock_of_the_cli_is_respected_until_it_is_stale() {
    let place = Place::new();
    let lock = place.path("home/.claude.json.lock");
    fs::create_dir(&lock).expect("made");
    let (happened, message) = failure(prepare(&place.home(), &[], false));
    assert!(happened == Happened::No && message.contains(".claude.json.lock"), "{message}");
    assert!(lock.exists() && !place.state().exists());

    let old = SystemTime::now() - STALE_LOCK * 2;
    let age = |path: &Path| fs::File::open(path).expect("opened").set_modified(old).expect("aged");
    age(&lock);
    assert_eq!(prepare(&place.home(), &[], false), Outcome::Changed);
    assert!(!lock.exists(), "ours was given back");

    // Something else of that name is never removed.
    fs::remove_file(place.state()).expect("removed");
    fs::write(&lock, "").expect("written");
    age(&lock);
    assert_eq!(failure(prepare(&place.home(), &[], false)).0, Happened::No);
    assert!(lock.exists());
}

#[test]
fn a_home_that_does_not_exist_is_not_made() {
    let place = Place::new();
    let absent = place.path("absent");
    assert_eq!(failure(prepare(&absent, &[], false)).0, Happened::No);
    assert!(!absent.exists());
}

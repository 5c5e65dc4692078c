//! The screens of agents that wait for somebody, captured once for each change.
//!
//! # Guarantees
//! An agent that works or is idle by the word of its register or its hooks is never captured. All that are to be captured are so together.
//! A screen that nothing is known to have changed on is captured again only where it is all that speaks, and only when a look is due anyway.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{RealHost, track::age};
use crate::{
    host::{
        agent::{activity, screen},
        tmux::PaneScreen,
    },
    model::{Activity, Monotonic, Now, PaneId, ProcessId, SessionName},
    observed::{AgentView, ScreenView, Shown, Snapshot, TmuxView},
};

/// From when on a start counts as long, and its screen is looked at. The CLI was ready after 0.9 to 4.1 s on two cores.
const LONG_START: Duration = Duration::from_secs(10);

/// How long a screen without a dialog is looked at again before it is believed: the register may say that one is open before it is drawn.
const REST: Duration = Duration::from_millis(500);
/// How often meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// How old the screen of an agent may be that has no register entry: one start-up dialog follows another without a word.
const SILENT: Duration = Duration::from_secs(5);

/// What is known of the screens.
#[derive(Debug, Default)]
pub(super) struct Screens(BTreeMap<SessionName, Watched>);

#[derive(Debug)]
struct Watched {
    cause: Cause,
    /// Since when.
    since: Monotonic,
    /// When it was last looked at.
    looked_at: Option<Now>,
    view: Option<ScreenView>,
}

impl Watched {
    fn is_at_rest(&self) -> bool {
        let shows_dialog = self.view.as_ref().is_some_and(|view| view.shows.is_dialog());
        let looked_for = self.looked_at.map_or(Duration::ZERO, |at| at.mono.0.saturating_sub(self.since.0));
        shows_dialog || self.cause.activity != Activity::NeedsInput || looked_for >= REST
    }

    fn is_due(&self, now: Now) -> bool {
        let pause = if self.is_at_rest() { SILENT } else { PAUSE };
        self.looked_at.is_none_or(|at| (!self.is_at_rest() || self.cause.silent) && now.since(at) >= pause)
    }

    /// The screen as it is told. One that cannot be captured is told in the end as well: its agent waits nevertheless.
    fn told(&self) -> Option<ScreenView> {
        let at_rest = self.is_at_rest();
        match (&self.view, self.looked_at) {
            (Some(view), _) => Some(ScreenView { at_rest, ..view.clone() }),
            (None, Some(at)) if at_rest => Some(ScreenView { shows: Shown::Unknown, lines: Vec::new(), seen_at: at.wall, at_rest }),
            (None, _) => None,
        }
    }
}

/// Why a screen is looked at; with another cause it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    process: ProcessId,
    activity: Activity,
    since: Option<Timestamp>,
    waiting_for: Option<String>,
    /// Whether there is no register entry that could tell of a change.
    silent: bool,
}

impl Cause {
    fn of(agent: &AgentView, now: Now) -> Option<Self> {
        let process = agent.process?;
        let stands = match agent.activity {
            Activity::Idle | Activity::Working | Activity::Exited => false,
            Activity::NeedsInput | Activity::LimitHit | Activity::LoggedOut | Activity::Unknown => true,
            Activity::Starting => age(process, now) >= LONG_START,
        };
        let register = agent.register.as_ref();
        stands.then(|| Self {
            process,
            activity: agent.activity,
            since: register.and_then(|register| register.status_since),
            waiting_for: register.and_then(|register| register.waiting_for.clone()),
            silent: register.is_none(),
        })
    }
}

impl Screens {
    /// Whether one is to be looked at again in a moment.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.values().any(|watched| !watched.is_at_rest())
    }

    /// Which panes are to be captured now, by what is known of the agents without their screens. `everything`: also those that nothing is known
    /// to have changed in.
    fn wanted<'a>(
        &mut self,
        tmux: Option<&TmuxView>,
        agents: impl Iterator<Item = (&'a SessionName, &'a AgentView)>,
        everything: bool,
        now: Now,
    ) -> Vec<(SessionName, PaneId)> {
        let mut before = std::mem::take(&mut self.0);
        let Some(tmux) = tmux else { return Vec::new() };
        let mut wanted = Vec::new();
        for (name, agent) in agents {
            let Some(cause) = Cause::of(agent, now) else { continue };
            let Some(pane) = tmux.panes.get(name.as_str()) else { continue };
            let known = before.remove(name).filter(|watched| watched.cause == cause);
            let watched = known.unwrap_or(Watched { cause, since: now.mono, looked_at: None, view: None });
            if everything || watched.is_due(now) {
                wanted.push((name.clone(), pane.pane.clone()));
            }
            self.0.insert(name.clone(), watched);
        }
        wanted
    }

    /// Takes what a pane shows. `None` when it could not be captured: what it showed before is then all that is known.
    fn take(&mut self, name: &SessionName, screen: Option<&PaneScreen>, now: Now) {
        let Some(watched) = self.0.get_mut(name) else { return };
        watched.looked_at = Some(now);
        if let Some(screen) = screen.filter(|screen| !screen.dead && screen.pid == Some(watched.cause.process.pid)) {
            let (shows, lines) = screen::read(&screen.text);
            watched.view = Some(ScreenView { shows, lines, seen_at: now.wall, at_rest: false });
        }
    }
}

impl RealHost {
    /// Looks at the screens whose agents wait for somebody, and adds to `seen` what they show.
    pub(super) async fn look_at_screens(&mut self, everything: bool, now: Now, seen: &mut Snapshot) {
        // What a screen said before is no reason to look at it, or not to.
        let is_known = |name: &SessionName| seen.agents.get(name).is_some_and(|agent| agent.value().is_some());
        let agents = self.tracks.views().filter(|(name, agent)| Cause::of(agent, now).is_some() && is_known(name));
        let wanted = self.screens.wanted(seen.tmux.value(), agents, everything, now);
        if let (Some(server), false) = (&mut self.tmux, wanted.is_empty()) {
            let panes: Vec<PaneId> = wanted.iter().map(|(_, pane)| pane.clone()).collect();
            let screens = server.survey(&panes).await.unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot capture screens");
                vec![None; panes.len()]
            });
            for ((name, _), screen) in wanted.iter().zip(&screens) {
                self.screens.take(name, screen.as_ref(), now);
            }
        }
        for (name, agent) in &mut seen.agents {
            let told = self.screens.0.get(name).and_then(Watched::told);
            let Some(agent) = agent.value_mut().filter(|agent| told.is_some() || agent.screen.is_some()) else { continue };
            let Some(alone) = self.tracks.view(name) else { continue };
            agent.clone_from(alone);
            if let Some(screen) = told {
                activity::see(agent, screen, now.wall);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Pid,
        plan::tests::world::{World, at, session},
    };

    const DIALOG: &str = "Do you want to proceed?\n❯ 1. Yes\n  2. No\n";
    const OTHER: &str = "● words\n";

    fn pane_screen(pid: Pid, text: &str) -> PaneScreen {
        PaneScreen {
            pid: Some(pid),
            dead: false,
            in_mode: false,
            input_off: false,
            synchronized: false,
            attached: 0,
            cursor: (0, 0),
            text: text.to_owned(),
        }
    }

    fn later(millis: u64) -> Now {
        let start = at(0);
        Now { mono: start.mono.plus(Duration::from_millis(millis)), ..start }
    }

    /// A world in which `s-0` asks something, and what is known of its screen.
    fn asking() -> (World, Screens) {
        let mut world = World::converged(3);
        world.agent("s-0").activity = Activity::NeedsInput;
        world.agent("s-1").activity = Activity::Working;
        (world, Screens::default())
    }

    fn wanted(world: &World, screens: &mut Screens, everything: bool, now: Now) -> Vec<(SessionName, PaneId)> {
        let agents = world.seen.agents.iter().filter_map(|(name, agent)| Some((name, agent.value()?)));
        screens.wanted(world.seen.tmux.value(), agents, everything, now)
    }

    /// One look: whether `s-0` was captured, and what is told of it. The others never are.
    fn look(world: &World, screens: &mut Screens, text: Option<&str>, everything: bool, now: Now) -> (bool, Option<ScreenView>) {
        let name = session("s-0");
        let wanted = wanted(world, screens, everything, now);
        assert!(wanted.iter().all(|(wanted, _)| *wanted == name), "an agent that waits for nobody is not captured: {wanted:?}");
        if !wanted.is_empty() {
            let pid = world.seen.agents[&name].value().and_then(|agent| agent.process).expect("it runs").pid;
            screens.take(&name, text.map(|text| pane_screen(pid, text)).as_ref(), now);
        }
        (!wanted.is_empty(), screens.0.get(&name).and_then(Watched::told))
    }

    #[test]
    fn a_dialog_is_captured_once_for_each_change() {
        let (mut world, mut screens) = asking();
        let (captured, told) = look(&world, &mut screens, Some(DIALOG), false, later(0));
        let told = told.expect("told");
        assert!(captured && told.at_rest && told.shows.is_dialog(), "{told:?}");
        assert!(!screens.is_unsettled());
        assert_eq!(look(&world, &mut screens, Some(OTHER), false, later(1_000)), (false, Some(told)));
        world.agent("s-0").register.as_mut().expect("registered").status_since = Some(at(-1).wall);
        assert!(look(&world, &mut screens, Some(DIALOG), false, later(2_000)).0, "another dialog");
        assert!(look(&world, &mut screens, Some(DIALOG), true, later(3_000)).0, "when nothing that is known is trusted");
        world.agent("s-0").activity = Activity::Idle;
        assert_eq!(look(&world, &mut screens, Some(DIALOG), true, later(4_000)), (false, None));
    }

    #[test]
    fn a_dialog_that_is_not_drawn_yet_is_waited_for() {
        let (world, mut screens) = asking();
        for (millis, text, captured, at_rest) in [
            (0, OTHER, true, false),
            (10, OTHER, false, false),
            (60, OTHER, true, false),
            (120, DIALOG, true, true),
            (700, OTHER, false, true),
        ] {
            let (was_captured, told) = look(&world, &mut screens, Some(text), false, later(millis));
            assert_eq!((was_captured, told.map(|told| told.at_rest)), (captured, Some(at_rest)), "after {millis} ms");
            assert_eq!(screens.is_unsettled(), !at_rest);
        }
    }

    #[test]
    fn what_is_not_recognised_or_not_captured_is_told_in_the_end() {
        for (text, lines) in [(Some(OTHER), vec!["● words".to_owned()]), (None, Vec::new())] {
            let (world, mut screens) = asking();
            look(&world, &mut screens, text, false, later(0));
            assert!(screens.is_unsettled());
            let told = look(&world, &mut screens, text, false, later(500)).1.expect("told");
            assert_eq!((told.shows, told.lines, told.at_rest), (Shown::Unknown, lines, true));
            assert!(!look(&world, &mut screens, text, false, later(9_000)).0, "and not looked at again");
        }
    }

    #[test]
    fn one_that_is_all_that_speaks_is_looked_at_again_when_there_is_a_look() {
        let (mut world, mut screens) = asking();
        world.agent("s-0").register = None;
        for (millis, captured) in [(0, true), (100, false), (4_900, false), (5_000, true), (5_100, false), (10_000, true)] {
            assert_eq!(look(&world, &mut screens, Some(DIALOG), false, later(millis)).0, captured, "after {millis} ms");
            assert!(!screens.is_unsettled(), "it asks for no look of its own");
        }
    }

    #[test]
    fn a_screen_of_another_process_counts_for_nothing() {
        let (world, mut screens) = asking();
        wanted(&world, &mut screens, false, later(0));
        screens.take(&session("s-0"), Some(&pane_screen(Pid(1), DIALOG)), later(0));
        assert_eq!(screens.0[&session("s-0")].view, None);
    }
}

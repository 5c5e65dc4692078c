//! What holds for every world, however little of it makes sense.

use proptest::prelude::*;

use super::{
    world::{OTHER_POOL, POOL, at, object, tell, unseen},
    *,
};
use crate::{
    model::{Activity, Now, ObjectRef, Pid, PoolId, ProcessId, StartDigest},
    observed::{Death, LinkView, LoginView, RootView, Seen, TargetView},
    spec::{AdoptMode, Restart},
};

/// One thing that is otherwise than in a converged world.
struct Deviation(Box<dyn Fn(&mut World)>);

// A function cannot be shown; what it made is, in the world.
impl std::fmt::Debug for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("change")
    }
}

fn change(make: impl Fn(&mut World) + 'static) -> Deviation {
    Deviation(Box::new(make))
}

fn names() -> impl Strategy<Value = String> {
    (0_usize..5).prop_map(|number| format!("s-{number}"))
}

/// When a fact was seen: mostly now, sometimes too long ago.
fn seen_at() -> impl Strategy<Value = Now> {
    prop_oneof![4 => Just(at(0)), 1 => Just(at(-181)), 1 => Just(at(-3_000))]
}

fn pools() -> impl Strategy<Value = PoolId> {
    prop_oneof![3 => Just(POOL), 1 => Just(OTHER_POOL)]
}

fn activities() -> impl Strategy<Value = Activity> {
    prop_oneof![
        Just(Activity::Idle),
        Just(Activity::Working),
        Just(Activity::NeedsInput),
        Just(Activity::LimitHit),
        Just(Activity::LoggedOut),
        Just(Activity::Starting),
        Just(Activity::Exited),
        Just(Activity::Unknown),
    ]
}

fn link_views() -> impl Strategy<Value = LinkView> {
    prop_oneof![
        Just(LinkView::Absent),
        Just(LinkView::File),
        Just(LinkView::Other),
        (0_usize..4).prop_map(|entries| LinkView::Directory { entries }),
        (prop_oneof![Just("/shared/tasks"), Just("/elsewhere"), Just("/accounts/backup")], any::<bool>())
            .prop_map(|(target, target_ok)| LinkView::Link { target: target.into(), target_ok }),
    ]
}

fn agents() -> impl Strategy<Value = Deviation> {
    let process = prop_oneof![Just(None), Just(Some(1_000)), Just(Some(1_001)), Just(Some(77))];
    let homes = prop_oneof![Just(Some("primary")), Just(Some("backup")), Just(None)];
    (names(), process, homes, activities(), seen_at(), 0_u8..6, names()).prop_map(|(name, process, under, activity, when, how, other)| {
        change(move |world: &mut World| {
            let key = session(&name);
            let mut agent =
                match world.seen.agents.get(&key).and_then(Seen::value).or_else(|| world.seen.agents.values().find_map(Seen::value)) {
                    Some(agent) => agent.clone(),
                    None => return,
                };
            agent.process = process.map(|pid| ProcessId { pid: Pid(pid), started: 5_000 });
            (agent.home, agent.activity) = (under.map(home), activity);
            agent.death = (how == 1).then_some(Death { code: Some(0), signal: None });
            if let Some(register) = &mut agent.register {
                register.conversation = POOL.conversation(&session(&other), 1);
            }
            match how {
                0 => drop(world.seen.agents.remove(&key)),
                2 => drop(world.seen.agents.insert(key, unseen())),
                _ => drop(world.seen.agents.insert(key, Seen::known(agent, when))),
            }
        })
    })
}

fn panes() -> impl Strategy<Value = Deviation> {
    (names(), names(), pools(), 0_u8..5, any::<bool>()).prop_map(|(name, bearer, pool, how, old)| {
        change(move |world: &mut World| {
            let digest = if old { StartDigest("0".to_owned()) } else { world.digest() };
            let Some(tmux) = world.seen.tmux.value_mut() else { return };
            let Some(mut pane) = tmux.panes.get(&name).or_else(|| tmux.panes.values().next()).cloned() else { return };
            let bearer = if how == 2 { &bearer } else { &name };
            pane.mark = (how != 1).then(|| crate::observed::Mark { pool, session: session(bearer), digest });
            pane.dead = (how == 3).then(Death::default);
            if how == 0 {
                tmux.panes.remove(&name);
            } else {
                tmux.panes.insert(name.clone(), pane);
            }
        })
    })
}

fn memories() -> impl Strategy<Value = Deviation> {
    (names(), names(), 0_u8..9, any::<bool>()).prop_map(|(name, other, how, flag)| {
        change(move |world: &mut World| {
            let key = session(&name);
            match how {
                0 => drop(world.memory.sessions.remove(&key)),
                1 => drop(world.memory.removal_seen.insert(key)),
                2 => drop(world.memory.attempts.insert(object(&name), Attempts { quarantined: flag, ..Attempts::default() })),
                3 => {
                    let cordon = Cordon { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall };
                    let of = if flag { object(&name) } else { ObjectRef::Account(account("primary")) };
                    world.memory.cordoned.insert(of, cordon);
                }
                4 => world.open_swap(if flag { &["s-0"] } else { &["s-0", "s-1", "s-4"] }),
                5 => world.memory.active = flag.then(|| Active { account: account("backup"), since: at(-60).wall }),
                6 => world.memory.links.clear(),
                7 => {
                    if let Some(record) = world.memory.sessions.get_mut(&key) {
                        record.conversation = POOL.conversation(&session(&other), 1);
                    }
                }
                _ => {
                    if let Some(record) = world.memory.sessions.get_mut(&key) {
                        record.process = flag.then_some(ProcessId { pid: Pid(1_000), started: 5_000 });
                    }
                }
            }
        })
    })
}

fn specs() -> impl Strategy<Value = Deviation> {
    (names(), 0_u8..9, 0_usize..3, any::<bool>()).prop_map(|(name, how, number, flag)| {
        change(move |world: &mut World| {
            let declared = world.spec.sessions.get_mut(&session(&name));
            match (how, declared) {
                (0, _) => drop(world.spec.sessions.remove(&session(&name))),
                (1, _) => (world.spec.prune, world.spec.max_prune) = (true, number),
                (2, Some(declared)) => declared.adopt = true,
                (3, Some(declared)) => declared.restart = if flag { Restart::Never } else { Restart::OnFailure },
                (4, Some(declared)) => declared.workdir = "/other".into(),
                (5, _) => world.spec.shared.adopt = AdoptMode::Merge,
                (6, _) => world.spec.active_link = None,
                (7, _) if world.spec.accounts.len() > 1 => drop(world.spec.accounts.remove(number % 2)),
                _ => world.spec.agent.trust_workdirs = flag,
            }
        })
    })
}

fn files() -> impl Strategy<Value = Deviation> {
    let which = (prop_oneof![Just("primary"), Just("backup")], prop_oneof![Just("projects"), Just("tasks"), Just("history.jsonl")]);
    let root = prop_oneof![Just(RootView::Absent), Just(RootView::Empty), Just(RootView::Unmarked), pools().prop_map(RootView::Marked)];
    let target = prop_oneof![Just(TargetView::Absent), Just(TargetView::Directory), Just(TargetView::File), Just(TargetView::Other)];
    (which, link_views(), root, target, seen_at(), 0_u8..12).prop_map(|((of, name), view, root, target, when, how)| {
        change(move |world: &mut World| {
            let home = world.seen.homes.get_mut(&account(of)).and_then(Seen::value_mut);
            match (how, home) {
                (0..4, _) => drop(world.seen.links.insert((account(of), link(name)), Seen::known(view.clone(), when))),
                (4, _) => drop(world.seen.links.insert((account(of), link(name)), unseen())),
                (5, _) => world.seen.active_link = Seen::known(view.clone(), when),
                (6, _) => world.seen.shared_root = Seen::known(root.clone(), when),
                (7, _) => drop(world.seen.targets.insert(link(name), Seen::known(target, when))),
                (8, Some(home)) => home.exists = false,
                (9, Some(home)) => home.onboarded = false,
                (10, Some(home)) => home.login = LoginView::Missing,
                (11, Some(home)) => home.identity = Some((1, 1)),
                _ => drop(world.seen.homes.remove(&account(of))),
            }
        })
    })
}

fn looks() -> impl Strategy<Value = Deviation> {
    (0_u8..5, seen_at()).prop_map(|(how, when)| {
        change(move |world: &mut World| match (how, world.seen.tmux.value().cloned()) {
            (0, _) => world.seen.tmux = unseen(),
            (1, Some(mut tmux)) => {
                tmux.server = None;
                tmux.panes.clear();
                world.seen.tmux = Seen::known(tmux, when);
            }
            (_, Some(tmux)) => world.seen.tmux = Seen::known(tmux, when),
            (_, None) => {}
        })
    })
}

fn transcripts() -> impl Strategy<Value = Deviation> {
    (names(), 0_u8..3).prop_map(|(name, how)| {
        change(move |world: &mut World| match how {
            0 => world.put_transcript(&name, true),
            1 => world.put_transcript(&name, false),
            _ => drop(world.seen.transcripts.insert(session(&name), unseen())),
        })
    })
}

/// A world with up to a dozen things that are otherwise, from a converged one or from nothing.
fn worlds() -> impl Strategy<Value = World> {
    let any_change =
        prop_oneof![5 => agents(), 4 => panes(), 4 => memories(), 3 => specs(), 3 => files(), 1 => looks(), 2 => transcripts()];
    (any::<bool>(), prop::collection::vec(any_change, 0..12)).prop_map(|(bare, changes)| {
        let mut world = if bare { World::bare(3) } else { World::converged(4) };
        for change in changes {
            change.0(&mut world);
        }
        world
    })
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?}\nplan: {:#?}", self.0, tell(&self.0.plan()))
    }
}

/// A world, with its plan where a failure is told.
struct Shown(World);

fn shown() -> impl Strategy<Value = Shown> {
    worlds().prop_map(Shown)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_the_safety_rules(Shown(world) in shown()) {
        prop_assert_eq!(world.lint(&world.plan().plan), [""; 0]);
    }

    #[test]
    fn the_same_inputs_give_the_same_plan(Shown(world) in shown()) {
        let copy = world.clone();
        prop_assert_eq!(world.plan(), copy.plan());
        prop_assert_eq!(world.absorb(), copy.absorb());
    }

    #[test]
    fn no_agent_is_started_where_one_may_run(Shown(world) in shown()) {
        for (_, action) in world.plan().plan.actions {
            let Some(Effect::CreateSession { launch, .. } | Effect::RespawnAgent { launch, .. }) = action.effect else { continue };
            let agent = world.seen.agents.get(&launch.session);
            let ended = agent.is_none_or(|agent| agent.fresh(world.now, MAX_FACT_AGE).is_some_and(|agent| agent.process.is_none()));
            let recorded = world.memory.sessions.get(&launch.session).is_some_and(|record| record.process.is_some());
            prop_assert!(ended && (agent.is_some() || !recorded), "{:?}", launch.session);
            let elsewhere = world.seen.agents.iter().filter(|(name, _)| **name != launch.session).filter_map(|(_, agent)| agent.value());
            for other in elsewhere.filter(|other| other.process.is_some()) {
                prop_assert!(other.register.as_ref().is_none_or(|register| register.conversation != launch.conversation));
            }
        }
    }

    #[test]
    fn nothing_disruptive_rests_on_old_facts(Shown(world) in shown()) {
        let later = World { now: at(3_600), ..world };
        for (_, action) in &later.plan().plan.actions {
            prop_assert_eq!(action.disruption, Disruption::None);
            let starts = matches!(action.effect, Some(Effect::CreateSession { .. } | Effect::RespawnAgent { .. } | Effect::CloseSession { .. }));
            let changes_home = matches!(action.effect, Some(Effect::PrepareHome { .. } | Effect::MergeDirectory { .. }));
            prop_assert!(!starts && !changes_home, "{:?}", action);
        }
    }

    #[test]
    fn the_phases_are_in_order_and_a_filter_only_takes_away(Shown(world) in shown()) {
        let planned = world.plan();
        let phases: Vec<_> = planned.plan.actions.iter().map(|(phase, _)| *phase).collect();
        prop_assert!(phases.is_sorted());
        let left = filter(planned.clone(), &world.memory, world.now);
        let mut rest = planned.plan.actions.iter();
        prop_assert!(left.plan.actions.iter().all(|action| rest.any(|other| other == action)), "in the same order");
        prop_assert!(left.report.waiting.starts_with(&planned.report.waiting));
    }

    #[test]
    fn the_memory_learns_a_fact_once(Shown(world) in shown()) {
        let mut world = world;
        world.learn();
        let again = world.absorb();
        prop_assert!(again.changes.is_empty(), "{:?}", again.changes);
        let noted = absorb_removals(&world.spec, &world.seen, &world.memory);
        for change in &noted.changes {
            world.apply(change);
        }
        let mut again = absorb_removals(&world.spec, &world.seen, &world.memory).changes;
        again.retain(|change| !matches!(change, MemoryChange::SetRemovalSeen(_)));
        prop_assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn the_order_of_construction_does_not_show(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(), ended in prop::collection::vec(any::<bool>(), 4)) {
        let build = |order: &[usize]| {
            let mut world = World::converged(4);
            let (sessions, agents, records) =
                (std::mem::take(&mut world.spec.sessions), std::mem::take(&mut world.seen.agents), std::mem::take(&mut world.memory.sessions));
            let panes = std::mem::take(&mut world.tmux().panes);
            for name in order.iter().map(|number| format!("s-{number}")) {
                let key = session(&name);
                world.spec.sessions.insert(key.clone(), sessions[&key].clone());
                world.seen.agents.insert(key.clone(), agents[&key].clone());
                world.memory.sessions.insert(key.clone(), records[&key].clone());
                world.tmux().panes.insert(name.clone(), panes[&name].clone());
            }
            for (number, ended) in ended.iter().enumerate() {
                if *ended {
                    world.end_agent(&format!("s-{number}"));
                }
            }
            world.plan()
        };
        prop_assert_eq!(build(&order), build(&[0, 1, 2, 3]));
    }
}

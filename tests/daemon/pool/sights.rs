//! What a pool of the tests looks like: its panes, agents, transcripts and links.

use super::*;

impl Pool {
    /// The pool's tmux socket.
    pub fn tmux_socket(&self) -> PathBuf {
        self.path("run/claude-failover/try.sock")
    }

    /// Asks the pool's tmux server; `None` when it says no or is not there.
    pub fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.tmux_socket()).args(arguments);
        let ended = self.end(command);
        (ended.code == Some(0)).then_some(ended.stdout)
    }

    /// The tmux server's process.
    pub fn tmux_pid(&self) -> Option<i32> {
        self.tmux(&["display-message", "-p", "#{pid}"])?.trim().parse().ok()
    }

    /// Each session's pane process, without our own anchor.
    pub fn panes(&self) -> BTreeMap<String, i32> {
        let text = self.tmux(&["list-panes", "-a", "-F", "#{session_name} #{pane_pid} #{pane_dead}"]).unwrap_or_default();
        let pane = |line: &str| {
            let mut parts = line.split(' ');
            let (name, pid, dead) = (parts.next()?, parts.next()?, parts.next()?);
            (dead == "0" && !name.starts_with('_')).then(|| Some((name.to_owned(), pid.parse().ok()?)))?
        };
        text.lines().filter_map(pane).collect()
    }

    /// The agents that live, from the process table.
    pub fn agents(&self) -> Vec<Agent> {
        let found: Vec<_> = processes().filter_map(|pid| self.agent(pid)).collect();
        let pids: Vec<_> = found.iter().map(|(agent, _)| agent.pid).collect();
        // A child of an agent looks like it until it has become its hook or its tool.
        let mut agents: Vec<_> = found.into_iter().filter(|(_, parent)| !pids.contains(parent)).map(|(agent, _)| agent).collect();
        agents.sort();
        agents
    }

    /// A live stand-in of this pool, with its parent.
    fn agent(&self, pid: i32) -> Option<(Agent, i32)> {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<_> = arguments.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let flag = words.iter().position(|word| word == "--session-id" || word == "--resume")?;
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let home = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"CLAUDE_CONFIG_DIR="))?;
        let home = PathBuf::from(String::from_utf8_lossy(home).into_owned());
        let ours = words.get(1).is_some_and(|word| word == "stand-in") && home.starts_with(&self.root);
        // `STATE PPID …` behind the name in parentheses (proc(5)).
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
        (ours && state != "Z").then(|| (Agent { pid, home, conversation: words[flag + 1].clone() }, parent))
    }

    /// Asserts that each session has exactly one agent, all under one home, each in its own pane and conversation, and that the registers of
    /// both homes name no conversation twice.
    #[track_caller]
    pub fn assert_whole(&self, home: &str, sessions: usize) {
        let agents = self.agents();
        assert_eq!(agents.len(), sessions, "one agent for each session: {agents:?}\n{}", self.log());
        for agent in &agents {
            assert_eq!(agent.home, self.path(home), "every agent is under {home}: {agents:?}");
        }
        let mut panes: Vec<_> = self.panes().into_values().collect();
        panes.sort_unstable();
        let mut pids: Vec<_> = agents.iter().map(|agent| agent.pid).collect();
        pids.sort_unstable();
        assert_eq!(panes, pids, "each agent is the process of its pane");
        self.assert_no_rivals();
    }

    /// Asserts that no two live agents have one conversation open: by their arguments and by the registers.
    #[track_caller]
    pub fn assert_no_rivals(&self) {
        let mut open: Vec<_> = self.agents().into_iter().map(|agent| agent.conversation).collect();
        let all = open.len();
        open.sort();
        open.dedup();
        assert_eq!(open.len(), all, "no conversation is open twice: {:?}", self.agents());
        let mut registered = self.registered();
        let all = registered.len();
        registered.sort();
        registered.dedup_by(|one, other| one.0 == other.0);
        assert_eq!(registered.len(), all, "no conversation is registered twice: {registered:?}");
    }

    /// The conversations that the registers of both homes say are open in a live process, with that process.
    fn registered(&self) -> Vec<(String, i64)> {
        let live: Vec<i64> = self.agents().iter().map(|agent| agent.pid.into()).collect();
        let entries = ["a", "b"].into_iter().filter_map(|home| fs::read_dir(self.path(home).join("sessions")).ok()).flatten().flatten();
        entries
            .filter_map(|entry| serde_json::from_slice::<Value>(&fs::read(entry.path()).ok()?).ok())
            .filter_map(|entry| Some((entry["sessionId"].as_str()?.to_owned(), entry["pid"].as_i64()?)))
            .filter(|(_, pid)| live.contains(pid))
            .collect()
    }

    /// Whether every session is usable, whatever else is to be said of the pool.
    #[track_caller]
    pub fn sessions_ready(&self) -> bool {
        self.status()["sessions"].as_array().expect("a list").iter().all(|session| condition(session, "Ready") == "True")
    }

    /// Every conversation's bytes, by its id.
    pub fn transcripts(&self) -> BTreeMap<String, Vec<u8>> {
        let folders = fs::read_dir(self.path("shared/projects")).into_iter().flatten().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten().map(|entry| entry.path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
            .map(|path| (path.file_stem().expect("named").to_string_lossy().into_owned(), fs::read(&path).expect("readable")))
            .collect()
    }

    /// Asserts that the conversations are the same ones as before, and that each begins with the bytes that it had.
    #[track_caller]
    pub fn assert_kept(&self, before: &BTreeMap<String, Vec<u8>>) {
        let now = self.transcripts();
        assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "no conversation is lost and none is new");
        for (conversation, bytes) in before {
            assert!(now[conversation].starts_with(bytes), "{conversation} has lost or changed bytes");
        }
    }

    /// The conversation of a session, as the store has it.
    #[track_caller]
    pub fn conversation(&self, session: &str) -> String {
        row(&self.status(), session)["conversation"].as_str().expect("it has one").to_owned()
    }

    /// Types a line into a session, without waiting for what comes of it.
    #[track_caller]
    pub fn send(&self, session: &str, text: &str) {
        let target = format!("={session}:");
        self.tmux(&["send-keys", "-t", &target, "-l", text]).expect("typed");
        self.tmux(&["send-keys", "-t", &target, "Enter"]).expect("sent");
    }

    /// Types a line into each session and waits until all have answered.
    #[track_caller]
    pub fn talk(&self) -> BTreeMap<String, Vec<u8>> {
        let sessions: Vec<_> = self.panes().into_keys().collect();
        for session in &sessions {
            self.send(session, &format!("hello from {session}"));
        }
        wait_until("every answer", || {
            let transcripts = self.transcripts();
            sessions.iter().all(|session| {
                let asked = format!("hello from {session}");
                transcripts.values().any(|bytes| contains(bytes, &asked) && contains(bytes, "end_turn"))
            })
        });
        wait_until("every agent to be idle", || self.register_statuses().iter().all(|status| status == "idle"));
        self.transcripts()
    }

    /// Types a line into a session and waits until it has answered and is idle again.
    #[track_caller]
    pub fn ask(&self, session: &str, text: &str) {
        let conversation = self.conversation(session);
        let ended = || self.transcripts().get(&conversation).map_or(0, |bytes| turns(bytes));
        let before = ended();
        self.send(session, text);
        wait_until("the answer", || ended() > before);
        wait_until("every agent to be idle", || self.register_statuses().iter().all(|status| status == "idle"));
    }

    /// The status word of every live agent's register entry.
    pub fn register_statuses(&self) -> Vec<String> {
        let word = |agent: &Agent| {
            let entry = fs::read(agent.home.join(format!("sessions/{}.json", agent.pid))).unwrap_or_default();
            let entry: Value = serde_json::from_slice(&entry).unwrap_or_default();
            entry["status"].as_str().unwrap_or("none").to_owned()
        };
        self.agents().iter().map(word).collect()
    }

    /// Where a link leads.
    pub fn link(&self, path: &str) -> Option<PathBuf> {
        fs::read_link(self.path(path)).ok()
    }

    /// Whether every shared link of a home leads into the shared root.
    pub fn links_are_right(&self, home: &str) -> bool {
        LINKS.iter().all(|name| self.link(&format!("{home}/{name}")).is_some_and(|to| to == self.path("shared").join(name)))
    }

    /// Puts a regular file in the place of one of a home's links, in one step.
    pub fn break_link(root: &Path, home: &str, name: &str) {
        let temporary = root.join(home).join("somebody.new");
        fs::write(&temporary, "somebody's words").expect("written");
        fs::rename(temporary, root.join(home).join(name)).expect("renamed");
    }

    /// Puts the link back in the file's place, in one step: a moment without either, and the daemon would be the one to put it there.
    pub fn mend_link(&self, home: &str, name: &str) {
        let temporary = self.path(home).join("operator.new");
        std::os::unix::fs::symlink(self.path("shared").join(name), &temporary).expect("linked");
        fs::rename(temporary, self.path(home).join(name)).expect("renamed");
    }
}

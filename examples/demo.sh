#!/usr/bin/env bash
# The main job in a quarter of a minute: a pool converges, a killed agent is back, tasks flow to idle agents, usage climbs, the pool moves to the next
# account with its conversations and a task in the middle, and a move that fails is undone. No account and no network: the agents are stand-ins that
# call no model.
# Everything happens in a temporary directory, on a tmux server of its own, and is gone afterwards.
set -euo pipefail

program=${1:?usage: examples/demo.sh PATH-TO-claude-failover}
program=$(realpath "$program")
command -v tmux >/dev/null || { echo "tmux is missing; install it (Debian: apt-get install tmux)" >&2; exit 1; }

lab=$(mktemp -d /tmp/claude-failover-demo.XXXXXX)
mkdir -m 700 "$lab"/{home,run,state,primary,backup} && mkdir "$lab/work" "$lab/api"
export HOME=$lab/home XDG_RUNTIME_DIR=$lab/run XDG_STATE_HOME=$lab/state XDG_CONFIG_HOME=$lab/home/.config
unset TMUX CLAUDE_FAILOVER_SPEC CLAUDE_FAILOVER_STATE_DIR
socket=$lab/run/claude-failover/demo.sock
daemon=''

cleanup() {
    trap - EXIT INT TERM
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    # Agents end when their terminals do; the server is waited for, so that nothing is left behind.
    local server
    server=$(tmux -S "$socket" display-message -p -t '=_claude-failover:' '#{pid}' 2>/dev/null) || server=''
    tmux -S "$socket" kill-server 2>/dev/null || true
    while [ -n "$server" ] && kill -0 "$server" 2>/dev/null; do sleep 0.05; done
    rm -rf "$lab"
}
# Everything that was begun here names the directory in its environment. Nothing of it may be left.
assert_clean() {
    local left deadline=$((SECONDS + 10))
    # Processes that end meanwhile make grep complain, whatever else it finds.
    while left=$(env -i "$(command -v grep)" -lsF -- "$lab" /proc/[0-9]*/environ || true) && [ -n "$left" ]; do
        [ $SECONDS -lt $deadline ] || { echo "still running:" $left >&2; exit 1; }
        sleep 0.05
    done
    [ ! -e "$lab" ] || { echo "$lab is still there" >&2; exit 1; }
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
cf() { "$program" --spec "$lab/pool.yaml" "$@"; }
# What is of this machine alone is shown as it would be on any other.
plain() { sed -e "s#$lab#~#g" -e "s#$program#claude-failover#g" -e "s/: $(id -un) asked for it/: an operator asked for it/"; }
# Runs a command as a person would, who expects this exit code.
show() {
    local wanted=$1 code=0
    shift
    printf '$ claude-failover %s\n' "$*"
    cf "$@" >"$lab/shown" 2>&1 || code=$?
    plain <"$lab/shown"
    [ "$code" -eq "$wanted" ] || { echo "claude-failover $* ended with $code, not with $wanted" >&2; exit 1; }
}
# Waits until a text stands in the status; the demo fails when it does not come.
await() {
    local wanted=$1 deadline=$((SECONDS + 30))
    until cf status --output json 2>/dev/null | tr -d ' \n' | grep -q "$wanted"; do
        [ $SECONDS -lt $deadline ] || { echo "waited 30 s in vain for $wanted" >&2; cf status >&2; exit 1; }
        sleep 0.1
    done
}
await_event() {
    local wanted=$1 count=${2:-1} deadline=$((SECONDS + 30))
    until [ "$(cf events -n 500 --output json 2>/dev/null | grep -c "\"$wanted\"")" -ge "$count" ]; do
        [ $SECONDS -lt $deadline ] || { echo "waited 30 s in vain for the event $wanted" >&2; cf events >&2; exit 1; }
        sleep 0.1
    done
}
# What the accounts' usage endpoints would say: primary's and backup's 5-hour windows, in percent.
usage() {
    local now reset week
    now=$(date +%s) reset=$((now + 5400)) week=$((now + 300000))
    window() { printf '{"measuredAt":%d,"fiveHour":{"usedPercent":%d,"resetsAt":%d},"weekly":{"usedPercent":20,"resetsAt":%d}}' "$now" "$1" "$reset" "$week"; }
    printf '{"primary":%s,"backup":%s}\n' "$(window "$1")" "$(window "$2")" >"$lab/usage.new"
    mv "$lab/usage.new" "$lab/usage.json"
}
type_into() { tmux -S "$socket" send-keys -t "=$1:" -l "$2"; tmux -S "$socket" send-keys -t "=$1:" Enter; }

# A person would log in here, once per home, with the official CLI.
for account in primary backup; do
    (umask 077; echo '{"claudeAiOauth":{"accessToken":"none","refreshToken":"none","expiresAt":4000000000000,"refreshTokenExpiresAt":4000000000000,"scopes":[]}}' >"$lab/$account/.credentials.json")
done
usage 12 3
cat >"$lab/pool.yaml" <<SPEC
apiVersion: claude-failover/v1
kind: Pool
metadata: { name: demo }
spec:
  accounts:
    - { name: primary, home: $lab/primary }
    - { name: backup, home: $lab/backup }
  activeLink: $lab/active
  shared: { root: $lab/shared }
  thresholds: { fiveHour: 85, headroom: 15 }
  quota: { sources: [file], file: $lab/usage.json }
  agent: { command: [$program, stand-in] }
  sessions:
    - { names: "agent-{0..3}", workdir: $lab/work, dispatch: true }
  projects:
    - { path: $lab/api }
  swap: { drain: 2s }
SPEC

say "The pool: two accounts, four sessions, in YAML"
plain <"$lab/pool.yaml"

say "What would be done, and why"
show 2 plan

say "The daemon makes it so; this is its log as it happens"
"$program" --spec "$lab/pool.yaml" -v run 2>"$lab/daemon.log" &
daemon=$!
tail -n +1 -s 0.1 --pid="$daemon" -f "$lab/daemon.log" | sed -u -e "s#$lab#~#g" -e 's/^[^ ]*T\([0-9:.]\{12\}\)[^ ]* /  | \1 /' &
await '"type":"Ready","status":"True"'
show 0 status

say "A conversation in agent-1, then its agent is killed"
type_into agent-1 "remember the word pelican"
await '"activity":"idle"'
victim=$(tmux -S "$socket" display-message -p -t '=agent-1:' '#{pane_pid}')
kill -9 "$victim"
await_event SessionRestarted
await '"type":"Ready","status":"True"'
show 0 explain agent-1

say "Tasks: files dropped into a project's inbox, given to idle agents"
for name in login tests docs; do
    cf task add api --name "$name" --text "Look after the $name. [[slow 1]]" >/dev/null
done
show 0 task ls
await_event TaskDone 3
show 0 task ls --all

say "One that takes long; the pool will move while it is under way"
cf task add api --name migration --text "Migrate the database. [[tool 8]]" >/dev/null
await_event TaskDelivered 4
show 0 checkpoint take --all
show 0 task ls

say "Usage climbs; at 85 % the pool leaves the account, with its conversations and proof of each"
for percent in 48 71 84; do
    usage "$percent" 3
    sleep 1
    show 0 status | sed -n '/^ACCOUNT/,/^backup/p'
done
usage 91 3
await_event SwapCommitted
await '"active":"backup"'
show 0 status

say "The task went along with its session, and is done once"
await_event TaskDone 4
show 0 events task/api/migration.md
show 0 checkpoint ls

say "A move that fails: agents under primary end as soon as they start"
echo '{"crash": "at-start"}' >"$lab/primary/stand-in.json"
# The time of a reading counts in seconds here; one of the same second would be no newer.
sleep 1
usage 9 40
sleep 1
show 5 swap --to primary --yes
await_event SwapRolledBack
await '"type":"Ready","status":"True"'
show 0 status

say "What happened to the pool"
show 0 events pool
cleanup
assert_clean
say "Done; the daemon, the tmux server, the agents and the directory are gone"

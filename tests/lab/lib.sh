# What the lab tests share; sourced, with the directory of the binaries as $1. A test calls `finish`
# at its end. Checks count failures and go on, so that one run shows all that is wrong.
# shellcheck shell=bash
set -uo pipefail
shopt -s lastpipe  # `manifest | lab_up NAME` notes the lab in this shell, where clean_up finds it

bin=${1:-build/bin}
bin=$(cd "$bin" 2>/dev/null && pwd) || { echo "no directory of binaries: ${1:-build/bin}"; exit 2; }
weft=$bin/weft
traffic=$bin/lab_traffic
[[ $(id -u) -eq 0 ]] || { echo "skipped: needs root"; exit 77; }
for program in "$weft" "$bin/weftd" "$bin/weft-cni" "$traffic"; do
  [[ -x $program ]] || { echo "$program is not built"; exit 2; }
done
for tool in jq ip; do
  command -v $tool >/dev/null || { echo "$tool is missing (tools/bootstrap test)"; exit 2; }
done
unset WEFT_SOCKET

test_name=$(basename "$0" .sh)
lab=${test_name//_/-}-$$
work=$(mktemp -d "/tmp/weft-$lab.XXXXXX")
labs=()           # taken down at the end
pids=()           # ended at the end
cleanup_hooks=()  # commands run at the end, before the labs go
failures=0
checks=0
started=$EPOCHREALTIME

clean_up() {
  local hook name pid
  for hook in "${cleanup_hooks[@]}"; do eval "$hook" >/dev/null 2>&1; done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for name in "${labs[@]}"; do
    "$weft" lab down --name "$name" >"$work/down.$name" 2>&1 || cat "$work/down.$name"
  done
  wait 2>/dev/null
  rm -rf "$work"
}
trap 'clean_up' EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*"; }
step() { printf '%7.1f  %s\n' "$(seconds_since "$started")" "$*"; }
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }
fail() {
  failures=$((failures + 1))
  printf 'FAIL  %s:%s: %s\n' "$(basename "${BASH_SOURCE[${depth:-1}]}")" "${BASH_LINENO[$((${depth:-1} - 1))]}" "$*"
}
stop_test() { fail "$*"; finish; }

finish() {
  if [[ $failures -eq 0 ]]; then
    printf 'PASS  %s: %d checks in %.1f s\n' "$test_name" "$checks" "$(seconds_since "$started")"
    exit 0
  fi
  printf 'FAILED  %s: %d of %d checks\n' "$test_name" "$failures" "$checks"
  for name in "${labs[@]}"; do
    say "--- the agent's log of lab $name (last lines)"
    tail -n 15 "/run/weft/lab/$name/node1/weftd.log" 2>/dev/null
    "$weft" --lab "$name" status 2>&1 | sed -n '/^DROPPED/,$p;/^Health/p;/^Reconcile/p'
  done
  exit 1
}

# is WHAT GOT WANTED: equal text.
is() {
  checks=$((checks + 1))
  [[ $2 == "$3" ]] || depth=2 fail "$1: got '$2', expected '$3'"
}
# like WHAT GOT PATTERN: matches the extended regular expression.
like() {
  checks=$((checks + 1))
  [[ $2 =~ $3 ]] || depth=2 fail "$1: got '$2', expected /$3/"
}
# succeeds WHAT COMMAND...; its output is in $output.
succeeds() {
  local what=$1 code
  shift
  checks=$((checks + 1))
  output=$("$@" 2>&1) && return 0
  code=$?
  depth=2 fail "$what: exit code $code: $output"
  return 1
}
# exits CODE WHAT COMMAND...; its output is in $output.
exits() {
  local wanted=$1 what=$2 code=0
  shift 2
  checks=$((checks + 1))
  output=$("$@" 2>&1) || code=$?
  [[ $code -eq $wanted ]] && return 0
  depth=2 fail "$what: exit code $code, expected $wanted: $output"
  return 1
}
# until_true SECONDS COMMAND...: polls; false when time is up. WEFT_TEST_PATIENCE multiplies the seconds, where a
# busy machine is no fault (.ci/run).
until_true() {
  local end
  end=$(awk -v s="$1" -v p="${WEFT_TEST_PATIENCE:-1}" -v n="$EPOCHREALTIME" 'BEGIN { printf "%.3f", s * p + n }')
  shift
  until "$@" >/dev/null 2>&1; do
    awk -v e="$end" -v n="$EPOCHREALTIME" 'BEGIN { exit n < e }' && return 1
    sleep 0.02
  done
}
# eventually SECONDS WHAT COMMAND...
eventually() {
  local limit=$1 what=$2
  shift 2
  checks=$((checks + 1))
  until_true "$limit" "$@" && return 0
  depth=2 fail "$what: not within $limit s: $("$@" 2>&1 | tail -n 3)"
  return 1
}

# lab_up NAME: with the manifests on standard input.
lab_up() {
  local name=$1
  shift
  labs+=("$name")
  if ! "$weft" lab up --name "$name" -f - "$@" >"$work/up.$name" 2>&1; then
    cat "$work/up.$name"
    stop_test "the lab $name did not come up"
  fi
}
weft() { "$weft" --lab "$lab" "$@"; }
apply() { weft apply -f - >"$work/apply" 2>&1 || { depth=2 fail "apply: $(cat "$work/apply")"; return 1; }; }
# The network namespace of a pod (NS/POD), of host or of world; `inside` runs a command there.
netns_of() {
  case $1 in
    host) echo "weft-$lab-node1" ;;
    world) echo "weft-$lab-world" ;;
    *) echo "weft-$lab.${1/\//.}" ;;
  esac
}
inside() {
  local where
  where=$(netns_of "$1")
  shift
  ip netns exec "$where" "$@"
}
in_pod() { inside "$@"; }
# serve WHERE PORT [NAME]: a server that says who asked; waits until it listens.
serve() {
  local log="$work/serve.${1//\//.}.$2"
  : >"$log" # what a server before this one said is no sign
  ip netns exec "$(netns_of "$1")" "$traffic" serve "$2" --name "${3:-$1}" >"$log" 2>&1 &
  pids+=($!)
  until_true 5 grep -q ready "$log" || stop_test "no server in $1 on port $2: $(cat "$log")"
}
# ask WHERE tcp|udp ADDRESS PORT [options]: prints what lab_traffic saw.
ask() {
  local where=$1
  shift
  inside "$where" "$traffic" ask "$@" 2>&1
}
# A checked stream in the background, ended by end_stream: begin NAME FROM ADDRESS PORT [options].
declare -A streams=()
begin() {
  local name=$1 from
  from=$(netns_of "$2")
  rm -f "$work/progress.$name"  # of an earlier stream of that name
  ip netns exec "$from" "$traffic" stream "$3" "$4" --progress "$work/progress.$name" "${@:5}" >"$work/stream.$name" 2>&1 &
  streams[$name]=$!
  pids+=($!)
}
# All its bytes have arrived, or it fails; then its summary is in $work/stream.NAME.
end_stream() {
  kill -TERM "${streams[$1]}" 2>/dev/null
  wait "${streams[$1]}"
}
# It ends, nothing of it was lost, and it never stood still for a second.
whole_stream() { # NAME
  end_stream "$1" || depth=2 fail "stream $1: $(cat "$work/stream.$1")"
  is "$1: error" "$(jq -r .error "$work/stream.$1")" ""
  is "$1: every byte" "$(jq '.good == .sent and .sent > 1000000' "$work/stream.$1")" true
  [[ $(jq .longest_stall_ms "$work/stream.$1") -lt 1000 ]] || depth=2 fail "$1 stalled: $(cat "$work/stream.$1")"
  say "         $1: $(jq -r '"\(.good) bytes, longest pause \(.longest_stall_ms) ms"' "$work/stream.$1")"
}
progress() { awk '{print $1 + 0}' "$work/progress.$1" 2>/dev/null || echo 0; }
server_of() { awk '{print $3}' "$work/progress.$1" 2>/dev/null; }
moving() {
  local before
  before=$(progress "$1")
  sleep 0.15
  [[ $(progress "$1") -gt ${before:-0} ]]
}
address_v4() { weft get pod "$1" -o json | jq -r '.status.podIPs[].ip | select(contains(":") | not)'; }
address_v6() { weft get pod "$1" -o json | jq -r '.status.podIPs[].ip | select(contains(":"))'; }
drops() { weft status -o json | jq --arg r "$1" '[.datapath.drops[] | select(.reason == $r) | .packets] | add // 0'; }

serving_pod() { # NAME: the manifest of a pod that runs lab_traffic's server
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {app: $1}, annotations: {weft.dev/run: "true"}}
spec:
  containers: [{name: c, image: none, command: [$traffic, serve, "7000"], ports: [{containerPort: 7000}]}]
YAML
}

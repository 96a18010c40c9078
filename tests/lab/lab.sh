#!/usr/bin/env bash
# The lab's own promises: labs side by side, nothing left behind whatever died when, up again and again.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

manifest() {
  cat <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: none, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: busy, namespace: default, annotations: {weft.dev/run: "true"}}
spec: {containers: [{name: c, image: none, command: [sleep, "1000"]}]}
YAML
}
# Every trace a lab of this name could leave on the machine, one a line.
traces() {
  find /run/netns -maxdepth 1 -name "weft-$1-*" -o -maxdepth 1 -name "weft-$1.*" 2>/dev/null
  find "/run/weft/lab/$1" "/var/lib/weft/lab/$1" "/sys/fs/bpf/weft/lab-$1-node1" -maxdepth 0 2>/dev/null
  # Processes that name it, but this test's own.
  local file
  for file in /proc/[0-9]*/cmdline; do
    { tr '\0' ' ' <"$file"; } 2>/dev/null | grep -E "(weftd|supervise|weft-cni|lab up).*[ /]$1(/| |$)" | sed "s|^|$file |"
  done
}
down() { "$weft" lab down --name "$1"; }
dead() { [[ -z $1 || ! -e /proc/$1 || $(awk '{print $3}' "/proc/$1/stat") == Z ]]; }
supervisor_of() { awk '{print $1; exit}' "/run/weft/lab/$1/supervisor.pid" 2>/dev/null; }
agent_of() { awk '{print $1; exit}' "/run/weft/lab/$1/node1/weftd.pid" 2>/dev/null; }
state_of() { "$weft" lab list -o json | jq -r --arg n "$1" '.[] | select(.name == $n) | "\(.state) \(.pods_ready)/\(.pods)"'; }
all_probes() { "$weft" lab probe --name "$1" -o json | jq -r '[.[] | .agrees == true and .reachable == true] | "\(all) \(length)"'; }

step "two labs side by side"
first=$lab-a second=$lab-b
manifest | lab_up "$first"
manifest | lab_up "$second"
"$weft" lab list -o json >"$work/list"
for name in "$first" "$second"; do
  is "list: $name" "$(jq -r --arg n "$name" '.[] | select(.name == $n) | "\(.state) \(.pods_ready)/\(.pods) \(.nodes | length) \(.nodes[0].name)"' "$work/list")" "running 4/4 1 node1"
  socket=$(jq -r --arg n "$name" '.[] | select(.name == $n) | .nodes[0].api' "$work/list")
  is "list: the API's address of $name answers" "$("$weft" --socket "$socket" status -o json | jq -r .instance)" "lab-$name-node1"
  is "probes of $name" "$(all_probes "$name")" "true 24"
done
like "list, table" "$("$weft" lab list)" "$first +running +4/4 +node1"
exits 0 "apply to one" "$weft" lab apply --name "$first" -f - <<<'{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: default}, spec: {podSelector: {}}}'
is "the policy holds in the one" "$("$weft" lab probe --name "$first" --from default/web-0 --to default/web-1 --port 80/TCP -o json | jq -c '.[] | [.reachable, .verdict, .agrees]')" '[false,"deny",true]'
is "and not in the other" "$("$weft" lab probe --name "$second" --from default/web-0 --to default/web-1 --port 80/TCP -o json | jq -c '.[] | [.reachable, .verdict, .agrees]')" '[true,"allow",true]'

step "commands of annotated pods, exec and its exit codes"
is "the command runs in the pod" "$(ip netns pids "weft-$first.default.busy" | xargs -I{} cat /proc/{}/cmdline 2>/dev/null | tr '\0' ' ' | grep -c 'sleep 1000')" 1
exits 0 "exec" "$weft" lab exec --name "$first" default/web-0 -- ip -o addr show
like "exec is in the pod" "$output" "10\.244\.0\."
exits 7 "exec passes the exit code" "$weft" lab exec --name "$first" default/web -- sh -c 'exit 7'
exits 127 "exec of no such command" "$weft" lab exec --name "$first" default/web-0 -- /no/such/command
exits 126 "exec of what cannot be run" "$weft" lab exec --name "$first" default/web-0 -- /etc/passwd
exits 1 "exec in no such pod" "$weft" lab exec --name "$first" default/nobody -- true
exits 1 "exec in no such lab" "$weft" lab exec --name "$first-x" default/web-0 -- true
exits 2 "exec without a command" "$weft" lab exec --name "$first" default/web-0
exits 0 "exec on the host" "$weft" lab exec --name "$first" host -- ip link show uplink0
exits 0 "exec in the world" "$weft" lab exec --name "$first" world -- ip addr show lo
is "exec passes standard input and output" "$(echo hello | "$weft" lab exec --name "$first" host -- cat)" hello

step "up again, and after changes"
before=$(agent_of "$first")
exits 0 "up of what is up" "$weft" lab up --name "$first" -f - <<<"$(manifest)"
is "the agent was left alone" "$(agent_of "$first")" "$before"
is "it is as before" "$(state_of "$first")" "running 4/4"
exits 0 "up with fewer replicas" "$weft" lab up --name "$first" -f - <<<"$(manifest | sed 's/replicas: 3/replicas: 1/')"
is "fewer pods" "$(state_of "$first")" "running 2/2"
is "their namespaces went" "$(find /run/netns -name "weft-$first.*" | wc -l)" 2
exits 0 "delete" "$weft" lab delete --name "$first" -f - <<<"$(manifest)"
is "no pods" "$(state_of "$first")" "running 0/0"
is "no namespaces of pods" "$(find /run/netns -name "weft-$first.*" | wc -l)" 0
no_devices() { ! ip -n "weft-$first-node1" -o link show type veth | grep -v uplink0; }
eventually 3 "no devices of pods" no_devices

step "refused manifests make no lab"
exits 1 "up with a bad manifest" "$weft" lab up --name "$lab-c" -f - <<<'{apiVersion: v1, kind: Pod, metadata: {name: UPPER}}'
is "nothing of it" "$(traces "$lab-c")" ""
exits 2 "a bad name" "$weft" lab up --name "Not_A_Name" -f - <<<"$(manifest)"

step "down leaves nothing"
down "$first" >/dev/null
is "traces of the first" "$(traces "$first")" ""
is "the second is well" "$(state_of "$second") $(all_probes "$second")" "running 4/4 true 24"
exits 0 "down of what is down" "$weft" lab down --name "$first"

step "after both processes were killed, and after each alone"
for victims in "supervisor agent" "agent supervisor" "supervisor"; do
  for victim in $victims; do kill -9 "$("${victim}_of" "$second")"; done
  case $victims in
    *agent*) like "list: $victims killed" "$(state_of "$second")" "stopped|degraded|starting" ;;
  esac
  if [[ $victims == supervisor ]]; then
    kill -9 "$(agent_of "$second")"
    exits 3 "apply without a supervisor" "$weft" lab apply --name "$second" --timeout 200ms -f - <<<"$(manifest)"
    like "how to bring it back" "$output" "weft lab up --name $second"
    exits 0 "up brings it back" "$weft" lab up --name "$second" -f - <<<"$(manifest)"
    is "all works again" "$(state_of "$second") $(all_probes "$second")" "running 4/4 true 24"
    kill -9 "$(supervisor_of "$second")" "$(agent_of "$second")"
  fi
  exits 0 "down after $victims" "$weft" lab down --name "$second"
  is "traces after $victims" "$(traces "$second")" ""
  [[ $victims == supervisor ]] || manifest | lab_up "$second"
done

step "killed at a random moment while it is made"
third=$lab-d
labs+=("$third")
for round in 1 2 3 4 5 6 7 8; do
  manifest >"$work/manifest.yaml"
  "$weft" lab up --name "$third" -f "$work/manifest.yaml" >/dev/null 2>&1 &
  upping=$!
  sleep "0.$(printf '%02d' $((RANDOM % 60)))"
  moment=$(find "/run/weft/lab/$third" -mindepth 1 -maxdepth 1 -printf "%f " 2>/dev/null)
  victims=()
  case $((round % 4)) in
    0) victims=("$upping") ;;
    1) victims=("$upping" "$(supervisor_of "$third")" "$(agent_of "$third")") ;;
    2) victims=("$(supervisor_of "$third")" "$upping") ;;
    3) victims=("$(agent_of "$third")") ;;
  esac
  for victim in "${victims[@]}"; do [[ -n $victim ]] && kill -9 "$victim" 2>/dev/null; done
  for victim in "${victims[@]}"; do until_true 2 dead "$victim"; done
  [[ $((round % 4)) -eq 3 ]] || wait "$upping" 2>/dev/null
  if [[ $((round % 2)) -eq 0 || $((round % 4)) -eq 3 ]]; then
    wait "$upping" 2>/dev/null
    exits 0 "round $round ($moment): up again" "$weft" lab up --name "$third" -f "$work/manifest.yaml"
    is "round $round ($moment): it works" "$(all_probes "$third")" "true 24"
  fi
  exits 0 "round $round ($moment): down" "$weft" lab down --name "$third"
  is "round $round ($moment): traces" "$(traces "$third")" ""
done
finish

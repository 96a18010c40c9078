#!/usr/bin/env bash
# Says, without judging, what 100 pods cost: start time and memory of the agent. Only that it serves
# them is checked.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

lab_up "$lab" --timeout 50s <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 100
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: none, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}
YAML
step "100 pods answer"
is "endpoints" "$(weft endpoint list -o json | jq '[.[] | select(.state == "ready")] | length')" 100
is "pods from one" "$("$weft" lab probe --name "$lab" --from default/web-0 -o json | jq '[.[] | select(.agrees == true and .reachable == true)] | length')" 100

log=/run/weft/lab/$lab/node1/weftd.log
pid=$(awk '{print $1; exit}' "/run/weft/lab/$lab/node1/weftd.pid")
memory() { awk '/^(VmRSS|RssAnon|VmHWM)/ {printf "%s %.1f MB  ", $1, $2 / 1024}' "/proc/$1/status"; }
say "agent with 100 pods:        $(memory "$pid")"

serves() { weft status; }
supervisor=$(awk '{print $1; exit}' "/run/weft/lab/$lab/supervisor.pid")
starts=()
for _ in 1 2 3; do
  pid=$(awk '{print $1; exit}' "/run/weft/lab/$lab/node1/weftd.pid")
  kill -STOP "$supervisor"
  kill -9 "$pid"
  until [[ ! -e /proc/$pid || $(awk '{print $3}' "/proc/$pid/stat") == Z ]]; do :; done
  begin_at=$EPOCHREALTIME
  ip netns exec "$(netns_of host)" "$bin/weftd" --config "/run/weft/lab/$lab/node1/weftd.yaml" >>"$log" 2>&1 &
  own=$!
  eventually 10 "the agent serves" serves
  starts+=("$(seconds_since "$begin_at")")
  [[ ${#starts[@]} -lt 3 ]] || say "restarted agent, 100 pods:  $(memory "$own")"
  kill -TERM "$own"
  wait "$own"
  kill -CONT "$supervisor"
  eventually 10 "the supervisor's agent serves" serves
done
say "start until it serves, s:   ${starts[*]}"
empty=$lab-empty
labs+=("$empty")
begin_at=$EPOCHREALTIME
"$weft" lab up --name "$empty" >/dev/null 2>&1 || fail "an empty lab did not come up"
say "an empty lab up, s:         $(seconds_since "$begin_at")"
say "agent with no pod:          $(memory "$(awk '{print $1; exit}' "/run/weft/lab/$empty/node1/weftd.pid")")"
finish

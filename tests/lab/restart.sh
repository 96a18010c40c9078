#!/usr/bin/env bash
# The agent dies and comes back, again and again: no byte is lost, no rule is forgotten, what changed
# meanwhile is put right.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

allow() { # POLICY POD CLIENT
  cat <<YAML
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: $1, namespace: default}
spec: {podSelector: {matchLabels: {app: $2}}, ingress: [{from: [{podSelector: {matchLabels: {app: $3}}}]}]}
YAML
}
{
  for name in client other server late; do serving_pod $name; done
  allow server server client
  cat <<'YAML'
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: default}
spec: {selector: {app: server}, clusterIP: 10.96.0.10, ports: [{port: 80, targetPort: 7000}]}
YAML
} | lab_up "$lab"
run=/run/weft/lab/$lab
server=$(address_v4 default/server) server6=$(address_v6 default/server) late=$(address_v4 default/late)
serve world 7000

agent_pid() { awk '{print $1; exit}' "$run/node1/weftd.pid" 2>/dev/null; }
serves() { weft status -o json | jq -e '.health == "ok" and .reconcile.failed == 0 and .reconcile.pending == 0'; }
restarted() { [[ $(agent_pid) != "$1" && -n $(agent_pid) ]] && serves; }
answers() { [[ $(ask "$@") == ok* ]]; }
denied() { [[ $(ask "$@" --timeout 300) == timeout ]]; }
eventually 5 "the server serves" answers default/client tcp "$server" 7000
is "the rule holds" "$(ask default/other tcp "$server" 7000 --timeout 300)" timeout

step "kill -9 ten times under traffic"
begin pod_pod default/client "$server" 7000 --rate 3000000
begin pod_pod6 default/client "$server6" 7000 --rate 3000000
begin pod_service default/client 10.96.0.10 80 --rate 3000000
begin pod_world default/client 192.0.2.1 7000 --rate 3000000
begin host_pod host "$server" 7000 --rate 3000000
paths=(pod_pod pod_pod6 pod_service pod_world host_pod)
for path in "${paths[@]}"; do eventually 3 "$path flows" moving "$path"; done
for round in 1 2 3 4 5 6 7 8 9 10; do
  pid=$(agent_pid)
  kill -9 "$pid"
  # The rules hold also in the moment nobody serves them, for what is new too.
  answers default/client tcp "$server" 7000 --timeout 1000 || fail "round $round: a permitted connection failed while the agent was away"
  denied default/other tcp "$server" 7000 || fail "round $round: a forbidden connection was made while the agent was away"
  eventually 10 "round $round: the agent serves again" restarted "$pid"
done
for path in "${paths[@]}"; do
  whole_stream "$path"
done

step "dead and not started again"
supervisor=$(awk '{print $1; exit}' "$run/supervisor.pid")
cleanup_hooks+=("kill -CONT $supervisor")
kill -STOP "$supervisor"
kill -9 "$(agent_pid)"
like "a permitted connection" "$(ask default/client tcp "$server" 7000)" "^ok default.server "
like "through the service" "$(ask default/client tcp 10.96.0.10 80)" "^ok default.server "
like "to the world" "$(ask default/client tcp 192.0.2.1 7000)" "^ok "
is "a forbidden connection" "$(ask default/other tcp "$server" 7000 --timeout 300)" timeout
allow server server other >"$work/change.yaml"
exits 3 "apply while nobody serves" "$weft" --lab "$lab" apply -f "$work/change.yaml"
exits 3 "status while nobody serves" "$weft" --lab "$lab" status
ip netns del "weft-$lab.default.late"
kill -CONT "$supervisor"
eventually 10 "the agent serves again" serves
is "the change was not half made" "$(ask default/other tcp "$server" 7000 --timeout 300)" timeout
succeeds "apply when it serves again" weft apply -f "$work/change.yaml"
like "now the other may" "$(ask default/other tcp "$server" 7000)" "^ok default.server "
is "and the client may not" "$(ask default/client tcp "$server" 7000 --timeout 300)" timeout

step "a pod whose namespace went away while the agent was dead"
attached_anew() { [[ $(weft endpoint list -o json | jq -r '[.[] | select(.pod == "late") | .state] | join(" ")') == ready ]] && answers host tcp "$(address_v4 default/late)" 7000; }
one_endpoint_each() { [[ $(weft endpoint list -o json | jq -r '[.[].pod] | sort | join(" ")') == "client late other server" ]]; }
eventually 10 "late is attached again, with a server" attached_anew
is "endpoints" "$(weft endpoint list -o json | jq -r '[.[].pod] | sort | join(" ")')" "client late other server"
devices() { [[ $(inside host ip -o link show type veth | grep -vc uplink0) -eq $1 ]]; }
eventually 3 "four devices of pods on the node" devices 4
is "endpoints' addresses in the map" "$(weft bpf endpoints list -o json | jq -r '.. | strings' | grep -c "^$late$")" \
  "$([[ $(address_v4 default/late) == "$late" ]] && echo 1 || echo 0)"
succeeds "delete late" weft delete pod late -n default
gone() { [[ -z $(weft endpoint list -o json | jq -r '.[] | select(.pod == "late") | .pod') ]]; }
eventually 10 "late is gone" gone
eventually 3 "its device is gone" devices 3
is "allocations left" "$(weft ipam list -o json | jq -r '[.allocations[] | select(.pod == "late")] | length')" 0

step "killed at once after a confirmed change"
for round in 1 2 3 4 5; do
  wanted=client refused=other
  [[ $((round % 2)) -eq 0 ]] && wanted=other refused=client
  allow server server $wanted >"$work/change.yaml"
  pid=$(agent_pid)
  weft apply -f "$work/change.yaml" >/dev/null || fail "round $round: apply"
  kill -9 "$pid"
  eventually 10 "round $round: the agent serves again" restarted "$pid"
  like "round $round: $wanted may" "$(ask default/$wanted tcp "$server" 7000)" "^ok "
  is "round $round: $refused may not" "$(ask default/$refused tcp "$server" 7000 --timeout 300)" timeout
done

step "killed while a change is under way"
for round in 1 2 3 4 5; do
  wanted=client refused=other
  [[ $((round % 2)) -eq 0 ]] && wanted=other refused=client
  allow server server $wanted >"$work/change.yaml"
  pid=$(agent_pid)
  weft apply -f "$work/change.yaml" >/dev/null 2>&1 &
  applying=$!
  read -rt "0.00$((RANDOM % 10))" <> <(:)
  kill -9 "$pid"
  wait $applying
  code=$?
  eventually 10 "round $round: the agent serves again" restarted "$pid"
  # Confirmed is kept; unconfirmed may be either, but the wire and the object must agree.
  stored=$(weft get networkpolicy server -n default -o json | jq -r '.spec.ingress[0].from[0].podSelector.matchLabels.app')
  [[ $code -ne 0 || $stored == "$wanted" ]] || fail "round $round: a confirmed change was lost"
  [[ $stored == client ]] && { wanted=client refused=other; } || { wanted=other refused=client; }
  like "round $round: $wanted may" "$(ask default/$wanted tcp "$server" 7000)" "^ok "
  is "round $round: $refused may not" "$(ask default/$refused tcp "$server" 7000 --timeout 300)" timeout
done
eventually 5 "nothing is left to do" serves
finish

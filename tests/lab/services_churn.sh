#!/usr/bin/env bash
# Nothing is lost: weftd killed under connections through ClusterIP and NodePort; endpoints that come and go,
# thousands of changes a minute, beside a healthy one that serves all the time.
# WEFT_CHURN_SECONDS (10): how long the churn lasts; WEFT_CHURN_KILLS (4).
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

churn_seconds=${WEFT_CHURN_SECONDS:-10}
kills=${WEFT_CHURN_KILLS:-4}
agent_pid() { awk '{print $1; exit}' "/run/weft/lab/$lab/node1/weftd.pid" 2>/dev/null; }
serves() { weft status -o json | jq -e '.health'; }

step "a lab with three servers, and one on host1"
{
  pod one 'app: client'
  pod two 'app: client'
  deployment web 3 'app: web'
  service steady '' 'type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 7000, nodePort: 30080}, {name: dns, port: 53, targetPort: 7000, nodePort: 30053, protocol: UDP}]'
  service far '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30180}, {name: dns, port: 53, nodePort: 30153, protocol: UDP}]'
  slice far-4 far IPv4 "{addresses: [$neighbour4], nodeName: host1}"
} | lab_up "$lab"
serve host1 7000 far
for i in 0 1 2; do eventually 10 "web-$i serves" answers default/one tcp "$(address_v4 "default/web-$i")" 7000; done
reached "the remote backend" world tcp $node4 30180 far

step "weftd is killed $kills times under load"
load_seconds=$((kills * 2 + 2))
begin_load pods default/one tcp "$(cluster_ip steady 4)" 80 --seconds $load_seconds --threads 2 --pause 2
begin_load pods6 default/one tcp "$(cluster_ip steady 6)" 80 --seconds $load_seconds --threads 1 --pause 4
begin_load node host tcp $node4 30080 --seconds $load_seconds --threads 1 --pause 4
begin_load outside world tcp $node4 30080 --seconds $load_seconds --threads 2 --pause 2
begin_load outside6 world tcp $node6 30080 --seconds $load_seconds --threads 1 --pause 4
begin_load remote world tcp $node4 30180 --seconds $load_seconds --threads 1 --pause 4
begin_load datagrams world udp $node4 30053 --seconds $load_seconds --threads 1 --pause 4
begin stream world $node4 30080 --rate 2000000
begin far world $node4 30180 --rate 2000000
for ((i = 0; i < kills; i++)); do
  before=$(agent_pid)
  kill -9 "$before"
  sleep 1
  until_true 10 serves || fail "weftd does not serve after kill $i"
  [[ $(agent_pid) != "$before" ]] || fail "weftd was not started anew"
  sleep 0.5
done
for name in pods pods6 node outside outside6 remote datagrams; do
  ended_load $name
  lossless "killed under load: $name" $name
done
for name in stream far; do
  end_stream $name || fail "a stream was cut: $(cat "$work/stream.$name")"
done

step "churn for $churn_seconds s: endpoints come and go beside a healthy one"
# web-0 is always in; the others, and addresses nobody has but which are never ready, come and go.
local4=() local6=()
for i in 0 1 2; do
  local4[i]=$(address_v4 default/web-$i)
  local6[i]=$(address_v6 default/web-$i)
done
endpoint() { echo "{addresses: [\"$1\"], conditions: {ready: $2, serving: $2, terminating: $3}, nodeName: node1}"; }
{
  service churn '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30280}, {name: dns, port: 53, nodePort: 30253, protocol: UDP}]'
  slice churn-4 churn IPv4 "$(endpoint "${local4[0]}" true false)"
  slice churn-6 churn IPv6 "$(endpoint "${local6[0]}" true false)"
} | apply
# Each state is applied by the API, over and over: every request is one change of the same Service.
churn() {
  local end=$((SECONDS + churn_seconds)) changes=0 step=0 state other
  local states=()
  for state in "" ", $(endpoint 10.244.0.250 false false)" ", $(endpoint "${local4[1]}" true false)" \
    ", $(endpoint "${local4[1]}" false true), $(endpoint "${local4[2]}" true false)" ", $(endpoint "${local4[2]}" true true)"; do
    states+=("$(slice churn-4 churn IPv4 "$(endpoint "${local4[0]}" true false)$state" | tail -n +2 | jq -Rs .)")
  done
  coproc agent { exec "$traffic" line "/run/weft/lab/$lab/node1/weft.sock"; }
  while ((SECONDS < end)); do
    other=${states[step++ % ${#states[@]}]}
    printf '{"id":%d,"method":"apply","params":{"documents":[{"file":"churn.yaml","text":%s}]}}\n' $((++changes)) "$other" >&"${agent[1]}"
    IFS= read -r -t 10 answer <&"${agent[0]}" || { echo "no answer after $changes changes" >"$work/churn.error"; break; }
    [[ $answer == *'"error"'* ]] && { echo "$answer" >"$work/churn.error"; break; }
  done
  echo $changes >"$work/churn.changes"
}
begin_load churn-pods default/one tcp "$(cluster_ip churn 4)" 80 --seconds $((churn_seconds + 1)) --threads 2 --pause 1
begin_load churn-node host tcp $node4 30280 --seconds $((churn_seconds + 1)) --threads 1 --pause 2
begin_load churn-outside world tcp $node4 30280 --seconds $((churn_seconds + 1)) --threads 2 --pause 1
begin_load churn-datagrams world udp $node4 30253 --seconds $((churn_seconds + 1)) --threads 1 --pause 2
begin_load bystander world tcp $node4 30080 --seconds $((churn_seconds + 1)) --threads 1 --pause 2
begin healthy world $node4 30280 --rate 1000000
begin healthy-pod default/two "$(cluster_ip churn 4)" 80 --rate 1000000
until_true 3 server_of healthy
churn
[[ ! -e $work/churn.error ]] || fail "churn: $(cat "$work/churn.error")"
say "         $(cat "$work/churn.changes") changes in $churn_seconds s"
[[ $(cat "$work/churn.changes") -ge $((churn_seconds * 34)) ]] || fail "only $(cat "$work/churn.changes") changes in $churn_seconds s"
for name in churn-pods churn-node churn-outside churn-datagrams bystander; do
  ended_load $name
done
# A short question may meet an endpoint that goes in the middle of it: that one may be reset, and nothing else.
for name in churn-pods churn-node churn-outside churn-datagrams; do
  loaded $name '"\(.good) \([.errors | to_entries[] | select(.key != "reset" and .key != "refused") | .value] | add // 0) \(.failed)"' | {
    read -r good lost failed
    checks=$((checks + 1))
    [[ ${good:-0} -gt 0 && ${lost:-1} -eq 0 && $((failed * 50)) -le $good ]] || fail "$name: $(jq -c 'del(.ports)' "$work/load.$name")"
    say "         $name: $good answered, $failed cut off with their endpoint"
  }
done
lossless "another Service meanwhile" bystander
# Streams that began on the healthy endpoint, which stayed all the time.
for name in healthy healthy-pod; do
  is "the stream's server" "$(server_of $name)" default.web-0
  end_stream $name || fail "a stream to the healthy endpoint was cut: $(cat "$work/stream.$name")"
  [[ $(jq .longest_stall_ms "$work/stream.$name") -lt 1500 ]] || fail "it stalled: $(cat "$work/stream.$name")"
done
step "a port gets another number: its connections go on, new ones to the old number find nobody"
steady() { # PORT
  service steady '' "type: NodePort, selector: {app: web}, ports: [{name: http, port: $1, targetPort: 7000, nodePort: 30080}, {name: dns, port: 53, targetPort: 7000, nodePort: 30053, protocol: UDP}]"
}
begin renumbered world $node4 30080 --rate 1000000
begin renumbered-pod default/one "$(cluster_ip steady 4)" 80 --rate 1000000
until_true 3 server_of renumbered-pod
steady 8080 | apply
reached "the new number" default/one tcp "$(cluster_ip steady 4)" 8080 'default.web-[012]'
not_reached "the old number" 'refused|timeout' default/one tcp "$(cluster_ip steady 4)" 80
reached "the node port" world tcp $node4 30080 'default.web-[012]'
for name in renumbered renumbered-pod; do
  moving $name || fail "$name stands still"
  end_stream $name || fail "a stream was cut: $(cat "$work/stream.$name")"
done
is "health after the churn" "$(weft status -o json | jq -r .health)" ok
is "nothing is owed" "$(weft status -o json | jq -c '[.reconcile.pending, .reconcile.failed]')" '[0,0]'
finish

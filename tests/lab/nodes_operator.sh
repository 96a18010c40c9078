#!/usr/bin/env bash
# Operators: one of two acts; another acts when it stops or is killed; with none of them pods attach and Services are
# applied, and a node stands in for the rest.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

pod() { # NAME NODE
  printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default, labels: {app: %s}}\n' "$1" "$1"
  printf 'spec: {nodeName: %s, containers: [{name: c, image: none, ports: [{containerPort: 7000}]}]}\n' "$2"
}
balanced() { # NAME
  printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: default}\n' "$1"
  printf 'spec: {type: LoadBalancer, selector: {app: one}, ports: [{port: 80, targetPort: 7000}]}\n'
}
{ pod one node1; pod two node2; } | lab_up "$lab" --nodes 2
lab_cmd() { "$weft" lab "$1" --name "$lab" "${@:2}"; }
at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
operators() { at "${1:-node1}" operator status -o json; }
acting() { operators "$@" | jq -r '[.items[] | select(.acts) | .name] | join(",")'; }
kind() { operators | jq -r .acting.kind; }
process_of() { awk '{print $1; exit}' "/run/weft/lab/$lab/$1.pid" 2>/dev/null; }
some_acts() { [[ $(acting) == operator[12] ]]; }
acts() { [[ $(acting) == "$1" ]]; }
runs() { operators | jq '.items | length'; }
runs_are() { [[ $(runs) -eq $1 ]]; }
is_kind() { [[ $(kind) == "$1" ]]; }
address_of() { at node1 service get "default/$1" -o json | jq -r '.load_balancer_ips | join(",")'; }
served() { [[ $(address_of "$1") == 203.0.113.* ]]; }

step "two operators, one acts, and every node says which"
eventually 10 "one acts" some_acts
eventually 10 "two are there" runs_are 2
first=$(acting)
other=$([[ $first == operator1 ]] && echo operator2 || echo operator1)
is "node2 says the same" "$(acting node2)" "$first"
like "status" "$(at node1 status)" "Operator +$first"
like "the table" "$(at node2 operator status)" "operator $first does the cluster's duties"
exits 0 "names" at node1 operator status -o name

step "asked to end, another acts at once"
began=$EPOCHREALTIME
ended=$(process_of "$first")
kill -TERM "$ended"
# The lab starts it again, and that one may be the first to ask.
replaced() { acts "$other" || { acts "$first" && ! kill -0 "$ended" 2>/dev/null; }; }
eventually 3 "another acts" replaced
say "         after $(seconds_since "$began") s"
first=$(acting)
other=$([[ $first == operator1 ]] && echo operator2 || echo operator1)
# The lab starts it again.
eventually 10 "two are there again" runs_are 2

step "killed, another acts when its lease of 5 s ends"
exits 0 "kill" lab_cmd kill "$first"
began=$EPOCHREALTIME
eventually 12 "$other acts" acts "$other"
say "         after $(seconds_since "$began") s"
exits 0 "start" lab_cmd start "$first"
eventually 10 "two are there again" runs_are 2
acts "$other" || fail "the role moved back"

step "a waiting Service gets an address when a pool appears"
balanced waits | apply
is "none yet" "$(address_of waits)" ""
apply <<'YAML'
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: public}
spec: {addresses: [203.0.113.1-203.0.113.1]}
YAML
eventually 5 "it has one" served waits
told() { operators | jq -e '[.items[].services_served] | add == 1'; }
eventually 5 "the operator says so" told

step "without any operator: pods attach, Services are applied, a node stands in for the rest"
for name in operator1 operator2; do exits 0 "kill $name" lab_cmd kill "$name"; done
pod three node1 | "$weft" lab apply --name "$lab" -f - >/dev/null || fail "a pod does not attach"
balanced second | apply
is "it waits" "$(address_of second)" ""
eventually 20 "a node stands in" is_kind node
like "status says so" "$(at node1 status)" 'Operator +node[12] \(a node: no operator is there\)'
weft delete service waits -n default >/dev/null
eventually 10 "what came free is given" served second
lab_cmd start operator1 >/dev/null
eventually 10 "an operator takes the duties back" acts operator1
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish

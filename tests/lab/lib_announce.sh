# What the tests of announced addresses in a cluster share: a lab of three nodes with one Service at an address of each
# family; sourced after lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # lib.sh sets them
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

address4=192.0.2.150 address6=2001:db8:0:1::150
pod() { # NAME NODE
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {app: web}, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: $2
  containers: [{name: serve, image: none, command: [$traffic, serve, "7000", --name, $1]}]
YAML
}
announcement() { # SPEC
  printf -- '---\napiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: lan}\nspec: {%s}\n' "$1"
}
service() { # POLICY
  cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, annotations: {weft.io/load-balancer-ips: "$address4,$address6"}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: $1
  selector: {app: web}
  ports: [{port: 80, targetPort: 7000}]
YAML
}
announcing_lab() {
  {
    pod web-1 node1; pod web-2 node2; pod web-3 node3
    printf -- '---\napiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: public}\n'
    printf 'spec: {addresses: [192.0.2.150-192.0.2.159, "2001:db8:0:1::150-2001:db8:0:1::159"]}\n'
    announcement ''; service Cluster
  } | lab_up "$lab" --nodes 3
}
lab_cmd() { "$weft" lab "$1" --name "$lab" "${@:2}"; }
at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
holder() { at "${2:-node1}" service get default/web -o json | jq -r --arg a "$1" '.announced_by[$a] // ""'; } # ADDRESS [ASKED]
held_by() { [[ $(holder "$1" "${3:-node1}") == "$2" ]]; }
held_by_another() { local now; now=$(holder "$1" "$3"); [[ -n $now && $now != "$2" ]]; }
held() { [[ -n $(holder "$1" "${2:-node1}") ]]; }
mac_of() { ip -n "weft-$lab-$1" -j link show dev uplink0 | jq -r '.[0].address'; }
from_host1() { ip netns exec "weft-$lab-host1" "$traffic" ask tcp "$1" 80 --timeout 1000 2>&1; } # ADDRESS
# What a host of the link learns when it asks now.
mac_at_host1() {
  ip -n "weft-$lab-host1" neighbour flush to "$1" >/dev/null 2>&1
  from_host1 "$1" >/dev/null
  ip -n "weft-$lab-host1" neighbour show "$1" | sed -n 's/.*lladdr \([^ ]*\).*/\1/p'
}
answered_by() { [[ $(mac_at_host1 "$1") == "$(mac_of "$2")" ]]; }
reached() { [[ $(from_host1 "$1") == ok* ]]; }
rows() { at "$1" status -o json | jq -r '[.announced[].address] | sort | join(",")'; }
joined() { [[ $(at "$1" status -o json | jq .cluster.joined) == "$2" ]]; }
process_of() { awk '{print $1; exit}' "/run/weft/lab/$lab/$1.pid" 2>/dev/null; }
others() { for node in node1 node2 node3; do [[ $node == "$1" ]] || echo $node; done; }
first_other() { others "$1" | head -n 1; }

#!/usr/bin/env bash
# Pods on several nodes reach each other as policies say, in every way there is between nodes:
#   nodes_connectivity.sh BIN_DIR [TUNNEL[:SCOPE[:UNDERLAY[:FAMILY]]] ...]
# Without ways, all of `every_way`. A way's lab has pods of three kinds on each node, policies for one, Services.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

every_way=(none vxlan geneve ipip none:always:routed vxlan:cross-subnet:mixed geneve:always:flat:6)
ways=("${@:2}")
[[ ${#ways[@]} -gt 0 ]] || ways=("${every_way[@]}")

manifest() {
  local node
  for node in 1 2 3; do
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: web-$node, namespace: default, labels: {app: web}, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: node$node
  containers:
  - {name: serve, image: none, command: [$traffic, serve, "7000", --name, web-$node]}
  - {name: answer, image: none, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-$node, namespace: default, labels: {app: db}}
spec: {nodeName: node$node, containers: [{name: c, image: none, ports: [{containerPort: 5432}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other-$node, namespace: default, labels: {app: other}}
spec: {nodeName: node$node, containers: [{name: c, image: none, ports: [{containerPort: 80}]}]}
YAML
  done
  cat <<'YAML'
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-from-web, namespace: default}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: other-goes-nowhere-but-web, namespace: default}
spec:
  podSelector: {matchLabels: {app: other}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: web}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 7000}]
YAML
}
on() { ip netns exec "weft-$lab-$1" "${@:2}"; }
stat_of() { # PROBES FILTER
  jq -r "$2" <"$1"
}
probe_all() { "$weft" lab probe --name "$lab" -o json "$@" >"$work/probes" 2>"$work/probe.err" || true; }
# Whom the policies let reach a port across nodes, and here.
expected='
  def app: sub("default/"; "") | sub("-[0-9]$"; "");
  def allowed: if .from == .to then true
    elif (.from | app) == "other" then (.to | app) == "web"
    elif (.to | app) == "db" then (.from | app) == "web" and .port == 5432
    else true end;'
wrong() { # of $work/probes: those whose wire is not what the policies say, or that the agents see otherwise
  stat_of "$work/probes" "$expected"' .[] | select(.reachable != allowed or .agrees != true)
    | "\(.from) \(.to) \(.address):\(.port) reachable \(.reachable) verdict \(.verdict) \(.error // "")"'
}
all_well() { probe_all --family all; [[ -s $work/probes && -z $(wrong) ]]; }

# A pod's addresses as its own node knows them.
pod_address() { # POD v4|v6
  "$weft" --lab "$lab" --node "node${1##*-}" get pod "default/$1" -o json |
    jq -r --arg f "$2" '.status.podIPs[].ip | select(contains(":") == ($f == "v6"))'
}

check_way() { # TUNNEL SCOPE UNDERLAY FAMILY
  local tunnel=$1 from to family address
  manifest | lab_up "$lab" --nodes 3 --tunnel "$1" --tunnel-scope "$2" --underlay "$3" --underlay-family "$4"
  is "the settings are known" "$("$weft" lab list -o json | jq -c --arg n "$lab" '.[] | select(.name == $n) | [.tunnel, .tunnel_scope, .underlay, .underlay_family]')" "[\"$1\",\"$2\",\"$3\",\"$4\"]"

  # What nodes tell each other arrives within a second or two.
  if ! until_true 15 all_well; then
    wrong | head -n 12
    fail "policies across nodes: $(wrong | wc -l) of $(jq length <"$work/probes") probes are wrong $(cat "$work/probe.err")"
  fi
  is "as many probes as there are ways and families" "$(jq length <"$work/probes")" $((9 * 12 * 2))

  for family in v4 v6; do
    for from in 1 2 3; do
      to=$((from % 3 + 1))
      address=$(pod_address "web-$to" $family)
      like "a whole stream, web-$from to web-$to, $family" \
        "$(inside "default/web-$from" "$traffic" stream "$address" 7000 --bytes 3000000 2>&1)" '"good":3000000,.*"error":""'
      is "large datagrams" "$(ask "default/web-$from" udp "$address" 7000 --size 1400 --reply 1400 --timeout 1000 | grep -c "web-$to")" 1
      like "a ping" "$(inside "default/web-$from" "$traffic" icmp "$address" --timeout 1000)" "^reply from"
      # A node without an address of the family has none to come from.
      [[ $4 == dual || v$4 == "$family" ]] && like "a node to a pod elsewhere" "$(on "node$from" "$traffic" ask tcp "$address" 7000 --timeout 1000 2>&1)" "web-$to"
    done
  done

  # A Service's backends are on all nodes.
  local answered=()
  address=$(service_address)
  for _ in $(seq 1 40); do answered+=("$(ask default/other-1 tcp "$address" 80 --timeout 1000)"); done
  is "every backend is used" "$(printf '%s\n' "${answered[@]}" | grep -oE 'web-[123]' | sort -u | tr '\n' ' ')" "web-1 web-2 web-3 "

  "$weft" lab down --name "$lab" >/dev/null || fail "down"
}
service_address() { "$weft" --lab "$lab" get service web -o json | jq -r .spec.clusterIP; }

for way in "${ways[@]}"; do
  IFS=: read -r tunnel scope underlay family <<<"$way"
  step "tunnel $tunnel, ${scope:-always}, underlay ${underlay:-flat}, ${family:-dual}"
  check_way "$tunnel" "${scope:-always}" "${underlay:-flat}" "${family:-dual}"
done
finish

# What the lab tests of several nodes share beside lib.sh; sourced after it.
# shellcheck shell=bash disable=SC2154
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

pod() { # NAME NODE: the manifest of a pod there that runs lab_traffic's server on port 7000; its app is NAME up to the dash
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {app: ${1%%-*}}, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: $2
  containers: [{name: serve, image: none, command: [$traffic, serve, "7000", --name, $1]}]
YAML
}
lab_cmd() { "$weft" lab "$1" --name "$lab" "${@:2}"; }
net() { "$weft" lab net "$1" --name "$lab" "${@:2}"; }
at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; } # NODE COMMAND...
process_of() { awk '{print $1; exit}' "/run/weft/lab/$lab/$1.pid" 2>/dev/null; }
pod_address() { # POD NODE v4|v6
  at "$2" get pod "default/$1" -o json | jq -r --arg f "$3" '.status.podIPs[].ip | select(contains(":") == ($f == "v6"))'
}
joined() { [[ $(at "$1" status -o json | jq .cluster.joined) == "$2" ]]; }
answers() { [[ $(ask "$@" --timeout 1000) == ok* ]]; }
denied() { [[ $(ask "$@" --timeout 300) == timeout ]]; }

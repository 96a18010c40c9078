#!/usr/bin/env bash
# An agent that cannot have all it needs starts all the same: with tables made too small for what is stored, without
# the maps that held it, with a full disk. It says what is wrong, what ran goes on, and what can be done is done.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

services() { # FIRST LAST
  local i
  for i in $(seq "$1" "$2"); do
    printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: default}\n' "$i"
    printf 'spec: {clusterIP: 10.96.1.%d, selector: {app: web}, ports: [{port: 80, targetPort: 9090}]}\n' "$i"
  done
}
pod() { # NAME APP
  printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default, labels: {app: %s}}\n' "$1" "$2"
  printf 'spec: {containers: [{name: c, image: none, ports: [{containerPort: 8080}]}]}\n'
}
{ pod web web; pod client client; pod spare spare; services 1 100; } | lab_up "$lab"

node=/run/weft/lab/$lab/node1
state=$(awk '$1 == "state_dir:" {print $2}' "$node/weftd.yaml")
supervisor=$(awk '{print $1; exit}' "/run/weft/lab/$lab/supervisor.pid")
own=
# The supervisor would start an agent with its own configuration.
kill -STOP "$supervisor"
# shellcheck disable=SC2016 # run at the end, by eval
cleanup_hooks+=('end_agent "$own"' 'umount "$state"' "kill -CONT $supervisor")
end_agent() { # PID
  kill -TERM "$1"
  until [[ ! -e /proc/$1 || $(awk '{print $3}' "/proc/$1/stat" 2>/dev/null) == Z ]]; do sleep 0.02; done
}
start_agent() { # [LINE of configuration]
  { cat "$node/weftd.yaml"; printf '%s\n' "$@"; } >"$work/weftd.yaml"
  nsenter --net="/run/netns/$(netns_of host)" "$bin/weftd" --config "$work/weftd.yaml" >>"$node/weftd.log" 2>&1 &
  own=$!
  eventually 20 "the agent serves" weft status
}
problems() { weft status -o json | jq -r '.health, .problems[]'; }
healthy() { [[ $(weft status -o json | jq -r .health) == ok ]]; }
client=default/client
reaches() { [[ $(inside "$client" timeout 2 "$traffic" ask tcp "$1" 80 2>&1) == *web* ]]; }

serve default/web 9090
eventually 5 "a Service before" reaches 10.96.1.1
end_agent "$(awk '{print $1; exit}' "$node/weftd.pid")"

step "tables smaller than what they hold"
start_agent "service_table_entries: 64" "backend_table_entries: 64"
like "the status" "$(problems)" "degraded.*service_table_entries is 64, too few.*raise service_table_entries"
like "the status" "$(problems)" "backend_table_entries is 64"
eventually 5 "a Service with the tables kept" reaches 10.96.1.100
services 101 101 | succeeds "a Service more" weft apply -f -
eventually 5 "the new Service" reaches 10.96.1.101
end_agent "$own"

step "tables too small, and no maps to keep, as after a reboot"
rm -f "/sys/fs/bpf/weft/lab-$lab-node1/maps/"*
start_agent "service_table_entries: 64"
like "the status" "$(problems)" "degraded.*a table is too small for all Services.*service_table_entries"
eventually 5 "a pod without a Service" inside "$client" timeout 2 "$traffic" ask tcp \
  "$(weft get pod web -n default -o json | jq -r .status.podIP)" 9090
like "the Services served" "$(weft service list -o json | jq '[.[] | select(.id != null)] | length')" "^6[0-9]$"
like "the list tells of the others" "$(weft service list -o json | jq -r '[.[] | select(.id == null) | .problem][0]')" \
  "not served.*service_table_entries"
like "as a table, too" "$(weft service list)" "<left out> .*service_table_entries"
services 102 102 | exits 1 "a Service more" weft apply -f -
like "the refusal" "$output" "nothing was applied"
{ services 50 101; } >"$work/many.yaml"
succeeds "Services deleted" weft delete -f "$work/many.yaml"
eventually 5 "a Service that fitted all along" reaches 10.96.1.1
# Ids of deleted Services rest until two sweeps have found no flow that names them.
eventually 120 "the health, without a restart" healthy
eventually 5 "a Service that fits now" reaches 10.96.1.9
end_agent "$own"

step "a full disk"
mkdir "$work/kept" && cp -a "$state/." "$work/kept/"
mount -t tmpfs -o size=8m none "$state" && cp -a "$work/kept/." "$state/"
cat /dev/zero >"$state/filler" 2>/dev/null
start_agent
like "the status" "$(problems)" "degraded.*the store cannot be written"
eventually 5 "a Service with a full disk" reaches 10.96.1.1
services 103 103 | exits 1 "an apply" weft apply -f -
key=$(weft endpoint list -o json | jq -r '.[] | select(.pod == "spare") | .container_id + " " + .ifname')
del() { # CONTAINER IFNAME
  CNI_COMMAND=DEL CNI_CONTAINERID=$1 CNI_IFNAME=$2 CNI_NETNS="" CNI_PATH=$bin "$bin/weft-cni" \
    <<<"{\"cniVersion\": \"1.0.0\", \"name\": \"weft\", \"type\": \"weft-cni\", \"socket\": \"$node/weft.sock\"}"
}
# shellcheck disable=SC2086 # two words
succeeds "a DEL" del $key
is "what is attached" "$(weft endpoint list -o json | jq '[.[] | select(.state == "ready")] | length')" 2
rm "$state/filler"
eventually 60 "the health with room again" healthy
services 103 103 | succeeds "an apply with room" weft apply -f -
is "what is left of the pod" "$(weft endpoint list -o json | jq '[.[] | select(.pod == "spare")] | length')" 0
finish

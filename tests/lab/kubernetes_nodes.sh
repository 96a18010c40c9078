#!/usr/bin/env bash
# Nodes of Kubernetes without an etcd of Weft's: what they share are objects of the API server (a double of it). Pods
# across nodes by VXLAN, Services, policies, an agent that is killed, an API server that is away.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
store=kubernetes
# shellcheck source=tests/lab/lib_kubernetes_nodes.sh
. "$(dirname "$0")/lib_kubernetes_nodes.sh"

# What people see of it.
after_restart() {
  is "nodes" "$(api GET $state/weftnodes | jq -c '[.items[] | [.metadata.name, .spec.mode, .spec.underlay[0]]]')" \
    '[["node-1","vxlan","192.0.2.101"],["node-2","vxlan","192.0.2.102"],["node-3","vxlan","192.0.2.103"]]'
  is "each has a block" "$(api GET $state/weftblocks | jq -c '[.items[].spec | .node] | sort')" '["node-1","node-2","node-3"]'
  is "labels have one number" "$(api GET $state/weftidentities | jq '[.items[].spec.labels] | length == (unique | length)')" true
  is "pods of node-2" "$(api GET $state/weftendpoints/node-2.slice-1 | jq -c '[.spec.pods[].name] | sort')" '["client-2","other-2","web-2"]'
  is "who is alive" "$(api GET $state/namespaces/weft-system/weftclaims?labelSelector=weft.io/claim=alive | jq -c '[.items[].spec.node]')" '["node-1","node-2","node-3"]'
}
at_the_end() {
  is "its node tells no more of it" "$(api GET $state/weftendpoints/node-1.slice-1 | jq -c '[.spec.pods[].name]')" '["client-1"]'
}
run_cluster

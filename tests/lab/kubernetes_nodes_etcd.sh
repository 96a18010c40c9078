#!/usr/bin/env bash
# The same with `store: etcd`: objects come from the API server, what nodes share is in an etcd of Weft's. And with
# `node_cidrs: kubernetes`: nodes take the blocks that their Node objects name.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }
# shellcheck disable=SC2034
store=etcd
# shellcheck source=tests/lab/lib_kubernetes_nodes.sh
. "$(dirname "$0")/lib_kubernetes_nodes.sh"
after_join() {
  step "nodes have the podCIDRs of their Node objects"
  local node number
  says() { weft_at "$1" status | grep -q -- "$2"; }
  eventually 10 "a node whose object has none says so" says node-1 'no spec.podCIDRs'
  for node in "${nodes[@]}"; do
    number=${node#node-}
    patch "/api/v1/nodes/$node" "{\"spec\": {\"podCIDR\": \"10.221.$((number * 7)).0/24\", \"podCIDRs\": [\"10.221.$((number * 7)).0/24\"]}}"
  done
  for node in "${nodes[@]}"; do eventually 15 "$node is well with one" is_well "$node"; done
}
at_the_end() {
  local pod
  for pod in web-2 client-1 client-2 client-3; do
    like "$pod has an address of its node's podCIDR" "$(address_of $pod)" "10.221.$((${node_of[$pod]#node-} * 7))."
  done
}
run_cluster

#!/usr/bin/env bash
# The same with `store: etcd`: objects come from the API server, what nodes share is in an etcd of Weft's.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }
# shellcheck disable=SC2034
store=etcd
# shellcheck source=tests/lab/lib_kubernetes_nodes.sh
. "$(dirname "$0")/lib_kubernetes_nodes.sh"
run_cluster

#!/usr/bin/env bash
# `weft install` and `weft uninstall` on a real Kubernetes while one of two nodes is away. Needs WEFT_TEST_K8S_BIN.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_kubernetes_real.sh
. "$(dirname "$0")/lib_kubernetes_real.sh"

cluster() { in_control "$weft" "$@" --kubeconfig "$work/admin.kubeconfig"; }
ready_of() { kubectl get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'; }
is_ready() { [[ $(ready_of "$1") == "$2" ]]; }
left_on() { # NODE: what of Weft is there
  nsenter -t "${node_init[$1]}" -n ip -o link 2>/dev/null | grep -oE 'weft[0-9a-z-]+' | sort -u
  in_node "$1" sh -c 'ls -d /sys/fs/bpf/weft /etc/cni/net.d/*weft* /opt/cni/bin/weft-cni /run/weft 2>/dev/null; ls -A /var/lib/weft'
}
kubelet_of() { in_node "$1" pgrep -x kubelet; }

step "Weft on two nodes, one of which goes away"
start_control_plane
make_image
start_node node1 192.0.2.11
start_node node2 192.0.2.12
install_weft
eventually 60 "node2 is ready" is_ready node2 True
in_node node2 kill -STOP "$(kubelet_of node2)"
eventually 60 "node2 is away" is_ready node2 Unknown

step "an upgrade does not wait for it"
succeeds "weft install" cluster install --set "agentConfig.log_level=debug" --set operatorConfig.log_level=debug --timeout 100
like "it says who is away" "$output" 'agents: 1 of 2 ready, away: node2'
like "the operator is the new one" "$(kubectl -n weft-system get pods -l app.kubernetes.io/component=operator -o json |
  jq -r '[.items[] | select(.spec.nodeName == "node1" and (.metadata.deletionTimestamp == null))][0].status.phase')" Running

step "it is taken away from the others"
exits 1 "weft uninstall" cluster uninstall --yes --purge --timeout 60
like "who is not clean" "$output" 'node2: it is away'
like "what will clean it" "$output" 'weft uninstall --node node2 --purge'
by_hand=$(grep -o 'ctr -n k8s.io run .*' <<<"$output")
is "nothing is left on node1" "$(left_on node1)" ""
like "something is on node2" "$(left_on node2)" weft0
succeeds "what cleans it is there" kubectl -n weft-system get configmap weft-config

step "by hand, on the machine"
agents_gone() { ! in_node node2 pgrep -x weftd; }
in_node node2 kill -CONT "$(kubelet_of node2)"
eventually 60 "node2 is back" is_ready node2 True
eventually 60 "its kubelet has ended the agent" agents_gone
succeeds "the command that was told" in_node node2 env PATH="$k8s:$PATH" sh -c "$by_hand"
is "nothing is left on node2" "$(left_on node2 | grep -v '^/run/weft$')" ""
succeeds "the same by the cluster" cluster uninstall --node node2 --purge --timeout 60
is "nor its directory" "$(left_on node2)" ""
succeeds "the rest goes" cluster uninstall --yes --purge --timeout 60
exits 1 "the namespace is gone" kubectl get namespace weft-system

step "one node is left out"
install_weft
eventually 60 "node2 is ready" is_ready node2 True
succeeds "of one node" cluster uninstall --node node2 --timeout 60
is "it is clean but for what is kept" "$(left_on node2 | grep -vE '^(/run/weft|weft.db|wireguard.json)$')" ""
is "one agent is wanted" "$(kubectl -n weft-system get daemonset weft -o jsonpath='{.status.desiredNumberScheduled}')" 1
kubectl label node node2 weft.io/agent- >/dev/null
eventually 60 "it comes back" kubectl -n weft-system rollout status daemonset/weft --timeout 1s
finish

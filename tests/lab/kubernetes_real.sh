#!/usr/bin/env bash
# Weft as the network of a real Kubernetes: API server, controllers, scheduler, and two nodes with a real kubelet and
# containerd, installed by `weft install` from the image that tools/image makes. Needs WEFT_TEST_K8S_BIN.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_kubernetes_real.sh
. "$(dirname "$0")/lib_kubernetes_real.sh"

weft_there() { in_node "$1" "$weft" "${@:2}"; }
ready_nodes() { kubectl get nodes -o json | jq -e --argjson n "$1" '[.items[] | select(.status.conditions[] | .type == "Ready" and .status == "True")] | length == $n'; }
no_taint() { ! kubectl get nodes -o json | grep -q agent-not-ready; }
ready_pods() { # SELECTOR COUNT
  kubectl get pods -l "$1" -o json | jq -e --argjson n "$2" '[.items[] | select(.metadata.deletionTimestamp == null) | select(.status.conditions[]? | .type == "Ready" and .status == "True")] | length == $n'
}
ask_pod() { kubectl exec "$1" -- lab_traffic ask "${@:2}" --timeout 1500; }
gets() { [[ $(ask_pod "$@") == "ok "* ]]; }
gets_nothing() { [[ $(ask_pod "$@") == timeout* ]]; }
# Of a container, by the runtime of its node: a way into its network that needs no API server.
process_of() { # POD
  local node container
  node=$(kubectl get pod "$1" -o jsonpath='{.spec.nodeName}')
  container=$(kubectl get pod "$1" -o jsonpath='{.status.containerStatuses[0].containerID}')
  in_node "$node" "$k8s/ctr" -n k8s.io task ls | awk -v c="${container#containerd://}" '$1 == c { print $2 }'
}

step "a cluster of two nodes without a network"
start_control_plane
make_image
start_node node1 192.0.2.11
start_node node2 192.0.2.12
is "nodes are ready" "$(kubectl get nodes -o json | jq '[.items[].status.conditions[] | select(.type == "Ready" and .status == "True")] | length')" 0

step "Weft is installed"
install_weft
eventually 60 "both nodes are ready" ready_nodes 2
eventually 20 "the taint is gone from both" no_taint

step "pods on both nodes, a Service, DNS names of nobody"
kubectl apply -f - >/dev/null <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]
      containers:
      - name: c
        image: localhost/weft-test:1
        imagePullPolicy: Never
        command: [/bin/lab_traffic, serve, "7000"]
        ports: [{name: http, containerPort: 7000}]
        readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: node2
  containers: [{name: c, image: localhost/weft-test:1, imagePullPolicy: Never}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: other}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: localhost/weft-test:1, imagePullPolicy: Never, ports: [{containerPort: 7100, hostPort: 7100}], command: [/bin/lab_traffic, serve, "7100"]}]
Y
eventually 60 "the pods of web are ready, probed by their kubelets" ready_pods app=web 4
eventually 30 "the client is ready" ready_pods app=client 1
eventually 30 "the pod with a host port is ready" ready_pods app=other 1
address=$(kubectl get service web -o jsonpath='{.spec.clusterIP}')
succeeds "the Service answers" gets client tcp "$address" 80
for pod in $(kubectl get pods -l app=web -o jsonpath='{.items[*].status.podIP}'); do succeeds "pod $pod answers" gets client tcp "$pod" 7000; done
for node in 192.0.2.11 192.0.2.12; do
  like "a client outside reaches node port of $node" "$(in_control "$traffic" ask tcp "$node" 30080 --timeout 1500)" '^ok '
  succeeds "and a pod" gets client tcp "$node" 30080
done
host=$(kubectl get pod other -o jsonpath='{.status.hostIP}')
like "the host port answers" "$(in_control "$traffic" ask tcp "$host" 7100 --timeout 1500)" '^ok '
like "the API server is reached as a Service" "$(kubectl exec client -- /bin/busybox nc -w 2 10.96.0.1 443 </dev/null && echo connected)" connected

step "a static pod, and one in the node's network"
in_node node1 bash -c 'cat >/etc/kubernetes/manifests/still.yaml' <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: still, namespace: default, labels: {app: still}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: localhost/weft-test:1, imagePullPolicy: Never, command: [/bin/lab_traffic, serve, "7000"], readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}}]
Y
kubectl apply -f - >/dev/null <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: on-node, labels: {app: on-node}}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: node1
  hostNetwork: true
  containers: [{name: c, image: localhost/weft-test:1, imagePullPolicy: Never, command: [/bin/lab_traffic, serve, "7200"], ports: [{containerPort: 7200}]}]
---
apiVersion: v1
kind: Service
metadata: {name: on-node}
spec: {selector: {app: on-node}, ports: [{port: 80, targetPort: 7200}]}
Y
eventually 60 "the static pod is ready" ready_pods app=still 1
succeeds "it answers" gets client tcp "$(kubectl get pod still-node1 -o jsonpath='{.status.podIP}')" 7000
like "with the labels of its object" "$(kubectl -n weft-system exec "$(kubectl -n weft-system get pods -l app.kubernetes.io/component=agent --field-selector spec.nodeName=node1 -o name)" -- weft endpoint list -o json | jq -c '.[] | select(.pod == "still-node1") | .labels')" 'k8s:app=still'
eventually 30 "the one in the node's network is ready" ready_pods app=on-node 1
eventually 5 "its Service answers" gets client tcp "$(kubectl get service on-node -o jsonpath='{.spec.clusterIP}')" 80
in_node node1 rm /etc/kubernetes/manifests/still.yaml
kubectl delete pod/on-node service/on-node --wait=false >/dev/null
still_gone() { [[ -z $(kubectl get pods -l app=still -o name) ]]; }
eventually 30 "without its file the static pod goes" still_gone

step "policies"
kubectl apply -f - >/dev/null <<'Y'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: other}}}], ports: [{port: http}]}]}
Y
eventually 5 "who is not let in gets nothing" gets_nothing client tcp "$address" 80
enforced() { kubectl get weftpolicystatus web -o json | jq -e --argjson g "$1" '.status | .observedGeneration == $g and .summary == "2/2" and (.conditions | any(.type == "Enforced" and .status == "True"))'; }
eventually 15 "both nodes say that they enforce it" enforced 1
kubectl annotate networkpolicy web a=b >/dev/null
kubectl patch networkpolicy web --type merge -p '{"spec": {"policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "other"}}}]}]}}' >/dev/null
eventually 15 "and its next generation" enforced 2
say "         $(kubectl get wps | tail -n 1)"
like "an agent says the same" "$(kubectl -n weft-system exec ds/weft -- weft policy status)" 'default/web +2 +2/2 +enforced'
succeeds "who is let in does" gets other tcp "$address" 80
is "the kubelets' probes go on" "$(ready_pods app=web 4)" true
kubectl label pod client app=other --overwrite >/dev/null
eventually 5 "a label lets in" gets client tcp "$address" 80
kubectl delete networkpolicy web >/dev/null
no_status() { [[ $(kubectl get weftpolicystatuses -o name) == "" ]]; }
eventually 15 "its status goes with it" no_status

step "nothing is lost while pods come and go, agents are replaced, and the API server is away"
process=$(process_of client)
like "the client's process is found" "$process" '^[0-9]+$'
in_node node2 nsenter -t "$process" -n "$traffic" load tcp "$address" 80 --seconds 60 --pause 5 >"$work/load" 2>&1 &
loading=$!
kubectl -n weft-system rollout restart daemonset/weft >/dev/null
eventually 50 "the agents were replaced" kubectl -n weft-system rollout status daemonset/weft --timeout 1s
kill "$api_server"
sleep 5 # of absence
start_api_server
wait "$loading" || fail "the load ended: $(cat "$work/load")"
is "failed connections" "$(jq .failed "$work/load")" 0

step "an agent is held to its node"
token_of() { # COMPONENT [NODE]
  local pod
  pod=$(kubectl -n weft-system get pods -l "app.kubernetes.io/component=$1" ${2:+--field-selector "spec.nodeName=$2"} -o jsonpath='{.items[0].metadata.name}')
  kubectl -n weft-system exec "$pod" -- busybox cat /var/run/secrets/kubernetes.io/serviceaccount/token
}
asks() { # METHOD PATH [BODY], with $token
  local kind=json
  [[ $1 != PATCH ]] || kind=merge-patch+json
  in_control curl -sS --max-time 5 --cacert "$pki/ca.crt" -X "$1" -H "authorization: Bearer $token" -H "content-type: application/$kind" ${3:+-d "$3"} \
    "$server$2" | jq -r 'if .kind == "Status" and .status == "Failure" then .message else "done" end'
}
patches() { asks PATCH "/api/v1/nodes/$1" "$2"; } # NODE[/status] PATCH
leases=/apis/coordination.k8s.io/v1/namespaces/weft-system/leases
session_of() { kubectl -n weft-system get leases -o json | jq -r --arg n "$1" '[.items[] | select(.spec.holderIdentity == $n)][0].metadata.name'; }
state=/apis/weft.io/v1alpha1
events=/apis/events.k8s.io/v1/namespaces/default/events
event_by() { # CONTROLLER INSTANCE [MORE]
  echo '{"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"generateName": "test-", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "'"$1"'", "reportingInstance": "'"$2"'", "action": "Test", "reason": "Test", "type": "Normal", "note": "a test", "regarding": {"kind": "Node", "name": "node1"}'"${3:-}}"
}
token=$(token_of agent node1)
like "it may not change another" "$(patches node2/status '{"status": {"conditions": []}}')" 'the agent of node node1 may not change node node2'
like "nor label its own" "$(patches node1 '{"metadata": {"labels": {"a": "b"}}}')" 'agents may not change metadata of nodes'
like "nor take the operators' Lease" "$(asks PATCH $leases/weft-operator '{"spec": {"holderIdentity": "evil", "leaseDurationSeconds": 360000}}')" 'the agent of node node1 may not write leases weft-operator'
like "nor delete it" "$(asks DELETE $leases/weft-operator)" 'may not write leases weft-operator'
like "nor end another's session" "$(asks DELETE "$leases/$(session_of node2)")" 'the agent of node node1 may not write leases weft-session-'
like "nor take it" "$(asks PATCH "$leases/$(session_of node2)" '{"spec": {"holderIdentity": "node1"}}')" 'the agent of node node1 may not write leases weft-session-'
is "but it may renew its own" "$(asks PATCH "$leases/$(session_of node1)" '{"metadata": {"annotations": {"a": "b"}}}')" "done"
pools=$(kubectl get weftpools pools -o json)
like "nor change a pool that is there" "$(asks PUT $state/weftpools/pools "$(jq '.spec.pools[0].ranges[0].cidr = "192.168.0.0/16"' <<<"$pools")")" 'agents may add pools to weftpools'
like "nor take it away" "$(asks PUT $state/weftpools/pools "$(jq '.spec.pools = []' <<<"$pools")")" 'agents may add pools to weftpools'
like "nor have it collected" "$(asks PUT $state/weftpools/pools "$(jq '.metadata.ownerReferences = [{"apiVersion": "v1", "kind": "Node", "name": "none", "uid": "none"}]' <<<"$pools")")" 'agents may add pools to weftpools'
is "but it may add one" "$(asks PUT $state/weftpools/pools "$(jq '.spec.pools += [{"name": "more", "ranges": [{"cidr": "10.99.0.0/16", "blockLength": 24}]}]' <<<"$pools")")" "done"
no_more_pools() { [[ $(kubectl get weftpools pools -o json | jq -c '[.spec.pools[].name]') == '["default"]' ]]; }
eventually 40 "which the operator takes away, for it has no object" no_more_pools
like "nor say that another is away" "$(asks DELETE $state/namespaces/weft-system/weftclaims/alive-node2)" 'may not write weftclaims alive-node2'
block=$(kubectl get weftblocks -o json | jq -r '[.items[] | select(.spec.node == "node2")][0].metadata.name')
like "nor take another's block" "$(asks DELETE "$state/weftblocks/$block")" "may not write weftblocks $block"
like "nor speak as the kubelet" "$(asks POST $events "$(event_by kubelet node1)")" 'only Events by weft.io/agent and node1 may be written'
like "nor as another's agent" "$(asks POST $events "$(event_by weft.io/agent node2)")" 'only Events by weft.io/agent and node1'
is "but it may as itself" "$(asks POST $events "$(event_by weft.io/agent node1)")" "done"
like "nor with the kubelet for a source" "$(asks POST $events "$(event_by weft.io/agent node1 ', "deprecatedSource": {"component": "kubelet"}')")" 'needs to be unset|only Events by'
is "its own came" "$(kubectl get events.events.k8s.io -o json | jq 'any(.items[]; .reason == "WeftIsReady" and .reportingController == "weft.io/agent" and .regarding.name == "node1")')" true
is "what was told of it stands there" "$(kubectl get node node1 -o json | jq -r '.status.conditions[] | select(.type == "NetworkUnavailable") | .reason')" WeftIsUp

step "the operator is held to what is Weft's"
token=$(token_of operator)
definition() { # NAME GROUP
  echo '{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "'"$1.$2"'"}, "spec": {"group": "'"$2"'", "scope": "Cluster", "names": {"plural": "'"$1"'", "kind": "Thing"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}'
}
like "it may not define others' kinds" "$(asks POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions "$(definition things example.org)")" 'CustomResourceDefinitions of weft.io'
kubectl apply -f - >/dev/null <<'Y'
apiVersion: weft.io/v1alpha1
kind: PodAddressPool
metadata: {name: some}
spec: {cidrs: [{cidr: 10.98.0.0/16, blockLength: 24}]}
Y
accepted() { kubectl get podaddresspool some -o json | jq -e '.status.conditions | any(.type == "Accepted" and .status == "True")'; }
eventually 20 "it accepts a pool" accepted
like "it may not change what somebody wants" "$(asks PATCH $state/podaddresspools/some '{"spec": {"cidrs": [{"cidr": "10.97.0.0/16"}]}}')" 'may not change the spec of podaddresspools'
like "nor a label of it" "$(asks PATCH $state/podaddresspools/some '{"metadata": {"labels": {"a": "b"}}}')" 'finalizer weft.io/pool only'
kubectl delete podaddresspool some --timeout 20s >/dev/null
is "the pool goes, and the finalizer" "$(kubectl get podaddresspools -o name)" ""
like "nor write what nodes say of their pods" "$(asks PUT $state/weftendpoints/node1.slice-1 '{}')" forbidden
like "nor label a Service by its status" "$(asks PATCH /api/v1/namespaces/default/services/web/status '{"metadata": {"labels": {"a": "b"}}}')" 'finalizer weft.io/pool only'
like "nor speak as the kubelet" "$(asks POST $events "$(event_by kubelet node1)")" 'only Events by weft.io/operator may be written'

step "a Lease that is none of an operator's is told"
well() { in_control "$weft" status --kubernetes --kubeconfig "$work/admin.kubeconfig"; }
eventually 30 "all is well" well
like "an operator acts by its pod's name" "$(well)" "$(kubectl -n weft-system get lease weft-operator -o jsonpath='{.spec.holderIdentity}') acts"
like "which is one" "$(kubectl -n weft-system get lease weft-operator -o jsonpath='{.spec.holderIdentity}')" '^weft-operator-.*_'
kubectl -n weft-system patch lease weft-operator --type merge -p '{"spec": {"holderIdentity": "evil", "leaseDurationSeconds": 360000, "renewTime": "2036-01-01T00:00:00.000000Z"}}' >/dev/null
exits 1 "an administrator has written it" well
like "with who it is" "$(well)" 'evil has it, and is none of the operators'
kubectl -n weft-system delete lease weft-operator >/dev/null
eventually 30 "without it an operator takes it" well

step "Weft's own test of the cluster"
succeeds "weft connectivity test" in_control "$weft" connectivity test --kubeconfig "$work/admin.kubeconfig"
logs=$(kubectl -n weft-system logs --tail=-1 -l app.kubernetes.io/name=weft)
like "an operator's log says what it does" "$logs" 'acts for the cluster'
is "nobody of Weft was held from what it does" "$(grep -E 'ValidatingAdmissionPolicy|forbidden' <<<"$logs" | head -n 3)" ""

step "it is taken away"
kubectl delete deployment/web pod/client pod/other --wait=false >/dev/null
succeeds "weft uninstall" in_control "$weft" uninstall --kubeconfig "$work/admin.kubeconfig" --yes
eventually 30 "no device of Weft is left" bash -c "! nsenter -t ${node_init[node1]} -n ip link | grep -q weft0"
is "no configuration of the plugin is left" "$(ls "$work/node1/cni")" ""
finish

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
agent=$(kubectl -n weft-system get pods -l app.kubernetes.io/component=agent --field-selector spec.nodeName=node1 -o jsonpath='{.items[0].metadata.name}')
token=$(kubectl -n weft-system exec "$agent" -- busybox cat /var/run/secrets/kubernetes.io/serviceaccount/token)
patches() { # NODE[/status] PATCH, as the agent of node1
  in_control curl -sS --max-time 5 --cacert "$pki/ca.crt" -X PATCH -H "authorization: Bearer $token" -H 'content-type: application/merge-patch+json' -d "$2" \
    "$server/api/v1/nodes/$1" | jq -r '.message // "done"'
}
like "it may not change another" "$(patches node2/status '{"status": {"conditions": []}}')" 'the agent of node node1 may not change node node2'
like "nor label its own" "$(patches node1 '{"metadata": {"labels": {"a": "b"}}}')" 'agents may not change metadata of nodes'
is "what was told of it stands there" "$(kubectl get node node1 -o json | jq -r '.status.conditions[] | select(.type == "NetworkUnavailable") | .reason')" WeftIsUp

step "Weft's own test of the cluster"
succeeds "weft connectivity test" in_control "$weft" connectivity test --kubeconfig "$work/admin.kubeconfig"

step "it is taken away"
kubectl delete deployment/web pod/client pod/other --wait=false >/dev/null
succeeds "weft uninstall" in_control "$weft" uninstall --kubeconfig "$work/admin.kubeconfig" --yes
eventually 30 "no device of Weft is left" bash -c "! nsenter -t ${node_init[node1]} -n ip link | grep -q weft0"
is "no configuration of the plugin is left" "$(ls "$work/node1/cni")" ""
finish

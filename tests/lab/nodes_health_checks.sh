#!/usr/bin/env bash
# Health checks of a cluster: a node does not take a pod elsewhere for dead because a policy there keeps its probe out,
# and asks nobody whom the Service's namespace could not ask. No Service is at a node's address, whichever is asked.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"

health_check='weft.io/health-check: tcp, weft.io/health-check-interval: 200ms, weft.io/health-check-timeout: 150ms, weft.io/health-check-rise: "1", weft.io/health-check-fall: "2"'
service() { # NAMESPACE NAME SPEC: with a health check
  printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s, annotations: {%s}}\nspec: {%s}\n' "$2" "$1" "$health_check" "$3"
}
policy() {
  cat <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-from-client, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
YAML
}
manifest() {
  pod web-1 node1
  pod client-2 node2
  echo ---
  policy
  service default web 'clusterIP: 10.96.0.50, selector: {app: web}, ports: [{port: 80, targetPort: 7000}]'
}
backend() { at "$1" service get "$2" -o json | jq -r ".ports[0].backends[0].$3"; } # NODE SERVICE FIELD
backend_is() { [[ $(backend "$@") == "$4" ]]; }
probed() { [[ $(backend "$1" "$2" 'check.probes // 0') -ge 3 ]]; }

step "a pod that a policy selects, with clients on another node"
manifest | lab_up "$lab" --nodes 2
eventually 10 "node2 knows the pod" backend_is node2 default/web unchecked "a NetworkPolicy selects it"
eventually 10 "its own node probes it" probed node1 default/web
sleep 1.5
is "it is well by its own node" "$(backend node1 default/web healthy)" true
is "and by the other" "$(backend node2 default/web healthy)" true
eventually 5 "the client that the policy allows is served" answers default/client-2 tcp 10.96.0.50 80
like "service get" "$(at node2 service get default/web)" "not checked from here: a NetworkPolicy selects it"
policy | at node1 delete -f - >/dev/null || fail "delete"
eventually 10 "without the policy the other node probes it too" probed node2 default/web
is "and it is well" "$(backend node2 default/web healthy)" true

step "a Service that names a pod of another namespace, a node and etcd"
web=$(pod_address web-1 node1 v4)
{
  service thief forged 'ports: [{port: 80}]'
  printf -- '---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: forged-1, namespace: thief, labels: {kubernetes.io/service-name: forged}}\n'
  printf 'addressType: IPv4\nports: [{port: 2379}]\nendpoints: [{addresses: [%s]}, {addresses: [192.0.2.1]}, {addresses: [192.0.2.2]}, {addresses: [192.0.2.102]}]\n' "$web"
} | at node2 apply -f - >"$work/apply" 2>&1 || fail "apply: $(cat "$work/apply")"
sleep 1
for node in node1 node2; do
  is "$node probes none of them" "$(at "$node" service get thief/forged -o json |
    jq -r '[.ports[0].backends[] | select(.check == null and .healthy) | .unchecked] | sort | join(", ")')" \
    "the address is a pod's of another namespace, the address is etcd's, the address is node node1's, the address is node node2's"
done

step "an external IP that is a node's"
for node in node1 node2; do
  printf 'apiVersion: v1\nkind: Service\nmetadata: {name: own, namespace: thief}\nspec: {ports: [{port: 80}], externalIPs: [192.0.2.2]}\n' |
    at "$node" apply -f - >"$work/refused" 2>&1 && fail "$node took it"
  like "$node says why" "$(cat "$work/refused")" "spec.externalIPs: 192.0.2.2 is node node1's"
done

step "a pod of too many labels"
{
  printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: many\n  namespace: thief\n  labels:\n'
  for i in $(seq 3000); do printf '    label-%s: "%060d"\n' "$i" "$i"; done
  printf 'spec: {nodeName: node1, containers: [{name: c, image: none}]}\n'
} | at node1 apply -f - >"$work/refused" 2>&1 && fail "it was taken"
like "it is refused, saying why" "$(cat "$work/refused")" "metadata.labels: .* 16384 are the most"
finish

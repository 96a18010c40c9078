#!/usr/bin/env bash
# NetworkPolicy features one after the other in a world of 9 pods x 9 pods x 4 ports: after each step
# the wire, the policy engine and an expectation written here must say the same.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

namespaces=(x y z)
names=(a b c)
ports=(80/TCP 81/TCP 80/UDP 81/UDP)

manifest() {
  local n p
  for n in "${namespaces[@]}"; do
    printf -- '---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {ns: %s}}\n' "$n" "$n"
    for p in "${names[@]}"; do
      cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $p, namespace: $n, labels: {pod: $p}}
spec:
  containers:
    - name: c
      image: none
      ports:
        - {name: serve-80-tcp, containerPort: 80}
        - {name: serve-81-tcp, containerPort: 81}
        - {name: serve-80-udp, containerPort: 80, protocol: UDP}
        - {name: serve-81-udp, containerPort: 81, protocol: UDP}
YAML
    done
  done
}
manifest | lab_up "$lab"

# expected FUNCTION: every probe as "from to port" -> allow or deny; the function gets fn fp tn tp port.
expected() {
  local rule=$1 fn fp tn tp port
  for fn in "${namespaces[@]}"; do for fp in "${names[@]}"; do
    for tn in "${namespaces[@]}"; do for tp in "${names[@]}"; do
      for port in "${ports[@]}"; do
        if $rule "$fn" "$fp" "$tn" "$tp" "$port"; then echo "$fn/$fp $tn/$tp $port allow"; else echo "$fn/$fp $tn/$tp $port deny"; fi
      done
    done; done
  done; done | sort
}

# A pod reaches itself whatever the policies say (the packets never leave it), so those are left out.
without_self() { awk '$1 != $2'; }

verify() {
  local what=$1 rule=$2 wrong before=$EPOCHREALTIME
  checks=$((checks + 1))
  "$weft" lab probe --name "$lab" -o json >"$work/probe" 2>"$work/probe.err"
  say "         $(jq length "$work/probe") probes in $(seconds_since "$before") s"
  [[ $(jq length "$work/probe") == 324 ]] || fail "$what: $(jq length "$work/probe") probes, expected 324: $(cat "$work/probe.err")"
  wrong=$(jq -r '.[] | select(.agrees != true) | "\(.from) \(.to) \(.port)/\(.protocol): wire \(.reachable), engine \(.verdict) \(.error // "")"' "$work/probe")
  [[ -z $wrong ]] || fail "$what: wire and engine disagree on $(wc -l <<<"$wrong"):"$'\n'"$(head -n 5 <<<"$wrong")"
  jq -r '.[] | "\(.from) \(.to) \(.port)/\(.protocol) \(if .reachable then "allow" else "deny" end)"' "$work/probe" | sort | without_self >"$work/got"
  expected "$rule" | without_self >"$work/wanted"
  wrong=$(diff "$work/wanted" "$work/got" | grep '^[<>]')
  [[ -z $wrong ]] || fail "$what: $(grep -c '^>' <<<"$wrong") verdicts are not as expected (< wanted, > got):"$'\n'"$(head -n 8 <<<"$wrong")"
}
policy() { # NAMESPACE NAME SPEC...: from standard input, the spec
  { printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s, namespace: %s}\nspec:\n' "$2" "$1"; cat; } | apply
}
drop_policy() { succeeds "delete $1/$2" weft delete networkpolicy "$2" -n "$1"; }

everything() { true; }
step "no policy"; verify "no policy" everything

step "default deny of ingress in x"
policy x deny <<<'  {podSelector: {}, policyTypes: [Ingress]}'
not_into_x() { [[ $3 != x ]]; }
before=$EPOCHREALTIME
verify "default deny" not_into_x

step "half of everything denied (the timed one)"
policy y deny <<<'  {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress]}'
half() { [[ $3 != x && ! ($3 == y && $4 == a) ]]; }
before=$EPOCHREALTIME
verify "half denied" half
took=$(seconds_since "$before")
say "         9 x 9 x 4, half denied: $took s"
awk -v t="$took" 'BEGIN { exit !(t < 15) }' || fail "the probe took $took s, the limit is 15 s"
drop_policy y deny

step "allow by pod, and by namespace, in one policy of x"
policy x allow <<'YAML'
  podSelector: {matchLabels: {pod: a}}
  ingress:
    - from: [{podSelector: {matchLabels: {pod: b}}}]
      ports: [{port: 80}]
    - from: [{namespaceSelector: {matchLabels: {ns: y}}}]
      ports: [{port: 81, protocol: UDP}]
YAML
by_pod_or_namespace() {
  [[ $3 != x ]] && return
  [[ $4 == a ]] || return 1
  [[ $1 == x && $2 == b && $5 == 80/TCP ]] || [[ $1 == y && $5 == 81/UDP ]]
}
verify "by pod or namespace" by_pod_or_namespace

step "allow by namespace and pod together, matchExpressions, named ports"
policy x allow <<'YAML'
  podSelector: {matchExpressions: [{key: pod, operator: In, values: [a, b]}]}
  ingress:
    - from:
        - namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x, z]}]}
          podSelector: {matchLabels: {pod: c}}
      ports: [{port: serve-81-tcp}, {port: serve-80-udp, protocol: UDP}]
YAML
both() {
  [[ $3 != x ]] && return
  [[ $4 != c && $1 == y && $2 == c && ($5 == 81/TCP || $5 == 80/UDP) ]]
}
verify "namespace and pod together" both

step "labels change: a pod's, a namespace's"
apply <<<'{apiVersion: v1, kind: Namespace, metadata: {name: z, labels: {ns: other}}}'
apply <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: y, labels: {pod: c}}
spec:
  containers:
    - name: c
      image: none
      ports:
        - {name: serve-80-tcp, containerPort: 80}
        - {name: serve-81-tcp, containerPort: 81}
        - {name: serve-80-udp, containerPort: 80, protocol: UDP}
        - {name: serve-81-udp, containerPort: 81, protocol: UDP}
YAML
relabelled() {
  [[ $3 != x ]] && return
  [[ $4 != c && ($5 == 81/TCP || $5 == 80/UDP) && (($1 == y && $2 != b) || ($1 == z && $2 == c)) ]]
}
verify "changed labels" relabelled
manifest | apply
verify "labels as before" both

step "a range of ports, and egress denied"
policy x allow <<'YAML'
  podSelector: {}
  ingress:
    - from: [{namespaceSelector: {}}]
      ports: [{port: 80, endPort: 81, protocol: TCP}]
YAML
policy z egress <<'YAML'
  podSelector: {matchLabels: {pod: a}}
  policyTypes: [Egress]
  egress:
    - to: [{namespaceSelector: {matchLabels: {ns: y}}}]
      ports: [{port: 81, protocol: TCP}, {port: 81, protocol: UDP}]
YAML
range_and_egress() {
  [[ $3 == x && $5 != */TCP ]] && return 1
  [[ $1 == z && $2 == a ]] || return 0
  [[ $3 == y && $5 == 81/* ]]
}
verify "range and egress" range_and_egress

step "ipBlock with except: pods' addresses"
yb=$(address_v4 y/b)
policy x allow <<YAML
  podSelector: {}
  ingress:
    - from: [{ipBlock: {cidr: 10.244.0.0/24, except: [$yb/32]}}]
YAML
drop_policy z egress
block_of_pods() { [[ $3 != x ]] || [[ $1/$2 != y/b ]]; }
verify "ipBlock of pod addresses" block_of_pods

step "ipBlock with except: places outside"
policy y outside <<'YAML'
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - to: [{ipBlock: {cidr: 198.51.100.0/24}}, {ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.1/32]}}, {ipBlock: {cidr: "2001:db8:0:2::/64"}}]
      ports: [{port: 80, protocol: TCP}]
YAML
"$weft" lab probe --name "$lab" --from y/a --to 198.51.100.1 --to 203.0.113.1 --to 192.0.2.1 --to 2001:db8:0:2::1 --port 80/TCP --port 443/TCP \
  -o json >"$work/outside" 2>&1
is "places outside y may reach" "$(jq -r '.[] | select(.reachable) | "\(.address):\(.port)"' "$work/outside" | sort | xargs)" \
  "198.51.100.1:80 2001:db8:0:2::1:80"
is "wire and engine agree" "$(jq -r '[.[].agrees] | unique | map(tostring) | join(" ")' "$work/outside")" true
"$weft" lab probe --name "$lab" --from x/a --to 203.0.113.1 --port 443/TCP -o json >"$work/outside" 2>&1
is "x may still go anywhere" "$(jq -r '.[0].reachable' "$work/outside")" true
"$weft" lab probe --name "$lab" --from host --to x/a --port 80/TCP -o json >"$work/outside" 2>&1
is "the host always reaches its pods" "$(jq -r '.[0] | "\(.reachable) \(.verdict) \(.agrees)"' "$work/outside")" "true allow true"
drop_policy y outside

step "everything deleted"
drop_policy x allow
drop_policy x deny
verify "no policy again" everything

step "a permission is revoked under traffic and given back"
serve x/a 7000
serve x/b 7000
policy x streams <<'YAML'
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}]}]
YAML
xa=$(address_v4 x/a) xa6=$(address_v6 x/a) xb=$(address_v4 x/b)
begin cut y/a "$xa" 7000 --rate 2000000
begin cut6 y/a "$xa6" 7000 --rate 2000000
begin other x/c "$xb" 7000 --rate 2000000
sleep 0.1
is "no stream without permission" "$(cut -c1-40 "$work/progress.other" 2>/dev/null)" ""
begin stays y/b "$xb" 7000 --rate 2000000
eventually 3 "the stream goes on" moving cut
eventually 3 "the IPv6 stream goes on" moving cut6
eventually 3 "the other stream goes on" moving stays
policy x streams <<'YAML'
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: b}}}]}]
YAML
at=$(progress cut) at6=$(progress cut6)
sleep 0.5
is "bytes after the revocation" "$(($(progress cut) - at < 300000))" 1
at=$(progress cut) at6=$(progress cut6)
sleep 0.3
is "bytes later" "$(($(progress cut) - at))" 0
is "bytes later, IPv6" "$(($(progress cut6) - at6))" 0
eventually 1 "the permitted stream goes on" moving stays
policy x streams <<'YAML'
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}]}]
YAML
eventually 5 "the stream goes on when permitted again" moving cut
eventually 5 "the IPv6 stream goes on when permitted again" moving cut6
for name in cut cut6 stays; do
  end_stream "$name" || fail "stream $name: $(cat "$work/stream.$name")"
  is "error of stream $name" "$(jq -r .error "$work/stream.$name")" ""
done
[[ $(jq .longest_stall_ms "$work/stream.stays") -lt 1000 ]] || fail "the permitted stream stalled: $(cat "$work/stream.stays")"

step "what observe says of it"
ask z/a tcp "$xa" 7000 --timeout 300 >/dev/null
ask y/c tcp "$xa" 7000 >/dev/null
flow() { weft observe --last 500 -o json --from-pod "$1" --to-pod x/a --port 7000 | jq -c "select(.type == \"$2\")" | tail -n 1; }
found() { [[ -n $(flow "$@") ]]; }
eventually 2 "the denied flow is seen" found z/a denied
denied=$(flow z/a denied)
is "denied: verdict and reason" "$(jq -r '"\(.verdict) \(.drop_reason)"' <<<"$denied")" "DROPPED policy-denied"
is "denied: who" "$(jq -r '"\(.source.namespace)/\(.source.pod) \(.destination.namespace)/\(.destination.pod)"' <<<"$denied")" "z/a x/a"
like "denied: labels of the source" "$(jq -r '.source.labels | join(" ")' <<<"$denied")" "k8s:pod=a"
like "denied: labels of the destination" "$(jq -r '.destination.labels | join(" ")' <<<"$denied")" "k8s:pod=a"
is "denied: rule" "$(jq -r '.deciding as $d | .rule[$d] | "\($d) \(.kind) \(.isolating | join(","))"' <<<"$denied")" "ingress default_deny x/streams"
eventually 2 "the allowed flow is seen" found y/c new
is "allowed: rule" "$(jq -r '.rule.ingress | "\(.kind) \(.policy) \(.index)"' <<<"$(flow y/c new)")" "rule x/streams 0"
eventually 2 "the revoked flow is seen" found y/a denied
is "revoked: reason" "$(jq -r .drop_reason <<<"$(flow y/a denied)")" "policy-revoked"
finish

{{- /* Only what src/chart/template.h knows is used in these files. */ -}}
{{- define "weft.image" -}}
{{- if .Values.image }}{{ .Values.image | toJson }}{{ else }}weft:{{ .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "weft.servers" -}}
{{- if .Values.kubernetesServers }}
kubernetes_servers: {{ .Values.kubernetesServers | toJson }}
{{- end }}
{{- end -}}

{{- define "weft.store" -}}
store: {{ .Values.store }}
{{- if eq .Values.store "etcd" }}
etcd_endpoints: {{ .Values.etcd.endpoints | toJson }}
{{- if .Values.etcd.secret }}
etcd_ca_file: /etc/weft-etcd/ca.crt
etcd_certificate_file: /etc/weft-etcd/tls.crt
etcd_key_file: /etc/weft-etcd/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "weft.weftd" -}}
# The node's name is NODE_NAME of the environment.
objects: kubernetes
{{- include "weft.servers" . }}
{{ include "weft.store" . }}
operator: external
pod_cidrs: {{ .Values.podCIDRs | toJson }}
service_cidrs: {{ .Values.serviceCIDRs | toJson }}
tunnel: {{ .Values.tunnel }}
tunnel_scope: {{ .Values.tunnelScope }}
cni_conf_dir: /host/etc/cni/net.d
cni_bin_dir: /host/opt/cni/bin
cgroup_root: /host/cgroup
{{- range $key, $value := .Values.agentConfig }}
{{ $key }}: {{ $value | toJson }}
{{- end }}
{{- end -}}

{{- define "weft.operator" -}}
objects: kubernetes
{{- include "weft.servers" . }}
{{ include "weft.store" . }}
crds: /usr/share/weft/crds
health_address: 127.0.0.1:9441
{{- range $key, $value := .Values.operatorConfig }}
{{ $key }}: {{ $value | toJson }}
{{- end }}
{{- end -}}

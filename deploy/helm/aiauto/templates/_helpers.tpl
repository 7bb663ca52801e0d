{{- define "aiauto.labels" -}}
app.kubernetes.io/name: aiauto
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* There is one server to a namespace: its Lease and the labels of its workers are always the same. */}}
{{- define "aiauto.selector" -}}
app.kubernetes.io/name: aiauto
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "aiauto.settings" -}}
AIAUTO_EXECUTOR: kubernetes
AIAUTO_KUBERNETES_CONFIG: /etc/aiauto/kubernetes.yaml
AIAUTO_DATA_DIR: /var/lib/aiauto
AIAUTO_PLAIN_HTTP: "1"
{{- if .Values.publicUrl }}
AIAUTO_PUBLIC_URL: {{ .Values.publicUrl | quote }}
{{- else if .Values.ingress.enabled }}
AIAUTO_PUBLIC_URL: {{ printf "%s://%s" (ternary "https" "http" (ne .Values.ingress.tlsSecret "")) .Values.ingress.host | quote }}
{{- end }}
{{- if .Values.trustedProxies }}
AIAUTO_TRUSTED_PROXIES: {{ join "," .Values.trustedProxies | quote }}
{{- end }}
{{- if eq .Values.database.kind "postgresql" }}
AIAUTO_DATABASE_URL: postgresql+psycopg://aiauto@aiauto-postgresql/aiauto
{{- else if eq .Values.database.kind "external" }}
AIAUTO_DATABASE_URL: {{ .Values.database.url | quote }}
{{- end }}
{{- if ne .Values.database.kind "sqlite" }}
AIAUTO_FILES_DIR: /var/lib/aiauto-files/files
{{- end }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "aiauto.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "aiauto.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}
